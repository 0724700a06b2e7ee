//! What the number of segments costs: `cargo bench --bench segments [-- [DIR] COUNT...]`.
//!
//! Logs of 20, 2,000 and 20,000 segments of 16 KiB, each made by the engine, in `/dev/shm` unless a directory is named. A roll
//! includes what the background does for it. Next to a roll stands its floor: a file as large as the manifest written,
//! synced and renamed; next to an open, that file read and the directory listed.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a benchmark; its floor is what the log stands on"
)]

use std::fs::{self, File};
use std::hint::black_box;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use duralog::{Log, Options};

const ROUNDS: usize = 21;

fn options() -> Options {
    Options::new().segment_size(16 << 10)
}

/// Time of the middle one of some calls.
fn median(mut call: impl FnMut() -> Duration) -> Duration {
    let mut times: Vec<Duration> = (0..ROUNDS).map(|_| call()).collect();
    times.sort();
    times[ROUNDS / 2]
}

fn timed<T>(call: impl FnOnce() -> T) -> Duration {
    let begun = Instant::now();
    black_box(call());
    begun.elapsed()
}

/// One more sealed segment, and all the background does for it.
fn roll(log: &Log) {
    let sealed = log.stats().segments_sealed;
    log.append(b"a record").unwrap();
    log.roll().unwrap();
    loop {
        let stats = log.stats();
        if stats.segments_sealed > sealed && stats.segments_ready > 0 {
            return;
        }
        std::thread::yield_now();
    }
}

/// What no manifest can do without.
fn replace(dir: &Path, bytes: &[u8]) {
    let (new, name) = (dir.join("floor.new"), dir.join("floor"));
    let mut file = File::create(&new).unwrap();
    file.write_all(bytes).unwrap();
    file.sync_data().unwrap();
    fs::rename(&new, &name).unwrap();
    File::open(dir).unwrap().sync_all().unwrap();
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    let named = args.first().filter(|arg| arg.parse::<u64>().is_err());
    let parent = named.map_or(Path::new("/dev/shm"), Path::new);
    let mut counts: Vec<u64> = args.iter().filter_map(|arg| arg.parse().ok()).collect();
    if counts.is_empty() {
        counts = vec![20, 2_000, 20_000];
    }
    let (dir, floor) =
        (tempfile::tempdir_in(parent).unwrap(), tempfile::tempdir_in(parent).unwrap());
    let mut log = options().open(dir.path()).unwrap();
    println!("us, medians of {ROUNDS}; grown: a segment, on average since the line before");
    println!(
        "{:>8} {:>8} {:>8} {:>8} {:>8} {:>8} {:>10} {:>8} {:>8}",
        "segments", "grown", "roll", "floor", "open", "floor", "checkpoint", "stats", "blockers"
    );
    let mut there = 0;
    for count in counts {
        let grown = timed(|| {
            for _ in there..count {
                log.append(b"a record").unwrap();
                log.roll().unwrap();
            }
        });
        let grown = grown / u32::try_from(count - there).unwrap().max(1);
        log.commit().unwrap();
        let rolled = median(|| timed(|| roll(&log)));
        let manifest = fs::read(dir.path().join("MANIFEST")).unwrap();
        let replaced = median(|| timed(|| replace(floor.path(), &manifest)));
        let stats = median(|| timed(|| log.stats()));
        let blockers = median(|| timed(|| log.blockers()));
        let checkpoint = median(|| {
            let oldest = log.replay().next().unwrap().unwrap().lsn();
            let second = log.replay_from(oldest).unwrap().nth(1).unwrap().unwrap().lsn();
            timed(|| log.checkpoint(second).unwrap())
        });
        let opened = median(|| {
            log.close().unwrap();
            let (next, took) = open(dir.path());
            log = next;
            took
        });
        let read = median(|| {
            timed(|| {
                let names = fs::read_dir(dir.path()).unwrap().count();
                (names, fs::read(dir.path().join("MANIFEST")).unwrap())
            })
        });
        let micros = |time: Duration| time.as_secs_f64() * 1e6;
        println!(
            "{count:>8} {:>8.0} {:>8.0} {:>8.0} {:>8.0} {:>8.0} {:>10.0} {:>8.1} {:>8.1}",
            micros(grown),
            micros(rolled),
            micros(replaced),
            micros(opened),
            micros(read),
            micros(checkpoint),
            micros(stats),
            micros(blockers)
        );
        there = count;
    }
}

fn open(dir: &Path) -> (Log, Duration) {
    let begun = Instant::now();
    let log = options().open(dir).unwrap();
    (log, begun.elapsed())
}
