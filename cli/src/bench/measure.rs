//! One run of one cell.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use duralog::{Log, Options};
use hdrhistogram::Histogram;

use super::busy::cpu;
use super::words::float;

/// Written over and over by the bare loop.
pub(crate) const BARE_FILE: u64 = 64 << 20;
const PAGE: usize = 4096;
/// A disk that makes no segment in that time is measured as it is.
const READY_WITHIN: Duration = Duration::from_secs(20);

/// How and where each cell is run.
pub(crate) struct Bench<'a> {
    pub(crate) dir: &'a Path,
    pub(crate) options: Options,
    pub(crate) run: Duration,
    pub(crate) buffered_bytes: u64,
    pub(crate) stop: &'a AtomicBool,
    pub(crate) payloads: Payloads,
}

/// Commits of one run.
pub(crate) struct Sample {
    pub(crate) seconds: f64,
    /// In nanoseconds; as many as there were commits.
    pub(crate) latency: Histogram<u64>,
    pub(crate) records_per_sync: f64,
    pub(crate) written_kib_per_sync: Option<f64>,
    pub(crate) cpu_seconds: f64,
}

/// One run of appends, one commit, and a walk; in seconds since the first append.
pub(crate) struct BulkSample {
    pub(crate) records: u64,
    pub(crate) appended: f64,
    pub(crate) committed: f64,
    pub(crate) replayed_records: u64,
    /// Of the walk alone.
    pub(crate) replayed: f64,
}

impl Bench<'_> {
    /// A file whose blocks are written, page by page: the cache then has it in pages, and a small write dirties only one.
    pub(crate) fn bare_file(&self) -> Result<File> {
        let file = tempfile::tempfile_in(self.dir).context("a file for the bare loop")?;
        for at in (0..BARE_FILE).step_by(PAGE) {
            file.write_all_at(&[0; PAGE], at).context("fill a file for the bare loop")?;
        }
        sync(&file)?;
        Ok(file)
    }

    /// The least that a durable append can be: a write of as many bytes as the record takes in a log, and a sync.
    pub(crate) fn bare_loop(&self, file: &File, size: usize) -> Result<Sample> {
        let len = frame_len(size);
        let (mut latency, mut at) = (histogram()?, 0);
        let before = Before::now(0);
        let mut began = before.start;
        while self.goes_on(began, before.start) {
            at = if at + as_u64(len) > BARE_FILE { 0 } else { at };
            file.write_all_at(self.payloads.get(latency.len(), len), at)?;
            sync(file)?;
            at += as_u64(len);
            began = note(&mut latency, began);
        }
        let syncs = latency.len();
        Ok(before.sample(latency, syncs))
    }

    pub(crate) fn durable(&self, threads: u32, size: usize) -> Result<Sample> {
        let dir = tempfile::tempdir_in(self.dir)?;
        let log = self.open(dir.path())?;
        log.append_durable(self.payloads.get(0, size))?;
        let before = Before::now(log.stats().syncs);
        let start = before.start;
        let committer = |n: u32| -> Result<Histogram<u64>> {
            let (mut latency, mut began) = (histogram()?, Instant::now());
            while self.goes_on(began, start) {
                let payload = self.payloads.get(u64::from(n) + latency.len(), size);
                log.append_durable(payload)?;
                began = note(&mut latency, began);
            }
            Ok(latency)
        };
        let latency = std::thread::scope(|scope| {
            let committer = &committer;
            let threads: Vec<_> = (0..threads).map(|n| scope.spawn(move || committer(n))).collect();
            let mut all = histogram()?;
            for thread in threads {
                all += thread.join().map_err(|_| anyhow!("a committing thread panicked"))??;
            }
            Ok::<_, anyhow::Error>(all)
        })?;
        let sample = before.sample(latency, log.stats().syncs);
        log.close()?;
        Ok(sample)
    }

    pub(crate) fn bulk(&self, size: usize) -> Result<BulkSample> {
        // How many appends between two looks at the clock, which cost as much as an append of few bytes.
        const LOOK: u64 = 64;
        let dir = tempfile::tempdir_in(self.dir)?;
        let log = self.open(dir.path())?;
        let most = (self.buffered_bytes / as_u64(size)).max(1);
        let (start, mut records) = (Instant::now(), 0);
        while records < most && (records % LOOK != 0 || self.goes_on(Instant::now(), start)) {
            log.append(self.payloads.get(records, size))?;
            records += 1;
        }
        let appended = start.elapsed();
        log.commit()?;
        let committed = start.elapsed();
        let walk = Instant::now();
        let (mut replay, mut replayed_records) = (log.replay(), 0);
        while replay.next_payload()?.is_some() {
            replayed_records += 1;
        }
        let replayed = walk.elapsed();
        drop(replay);
        log.close()?;
        let [appended, committed, replayed] =
            [appended, committed, replayed].map(|time| time.as_secs_f64());
        Ok(BulkSample { records, appended, committed, replayed_records, replayed })
    }

    /// A log with a segment ready behind the active one: to make the first ones is no part of what is measured.
    fn open(&self, dir: &Path) -> Result<Log> {
        let log = self.options.clone().open(dir)?;
        let start = Instant::now();
        while log.stats().segments_ready == 0
            && start.elapsed() < READY_WITHIN
            && !self.stop.load(Ordering::Relaxed)
        {
            std::thread::sleep(Duration::from_millis(2));
        }
        Ok(log)
    }

    fn goes_on(&self, now: Instant, start: Instant) -> bool {
        now.duration_since(start) < self.run && !self.stop.load(Ordering::Relaxed)
    }
}

/// FORMAT.md: a header of 8 bytes, and a multiple of 8.
fn frame_len(size: usize) -> usize {
    8 + size.next_multiple_of(8)
}

fn as_u64(len: usize) -> u64 {
    u64::try_from(len).unwrap_or(u64::MAX)
}

#[expect(clippy::disallowed_methods, reason = "the floor is what the log stands on")]
fn sync(file: &File) -> Result<()> {
    file.sync_data().context("fdatasync")
}

/// To a minute in nanoseconds, two digits: small enough that 64 of them leave the caches alone.
fn histogram() -> Result<Histogram<u64>> {
    Histogram::new_with_bounds(1, 60_000_000_000, 2).context("a histogram")
}

/// What began at `began` ends now, and the next begins.
fn note(latency: &mut Histogram<u64>, began: Instant) -> Instant {
    let now = Instant::now();
    let nanos = u64::try_from(now.duration_since(began).as_nanos()).unwrap_or(u64::MAX);
    latency.saturating_record(nanos);
    now
}

/// Counters at the start of a run.
struct Before {
    written: Option<u64>,
    syncs: u64,
    cpu: Duration,
    start: Instant,
}

impl Before {
    fn now(syncs: u64) -> Before {
        Before { written: written(), syncs, cpu: cpu(), start: Instant::now() }
    }

    fn sample(&self, latency: Histogram<u64>, syncs: u64) -> Sample {
        let seconds = self.start.elapsed().as_secs_f64();
        let cpu_seconds = cpu().saturating_sub(self.cpu).as_secs_f64();
        let syncs = float(syncs - self.syncs).max(1.0);
        let written = written().zip(self.written).map(|(now, before)| now.saturating_sub(before));
        Sample {
            seconds,
            records_per_sync: float(latency.len()) / syncs,
            written_kib_per_sync: written
                .filter(|bytes| *bytes > 0)
                .map(|b| float(b) / 1024.0 / syncs),
            latency,
            cpu_seconds,
        }
    }
}

/// Bytes that this process has had written to a disk.
fn written() -> Option<u64> {
    let io = std::fs::read_to_string("/proc/self/io").ok()?;
    io.lines().find_map(|line| line.strip_prefix("write_bytes: "))?.parse().ok()
}

/// Random bytes, of which records are slices: nothing compresses them.
pub(crate) struct Payloads(Vec<u8>);

impl Payloads {
    /// So many places at which records begin; small enough to stay in a cache.
    const PLACES: usize = 256 << 10;

    pub(crate) fn up_to(size: usize) -> Payloads {
        let mut bytes = vec![0; Payloads::PLACES + frame_len(size)];
        fastrand::Rng::with_seed(7).fill(&mut bytes);
        Payloads(bytes)
    }

    fn get(&self, n: u64, len: usize) -> &[u8] {
        let stride = n.wrapping_mul(as_u64(len) | 1);
        let at = usize::try_from(stride % as_u64(Payloads::PLACES)).unwrap_or(0);
        self.0.get(at..at + len).unwrap_or(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_as_long_as_the_log_makes_it() {
        for size in [1, 7, 8, 9, 100, 1024] {
            let dir = tempfile::tempdir().unwrap();
            let log = Options::new().segment_size(64 << 10).open(dir.path()).unwrap();
            let payload = vec![1; size];
            let (first, second) = (log.append(&payload).unwrap(), log.append(&payload).unwrap());
            assert_eq!(second.get() - first.get(), as_u64(frame_len(size)), "{size}");
        }
    }

    #[test]
    fn every_payload_has_its_length() {
        let payloads = Payloads::up_to(1000);
        for n in [0, 1, 1_000_000, u64::MAX] {
            assert_eq!(payloads.get(n, 1000).len(), 1000);
            assert_eq!(payloads.get(n, 1).len(), 1);
        }
        assert_ne!(payloads.get(0, 100), payloads.get(1, 100));
    }
}
