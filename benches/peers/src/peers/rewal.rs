//! rewal with its default options: append, then `flush` and `sync`, as its README says for most durability. `sync` is
//! one fsync a caller, so one thread calls both for all who wait, after a yield, so that those whom the sync before
//! woke have appended too. Its `SyncMode::Batch` has a group commit of its own, but tells no one when the fsync fails
//! (writer.rs, `do_sync`), syncs buffered records too, and was slower in most cells.
//! It syncs: `Wal::sync` (wal.rs) calls `sync_all`. Of a failed write no call tells (writer.rs, `flush_buffer`).

use std::path::Path;
use std::thread;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use rewal::{Batch, Wal};

use crate::peer::{Entry, Outcome, Peer};

pub const ENTRY: Entry = Entry { name: "rewal", version: "0.1.0", open };

struct Log {
    wal: Wal,
    group: Mutex<Group>,
    synced: Condvar,
}

#[derive(Default)]
struct Group {
    /// How many calls have appended, and of how many all is durable.
    appended: u64,
    durable: u64,
    led: bool,
}

fn open(dir: &Path) -> Outcome<Box<dyn Peer>> {
    let wal = Wal::open(dir.join("wal")).build()?;
    Ok(Box::new(Log { wal, group: Mutex::default(), synced: Condvar::new() }))
}

impl Log {
    /// Makes durable what all have appended; gives how many calls that were.
    fn lead(&self) -> Outcome<u64> {
        thread::yield_now();
        let appended = self.group.lock().appended;
        self.sync()?;
        Ok(appended)
    }

    fn wait(&self) -> Outcome<()> {
        let mut group = self.group.lock();
        group.appended += 1;
        let need = group.appended;
        while group.durable < need {
            if group.led {
                self.synced.wait(&mut group);
                continue;
            }
            group.led = true;
            drop(group);
            let led = self.lead();
            group = self.group.lock();
            group.led = false;
            self.synced.notify_all();
            group.durable = led?;
        }
        Ok(())
    }
}

impl Peer for Log {
    fn durable(&self, record: &[u8]) -> Outcome<()> {
        self.wal.append(record)?;
        self.wait()
    }

    fn durable_batch(&self, records: &[&[u8]]) -> Outcome<()> {
        let mut batch = Batch::with_capacity(records.len());
        records.iter().for_each(|record| batch.add(*record));
        self.wal.append_batch(batch)?;
        self.wait()
    }

    fn buffered(&self, record: &[u8]) -> Outcome<()> {
        // Waits while the queue is full.
        self.wal.append(record)?;
        Ok(())
    }

    fn sync(&self) -> Outcome<()> {
        self.wal.flush()?;
        Ok(self.wal.sync()?)
    }

    fn replay(&self, each: &mut dyn FnMut(&[u8])) -> Outcome<()> {
        let mut events = self.wal.iterator(0)?;
        while let Some(event) = events.next_borrowed()? {
            each(event.payload);
        }
        Ok(())
    }

    fn close(self: Box<Self>) -> Outcome<()> {
        // `shutdown` syncs in other modes alone. Zero is no limit.
        self.sync()?;
        Ok(self.wal.shutdown(Duration::ZERO)?)
    }
}
