//! wal-db with its defaults: one file, `append_and_sync` from every thread. It has group commit: one thread syncs for
//! all that wait. A batch and a buffered run are `append` for each record, which is one `pwrite`, and one `sync` at
//! the end; the crate has no batch call, no buffer and no preallocation.
//!
//! It syncs: `append_and_sync` and `sync` return after `fdatasync` (`File::sync_data`, store.rs:346).

use std::path::Path;

use wal_db::{OpenPolicy, Wal, WalConfig};

use crate::peer::{Entry, Outcome, Peer};

pub const ENTRY: Entry = Entry { name: "wal-db", version: "1.1.0", open };

/// That refuses damage in the midst of the log: only beside faults.
pub const STRICT: Entry = Entry { name: "wal-db-strict", version: "1.1.0", open: open_strict };

fn open(dir: &Path) -> Outcome<Box<dyn Peer>> {
    Ok(Box::new(Wal::open(dir.join("log.wal"))?))
}

fn open_strict(dir: &Path) -> Outcome<Box<dyn Peer>> {
    let config = WalConfig::new().with_open_policy(OpenPolicy::Strict);
    Ok(Box::new(Wal::open_with(dir.join("log.wal"), config)?))
}

impl Peer for Wal {
    fn durable(&self, record: &[u8]) -> Outcome<()> {
        let _ = self.append_and_sync(record)?;
        Ok(())
    }

    fn durable_batch(&self, records: &[&[u8]]) -> Outcome<()> {
        for record in records {
            self.buffered(record)?;
        }
        Ok(Wal::sync(self)?)
    }

    fn buffered(&self, record: &[u8]) -> Outcome<()> {
        let _ = self.append(record)?;
        Ok(())
    }

    fn sync(&self) -> Outcome<()> {
        Ok(Wal::sync(self)?)
    }

    fn replay(&self, each: &mut dyn FnMut(&[u8])) -> Outcome<()> {
        for record in self.iter()? {
            each(record?.data());
        }
        Ok(())
    }

    fn close(self: Box<Self>) -> Outcome<()> {
        Ok(Wal::sync(&self)?)
    }
}
