//! What the log stands on, without the log: the floors, and what benches share.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use duralog::{Log, Options};
use memmap2::{Advice, MmapMut};
use tempfile::TempDir;

pub(crate) const PAGE: usize = 4096;
/// Of a frame, before its payload.
pub(crate) const HEADER: usize = 8;

pub(crate) fn root() -> PathBuf {
    std::env::var_os("DURALOG_BENCH_DIR").map_or_else(std::env::temp_dir, PathBuf::from)
}

pub(crate) fn dir() -> TempDir {
    tempfile::tempdir_in(root()).unwrap()
}

/// Whether this run is only to show that it runs: `cargo test --benches`, or `cargo bench -- --test`.
pub(crate) fn is_test() -> bool {
    let args = || std::env::args().skip(1);
    args().any(|arg| arg == "--test") || !args().any(|arg| arg == "--bench")
}

/// A log with the next segment ready, so that the worker rests while something is measured.
pub(crate) fn resting(options: Options, dir: &TempDir) -> Log {
    let log = options.open(dir.path()).unwrap();
    until(|| log.stats().segments_ready > 0);
    log
}

pub(crate) fn until(done: impl Fn() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < Duration::from_secs(60), "the worker does not come to it");
        std::thread::sleep(Duration::from_micros(200));
    }
}

/// The length of a frame, as FORMAT.md has it.
pub(crate) const fn frame_len(payload: usize) -> usize {
    HEADER + payload.next_multiple_of(8)
}

/// Memory that no store has to wait for. In large pages, as the page cache has most of a segment.
pub(crate) fn populated(len: usize) -> MmapMut {
    let mut map = MmapMut::map_anon(len).unwrap();
    // Without large pages in the kernel the floor is a little higher.
    map.advise(Advice::HugePage).unwrap_or_default();
    map.iter_mut().step_by(PAGE).for_each(|byte| *byte = 1);
    map
}

/// A file of zeros, written and synced as the log's are: a sync of it has nothing to allocate.
pub(crate) fn zero_filled(len: usize) -> File {
    let file = tempfile::tempfile_in(root()).unwrap();
    for at in (0..len as u64).step_by(PAGE) {
        file.write_all_at(&[0; PAGE], at).unwrap();
    }
    sync(&file);
    file
}

#[allow(clippy::disallowed_methods, reason = "the floor is what the log stands on")]
pub(crate) fn sync(file: &File) {
    file.sync_data().unwrap();
}

/// One record into memory: the payload's bytes behind a head of checksum and length. The checksum is the crate's that
/// the log takes for long records.
#[inline]
pub(crate) fn memcpy_crc(to: &mut [u8], payload: &[u8]) {
    memcpy_with(to, payload, crc32c::crc32c(payload));
}

#[inline]
pub(crate) fn memcpy_with(to: &mut [u8], payload: &[u8], crc: u32) {
    #[allow(clippy::cast_possible_truncation, reason = "the lengths here are small")]
    let head = u64::from(crc) | (payload.len() as u64) << 32;
    to[..HEADER].copy_from_slice(&head.to_le_bytes());
    to[HEADER..HEADER + payload.len()].copy_from_slice(payload);
}
