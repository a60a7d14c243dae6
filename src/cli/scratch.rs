//! A folder for what nobody keeps.

use crate::clock::Clock;
use std::path::{Path, PathBuf};

/// Removed when it is dropped.
pub struct Scratch(PathBuf);

impl Scratch {
    /// Makes it; `purpose` is part of its name.
    pub fn new(purpose: &str, clock: &dyn Clock) -> std::io::Result<Self> {
        let name = format!("headcount-{purpose}-{}", clock.fresh_id());
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&folder)?;
        Ok(Self(folder))
    }

    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What is left in a folder for such things harms nobody.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
