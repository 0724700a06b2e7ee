//! A durable append of 100 B, by threads. Floor: one thread that writes and syncs, without a log; threads that commit
//! together share one such sync, so that with 64 of them a call may take as long as the floor's, and no less.

use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicU64, Ordering};

use divan::{Bencher, black_box};
use duralog::Options;

use crate::floor::{self, dir, frame_len, is_test, resting, zero_filled};

const PAYLOAD: [u8; 100] = [7; 100];
const FILE: usize = 8 << 20;

#[divan::bench(threads = [1, 8, 64], sample_count = 128, sample_size = 50)]
fn append_durable(bencher: Bencher) {
    let dir = dir();
    let log = resting(Options::new().segment_size(16 << 20), &dir);
    // The first sync of a log finds more to do than those after it.
    log.append_durable(&PAYLOAD).unwrap();
    bencher.bench(|| log.append_durable(black_box(&PAYLOAD)).unwrap());
}

#[divan::bench(sample_count = 128, sample_size = 50)]
fn floor_pwrite_fdatasync(bencher: Bencher) {
    let size = if is_test() { FILE / 64 } else { FILE };
    let (file, at) = (zero_filled(size), AtomicU64::new(0));
    let frame = [7; frame_len(PAYLOAD.len())];
    bencher.bench(|| {
        let at = at.fetch_add(frame.len() as u64, Ordering::Relaxed);
        file.write_all_at(black_box(&frame), at % (size - frame.len()) as u64).unwrap();
        floor::sync(&file);
    });
}
