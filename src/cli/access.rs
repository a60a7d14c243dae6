//! The way to the admin listener: its address, and the token that is made where nobody has set one.

use crate::clock::Clock;
use crate::config::{Config, TOKEN_BYTES_MIN};
use crate::digest::hex;
use crate::store::DatabaseUrl;
use anyhow::{Context as _, ensure};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use tokio::net::TcpListener;
use tracing::{info, warn};

/// The name of the file that holds the token.
const FILE: &str = "headcount-admin-token";

/// Beside the database's file, or in the working directory.
fn path(config: &Config) -> PathBuf {
    match &config.database {
        DatabaseUrl::Sqlite(database) => database.with_file_name(FILE),
        DatabaseUrl::Postgres { .. } => PathBuf::from(FILE),
    }
}

/// Has the configuration hold a token for operators: the one that is set, the one of the file, or a new one. Without a
/// place to write it down nobody could know it, and operators are not let in.
pub fn settle_token(config: &mut Config, clock: &dyn Clock) {
    if config.admin.token.is_some() {
        return;
    }
    let path = path(config);
    match read_or_make(&path, clock) {
        Ok((token, is_new)) => {
            if is_new {
                info!("a token for the admin listener was made: it is in {}", path.display());
            }
            config.admin.token = Some(token.into());
        }
        Err(failure) => warn!(
            "no token for the admin listener: {failure:#}; set HEADCOUNT_ADMIN_TOKEN, until then operators are not let in"
        ),
    }
}

fn read_or_make(path: &PathBuf, clock: &dyn Clock) -> anyhow::Result<(String, bool)> {
    let made = hex(clock.random_bytes());
    let opened = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    match opened {
        Ok(mut file) => {
            file.write_all(format!("{made}\n").as_bytes())
                .with_context(|| format!("{} cannot be written", path.display()))?;
            Ok((made, true))
        }
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            let text = crate::config::read_secret(&path.display().to_string(), "the admin listener")?;
            check_private(path, &text)?;
            Ok((text, false))
        }
        Err(error) => Err(error).with_context(|| format!("{} cannot be made", path.display())),
    }
}

/// What others can read, or have put there, lets in more than the operator.
fn check_private(path: &Path, token: &str) -> anyhow::Result<()> {
    let (file, shown) = (std::fs::metadata(path)?, path.display());
    ensure!(
        file.mode() & 0o077 == 0,
        "{shown} can be read by others (mode {:o}); `chmod 600` it, or remove it and a new one is made",
        file.mode() & 0o777
    );
    let ours = std::fs::metadata("/proc/self").map(|process| process.uid()).ok();
    let is_ours = ours.is_none_or(|uid| [uid, 0].contains(&file.uid()));
    ensure!(is_ours, "{shown} belongs to another user; remove it and a new one is made");
    ensure!(
        token.len() >= TOKEN_BYTES_MIN,
        "{shown} holds fewer than {TOKEN_BYTES_MIN} characters; remove it and a new one is made"
    );
    Ok(())
}

/// Listens where the configuration says. A port that is taken is an error only where somebody has chosen it: a second
/// replica on one machine goes without.
pub async fn listen(config: &Config) -> anyhow::Result<Option<TcpListener>> {
    let address = config.admin.listen;
    match TcpListener::bind(address).await {
        Ok(listener) => Ok(Some(listener)),
        Err(error) if config.admin.listen_is_default => {
            warn!(
                "no admin listener: {address} cannot be had ({error}); HEADCOUNT_ADMIN_LISTEN names another"
            );
            Ok(None)
        }
        Err(error) => {
            Err(error).with_context(|| format!("cannot listen on {address} (HEADCOUNT_ADMIN_LISTEN)"))
        }
    }
}
