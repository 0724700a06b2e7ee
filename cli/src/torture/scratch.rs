//! The directory in which a run works: gone at its end, and if it was killed, at the start of the next.

use std::fs::File;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rustix::fs::{FlockOperation, flock};

use super::power::let_go;
use crate::out;

const PREFIX: &str = "torture-run-";

pub(crate) struct Scratch {
    dir: tempfile::TempDir,
    /// Held, so that no other run takes this for what a killed one left.
    _lock: File,
}

impl Scratch {
    pub(crate) fn new(home: &Path) -> Result<Scratch> {
        std::fs::create_dir_all(home).with_context(|| home.display().to_string())?;
        // Mounts go by names that hold in every directory.
        let home = &home.canonicalize().with_context(|| home.display().to_string())?;
        sweep(home);
        let dir = tempfile::Builder::new().prefix(PREFIX).tempdir_in(home);
        let dir = dir.with_context(|| home.display().to_string())?;
        let lock = lock(dir.path()).context("the scratch directory")?;
        Ok(Scratch { dir, _lock: lock })
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    /// A copy of a failed log, where no one removes it.
    pub(crate) fn keep(&self, log: &Path, beside: &[(&str, &str)], name: &str) -> Result<PathBuf> {
        let home = self.path().parent().context("a directory")?;
        let kept = tempfile::Builder::new().prefix(name).tempdir_in(home)?.keep();
        if log.exists() {
            copy(log, &kept.join("log"))?;
        }
        for (name, text) in beside {
            std::fs::write(kept.join(name), text)?;
        }
        Ok(kept)
    }
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    std::fs::create_dir(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            std::fs::copy(entry.path(), to.join(entry.file_name()))?;
        }
    }
    Ok(())
}

fn lock(dir: &Path) -> std::io::Result<File> {
    let lock = File::open(dir)?;
    flock(&lock, FlockOperation::NonBlockingLockExclusive)?;
    Ok(lock)
}

/// Unmounts and removes what a killed run left.
fn sweep(home: &Path) {
    for entry in std::fs::read_dir(home).into_iter().flatten().flatten() {
        let path = entry.path();
        let is_ours = entry.file_name().to_string_lossy().starts_with(PREFIX);
        if !is_ours || lock(&path).is_err() {
            continue;
        }
        let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
        for mount in ["mnt", "served"].map(|name| path.join("power").join(name)) {
            let name = format!(" {} ", mount.display());
            if mounts.contains(&name) {
                let_go(&mount);
            }
        }
        if let Err(error) = std::fs::remove_dir_all(&path) {
            out::say(format_args!("left behind: {}: {error}", path.display()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_killed_run_left_goes_and_what_another_uses_stays() {
        let home = tempfile::tempdir().unwrap();
        let left = home.path().join(format!("{PREFIX}left"));
        std::fs::create_dir_all(left.join("kill")).unwrap();
        let running = Scratch::new(home.path()).unwrap();
        assert!(!left.exists());
        drop(Scratch::new(home.path()).unwrap());
        assert!(running.path().exists());
    }
}
