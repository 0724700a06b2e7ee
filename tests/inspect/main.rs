//! Reading beside a writer: what it does meanwhile is neither damage nor the end of the log, and damage stays
//! damage (P5).
//!
//! `records()` is lazy: each test takes some records, lets the writer act, and goes on.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::cast_possible_truncation,
    clippy::disallowed_methods,
    reason = "a test"
)]

mod acts;
mod beside;
mod stress;

use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use duralog::inspect::{Inspector, OwnedRecord};
use duralog::sim::{Call, Fault, SimDisk};
use duralog::{Error, Log, Lsn, Options};

pub(crate) fn options() -> Options {
    Options::new().segment_size(16 << 10)
}

/// Appends and commits records that say their numbers.
pub(crate) fn write(log: &Log, numbers: std::ops::Range<u32>) -> Vec<Lsn> {
    numbers.map(|n| log.append_durable(&n.to_le_bytes().repeat(50)).unwrap()).collect()
}

/// The numbers of the records to the end of the walk, or the error that it ended with.
pub(crate) fn numbers(
    records: impl Iterator<Item = Result<OwnedRecord, Error>>,
) -> Result<Vec<u32>, Error> {
    records
        .map(|record| {
            let payload = record?.payload;
            let number: [u8; 4] = payload[..4].try_into().unwrap();
            assert!(payload == number.repeat(payload.len() / 4), "a record has changed");
            Ok(u32::from_le_bytes(number))
        })
        .collect()
}

pub(crate) fn segment_at(dir: &Path, lsn: Lsn) -> (PathBuf, Lsn) {
    let inspector = Inspector::open(dir).unwrap();
    let mut segments = inspector.summary().segments.iter();
    let segment = segments.rfind(|segment| segment.base <= lsn).unwrap();
    (dir.join(&segment.file), segment.base)
}

/// Flips a bit of the record at `lsn`.
pub(crate) fn damage(dir: &Path, lsn: Lsn) {
    let (path, base) = segment_at(dir, lsn);
    let file = std::fs::File::options().read(true).write(true).open(path).unwrap();
    let (at, mut byte) = (lsn.get() - base.get() + 20, [0]);
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 4], at).unwrap();
}

/// Without spares: what is cut away or given up is removed at once.
pub(crate) fn bare() -> Options {
    options().spare_segments(0)
}

/// What recovery leaves that was killed between its two manifests: all sealed, none active.
pub(crate) fn interrupt_recovery(dir: &Path) {
    let disk = SimDisk::new(0);
    for entry in std::fs::read_dir(dir).unwrap().map(Result::unwrap) {
        let name = entry.file_name().into_string().unwrap();
        disk.put(&name, &std::fs::read(entry.path()).unwrap()).unwrap();
    }
    disk.order(Fault::new(Call::Rename, 2, 5));
    options().open_on(&disk).unwrap_err();
    assert_eq!(disk.struck(), 1);
    for name in disk.files() {
        std::fs::write(dir.join(&name), disk.bytes(&name).unwrap()).unwrap();
    }
    for entry in std::fs::read_dir(dir).unwrap().map(Result::unwrap) {
        if !disk.files().contains(&entry.file_name().into_string().unwrap()) {
            std::fs::remove_file(entry.path()).unwrap();
        }
    }
}

/// Thousands of syncs: in memory, where the system has a file system for that.
pub(crate) fn in_memory() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}
