//! A walk over a million records of 100 B in an open log, all in the page cache. Floor: a walk over a mapping of as many
//! frames of that size in a plain file, each checked.

use std::fs::File;
use std::os::unix::fs::FileExt;

use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use duralog::{Log, Options};
use memmap2::Mmap;
use tempfile::TempDir;

use crate::checksum;
use crate::floor::{HEADER, dir, frame_len, is_test, memcpy_with, resting, root};

const LEN: usize = 100;

fn records() -> usize {
    if is_test() { 1000 } else { 1_000_000 }
}

/// All in one segment, which the log keeps open.
fn filled() -> (TempDir, Log) {
    let dir = dir();
    let log = resting(Options::new().segment_size(128 << 20), &dir);
    for _ in 0..records() {
        log.append(&[7; LEN]).unwrap();
    }
    (dir, log)
}

/// A file of frames with this checksum.
fn plain(crc: fn(&[u8]) -> u32) -> Mmap {
    let mut frame = [0; frame_len(LEN)];
    memcpy_with(&mut frame, &[7; LEN], crc(&[7; LEN]));
    let file = tempfile::tempfile_in(root()).unwrap();
    let frames = frame.repeat(records());
    // In writes as large as those that fill a segment, so that the cache holds the file in the same way.
    for (i, part) in frames.chunks(2 << 20).enumerate() {
        file.write_all_at(part, (i * (2 << 20)) as u64).unwrap();
    }
    map(&file)
}

#[allow(unsafe_code, reason = "the floor of a log of mapped files is a mapped file")]
fn map(file: &File) -> Mmap {
    // SAFETY: the file has no name, and no one writes to it any more.
    unsafe { Mmap::map(file) }.unwrap()
}

fn walk(mut frames: &[u8], crc: impl Fn(&[u8]) -> u32) -> usize {
    let mut bytes = 0;
    while let Some((head, rest)) = frames.split_first_chunk::<HEADER>() {
        let head = u64::from_le_bytes(*head);
        let len = (head >> 32) as usize;
        let payload = black_box(&rest[..len]);
        assert_eq!(u64::from(crc(payload)), head & u64::from(u32::MAX));
        bytes += payload.len();
        frames = &rest[len.next_multiple_of(8)..];
    }
    bytes
}

#[divan::bench_group(sample_count = 10, sample_size = 1)]
mod hot {
    use super::*;

    #[divan::bench]
    fn next_payload(bencher: Bencher) {
        let (_dir, log) = filled();
        bencher.counter(ItemsCount::new(records())).bench_local(|| {
            let (mut replay, mut bytes) = (log.replay(), 0);
            while let Some((_lsn, payload)) = replay.next_payload().unwrap() {
                bytes += black_box(payload).len();
            }
            assert_eq!(bytes, records() * LEN);
        });
    }

    #[divan::bench]
    fn iterator(bencher: Bencher) {
        let (_dir, log) = filled();
        bencher.counter(ItemsCount::new(records())).bench_local(|| {
            let mut bytes = 0;
            for record in &log {
                bytes += black_box(record.unwrap().payload()).len();
            }
            assert_eq!(bytes, records() * LEN);
        });
    }

    #[divan::bench]
    fn floor_walk_crc(bencher: Bencher) {
        let file = plain(crc32c::crc32c);
        bencher
            .counter(ItemsCount::new(records()))
            .bench_local(|| assert_eq!(walk(&file, crc32c::crc32c), records() * LEN));
    }

    #[divan::bench]
    fn floor_walk_checksum(bencher: Bencher) {
        let crc = |payload: &[u8]| checksum::framed(7, 9, payload);
        let file = plain(crc);
        bencher
            .counter(ItemsCount::new(records()))
            .bench_local(|| assert_eq!(walk(&file, crc), records() * LEN));
    }
}
