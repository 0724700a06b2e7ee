//! walrus-rust: one topic, for one order, and one lock, since a batch makes other writers fail. What must be durable is
//! a batch, also of one: `SyncEach` syncs twice for a record. A buffered run is `append_for_topic`, which cannot be
//! waited for, so the last record is held back: `sync` makes it a batch of one, which syncs the whole file. The mapped
//! backend was faster here than its default of `pwrite` and io_uring.
//!
//! It syncs: a batch returns after `msync` of the file (storage.rs:94), and a full block is synced when it is left.

use std::env;
use std::mem;
use std::path::Path;
use std::sync::{Mutex, MutexGuard};

use walrus_rust::{ReadConsistency, Walrus, disable_fd_backend};

use crate::peer::{Entry, Outcome, Peer};

pub const ENTRY: Entry = Entry { name: "walrus-rust", version: "0.2.0", open };
/// With the backend that it has by default, and the mapped one: beside faults.
pub const BY_DEFAULT: Entry =
    Entry { name: "walrus-rust", version: "0.2.0", open: open_by_default };
pub const MAPPED: Entry = Entry { name: "walrus-rust-mmap", version: "0.2.0", open };

const TOPIC: &str = "log";
/// Records that a batch takes.
const BATCH: usize = 2000;
/// Bytes to read at a time, about as many as it gives small records at a time.
const READ: usize = 512 << 10;

struct Log {
    wal: Walrus,
    last: Option<Vec<u8>>,
    /// Nothing was appended or read since it was opened.
    fresh: bool,
}

fn open(dir: &Path) -> Outcome<Box<dyn Peer>> {
    disable_fd_backend();
    open_by_default(dir)
}

fn open_by_default(dir: &Path) -> Outcome<Box<dyn Peer>> {
    // SAFETY: the run has no other thread yet. Without the second it prints a line for each call.
    unsafe {
        env::set_var("WALRUS_DATA_DIR", dir);
        env::set_var("WALRUS_QUIET", "1");
    }
    // The read cursor is kept in memory alone, so that the next open reads from the start again.
    let wal = Walrus::with_consistency(ReadConsistency::AtLeastOnce { persist_every: u32::MAX })?;
    Ok(Box::new(Mutex::new(Log { wal, last: None, fresh: true })))
}

impl Log {
    fn sync(&mut self) -> Outcome<()> {
        if let Some(last) = self.last.take() {
            self.wal.batch_append_for_topic(TOPIC, &[&last])?;
        }
        Ok(())
    }
}

fn lock(log: &Mutex<Log>) -> Outcome<MutexGuard<'_, Log>> {
    Ok(log.lock().map_err(|_| "a thread panicked")?)
}

impl Peer for Mutex<Log> {
    fn durable(&self, record: &[u8]) -> Outcome<()> {
        self.durable_batch(&[record])
    }

    fn durable_batch(&self, records: &[&[u8]]) -> Outcome<()> {
        let mut log = lock(self)?;
        log.fresh = false;
        if let Some(last) = log.last.take() {
            log.wal.append_for_topic(TOPIC, &last)?;
        }
        for batch in records.chunks(BATCH) {
            log.wal.batch_append_for_topic(TOPIC, batch)?;
        }
        Ok(())
    }

    fn buffered(&self, record: &[u8]) -> Outcome<()> {
        let mut log = lock(self)?;
        log.fresh = false;
        if let Some(last) = log.last.replace(record.to_vec()) {
            log.wal.append_for_topic(TOPIC, &last)?;
        }
        Ok(())
    }

    fn sync(&self) -> Outcome<()> {
        lock(self)?.sync()
    }

    fn replay(&self, each: &mut dyn FnMut(&[u8])) -> Outcome<()> {
        let mut log = lock(self)?;
        if !mem::take(&mut log.fresh) {
            // There is one cursor, and it leaps over records once a block is being written (walrus_read.rs:497).
            return Err("it can be read from the start once, before it takes more".into());
        }
        loop {
            let entries = log.wal.batch_read_for_topic(TOPIC, READ, true)?;
            if entries.is_empty() {
                return Ok(());
            }
            entries.iter().for_each(|entry| each(&entry.data));
        }
    }

    fn close(self: Box<Self>) -> Outcome<()> {
        lock(&self)?.sync()
    }
}
