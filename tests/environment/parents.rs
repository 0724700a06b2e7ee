//! The directories on the way to a log.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use duralog::{Error, Log, Options};

#[test]
fn p12_directories_on_the_way_to_a_log_are_made_and_private() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("a/b/log");
    assert!(matches!(Options::new().create(false).open(&dir), Err(Error::NoLog { .. })));
    assert!(!home.path().join("a").exists());
    let log = Log::open(&dir).unwrap();
    log.append_durable(b"one").unwrap();
    log.close().unwrap();
    for made in ["a", "a/b", "a/b/log"] {
        let mode = fs::metadata(home.path().join(made)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700, "{made}");
    }
    assert_eq!(Log::open(&dir).unwrap().replay().count(), 1);
}

#[test]
fn a_file_on_the_way_to_a_log_is_an_error_and_stays() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("a");
    fs::write(&file, "kept").unwrap();
    assert!(matches!(Log::open(file.join("log")), Err(Error::Io { .. })));
    assert_eq!(fs::read(&file).unwrap(), b"kept");
}
