//! The directory that is measured in: made, and removed whatever happens.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use bytesize::ByteSize;
use tempfile::TempDir;

/// Fields drop in this order: a directory has to be empty to go.
pub(crate) struct Scratch {
    temp: TempDir,
    made: Option<Made>,
}

/// A directory that was not there before.
struct Made(PathBuf);

impl Drop for Made {
    fn drop(&mut self) {
        drop(fs::remove_dir(&self.0)); // whatever another program has put in there meanwhile stays
    }
}

impl Scratch {
    pub(crate) fn new(dir: &Path) -> Result<Scratch> {
        let made = if dir.exists() {
            None
        } else {
            fs::create_dir(dir).with_context(|| format!("make {}", dir.display()))?;
            Some(Made(dir.to_owned()))
        };
        let temp = tempfile::Builder::new().prefix("duralog-bench-").tempdir_in(dir);
        let temp = temp.with_context(|| format!("make a directory in {}", dir.display()))?;
        Ok(Scratch { temp, made })
    }

    pub(crate) fn path(&self) -> &Path {
        self.temp.path()
    }

    /// As dropping it does, but tells what could not be removed.
    pub(crate) fn remove(self) -> Result<()> {
        let path = self.temp.path().to_owned();
        let removed = self.temp.close();
        drop(self.made);
        removed.with_context(|| format!("remove {}", path.display()))
    }
}

pub(crate) fn check_room(free: u64, needed: u64, dir: &Path) -> Result<()> {
    anyhow::ensure!(
        free >= needed,
        "{} has {} free, and measuring may take {}: make room, or take smaller segments \
         (--segment-size 16MiB)",
        dir.display(),
        ByteSize(free),
        ByteSize(needed)
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_little_room_is_told_in_words() {
        let error = check_room(100 << 20, 700 << 20, Path::new("/data")).unwrap_err().to_string();
        let told = "/data has 100.0 MiB free, and measuring may take 700.0 MiB: ";
        assert!(error.starts_with(told), "{error}");
        check_room(700 << 20, 700 << 20, Path::new("/data")).unwrap();
    }

    #[test]
    fn what_was_made_goes_and_what_was_there_stays() {
        let temp = TempDir::new().unwrap();
        let dir = temp.path().join("new");
        let scratch = Scratch::new(&dir).unwrap();
        fs::write(scratch.path().join("file"), "x").unwrap();
        drop(scratch);
        assert!(!dir.exists());
        fs::create_dir(&dir).unwrap();
        Scratch::new(&dir).unwrap().remove().unwrap();
        assert_eq!(fs::read_dir(&dir).unwrap().count(), 0);
    }
}
