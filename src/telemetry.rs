//! Logs: set up once. Fields are dotted and stable (`source.name`, `batch.dead`); a message is readable alone.

use crate::config::{ConfigError, LogFormat};
use std::io::IsTerminal;
use tracing_subscriber::EnvFilter;

/// Writes to standard error. The error is a filter that cannot be read.
pub fn init(filter: &str, format: LogFormat) -> Result<(), ConfigError> {
    // The database's notices ("already exists, skipping") are of no use to an operator who has not asked for them.
    let filter = EnvFilter::try_new(format!("sqlx=warn,{filter}"))
        .map_err(|error| ConfigError(format!("HEADCOUNT_LOG is `{filter}`, which is no filter: {error}")))?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // A log that cannot be written, because a pipe is closed or a disk is full, must not end what is logged.
    let builder = builder.log_internal_errors(false);
    let text = match format {
        LogFormat::Text => true,
        LogFormat::Json => false,
        LogFormat::Auto => std::io::stderr().is_terminal(),
    };
    let installed = if text {
        builder.with_target(false).with_ansi(std::io::stderr().is_terminal()).try_init()
    } else {
        builder.json().flatten_event(true).try_init()
    };
    installed.map_err(|error| ConfigError(format!("logging cannot be set up: {error}")))
}
