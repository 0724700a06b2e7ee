//! The figures that the README reports, each beside its floor measured in the same run: `cargo bench --bench
//! figures`. Rounds are interleaved; medians are printed. `DURALOG_BENCH_DIR` says on which disk.

#![allow(clippy::unwrap_used, clippy::cast_precision_loss, reason = "a program to be watched")]

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use duralog::{Log, Options};

const ROUNDS: usize = 5;
const RUN: Duration = Duration::from_millis(700);
const RECORD: [u8; 100] = [7; 100];

fn root() -> PathBuf {
    std::env::var_os("DURALOG_BENCH_DIR").map_or_else(std::env::temp_dir, PathBuf::from)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}

/// Bytes that this process has had written to the disk.
fn written() -> u64 {
    let io = std::fs::read_to_string("/proc/self/io").unwrap_or_default();
    let line = io.lines().find_map(|line| line.strip_prefix("write_bytes: "));
    line.and_then(|bytes| bytes.parse().ok()).unwrap_or(0)
}

fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|kb| kb.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0)
}

/// The floor: a store of 112 bytes into written space and fdatasync, one thread.
fn bare_loop() -> f64 {
    let file = tempfile::tempfile_in(root()).unwrap();
    for at in (0..16u64 << 20).step_by(4096) {
        file.write_all_at(&[0; 4096], at).unwrap();
    }
    sync(&file);
    let (start, mut n) = (Instant::now(), 0u64);
    while start.elapsed() < RUN {
        file.write_all_at(&[7; 112], n * 112 % (16 << 20)).unwrap();
        sync(&file);
        n += 1;
    }
    n as f64 / start.elapsed().as_secs_f64()
}

#[allow(clippy::disallowed_methods, reason = "the floor is what the log stands on")]
fn sync(file: &File) {
    file.sync_data().unwrap();
}

/// Durable appends a second, and KiB written for each sync.
fn durable(threads: usize) -> (f64, f64) {
    let dir = tempfile::tempdir_in(root()).unwrap();
    let log = Log::open(dir.path()).unwrap();
    log.append_durable(&RECORD).unwrap();
    while log.stats().segments_ready == 0 {
        std::thread::sleep(Duration::from_millis(5));
    }
    let (before, syncs, start) = (written(), log.stats().syncs, Instant::now());
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while start.elapsed() < RUN {
                    log.append_durable(&RECORD).unwrap();
                }
            });
        }
    });
    let seconds = start.elapsed().as_secs_f64();
    let stats = log.stats();
    let kib = (written() - before) as f64 / 1024.0 / (stats.syncs - syncs) as f64;
    ((stats.appends - 1) as f64 / seconds, kib)
}

fn buffered() -> f64 {
    let dir = tempfile::tempdir_in(root()).unwrap();
    let log = Options::new().segment_size(256 << 20).open(dir.path()).unwrap();
    while log.stats().segments_ready == 0 {
        std::thread::sleep(Duration::from_millis(5));
    }
    let (start, n) = (Instant::now(), 1_000_000);
    for _ in 0..n {
        log.append(&RECORD).unwrap();
    }
    f64::from(n) / start.elapsed().as_secs_f64()
}

fn replay(dir: &Path) -> f64 {
    let start = Instant::now();
    let log = Log::open(dir).unwrap();
    let n = log
        .replay()
        .map(|record| record.unwrap().payload().len())
        .filter(|len| *len == 100)
        .count();
    let rate = n as f64 / start.elapsed().as_secs_f64();
    log.close().unwrap();
    rate
}

fn open_of_a_gibibyte(clean: bool) -> f64 {
    let dir = tempfile::tempdir_in(root()).unwrap();
    let log = Log::open(dir.path()).unwrap();
    let record = vec![7; 16 << 10];
    for _ in 0..(1 << 30) / record.len() {
        log.append(&record).unwrap();
    }
    log.commit().unwrap();
    if clean {
        log.close().unwrap();
    }
    drop(log);
    let start = Instant::now();
    let log = Log::open(dir.path()).unwrap();
    let seconds = start.elapsed().as_secs_f64();
    drop(log);
    seconds * 1000.0
}

fn main() {
    // `cargo bench` says so; a test of the benches only shows that it starts.
    if !std::env::args().any(|arg| arg == "--bench") {
        return;
    }
    let dir = tempfile::tempdir_in(root()).unwrap();
    let log = Log::open(dir.path()).unwrap();
    for _ in 0..1_000_000 {
        log.append(&RECORD).unwrap();
    }
    log.close().unwrap();
    let mut results: Vec<[f64; 7]> = Vec::new();
    for _ in 0..ROUNDS {
        let bare = bare_loop();
        let (one, kib) = durable(1);
        let (eight, _) = durable(8);
        let (many, _) = durable(64);
        results.push([bare, one, eight, many, kib, buffered(), replay(dir.path())]);
    }
    let column = |i: usize| median(results.iter().filter_map(|row| row.get(i)).copied().collect());
    let bare = column(0);
    println!("bare store + fdatasync, 1 thread    {bare:>12.0} /s");
    for (name, i) in
        [("durable, 1 thread, 100 B", 1), ("durable, 8 threads", 2), ("durable, 64 threads", 3)]
    {
        println!("{name:<35} {:>12.0} /s  {:>6.2} x bare", column(i), column(i) / bare);
    }
    println!("written to the disk a commit        {:>12.1} KiB", column(4));
    println!("buffered append of 100 B            {:>12.0} /s", column(5));
    println!("replay of 1M x 100 B, open included {:>12.0} /s", column(6));
    println!(
        "open 1 GiB after a clean close      {:>12.1} ms",
        median((0..3).map(|_| open_of_a_gibibyte(true)).collect())
    );
    println!(
        "open 1 GiB after a drop             {:>12.1} ms",
        median((0..3).map(|_| open_of_a_gibibyte(false)).collect())
    );
    println!("peak memory, mapped pages included  {:>12.0} MiB", resident() as f64 / 1024.0);
}
