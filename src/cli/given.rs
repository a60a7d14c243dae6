//! What the process was called with: enough to read its configuration, now and again.

use crate::config::{Config, ConfigError, Environment};
use std::path::Path;

/// Flags, variables, and the name of the configuration's file.
#[derive(Clone)]
pub struct Given {
    pub flags: Vec<(&'static str, String)>,
    pub environment: Environment,
    pub file: Option<String>,
}

impl Given {
    /// The variables of the process, and those of the working directory's `.env` files where they are wanted.
    pub fn new(
        flags: Vec<(&'static str, String)>,
        file: Option<String>,
        with_env_files: bool,
    ) -> Result<Self, ConfigError> {
        let environment = Environment::of_process();
        let environment =
            if with_env_files { environment.with_env_files(Path::new(""))? } else { environment };
        Ok(Self { flags, environment, file })
    }

    /// The configuration, with secrets and tables as their files are now.
    pub fn resolve(&self) -> Result<Config, ConfigError> {
        Config::resolve(&self.flags, &self.environment, self.file.as_deref())
    }
}
