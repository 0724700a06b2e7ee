//! Following a log from outside: what its writer does is neither damage nor an end, what is durable comes once and in order,
//! and what is not does not come.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::cast_possible_truncation,
    clippy::disallowed_methods,
    reason = "a test"
)]

mod acts;
mod gone;
mod process;
mod stress;
mod user;

use std::path::Path;

use duralog::{Error, Log, Lsn, Options, OwnedRecord, Reader, ReaderFollower};

pub(crate) fn options() -> Options {
    Options::new().segment_size(16 << 10)
}

/// The bytes of record `number`, as many as it says itself.
pub(crate) fn payload(number: u32, times: usize) -> Vec<u8> {
    number.to_le_bytes().repeat(times)
}

/// The number of a record that is as it was appended.
pub(crate) fn number(payload: &[u8]) -> u32 {
    let number: [u8; 4] = payload[..4].try_into().unwrap();
    assert!(payload == number.repeat(payload.len() / 4), "a record has changed");
    u32::from_le_bytes(number)
}

/// Appends and commits records that say their numbers.
pub(crate) fn write(log: &Log, numbers: std::ops::Range<u32>) -> Vec<Lsn> {
    numbers.map(|n| log.append_durable(&payload(n, 50)).unwrap()).collect()
}

/// Appends records without a commit.
pub(crate) fn append(log: &Log, numbers: std::ops::Range<u32>) -> Vec<Lsn> {
    numbers.map(|n| log.append(&payload(n, 50)).unwrap()).collect()
}

/// What is there by now.
pub(crate) fn drain(follower: &mut ReaderFollower) -> Result<Vec<u32>, Error> {
    let mut found = Vec::new();
    while let Some(OwnedRecord { payload, .. }) = follower.try_next()? {
        found.push(number(&payload));
    }
    Ok(found)
}

/// What comes within so many looks, of which each waits a moment: some changes ring no bell.
pub(crate) fn wait_for(follower: &mut ReaderFollower, count: usize) -> Result<Vec<u32>, Error> {
    let mut found = Vec::new();
    for _ in 0..3000 {
        if found.len() >= count {
            break;
        }
        let next = follower.next_timeout(std::time::Duration::from_millis(10))?;
        found.extend(next.map(|record| number(&record.payload)));
    }
    Ok(found)
}

pub(crate) fn follow(dir: &Path) -> ReaderFollower {
    let reader = Reader::open(dir).unwrap();
    reader.follow(reader.head().unwrap()).unwrap()
}

/// Thousands of syncs: in memory, where the system has a file system for that.
pub(crate) fn in_memory() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}
