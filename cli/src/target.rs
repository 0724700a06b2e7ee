//! A file that a command makes: there when it is whole and durable, and never in the place of something else.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use rustix::fs::Mode;
use tempfile::NamedTempFile;

use crate::out;

/// Under another name until it is whole; dropped, nothing is left of it.
pub(crate) struct Target {
    path: PathBuf,
    temp: NamedTempFile,
    replaces: bool,
}

impl Target {
    /// Of a file that is not there yet.
    pub(crate) fn new(path: &Path) -> Result<Target> {
        ensure!(path.symlink_metadata().is_err(), "{} exists already", path.display());
        Target::of(path, false)
    }

    /// It may take the place of a picture that was made before, and of nothing else.
    pub(crate) fn picture(path: &Path) -> Result<Target> {
        let is_there = match path.symlink_metadata() {
            Ok(_) => true,
            Err(error) if error.kind() == io::ErrorKind::NotFound => false,
            Err(error) => return Err(error).with_context(|| path.display().to_string()),
        };
        let target = Target::of(path, is_there)?;
        target.check_picture()?;
        // As any other file is made: with what the umask leaves.
        let mode = fs::Permissions::from_mode(0o666 & !umask());
        target.temp.as_file().set_permissions(mode).with_context(|| path.display().to_string())?;
        Ok(target)
    }

    fn check_picture(&self) -> Result<()> {
        let is_file = || self.path.symlink_metadata().is_ok_and(|found| found.is_file());
        if self.replaces && !(is_file() && is_picture(&self.path)?) {
            bail!("{} exists already, and is no picture", self.path.display());
        }
        Ok(())
    }

    fn of(path: &Path, replaces: bool) -> Result<Target> {
        let dir = parent(path);
        // A log takes files there for its own, and removes what it does not know.
        ensure!(!holds_a_log(dir), "{} would be in the directory of a log", path.display());
        let temp = tempfile::Builder::new().prefix(".duralog-").tempfile_in(dir);
        let temp = temp.with_context(|| path.display().to_string())?;
        Ok(Target { path: path.to_owned(), temp, replaces })
    }

    pub(crate) fn finish(self) -> Result<()> {
        self.check_picture()?;
        let named = || self.path.display().to_string();
        out::sync(self.temp.as_file()).with_context(named)?;
        let kept = if self.replaces {
            self.temp.persist(&self.path)
        } else {
            self.temp.persist_noclobber(&self.path)
        };
        kept.map_err(|e| e.error).with_context(|| self.path.display().to_string())?;
        let dir = File::open(parent(&self.path)).and_then(|dir| out::sync(&dir));
        dir.with_context(|| self.path.display().to_string())
    }
}

impl Write for Target {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.temp.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.temp.flush()
    }
}

pub(crate) fn parent(path: &Path) -> &Path {
    let parent = path.parent().filter(|dir| !dir.as_os_str().is_empty());
    parent.unwrap_or(Path::new("."))
}

/// Of this process; to read it is to set it.
fn umask() -> u32 {
    let mask = rustix::process::umask(Mode::empty());
    rustix::process::umask(mask);
    mask.bits()
}

fn is_picture(path: &Path) -> Result<bool> {
    let mut first = Vec::new();
    let read = File::open(path).and_then(|file| file.take(4).read_to_end(&mut first));
    read.with_context(|| path.display().to_string())?;
    Ok(first == b"<svg")
}

/// Also of one that has lost its manifest.
fn holds_a_log(dir: &Path) -> bool {
    let names = fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.file_name());
    let is_of_a_log = |name: &str| {
        let id = name.strip_suffix(".seg").filter(|id| id.len() == 16);
        id.is_some_and(|id| id.bytes().all(|digit| digit.is_ascii_hexdigit()))
    };
    dir.join("MANIFEST").exists() && dir.join("WATERMARK").exists()
        || names.into_iter().any(|name| name.to_str().is_some_and(is_of_a_log))
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "a test")]
mod tests {
    use super::*;

    #[test]
    fn only_a_picture_is_replaced_and_only_by_a_whole_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.svg");
        let write = |text: &str| {
            let mut target = Target::picture(&path)?;
            target.write_all(text.as_bytes())?;
            target.finish()
        };
        write("<svg one").unwrap();
        write("<svg two").unwrap();
        drop(Target::picture(&path).unwrap());
        assert_eq!(fs::read(&path).unwrap(), b"<svg two");
        assert!(Target::new(&path).is_err());
        fs::write(&path, "mine").unwrap();
        assert!(write("<svg three").unwrap_err().to_string().contains("no picture"));
        let link = dir.path().join("link.svg");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        assert!(Target::picture(&link).is_err() && Target::new(&link).is_err());
        assert_eq!(fs::read(&path).unwrap(), b"mine");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
    }

    #[test]
    fn nothing_is_put_among_the_files_of_a_log() {
        let dir = tempfile::tempdir().unwrap();
        duralog::Log::open(dir.path()).unwrap().close().unwrap();
        for lost in ["no", "MANIFEST"] {
            drop(fs::remove_file(dir.path().join(lost)));
            let refused = Target::new(&dir.path().join("00000000000000ff.seg")).err().unwrap();
            assert!(refused.to_string().contains("in the directory of a log"), "{refused}");
            assert!(Target::picture(&dir.path().join("map.svg")).is_err());
        }
    }
}
