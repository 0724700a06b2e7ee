//! fjall: keys that count up, in one keyspace. A record is `insert` and `persist(SyncData)`, a group is a batch with
//! that durability. It has no group commit: `persist` calls `sync_data` on the journal, under the journal's lock, once
//! for each caller, whether or not anything was written since. `manual_journal_persist` is its documented way not to
//! write to the file for each buffered record; the journal's compression is off, as nothing here compresses. All else
//! is its default: its compaction only moves tables of ascending keys and rewrites nothing.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use fjall::{CompressionType, Database, Keyspace, KeyspaceCreateOptions, PersistMode};

use crate::peer::{Entry, Outcome, Peer};

pub const ENTRY: Entry = Entry { name: "fjall", version: "3.1.13", open };

struct Fjall {
    database: Database,
    records: Keyspace,
    next: AtomicU64,
}

fn open(dir: &Path) -> Outcome<Box<dyn Peer>> {
    let database = Database::builder(dir).journal_compression(CompressionType::None).open()?;
    let options = || KeyspaceCreateOptions::default().manual_journal_persist(true);
    let records = database.keyspace("records", options)?;
    let next = match records.last_key_value() {
        Some(last) => u64::from_be_bytes(last.key()?.as_ref().try_into()?) + 1,
        None => 0,
    };
    Ok(Box::new(Fjall { database, records, next: next.into() }))
}

impl Fjall {
    fn key(&self) -> [u8; 8] {
        self.next.fetch_add(1, Ordering::Relaxed).to_be_bytes()
    }
}

impl Peer for Fjall {
    fn durable(&self, record: &[u8]) -> Outcome<()> {
        self.buffered(record)?;
        self.sync()
    }

    fn durable_batch(&self, records: &[&[u8]]) -> Outcome<()> {
        let mut batch = self.database.batch().durability(Some(PersistMode::SyncData));
        for &record in records {
            batch.insert(&self.records, self.key(), record);
        }
        Ok(batch.commit()?)
    }

    fn buffered(&self, record: &[u8]) -> Outcome<()> {
        Ok(self.records.insert(self.key(), record)?)
    }

    fn sync(&self) -> Outcome<()> {
        Ok(self.database.persist(PersistMode::SyncData)?)
    }

    fn replay(&self, each: &mut dyn FnMut(&[u8])) -> Outcome<()> {
        for record in self.records.iter() {
            each(&record.value()?);
        }
        Ok(())
    }

    fn close(self: Box<Self>) -> Outcome<()> {
        self.sync()
    }
}
