//! A checkpoint that frees one segment. Floor: a small file written, synced, renamed over another, and the directory
//! synced, which is how the log says durably what is gone.

use std::fs::File;
use std::os::unix::fs::FileExt;

use divan::Bencher;
use duralog::{Log, Lsn, Options};
use tempfile::TempDir;

use crate::floor::{dir, resting, sync, until};

/// About as long as the manifest of a log of a few segments.
const MANIFEST: [u8; 250] = [7; 250];

/// A full segment, sealed, and where the next begins.
fn one_to_free(log: &Log) -> Lsn {
    log.append(b"in the one to be freed").unwrap();
    let next = log.roll().unwrap();
    log.append_durable(b"in the one that stays").unwrap();
    until(|| {
        let stats = log.stats();
        stats.segments_ready > 0 && stats.segments_sealed == 1
    });
    next
}

#[divan::bench(sample_count = 100, sample_size = 1)]
fn frees_one_segment(bencher: Bencher) {
    let dir = dir();
    let log = resting(Options::new().segment_size(1 << 20), &dir);
    bencher
        .with_inputs(|| one_to_free(&log))
        .bench_local_values(|lsn| assert_eq!(log.checkpoint(lsn).unwrap().segments, 1));
}

#[divan::bench(sample_count = 100, sample_size = 1)]
fn floor_write_fsync_rename_fsync(bencher: Bencher) {
    let dir = dir();
    bencher.bench_local(|| replace_durably(&dir));
}

#[allow(clippy::disallowed_methods, reason = "the floor is what the log stands on")]
pub(crate) fn replace_durably(dir: &TempDir) {
    let (new, old) = (dir.path().join("new"), dir.path().join("file"));
    let file = File::create(&new).unwrap();
    file.write_all_at(&MANIFEST, 0).unwrap();
    sync(&file);
    std::fs::rename(&new, &old).unwrap();
    File::open(dir.path()).unwrap().sync_all().unwrap();
}
