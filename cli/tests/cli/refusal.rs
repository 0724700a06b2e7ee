//! Directories that are not ours to write.

use std::fs;

use crate::common::{Appender, TestLog};

const ALL: [(&str, &[&str]); 5] = [
    ("append", &[]),
    ("replay", &[]),
    ("verify", &[]),
    ("inspect", &[]),
    ("checkpoint", &["4096"]),
];

#[test]
fn p8_a_second_writer_is_told_that_the_log_is_locked() {
    let log = TestLog::new();
    let mut appender = Appender::start(&log, &[]);
    appender.feed("one\n");
    appender.next_lsn();
    for (name, flags) in [("append", [].as_slice()), ("checkpoint", &["4096"])] {
        let errors = log.fails(1, name, flags);
        assert!(errors.contains("is locked: another writer has it open"), "{name}: {errors}");
    }
    appender.feed("two\n");
    let (rest, output) = appender.finish();
    assert!(output.status.success() && rest.len() == 1);
    assert_eq!(log.replay(), b"one\ntwo\n");
}

#[test]
fn p8_the_lock_of_a_killed_writer_is_gone() {
    let log = TestLog::new();
    let mut appender = Appender::start(&log, &[]);
    appender.feed("one\n");
    appender.next_lsn();
    appender.kill();
    log.ok("append", &[], "two\n");
    assert_eq!(log.replay(), b"one\ntwo\n");
}

#[test]
fn a_directory_of_someone_else_is_left_alone() {
    let log = TestLog::new();
    fs::create_dir(log.path()).unwrap();
    fs::write(log.path().join("notes.txt"), "mine").unwrap();
    for (name, flags) in ALL {
        let errors = log.fails(1, name, flags);
        assert!(
            errors.contains("is not a log") && errors.contains("notes.txt"),
            "{name}: {errors}"
        );
    }
    assert_eq!(fs::read_dir(log.path()).unwrap().count(), 1);
    assert_eq!(fs::read(log.path().join("notes.txt")).unwrap(), b"mine");
}

#[test]
fn a_file_is_not_a_log() {
    let log = TestLog::new();
    fs::write(log.path(), "mine").unwrap();
    for (name, flags) in ALL {
        let errors = log.fails(1, name, flags);
        let path = log.path().display().to_string();
        assert!(errors.contains(&path) && errors.contains("Not a directory"), "{name}: {errors}");
        assert_eq!(errors.matches("Not a directory").count(), 1, "{name}: {errors}");
    }
    assert_eq!(fs::read(log.path()).unwrap(), b"mine");
}

#[test]
fn readers_make_no_log() {
    let log = TestLog::new();
    for name in ["replay", "verify", "inspect"] {
        let errors = log.fails(1, name, &[]);
        assert!(errors.contains("there is no log in"), "{name}: {errors}");
    }
    assert!(!log.path().exists());
}

#[test]
fn another_version_of_the_format_is_named() {
    let log = TestLog::holding("one\n");
    let manifest = log.path().join("MANIFEST");
    let mut bytes = fs::read(&manifest).unwrap();
    bytes[8] = 2;
    let crc = crc32c(&bytes[..16]);
    #[allow(clippy::little_endian_bytes, reason = "as FORMAT.md has it")]
    bytes[16..20].copy_from_slice(&crc.to_le_bytes());
    fs::write(&manifest, &bytes).unwrap();
    for (name, flags) in ALL {
        let errors = log.fails(1, name, flags);
        assert!(errors.contains("MANIFEST has format version 2"), "{name}: {errors}");
    }
    assert_eq!(fs::read(&manifest).unwrap(), bytes);
}

/// Bit by bit: independent of the library's.
fn crc32c(bytes: &[u8]) -> u32 {
    let bit = |crc: u32, _| (crc >> 1) ^ if crc & 1 == 1 { 0x82F6_3B78 } else { 0 };
    !bytes.iter().fold(!0, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), bit))
}
