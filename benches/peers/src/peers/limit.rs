//! Limits: programs that do nothing but what a cell cannot be done without, to show how near a log comes to it. No logs:
//! nothing is found again, nothing rolls, nothing is promised.
//!
//! - `limit-written`: records gather in memory; the leader waits until all threads of the run have come, writes once and
//!   syncs; the others yield until it is done. It knows who will come, as no log can. Into blocks written before the clock.
//! - `limit-fresh`: the same into blocks that were only allocated, as those of a log are that grows in bulk.
//! - `nothing`: takes records and drops them: what is left is the run itself, and encoding the events.

use std::cell::Cell;
use std::fs::{File, OpenOptions};
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::floor::frame;
use crate::peer::{Entry, Outcome, Peer};

pub const WRITTEN: Entry = Entry { name: "limit-written", version: "", open: open_written };
pub const FRESH: Entry = Entry { name: "limit-fresh", version: "", open: open_fresh };
pub const NOTHING: Entry = Entry { name: "nothing", version: "", open: open_nothing };

/// Records go round in it.
const SIZE: u64 = 1 << 30;
const FILLED: u64 = 256 << 20;
/// Threads that have ended do not come any more.
const PATIENCE: Duration = Duration::from_millis(1);
const BUFFER: usize = 1 << 20;

#[derive(Default)]
struct Tail {
    buffer: Vec<u8>,
    at: u64,
    appended: u64,
}

struct Limit {
    file: File,
    size: u64,
    tail: Mutex<Tail>,
    /// Held by the leader.
    lead: Mutex<()>,
    durable: AtomicU64,
    /// How many threads there are, and how many of them wait.
    threads: AtomicUsize,
    waiting: AtomicUsize,
}

thread_local! {
    static COUNTED: Cell<bool> = const { Cell::new(false) };
}

fn file(dir: &Path, size: u64) -> Outcome<File> {
    let path = dir.join("limit");
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(path)?;
    // SAFETY: a descriptor of this file.
    let failed = unsafe { libc::posix_fallocate(file.as_raw_fd(), 0, size.cast_signed()) };
    if failed != 0 {
        return Err(std::io::Error::from_raw_os_error(failed).into());
    }
    Ok(file)
}

fn new(file: File, size: u64) -> Box<dyn Peer> {
    let (tail, lead, durable) = Default::default();
    let (threads, waiting) = Default::default();
    Box::new(Limit { file, size, tail, lead, durable, threads, waiting })
}

fn open_written(dir: &Path) -> Outcome<Box<dyn Peer>> {
    let file = file(dir, FILLED)?;
    for at in (0..FILLED).step_by(4096) {
        file.write_all_at(&[0; 4096], at)?;
    }
    file.sync_data()?;
    Ok(new(file, FILLED))
}

fn open_fresh(dir: &Path) -> Outcome<Box<dyn Peer>> {
    let file = file(dir, SIZE)?;
    file.sync_all()?;
    Ok(new(file, SIZE))
}

fn open_nothing(_: &Path) -> Outcome<Box<dyn Peer>> {
    Ok(Box::new(Nothing))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Limit {
    fn write(&self, tail: &mut Tail) -> Outcome<()> {
        if tail.at + tail.buffer.len() as u64 > self.size {
            tail.at = 0;
        }
        self.file.write_all_at(&tail.buffer, tail.at)?;
        tail.at += tail.buffer.len() as u64;
        tail.buffer.clear();
        Ok(())
    }

    fn sync_for_all(&self) -> Outcome<()> {
        let since = Instant::now();
        let all = self.threads.load(Ordering::Relaxed);
        while self.waiting.load(Ordering::Relaxed) < all && since.elapsed() < PATIENCE {
            thread::yield_now();
        }
        let came = self.waiting.swap(0, Ordering::Relaxed);
        if came < all {
            // Some have ended, or only made a beginning.
            self.threads.fetch_min(came.max(1), Ordering::Relaxed);
        }
        let mut tail = lock(&self.tail);
        let appended = tail.appended;
        self.write(&mut tail)?;
        drop(tail);
        self.file.sync_data()?;
        self.durable.store(appended, Ordering::Release);
        Ok(())
    }
}

impl Peer for Limit {
    fn durable(&self, record: &[u8]) -> Outcome<()> {
        self.durable_batch(&[record])
    }

    fn durable_batch(&self, records: &[&[u8]]) -> Outcome<()> {
        if !COUNTED.replace(true) {
            self.threads.fetch_add(1, Ordering::Relaxed);
        }
        let mut tail = lock(&self.tail);
        records.iter().for_each(|record| frame(&mut tail.buffer, record));
        tail.appended += records.len() as u64;
        let need = tail.appended;
        drop(tail);
        self.waiting.fetch_add(1, Ordering::Relaxed);
        while self.durable.load(Ordering::Acquire) < need {
            if let Ok(_lead) = self.lead.try_lock() {
                if self.durable.load(Ordering::Acquire) < need {
                    self.sync_for_all()?;
                }
            } else {
                thread::yield_now();
            }
        }
        Ok(())
    }

    fn buffered(&self, record: &[u8]) -> Outcome<()> {
        let mut tail = lock(&self.tail);
        frame(&mut tail.buffer, record);
        if tail.buffer.len() < BUFFER { Ok(()) } else { self.write(&mut tail) }
    }

    fn sync(&self) -> Outcome<()> {
        self.write(&mut lock(&self.tail))?;
        Ok(self.file.sync_data()?)
    }

    fn give_back(&self) -> Outcome<()> {
        // It goes round.
        Ok(())
    }

    fn replay(&self, _: &mut dyn FnMut(&[u8])) -> Outcome<()> {
        Err("a limit is no log".into())
    }

    fn close(self: Box<Self>) -> Outcome<()> {
        Ok(())
    }
}

struct Nothing;

impl Peer for Nothing {
    fn durable(&self, _: &[u8]) -> Outcome<()> {
        Ok(())
    }

    fn durable_batch(&self, _: &[&[u8]]) -> Outcome<()> {
        Ok(())
    }

    fn buffered(&self, record: &[u8]) -> Outcome<()> {
        std::hint::black_box(record);
        Ok(())
    }

    fn sync(&self) -> Outcome<()> {
        Ok(())
    }

    fn replay(&self, _: &mut dyn FnMut(&[u8])) -> Outcome<()> {
        Err("nothing is no log".into())
    }

    fn close(self: Box<Self>) -> Outcome<()> {
        Ok(())
    }
}
