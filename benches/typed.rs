//! What a type costs: `TypedLog` beside a `Log` of the same bytes, and beside its codec alone; then what an append takes
//! in a log that syncs in the background. Each round runs all cases in turn; medians of the rounds. Of the first, the
//! CPU time of the thread is taken: what else runs on the machine is no part of it.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a benchmark")]

use std::hint::black_box;
use std::time::{Duration, Instant};

use duralog::{Bincode, Codec, Json, Log, Options, TypedLog};
use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

const VALUES: u64 = 200_000;
const ROUNDS: usize = 7;
const THREADS: usize = 8;
const FLOOD: Duration = Duration::from_secs(2);

#[derive(Serialize, Deserialize, Debug, PartialEq)]
struct PageView {
    user: u64,
    page: String,
    referrer: Option<String>,
    millis: u32,
}

impl PageView {
    fn new(seq: u64) -> Self {
        let referrer = (seq % 2 == 0).then(|| "https://example.org/start".into());
        PageView { user: 1_000_000 + seq, page: format!("/articles/{seq}"), referrer, millis: 250 }
    }
}

/// What the thread has run. The kernel brings it up to date at each tick, so runs should take many.
fn cpu_nanos() -> f64 {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    stat.split(' ').next().unwrap().parse().unwrap()
}

/// Nanoseconds a value of each: codec, raw append, typed append, codec's decode, raw replay, typed replay.
fn round<C: Codec<PageView> + Default>(values: &[PageView]) -> [f64; 6] {
    let codec = C::default();
    let each = |start: f64| (cpu_nanos() - start) / VALUES as f64;
    let encode = |value, out: &mut Vec<u8>| {
        out.clear();
        out.push(0);
        codec.encode(value, out).unwrap();
    };

    let mut out = Vec::new();
    let start = cpu_nanos();
    for value in values {
        encode(value, &mut out);
        black_box(&out);
    }
    let encoding = each(start);

    let payloads: Vec<Vec<u8>> = values
        .iter()
        .map(|value| {
            encode(value, &mut out);
            out.clone()
        })
        .collect();
    let start = cpu_nanos();
    for payload in &payloads {
        let _value: PageView = black_box(codec.decode(0, &payload[1..]).unwrap());
    }
    let decoding = each(start);

    let dir = tempfile::tempdir().unwrap();
    let raw = Log::open(dir.path()).unwrap();
    let start = cpu_nanos();
    for payload in &payloads {
        raw.append(payload).unwrap();
    }
    let raw_append = each(start);
    raw.close().unwrap();

    let dir = tempfile::tempdir().unwrap();
    let typed = TypedLog::new(Log::open(dir.path()).unwrap(), codec);
    let start = cpu_nanos();
    for value in values {
        typed.append(value).unwrap();
    }
    let typed_append = each(start);

    let start = cpu_nanos();
    let mut replay = typed.log().replay();
    while let Some((_lsn, payload)) = replay.next_payload().unwrap() {
        black_box(payload);
    }
    let raw_replay = each(start);
    let start = cpu_nanos();
    for found in &typed {
        black_box(found.unwrap());
    }
    let typed_replay = each(start);
    drop(replay);
    typed.close().unwrap();
    [encoding, raw_append, typed_append, decoding, raw_replay, typed_replay]
}

fn median(of: &mut [f64]) -> f64 {
    of.sort_by(f64::total_cmp);
    of[of.len() / 2]
}

/// Appends of 100 bytes from eight threads at once, with a pause of each thread between two.
fn background(pause: Duration, segment: u64) -> (Histogram<u64>, u64) {
    let dir = tempfile::tempdir().unwrap();
    let options = Options::new().segment_size(segment).in_background(Duration::from_secs(1));
    let log = options.open(dir.path()).unwrap();
    let threads: Vec<Histogram<u64>> = std::thread::scope(|scope| {
        let run = || {
            let mut taken = Histogram::new(3).unwrap();
            let begun = Instant::now();
            while begun.elapsed() < FLOOD {
                if !pause.is_zero() {
                    std::thread::sleep(pause);
                }
                let start = Instant::now();
                log.append(&[b'x'; 100]).unwrap();
                taken.record(u64::try_from(start.elapsed().as_nanos()).unwrap()).unwrap();
            }
            taken
        };
        let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(run)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let mut all = Histogram::new(3).unwrap();
    threads.iter().for_each(|one| all.add(one).unwrap());
    let segments = log.end().get() / segment;
    log.close().unwrap();
    (all, segments)
}

fn main() {
    let values: Vec<PageView> = (0..VALUES).map(PageView::new).collect();
    let mut found: [[Vec<f64>; 6]; 2] = Default::default();
    for _ in 0..ROUNDS {
        for (at, round) in [round::<Bincode>(&values), round::<Json>(&values)].iter().enumerate() {
            for (all, one) in found[at].iter_mut().zip(round) {
                all.push(*one);
            }
        }
    }
    println!("ns a value           codec  raw append  typed  ratio    decode  raw replay  typed");
    for (name, found) in ["bincode", "json"].iter().zip(&mut found) {
        let [encoding, raw, typed, decoding, raw_replay, typed_replay] =
            found.each_mut().map(|all| median(all));
        let ratio = typed / (raw + encoding);
        println!(
            "{name:<18} {encoding:>7.0} {raw:>11.0} {typed:>6.0} {ratio:>6.2} {decoding:>9.0} \
             {raw_replay:>11.1} {typed_replay:>6.0}"
        );
    }
    println!("(ratio: a typed append to codec and raw append one after the other)\n");
    println!("append of 100 bytes from {THREADS} threads, synced in the background:");
    for (pause, segment) in [(0, 64 << 20), (0, 256 << 20), (1000, 64 << 20)] {
        let (taken, segments) = background(Duration::from_micros(pause), segment);
        let [p50, p99, p999] = [50.0, 99.0, 99.9].map(|p| taken.value_at_percentile(p));
        let slow = taken.len() - taken.count_between(0, 1_000_000);
        println!(
            "  pause {pause:>4} us, segments of {:>3} MiB: {:>8} appends, {segments:>2} segments; p50 {p50} ns, p99 \
             {p99}, p99.9 {p999}, max {} us; over 1 ms: {slow}",
            segment >> 20,
            taken.len(),
            taken.max() / 1000,
        );
    }
}
