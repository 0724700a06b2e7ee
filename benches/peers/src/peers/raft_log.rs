//! raft-log: `append` and `flush(true, callback)` under a lock, the wait for the callback outside it. Its worker syncs
//! once for all flushes that come within `flush_batch_wait`: its own group commit. The default of 1 ms is slow for one
//! thread, and 0 turns the grouping off (it looks at the time before the queue); 10 us costs little and groups well.
//! It calls `sync_data` on the file before the callback, `sync_all` on the directory for a new file. A batch is one
//! write and one sync, but not atomic. The payloads of the newest file stay in memory: with files of 256 MiB, as in
//! its own bench, and a smaller read buffer it opens faster than by default.

use std::io;
use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use raft_log::api::raft_log_writer::RaftLogWriter;
use raft_log::{Config, RaftLog, Types};

use crate::peer::{Entry, Outcome, Peer};

pub const ENTRY: Entry = Entry { name: "raft-log", version: "0.4.6", open };

/// Buffered records gather in the log's memory up to here before its worker gets them to write.
const BUFFER: usize = 1 << 20;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Records;

impl Types for Records {
    type LogId = u64;
    type LogPayload = Vec<u8>;
    type Vote = u64;
    type Callback = SyncSender<io::Result<()>>;
    type UserData = u64;

    fn log_index(id: &u64) -> u64 {
        *id
    }

    fn payload_size(payload: &Vec<u8>) -> u64 {
        payload.len() as u64
    }
}

struct Writer {
    log: RaftLog<Records>,
    next: u64,
    buffered: usize,
}

fn open(dir: &Path) -> Outcome<Box<dyn Peer>> {
    let mut config = Config::new(dir.display());
    config.wal.chunk_max_size = Some(256 << 20);
    config.wal.read_buffer_size = Some(1 << 20);
    config.log_cache_capacity = Some(256 << 20);
    config.wal.flush_batch_wait = Some(Duration::from_micros(10));
    let log = RaftLog::<Records>::open(Arc::new(config))?;
    let next = Records::next_log_index(log.log_state().last());
    Ok(Box::new(Mutex::new(Writer { log, next, buffered: 0 })))
}

fn lock(writer: &Mutex<Writer>) -> MutexGuard<'_, Writer> {
    writer.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Writer {
    fn append(&mut self, record: &[u8]) -> Outcome<()> {
        self.log.append([(self.next, record.to_vec())])?;
        self.next += 1;
        Ok(())
    }

    /// What it returns hears from the worker when all that was appended is synced.
    fn flush(&mut self) -> Outcome<Receiver<io::Result<()>>> {
        let (done, synced) = sync_channel(1);
        self.buffered = 0;
        self.log.flush(true, Some(done))?;
        Ok(synced)
    }
}

impl Peer for Mutex<Writer> {
    fn durable(&self, record: &[u8]) -> Outcome<()> {
        self.durable_batch(&[record])
    }

    fn durable_batch(&self, records: &[&[u8]]) -> Outcome<()> {
        let mut writer = lock(self);
        records.iter().try_for_each(|record| writer.append(record))?;
        let synced = writer.flush()?;
        drop(writer);
        Ok(synced.recv()??)
    }

    fn buffered(&self, record: &[u8]) -> Outcome<()> {
        let mut writer = lock(self);
        writer.append(record)?;
        writer.buffered += record.len();
        if writer.buffered >= BUFFER {
            writer.buffered = 0;
            writer.log.flush(false, None)?;
        }
        Ok(())
    }

    fn sync(&self) -> Outcome<()> {
        let synced = lock(self).flush()?;
        Ok(synced.recv()??)
    }

    fn replay(&self, each: &mut dyn FnMut(&[u8])) -> Outcome<()> {
        let writer = lock(self);
        for entry in writer.log.read(0, writer.next) {
            each(&entry?.1);
        }
        Ok(())
    }

    fn close(self: Box<Self>) -> Outcome<()> {
        self.sync()
    }
}
