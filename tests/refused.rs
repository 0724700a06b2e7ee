//! What is no log, on a real disk: each has its own error, and nothing is changed (P11, P12).

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test")]

use std::path::Path;

use duralog::{Error, Options};

fn open(dir: &Path) -> Error {
    Options::new().segment_size(16 << 10).open(dir).unwrap_err()
}

/// A closed log.
fn sound() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let log = Options::new().segment_size(16 << 10).open(dir.path()).unwrap();
    log.append(b"kept").unwrap();
    log.close().unwrap();
    dir
}

#[test]
fn a_file_is_no_directory() {
    let file = tempfile::NamedTempFile::new().unwrap();
    assert!(matches!(open(file.path()), Error::Io { .. }));
}

#[test]
fn an_empty_directory_is_no_log_unless_one_may_be_made() {
    let dir = tempfile::tempdir().unwrap();
    let error = Options::new().create(false).open(dir.path()).unwrap_err();
    assert!(matches!(error, Error::NoLog { .. }), "{error}");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn a_directory_in_place_of_a_file_is_damage() {
    let dir = sound();
    // A segment that the manifest does not name, then the manifest.
    let segment = dir.path().join("00000000000000ff.seg");
    std::fs::create_dir(&segment).unwrap();
    assert!(open(dir.path()).is_corrupt());
    std::fs::remove_dir(segment).unwrap();
    let manifest = dir.path().join("MANIFEST");
    std::fs::remove_file(&manifest).unwrap();
    std::fs::create_dir(manifest).unwrap();
    assert!(open(dir.path()).is_corrupt());
}

#[test]
fn a_manifest_larger_than_any_is_not_read() {
    let dir = sound();
    let file = std::fs::File::options().write(true).open(dir.path().join("MANIFEST")).unwrap();
    file.set_len((64 << 20) + 1).unwrap();
    assert!(open(dir.path()).is_corrupt());
}
