//! Opening a log of 64 MiB: after a clean close, which reads no records, and after a drop without one, which reads
//! them all from the disk.
//!
//! Floors: for the clean one what cannot be left out, a look at the first page of each file and one durable
//! replacement of a small one; for the other to read the file from the disk, past the page cache.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::{FileExt, OpenOptionsExt};

use divan::counter::BytesCount;
use divan::{Bencher, black_box};
use duralog::{Log, Options};
use rustix::fs::OFlags;
use tempfile::TempDir;

use crate::checkpoint::replace_durably;
use crate::floor::{self, PAGE, dir, is_test, populated, resting};

const RECORD: usize = 16 << 10;
/// Read at once: as recovery does.
const CHUNK: usize = 1 << 20;

fn size() -> usize {
    if is_test() { 1 << 20 } else { 64 << 20 }
}

fn options() -> Options {
    Options::new().segment_size(size() as u64)
}

/// One segment, full but for one part in sixteen, and the next one ready.
fn filled() -> (TempDir, Log) {
    let dir = dir();
    let log = resting(options(), &dir);
    for _ in 0..size() / RECORD * 15 / 16 {
        log.append(&[7; RECORD]).unwrap();
    }
    log.commit().unwrap();
    (dir, log)
}

/// Closes when the clock has stopped.
struct Closing(Log);

impl Drop for Closing {
    fn drop(&mut self) {
        self.0.close().unwrap();
    }
}

#[divan::bench_group(sample_count = 10, sample_size = 1)]
mod clean {
    use super::*;

    #[divan::bench]
    fn log(bencher: Bencher) {
        let (dir, log) = filled();
        log.close().unwrap();
        drop(log);
        bencher.bench_local(|| Closing(options().open(dir.path()).unwrap()));
    }

    #[divan::bench]
    fn floor_look_and_replace(bencher: Bencher) {
        let dir = dir();
        let files = ["active", "ready"].map(|name| dir.path().join(name));
        for file in &files {
            std::fs::write(file, [7; PAGE]).unwrap();
        }
        bencher.bench_local(|| {
            for file in &files {
                File::open(file).unwrap().read_exact_at(&mut [0; PAGE], 0).unwrap();
            }
            replace_durably(&dir);
        });
    }
}

#[divan::bench_group(sample_count = 5, sample_size = 1)]
mod dropped {
    use super::*;

    #[divan::bench]
    fn log(bencher: Bencher) {
        bencher
            .counter(BytesCount::new(size()))
            .with_inputs(|| {
                let (dir, log) = filled();
                drop(log);
                dir
            })
            .bench_local_refs(|dir| options().open(dir.path()).unwrap());
    }

    #[divan::bench]
    fn floor_open_and_read(bencher: Bencher) {
        let (dir, mut buffer) = (dir(), populated(CHUNK));
        let path = dir.path().join("file");
        std::fs::write(&path, vec![7; size()]).unwrap();
        floor::sync(&File::open(&path).unwrap());
        let direct = i32::try_from(OFlags::DIRECT.bits()).unwrap();
        bencher.counter(BytesCount::new(size())).bench_local(|| {
            // Not every file system has direct reads.
            let file = OpenOptions::new().read(true).custom_flags(direct).open(&path);
            let file = file.or_else(|_| File::open(&path)).unwrap();
            for at in (0..size() as u64).step_by(CHUNK) {
                file.read_exact_at(&mut buffer, at).unwrap();
                black_box(&buffer);
            }
        });
    }
}
