//! Readers in another process: `cargo bench --bench reader [-- DIR]`.
//!
//! How long after a commit's return in the writer a follower in another process has the record, with a writer that commits now
//! and then and with one that commits without a pause; how fast a reader in another process replays, beside a replay in the
//! writer's own; what a commit costs.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a benchmark"
)]

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use duralog::{Log, Lsn, Options, Reader};
use hdrhistogram::Histogram;

fn now() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    u64::try_from(since.as_nanos()).unwrap()
}

fn child(args: &[&str]) -> Child {
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(args).stdout(Stdio::piped()).stdin(Stdio::piped()).spawn().unwrap()
}

fn lines(child: &mut Child) -> impl Iterator<Item = String> + use<> {
    BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap)
}

/// When each of `count` records came.
fn follow(dir: &Path, published: bool, count: usize) {
    let reader = Reader::open(dir).unwrap();
    let mut follower = reader.follow(reader.end().unwrap()).unwrap();
    if published {
        follower = follower.published();
    }
    println!("ready");
    let mut came = Vec::with_capacity(count);
    while came.len() < count {
        follower.next_timeout(Duration::from_secs(10)).unwrap().unwrap();
        came.push(now());
    }
    let text: String = came.iter().map(|time| format!("{time}\n")).collect();
    std::io::stdout().write_all(text.as_bytes()).unwrap();
}

fn latency(dir: &Path, name: &str, published: bool, pause: Duration, count: usize) {
    let log = Log::open(dir).unwrap();
    let mode = if published { "published" } else { "durable" };
    let mut follower = child(&["follow", dir.to_str().unwrap(), mode, &count.to_string()]);
    let mut said = lines(&mut follower);
    said.next();
    let mut commits = Histogram::<u64>::new_with_bounds(1, 100_000_000_000, 3).unwrap();
    let mut returned = Vec::with_capacity(count);
    for n in 0..count {
        let payload = [u8::try_from(n % 251).unwrap(); 100];
        let began = Instant::now();
        if published {
            log.append(&payload).unwrap();
        } else {
            log.append_durable(&payload).unwrap();
        }
        returned.push(now());
        commits.saturating_record(u64::try_from(began.elapsed().as_nanos()).unwrap());
        if !pause.is_zero() {
            std::thread::sleep(pause);
        }
    }
    let mut late = Histogram::<u64>::new_with_bounds(1, 100_000_000_000, 3).unwrap();
    let mut early = 0;
    for (came, returned) in said.map(|time| time.parse::<u64>().unwrap()).zip(&returned) {
        early += u32::from(came < *returned);
        late.saturating_record(came.saturating_sub(*returned));
    }
    follower.wait().unwrap();
    let us = |of: &Histogram<u64>, q| Duration::from_nanos(of.value_at_quantile(q));
    println!(
        "{name:32} delivered after {:>9.1?} p50 {:>9.1?} p99; before the return {early} of {count}; call {:?} p50",
        us(&late, 0.5),
        us(&late, 0.99),
        us(&commits, 0.5)
    );
    log.close().unwrap();
}

fn rate(bytes: u64, records: u64, took: Duration) -> String {
    let seconds = took.as_secs_f64();
    #[allow(clippy::cast_precision_loss, reason = "a figure to read")]
    let (mib, million) = (bytes as f64 / 1048576.0 / seconds, records as f64 / 1e6 / seconds);
    format!("{mib:.0} MiB/s, {million:.2} million records/s")
}

/// Replays by a reader, up to `durable`: the search for more behind the end is not what is asked.
fn replay(dir: &Path) {
    let reader = Reader::open(dir).unwrap();
    for _ in 0..4 {
        let (mut bytes, mut records) = (0, 0);
        let began = Instant::now();
        let mut follower = reader.follow(reader.head().unwrap()).unwrap();
        while let Some((_, payload)) = follower.try_next_payload().unwrap() {
            (bytes, records) = (bytes + payload.len() as u64, records + 1);
        }
        println!("{}", rate(bytes, records, began.elapsed()));
    }
}

fn replays(dir: &Path, size: usize) {
    let log = Options::new().open(dir).unwrap();
    for n in 0..(256 << 20) / size {
        log.append(&vec![u8::try_from(n % 251).unwrap(); size]).unwrap();
    }
    log.commit().unwrap();
    for _ in 0..4 {
        let (mut bytes, mut records) = (0, 0);
        let began = Instant::now();
        let mut replay = log.replay();
        while let Some((_, payload)) = replay.next_payload().unwrap() {
            (bytes, records) = (bytes + payload.len() as u64, records + 1);
        }
        println!("replay of {size} B, in the process  {}", rate(bytes, records, began.elapsed()));
    }
    let mut reader = child(&["replay", dir.to_str().unwrap()]);
    for line in lines(&mut reader) {
        println!("replay of {size} B, from another    {line}");
    }
    reader.wait().unwrap();
    log.checkpoint(Lsn::new(log.durable().get())).unwrap();
    log.close().unwrap();
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["follow", dir, mode, count] => {
            return follow(dir.as_ref(), mode == "published", count.parse().unwrap());
        }
        ["replay", dir] => return replay(dir.as_ref()),
        _ => {}
    }
    let inside = args.first().map_or_else(|| PathBuf::from("."), PathBuf::from);
    let dir = tempfile::tempdir_in(inside).unwrap();
    let at = |name: &str| dir.path().join(name);
    latency(&at("1"), "durable, 1 ms apart", false, Duration::from_millis(1), 3000);
    latency(&at("2"), "durable, 20 ms apart", false, Duration::from_millis(20), 300);
    latency(&at("3"), "durable, without a pause", false, Duration::ZERO, 20_000);
    latency(&at("4"), "published, 1 ms apart", true, Duration::from_millis(1), 3000);
    latency(&at("5"), "published, 20 ms apart", true, Duration::from_millis(20), 300);
    replays(&at("6"), 100);
    replays(&at("7"), 1024);
}
