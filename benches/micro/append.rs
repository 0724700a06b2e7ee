//! The append call, by size of the payload and by threads, in memory that waits for nothing: behind the first chunk of
//! a segment, which is kept in single pages, never in need of the next segment, and no one commits.
//!
//! Floors, each into as much fresh memory as the log's append goes through: a copy and a checksum by the crate `crc32c`,
//! and a copy with the log's own checksum, which for short records is the faster one, without and with a lock around it.
//! Without, threads share nothing, those of the log one tail.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use divan::counter::BytesCount;
use divan::{Bencher, black_box};
use duralog::Options;

use crate::checksum;
use crate::floor::{dir, frame_len, is_test, memcpy_crc, memcpy_with, populated, resting};

/// Samples of each row; with 64 threads one by each.
const SAMPLES: u32 = 64;
const SEGMENT: usize = 64 << 20;
/// The first chunk of a segment: `grain::CHUNK`.
const FINE: usize = 2 << 20;
const FILLER: usize = 64 << 10;

/// How often the closure of a row is called at most.
fn calls(sample: u32) -> usize {
    if is_test() { 64 } else { (SAMPLES * sample) as usize }
}

fn log(bencher: Bencher, len: usize, sample: u32) {
    assert!(FINE + FILLER + calls(sample) * frame_len(len) < SEGMENT * 3 / 4);
    let dir = dir();
    let size = if is_test() { SEGMENT / 16 } else { SEGMENT } as u64;
    let log = resting(Options::new().segment_size(size), &dir);
    for _ in 0..=FINE / FILLER {
        log.append(&[7; FILLER]).unwrap();
    }
    let payload = vec![7; len];
    bencher.counter(BytesCount::new(len)).bench(|| log.append(black_box(&payload)).unwrap());
    assert!(log.end().get() < size, "an append has rolled");
}

fn floor(bencher: Bencher, len: usize, sample: u32, put: fn(&mut [u8], &[u8])) {
    let mut memory = populated(calls(sample) * frame_len(len));
    let frames = Mutex::new(memory.chunks_exact_mut(frame_len(len)));
    let payload = vec![7; len];
    bencher
        .counter(BytesCount::new(len))
        .with_inputs(|| frames.lock().unwrap().next().unwrap())
        .bench_refs(|frame| put(frame, black_box(&payload)));
}

#[inline]
fn memcpy_checksum(to: &mut [u8], payload: &[u8]) {
    memcpy_with(to, payload, checksum::framed(7, 9, payload));
}

/// The same under a lock, with the end told to readers: what no append of many threads can do without.
#[inline]
fn memcpy_checksum_locked(to: &mut [u8], payload: &[u8]) {
    static TAIL: parking_lot::Mutex<u64> = parking_lot::Mutex::new(0);
    static END: AtomicU64 = AtomicU64::new(0);
    let mut tail = TAIL.lock();
    memcpy_checksum(to, payload);
    *tail += to.len() as u64;
    END.store(*tail, Ordering::Release);
}

/// One size, with so many calls a sample that threads meet: each begins when it is first scheduled.
macro_rules! of_size {
    ($name:ident, $len:expr, $sample:expr) => {
        #[divan::bench_group(threads = [1, 8, 64], sample_count = SAMPLES, sample_size = $sample)]
        mod $name {
            use super::*;

            #[divan::bench]
            fn log(bencher: Bencher) {
                super::log(bencher, $len, $sample);
            }

            #[divan::bench]
            fn floor_memcpy_crc(bencher: Bencher) {
                floor(bencher, $len, $sample, memcpy_crc);
            }

            #[divan::bench]
            fn floor_memcpy_checksum(bencher: Bencher) {
                floor(bencher, $len, $sample, memcpy_checksum);
            }

            #[divan::bench]
            fn floor_memcpy_checksum_locked(bencher: Bencher) {
                floor(bencher, $len, $sample, memcpy_checksum_locked);
            }
        }
    };
}

of_size!(bytes_100, 100, 4000);
of_size!(bytes_1024, 1 << 10, 500);
of_size!(bytes_16384, 16 << 10, 32);
