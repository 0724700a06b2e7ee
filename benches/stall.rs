//! How long an append of 100 B may take: percentiles while nothing else runs, while a sync runs all the time, and of
//! the append that rolls into the next segment. `cargo bench --bench stall`. `DURALOG_BENCH_DIR` says on which disk.
//!
//! Appends come at a steady pace, and before each one its floor is measured: the same bytes and their CRC stored into
//! plain memory. So what the machine does to anyone, a reading of the clock included, is in both rows of a pair.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a program to be watched")]

#[path = "micro/floor.rs"]
#[allow(dead_code, reason = "the micro-benchmarks need the rest")]
mod floor;

use std::fs::File;
use std::hint::{black_box, spin_loop};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::Thread;
use std::time::{Duration, Instant};

use duralog::{Log, Lsn, Options};
use floor::{dir, frame_len, is_test, memcpy_crc, populated, resting, sync, until, zero_filled};
use hdrhistogram::Histogram;
use memmap2::MmapMut;

const RECORD: [u8; 100] = [7; 100];
const FRAME: usize = frame_len(RECORD.len());
const PACE: Duration = Duration::from_micros(5);
/// After so long a thread that has nothing to do sleeps.
const ASLEEP: Duration = Duration::from_micros(200);
/// Of the segments that are rolled.
const SMALL: u64 = 1 << 20;
/// Fills one of them, but for the room of a hundred records.
const FILLERS: usize = 63;
const FILLER: [u8; 16 << 10] = [7; 16 << 10];

fn appends() -> usize {
    if is_test() { 200 } else { 200_000 }
}

fn rolls() -> usize {
    if is_test() { 3 } else { 400 }
}

struct Times(Histogram<u64>);

impl Times {
    fn new() -> Times {
        Times(Histogram::new_with_bounds(1, 60_000_000_000, 3).unwrap())
    }

    fn record(&mut self, time: Duration) {
        self.0.saturating_record(u64::try_from(time.as_nanos()).unwrap());
    }

    fn print(&self, name: &str) {
        print!("  {name:<56}{:>8}", self.0.len());
        for percent in [50.0, 99.0, 99.9, 100.0] {
            let nanos = u32::try_from(self.0.value_at_percentile(percent)).unwrap_or(u32::MAX);
            print!("{:>11.2}", f64::from(nanos) / 1000.0);
        }
        println!();
    }
}

/// What one call takes, the clock included.
fn timed<T>(call: impl FnOnce() -> T) -> (T, Duration) {
    let start = Instant::now();
    let out = call();
    (out, start.elapsed())
}

/// Steps at a steady pace; who is late goes on from there. It spins: a sleep would add what the timer adds.
struct Pace(Instant);

impl Pace {
    fn next(&mut self) {
        while self.0.elapsed() < PACE {
            spin_loop();
        }
        self.0 = Instant::now();
    }
}

/// Memory that goes round: large enough that what is stored to has left the caches again.
struct Plain {
    memory: MmapMut,
    at: usize,
}

impl Plain {
    fn new() -> Plain {
        Plain { memory: populated(64 << 20), at: 0 }
    }

    fn store(&mut self) -> Duration {
        let frame = &mut self.memory[self.at..self.at + FRAME];
        self.at = (self.at + FRAME) % ((64 << 20) - FRAME);
        timed(|| memcpy_crc(black_box(frame), black_box(&RECORD))).1
    }
}

/// Appends at the pace, each behind its floor: the times of both.
fn paced(log: &Log) -> (Times, Times) {
    let (mut times, mut floors) = (Times::new(), Times::new());
    let (mut plain, mut pace) = (Plain::new(), Pace(Instant::now()));
    for _ in 0..appends() {
        pace.next();
        floors.record(plain.store());
        let (appended, time) = timed(|| log.append(black_box(&RECORD)));
        appended.unwrap();
        times.record(time);
    }
    (times, floors)
}

/// Does `work` while another thread calls `other` again and again.
fn beside<T>(other: impl Fn() + Sync, work: impl FnOnce() -> T) -> T {
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                other();
            }
        });
        let out = work();
        done.store(true, Ordering::Relaxed);
        out
    })
}

fn quiet() {
    let dir = dir();
    let log = resting(Options::new(), &dir);
    let (times, floors) = paced(&log);
    println!("nothing else runs");
    times.print("append");
    floors.print("floor: memcpy + CRC into plain memory");
}

fn syncing() {
    let dir = dir();
    let log = resting(Options::new(), &dir);
    let commit = || {
        log.commit().unwrap();
    };
    let (times, floors) = beside(commit, || paced(&log));
    println!("another thread commits all the time: {} syncs", log.stats().syncs);
    times.print("append");
    floors.print("floor: memcpy + CRC into plain memory");
    drop(log);
    mapped_and_synced().print("floor: memcpy + CRC into a mapped file, which is synced");
}

/// The kernel's part in it: a store into a mapped file waits when its page was just written to the disk.
fn mapped_and_synced() -> Times {
    let len = (appends() * FRAME).next_multiple_of(floor::PAGE);
    let file = zero_filled(len);
    let mut memory = map(&file);
    let mut times = Times::new();
    beside(
        || sync(&file),
        || {
            let mut pace = Pace(Instant::now());
            for frame in memory.chunks_exact_mut(FRAME).take(appends()) {
                pace.next();
                times.record(timed(|| memcpy_crc(black_box(frame), black_box(&RECORD))).1);
            }
        },
    );
    times
}

#[allow(unsafe_code, reason = "the floor of a log of mapped files is a mapped file")]
fn map(file: &File) -> MmapMut {
    // SAFETY: the file has no name, and this is its one mapping.
    unsafe { MmapMut::map_mut(file) }.unwrap()
}

/// What it takes to wake a thread that sleeps, as the worker does: an interrupt of its CPU, which a virtual machine has to
/// ask its host for.
fn wakes(sleeper: &Thread) -> Duration {
    let since = Instant::now();
    while since.elapsed() < ASLEEP {
        spin_loop();
    }
    timed(|| sleeper.unpark()).1
}

fn rolling() {
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let sleeper = scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                std::thread::park();
            }
        });
        roll_beside(sleeper.thread());
        done.store(true, Ordering::Relaxed);
        sleeper.thread().unpark();
    });
}

fn roll_beside(sleeper: &Thread) {
    let dir = dir();
    let log = resting(Options::new().segment_size(SMALL), &dir);
    let window = |lsn: Lsn| lsn.get() / SMALL;
    let (mut rolled, mut before, mut floors) = (Times::new(), Times::new(), Times::new());
    let (mut woken, mut plain) = (Times::new(), Plain::new());
    for _ in 0..rolls() {
        let first = log.append(&FILLER).unwrap();
        for _ in 1..FILLERS {
            log.append(&FILLER).unwrap();
        }
        // The worker keeps up: the segments before are sealed and given back, the next one is ready.
        until(|| log.stats().segments_sealed == window(first) - window(log.head()));
        log.checkpoint(log.durable().min(first)).unwrap();
        until(|| log.stats().segments_ready > 0);
        woken.record(wakes(sleeper));
        let mut pace = Pace(Instant::now());
        loop {
            pace.next();
            floors.record(plain.store());
            let (lsn, time) = timed(|| log.append(black_box(&RECORD)));
            if window(lsn.unwrap()) != window(first) {
                rolled.record(time);
                break;
            }
            before.record(time);
        }
    }
    println!("rolling through segments of 1 MiB, the next one ready");
    rolled.print("append that rolls");
    before.print("append before it");
    woken.print("floor: waking a thread that sleeps, which a roll does");
    floors.print("floor: memcpy + CRC into plain memory");
}

fn main() {
    let [count, p50, p99, p999, max] = ["count", "p50", "p99", "p99.9", "max"];
    println!(
        "{:<58}{count:>8}{p50:>11}{p99:>11}{p999:>11}{max:>11}",
        "microseconds a call of 100 B"
    );
    quiet();
    syncing();
    rolling();
}
