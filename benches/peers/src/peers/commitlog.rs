//! commitlog with its defaults, and one lock, since it has one writer. Its `MessageBuf` is a batch: a record, a
//! hundred, or as much of a buffered run as the crate takes in one `append`, which is one `write` and the index.
//!
//! It does not sync: `flush` calls `File::flush` on the segment, which does nothing (segment.rs:153), and of the index,
//! without which no log can be opened, it writes whole pages alone (index.rs:371). So the adapter adds the least that
//! makes a record durable: `fdatasync` of segment and index, and `fsync` of the folder when they are new.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard};

use commitlog::message::{MessageBuf, MessageSet};
use commitlog::{CommitLog, LogOptions, ReadLimit};

use crate::peer::{Entry, Outcome, Peer};

pub const ENTRY: Entry = Entry { name: "commitlog", version: "0.2.0", open };

/// Bytes of a batch at most, and to read at a time. The crate takes a megabyte.
const BATCH: usize = 900_000;
/// Damage to one message takes all that are read with it: then fewer, down to one of those that are put through faults.
const FEWER: [usize; 3] = [BATCH, 150_000, 12_000];

struct Writer {
    log: CommitLog,
    batch: MessageBuf,
    dir: PathBuf,
    /// The newest segment that was synced, without its extension.
    synced: PathBuf,
}

fn open(dir: &Path) -> Outcome<Box<dyn Peer>> {
    let log = CommitLog::new(LogOptions::new(dir))?;
    let batch = MessageBuf::default();
    Ok(Box::new(Mutex::new(Writer { log, batch, dir: dir.to_owned(), synced: PathBuf::new() })))
}

impl Writer {
    fn push(&mut self, record: &[u8]) -> Outcome<()> {
        if self.batch.bytes().len() + record.len() > BATCH {
            self.append()?;
        }
        Ok(self.batch.push(record).map_err(|e| format!("{e:?}"))?)
    }

    fn append(&mut self) -> Outcome<()> {
        self.log.append(&mut self.batch)?;
        self.batch.clear();
        Ok(())
    }

    /// What the crate leaves out. A segment before the newest takes no more, and needs it once.
    fn sync(&mut self) -> Outcome<()> {
        self.append()?;
        let mut newest = self.synced.clone();
        for file in fs::read_dir(&self.dir)? {
            let path = file?.path();
            let segment = path.with_extension("");
            if segment >= self.synced {
                File::open(path)?.sync_data()?;
                newest = newest.max(segment);
            }
        }
        if newest != self.synced {
            File::open(&self.dir)?.sync_all()?;
            self.synced = newest;
        }
        Ok(())
    }
}

fn lock(writer: &Mutex<Writer>) -> Outcome<MutexGuard<'_, Writer>> {
    Ok(writer.lock().map_err(|_| "a thread panicked")?)
}

/// Messages from `next` on, as many as can be read at once.
fn read(log: &CommitLog, next: &mut u64, each: &mut dyn FnMut(&[u8])) -> Outcome<()> {
    let mut read: Outcome<_> = Err("nothing was read".into());
    for bytes in FEWER {
        if read.is_err() {
            read = log.read(*next, ReadLimit::max_bytes(bytes)).map_err(Into::into);
        }
    }
    let before = *next;
    for message in read?.iter() {
        // A block of zeros passes for messages without a payload.
        if message.offset() != *next {
            break;
        }
        each(message.payload());
        *next += 1;
    }
    if *next == before { Err(format!("no message {before}").into()) } else { Ok(()) }
}

impl Peer for Mutex<Writer> {
    fn durable(&self, record: &[u8]) -> Outcome<()> {
        self.durable_batch(&[record])
    }

    fn durable_batch(&self, records: &[&[u8]]) -> Outcome<()> {
        let mut writer = lock(self)?;
        records.iter().try_for_each(|record| writer.push(record))?;
        writer.sync()
    }

    fn buffered(&self, record: &[u8]) -> Outcome<()> {
        lock(self)?.push(record)
    }

    fn sync(&self) -> Outcome<()> {
        lock(self)?.sync()
    }

    fn replay(&self, each: &mut dyn FnMut(&[u8])) -> Outcome<()> {
        let mut writer = lock(self)?;
        writer.append()?;
        let (mut next, end, mut damage) = (0, writer.log.next_offset(), Ok(()));
        while next < end {
            // Behind what cannot be read it goes on with the next.
            if let Err(why) = read(&writer.log, &mut next, each) {
                damage = damage.and(Err(why));
                next += 1;
            }
        }
        damage
    }

    fn close(self: Box<Self>) -> Outcome<()> {
        lock(&self)?.sync()
    }
}
