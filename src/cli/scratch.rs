//! A folder for what nobody keeps.

use std::path::{Path, PathBuf};

/// Removed when it is dropped.
pub struct Scratch(PathBuf);

impl Scratch {
    /// Makes it; `purpose` is part of its name.
    pub fn new(purpose: &str) -> std::io::Result<Self> {
        let name = format!("headcount-{purpose}-{}", crate::clock::fresh_run_id());
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
