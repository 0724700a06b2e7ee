//! open-wal with its default configuration. It has one writer, and its book (single-writer.md, durability-model.md)
//! puts a queue in front of it: whichever thread finds no other at work takes all records that wait, appends them and
//! commits once. It yields first, so that those whom the commit before woke are in the queue too. Buffered records are
//! appended, which is memory alone, and committed every few MiB, which bounds that memory and was no slower.
//! It syncs: `commit` (wal.rs) calls `sync_data` (segment.rs, `sync_data_fully`) before it returns.

use std::mem;
use std::path::Path;
use std::thread;

use open_wal::{Lsn, Wal, WalConfig};
use parking_lot::{Condvar, Mutex};

use crate::peer::{Entry, Outcome, Peer};

pub const ENTRY: Entry = Entry { name: "open-wal", version: "0.2.1", open };

/// So many bytes may be appended and not committed.
const STAGED: usize = 4 << 20;

struct Log {
    writer: Mutex<Writer>,
    queue: Mutex<Queue>,
    committed: Condvar,
}

struct Writer {
    wal: Wal,
    staged: usize,
}

#[derive(Default)]
struct Queue {
    records: Vec<Vec<u8>>,
    /// How many were put in, and how many of them are durable.
    put: u64,
    durable: u64,
    led: bool,
}

fn open(dir: &Path) -> Outcome<Box<dyn Peer>> {
    let (wal, _) = Wal::open(dir, WalConfig::default())?;
    let writer = Mutex::new(Writer { wal, staged: 0 });
    Ok(Box::new(Log { writer, queue: Mutex::default(), committed: Condvar::new() }))
}

impl Writer {
    fn append(&mut self, record: &[u8]) -> Outcome<()> {
        self.wal.append(record)?;
        self.staged += record.len();
        Ok(())
    }

    fn commit(&mut self) -> Outcome<()> {
        self.wal.commit()?;
        self.staged = 0;
        Ok(())
    }
}

impl Log {
    /// Commits what waits in the queue; gives how many were put in until then.
    fn lead(&self) -> Outcome<u64> {
        thread::yield_now();
        let mut queue = self.queue.lock();
        let (records, put) = (mem::take(&mut queue.records), queue.put);
        drop(queue);
        let mut writer = self.writer.lock();
        records.iter().try_for_each(|record| writer.append(record))?;
        writer.commit()?;
        Ok(put)
    }
}

impl Peer for Log {
    fn durable(&self, record: &[u8]) -> Outcome<()> {
        self.durable_batch(&[record])
    }

    fn durable_batch(&self, records: &[&[u8]]) -> Outcome<()> {
        let mut queue = self.queue.lock();
        queue.records.extend(records.iter().map(|record| record.to_vec()));
        queue.put += records.len() as u64;
        let need = queue.put;
        while queue.durable < need {
            if queue.led {
                self.committed.wait(&mut queue);
                continue;
            }
            queue.led = true;
            drop(queue);
            let led = self.lead();
            queue = self.queue.lock();
            queue.led = false;
            self.committed.notify_all();
            // Once a commit failed they all do: no one whose records were taken is told that they are durable.
            queue.durable = led?;
        }
        Ok(())
    }

    fn buffered(&self, record: &[u8]) -> Outcome<()> {
        let mut writer = self.writer.lock();
        writer.append(record)?;
        if writer.staged < STAGED { Ok(()) } else { writer.commit() }
    }

    fn sync(&self) -> Outcome<()> {
        self.writer.lock().commit()
    }

    fn give_back(&self) -> Outcome<()> {
        let mut writer = self.writer.lock();
        let durable = writer.wal.durable_lsn();
        Ok(writer.wal.checkpoint(durable)?)
    }

    fn replay(&self, each: &mut dyn FnMut(&[u8])) -> Outcome<()> {
        let writer = self.writer.lock();
        let mut reader = writer.wal.reader_from(Lsn::NONE)?;
        while let Some(record) = reader.next() {
            each(record?.1);
        }
        Ok(())
    }

    fn close(self: Box<Self>) -> Outcome<()> {
        self.sync()
    }
}
