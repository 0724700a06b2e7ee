//! One run: one peer, one cell, in a process of its own.

use std::path::Path;
use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use crate::cell::{BATCH, Cell, Work};
use crate::peer::{Entry, Outcome, Peer};
use crate::system::{Counters, memory};

/// One line of the results.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Run {
    pub peer: String,
    pub version: String,
    pub cell: String,
    pub round: usize,
    /// Why there is no figure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Records a second; of the cells that open, milliseconds.
    pub figure: f64,
    pub records: u64,
    pub seconds: f64,
    /// Calls a second apart: percentiles in microseconds. Of buffered records every 64th is timed.
    pub p50: f64,
    pub p99: f64,
    pub p999: f64,
    pub max: f64,
    /// KiB that the process dirtied, that the disk wrote, and flushes of the disk, for each call.
    pub process_kib: f64,
    pub disk_kib: f64,
    pub flushes: f64,
    /// MiB: peak with mapped files, private at the end.
    pub peak_mib: f64,
    pub private_mib: f64,
}

/// Random bytes, of which records are slices: nothing compresses them, no two are alike.
struct Payloads(Vec<u8>);

impl Payloads {
    const LEN: usize = 4 << 20;

    fn new() -> Payloads {
        let mut state = 0x9E37_79B9_7F4A_7C15u64;
        let words = std::iter::repeat_with(|| {
            // xorshift64*, Vigna 2016.
            state ^= state >> 12;
            state ^= state << 25;
            state ^= state >> 27;
            state.wrapping_mul(0x2545_F491_4F6C_DD1D).to_le_bytes()
        });
        Payloads(words.take(Payloads::LEN / 8).flatten().collect())
    }

    fn get(&self, thread: usize, n: usize, size: usize) -> &[u8] {
        let at = (thread * 65_537 + n * (size + 8)) % (Payloads::LEN - size);
        &self.0[at..at + size]
    }
}

struct Timed {
    calls: u64,
    latency: Histogram<u64>,
}

impl Timed {
    fn new() -> Timed {
        // To a minute in nanoseconds, three digits.
        let latency = Histogram::new_with_bounds(1, 60_000_000_000, 3);
        Timed { calls: 0, latency: latency.unwrap_or_else(|e| panic!("constant bounds: {e}")) }
    }

    fn note(&mut self, start: Instant) {
        self.latency.saturating_record(start.elapsed().as_nanos() as u64);
    }
}

/// Fills a log for the cells that read one. Does not return if the cell wants the process to be killed.
pub fn prepare(entry: Entry, cell: Cell, dir: &Path) -> Outcome<()> {
    let (payloads, log) = (Payloads::new(), (entry.open)(dir)?);
    for n in 0..cell.records().unwrap_or(0) {
        log.buffered(payloads.get(0, n, cell.size))?;
    }
    log.sync()?;
    if cell.work == Work::OpenKilled {
        // A second in which it rests, as it may at any time: what it does in the background is done.
        std::thread::sleep(Duration::from_secs(1));
        // SAFETY: a signal to oneself.
        unsafe { libc::kill(libc::getpid(), libc::SIGKILL) };
    }
    log.close()
}

/// Runs the cell once in `dir`, for `time` if it is a cell that runs for a time.
pub fn run(entry: Entry, cell: Cell, dir: &Path, time: Duration) -> Outcome<Run> {
    let mut run = match cell.work {
        Work::Durable | Work::Recycled | Work::Batch | Work::Buffered | Work::Events => {
            append(entry, cell, dir, time)?
        }
        Work::Replay => replay(entry, cell, dir)?,
        Work::OpenClean | Work::OpenKilled => open(entry, cell, dir)?,
    };
    if run.peak_mib == 0.0 {
        (run.peak_mib, run.private_mib) = memory();
    }
    Ok(run)
}

/// Between two times that a log is given back.
const GIVEN_BACK: usize = 64 << 20;
/// So much goes through a log that has been in use for long before the clock starts: several of the largest files that a
/// peer makes.
const USED: usize = 512 << 20;

fn use_for_long(log: &dyn Peer, payloads: &Payloads, size: usize) -> Outcome<()> {
    for _ in 0..USED / GIVEN_BACK {
        for n in 0..GIVEN_BACK / size {
            log.buffered(payloads.get(0, n, size))?;
        }
        log.sync()?;
        log.give_back()?;
    }
    Ok(())
}

fn append(entry: Entry, cell: Cell, dir: &Path, time: Duration) -> Outcome<Run> {
    let (payloads, log) = (Payloads::new(), (entry.open)(dir)?);
    // The first record, and a moment in which a log may make things ready: they are not what is measured.
    log.durable(payloads.get(0, 0, cell.size.max(8)))?;
    if cell.work == Work::Recycled {
        use_for_long(&*log, &payloads, cell.size)?;
    }
    std::thread::sleep(Duration::from_millis(500));

    let appended = &AtomicUsize::new(0);
    let barrier = Barrier::new(cell.threads + 1);
    let share = cell.records().map(|records| records.div_ceil(cell.threads));
    let (log, payloads, barrier) = (&*log, &payloads, &barrier);
    let (elapsed, counters, timed) = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..cell.threads)
            .map(|thread| {
                scope.spawn(move || -> Outcome<Timed> {
                    barrier.wait();
                    match (cell.work, share) {
                        (Work::Events, Some(share)) => events(log, thread, share),
                        (_, Some(share)) => buffered(log, payloads, thread, share, cell.size),
                        (_, None) => durable(log, payloads, thread, cell, appended, time),
                    }
                })
            })
            .collect();
        let (before, start) = (Counters::now(dir), Instant::now());
        barrier.wait();
        let timed: Vec<Outcome<Timed>> = threads
            .into_iter()
            .map(|t| t.join().unwrap_or_else(|_| Err("panicked".into())))
            .collect();
        if share.is_some() {
            log.sync()?;
        }
        let elapsed = start.elapsed();
        let timed: Outcome<Vec<Timed>> = timed.into_iter().collect();
        timed.map(|timed| (elapsed, Counters::now(dir).since(before), timed))
    })?;
    let calls: u64 = timed.iter().map(|timed| timed.calls).sum();
    let mut latency = Timed::new().latency;
    timed.iter().try_for_each(|timed| latency.add(&timed.latency))?;
    let records = if cell.work == Work::Batch { calls * BATCH as u64 } else { calls };
    let at = |q: f64| latency.value_at_quantile(q) as f64 / 1000.0;
    Ok(Run {
        figure: records as f64 / elapsed.as_secs_f64(),
        records,
        seconds: elapsed.as_secs_f64(),
        p50: at(0.5),
        p99: at(0.99),
        p999: at(0.999),
        max: latency.max() as f64 / 1000.0,
        process_kib: counters.process_kib / calls as f64,
        disk_kib: counters.disk_kib / calls as f64,
        flushes: counters.flushes / calls as f64,
        ..Run::default()
    })
}

fn durable(
    log: &dyn Peer,
    payloads: &Payloads,
    thread: usize,
    cell: Cell,
    appended: &AtomicUsize,
    time: Duration,
) -> Outcome<Timed> {
    let (mut timed, start) = (Timed::new(), Instant::now());
    let size = cell.size;
    while start.elapsed() < time {
        let n = usize::try_from(timed.calls)?;
        if cell.work == Work::Batch {
            let records: Vec<&[u8]> =
                (0..BATCH).map(|i| payloads.get(thread, n * BATCH + i, size)).collect();
            let call = Instant::now();
            log.durable_batch(&records)?;
            timed.note(call);
        } else {
            let call = Instant::now();
            log.durable(payloads.get(thread, n, size))?;
            timed.note(call);
        }
        if cell.work == Work::Recycled {
            let before = appended.fetch_add(size, Ordering::Relaxed);
            if before / GIVEN_BACK < (before + size) / GIVEN_BACK {
                log.give_back()?;
            }
        }
        timed.calls += 1;
    }
    Ok(timed)
}

fn buffered(
    log: &dyn Peer,
    payloads: &Payloads,
    thread: usize,
    share: usize,
    size: usize,
) -> Outcome<Timed> {
    let mut timed = Timed::new();
    for n in 0..share {
        let record = payloads.get(thread, n, size);
        if n % 64 == 0 {
            let call = Instant::now();
            log.buffered(record)?;
            timed.note(call);
        } else {
            log.buffered(record)?;
        }
        timed.calls += 1;
    }
    Ok(timed)
}

/// What the library that duralog grew from logs: a small event, here encoded anew each time.
#[derive(Serialize)]
struct Event<'a> {
    id: usize,
    thread: usize,
    kind: &'a str,
    amount: u32,
    user: &'a str,
}

fn events(log: &dyn Peer, thread: usize, share: usize) -> Outcome<Timed> {
    let (mut timed, mut json) = (Timed::new(), Vec::with_capacity(256));
    for id in 0..share {
        let event =
            Event { id, thread, kind: "order_paid", amount: id as u32 % 10_000, user: "u-4711" };
        json.clear();
        serde_json::to_writer(&mut json, &event)?;
        if id % 64 == 0 {
            let call = Instant::now();
            log.buffered(&json)?;
            timed.note(call);
        } else {
            log.buffered(&json)?;
        }
        timed.calls += 1;
    }
    Ok(timed)
}

fn replay(entry: Entry, cell: Cell, dir: &Path) -> Outcome<Run> {
    let start = Instant::now();
    let log = (entry.open)(dir)?;
    let (mut records, mut bytes) = (0u64, 0usize);
    log.replay(&mut |payload| {
        records += 1;
        bytes += payload.len();
    })?;
    let seconds = start.elapsed().as_secs_f64();
    let whole = cell.records().unwrap_or(0);
    if records != whole as u64 || bytes != whole * cell.size {
        return Err(format!("gave {records} records back, {bytes} bytes").into());
    }
    log.close()?;
    Ok(Run { figure: records as f64 / seconds, records, seconds, ..Run::default() })
}

fn open(entry: Entry, cell: Cell, dir: &Path) -> Outcome<Run> {
    let before = Counters::now(dir);
    let start = Instant::now();
    let log = (entry.open)(dir)?;
    let seconds = start.elapsed().as_secs_f64();
    let counters = Counters::now(dir).since(before);
    let memory = memory();
    // Not part of what is timed: an open that is quick because it lost something does not count.
    let mut records = 0;
    log.replay(&mut |_| records += 1)?;
    if Some(records) != cell.records() {
        return Err(format!("gave {records} records back").into());
    }
    log.close()?;
    Ok(Run {
        peak_mib: memory.0,
        private_mib: memory.1,
        figure: seconds * 1000.0,
        records: 1,
        seconds,
        process_kib: counters.process_kib,
        disk_kib: counters.disk_kib,
        flushes: counters.flushes,
        ..Run::default()
    })
}
