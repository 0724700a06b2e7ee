//! redb: one table with keys that count up. It has one writer and no group commit, so a lock, and a transaction for
//! each call. `Durability::Immediate`, its default, writes the dirty pages and calls `sync_data` once in `commit`.
//! Buffered records go into one open transaction in groups of 1 MiB, as to open the table costs as much as an
//! `insert`, and it cannot stay open beside its transaction. `quick_repair`, which makes the open after a crash fast,
//! is off, as by default: it takes a second sync for each commit.

use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition, WriteTransaction};

use crate::peer::{Entry, Outcome, Peer};

pub const ENTRY: Entry = Entry { name: "redb", version: "4.6.0", open };

const RECORDS: TableDefinition<u64, &[u8]> = TableDefinition::new("records");
const BUFFER: usize = 1 << 20;

struct Redb {
    database: Database,
    writer: Mutex<Writer>,
}

#[derive(Default)]
struct Writer {
    next: u64,
    /// Where buffered records wait for `sync`.
    open: Option<WriteTransaction>,
    /// Buffered records on their way into it, one after another, and where each of them ends.
    gathered: Vec<u8>,
    ends: Vec<usize>,
}

/// That reads all when it is opened: only beside faults.
pub const CHECKED: Entry = Entry { name: "redb-checked", version: "4.6.0", open: open_checked };

fn open(dir: &Path) -> Outcome<Box<dyn Peer>> {
    with(Database::create(dir.join("redb"))?)
}

fn open_checked(dir: &Path) -> Outcome<Box<dyn Peer>> {
    let mut builder = Database::builder();
    with(builder.set_check_integrity_on_open(true).create(dir.join("redb"))?)
}

fn with(database: Database) -> Outcome<Box<dyn Peer>> {
    let first = database.begin_write()?;
    let next = first.open_table(RECORDS)?.last()?.map_or(0, |(last, _)| last.value() + 1);
    first.commit()?;
    Ok(Box::new(Redb { database, writer: Writer { next, ..Writer::default() }.into() }))
}

impl Writer {
    fn gather(&mut self, record: &[u8]) {
        self.gathered.extend_from_slice(record);
        self.ends.push(self.gathered.len());
    }

    /// Gives what was gathered to the open transaction, or to a new one.
    fn insert(&mut self, database: &Database) -> Outcome<WriteTransaction> {
        let transaction = match self.open.take() {
            Some(open) => open,
            None => database.begin_write()?,
        };
        let (mut table, mut start) = (transaction.open_table(RECORDS)?, 0);
        for end in self.ends.drain(..) {
            table.insert(self.next, &self.gathered[start..end])?;
            (self.next, start) = (self.next + 1, end);
        }
        self.gathered.clear();
        drop(table);
        Ok(transaction)
    }
}

impl Redb {
    fn lock(&self) -> MutexGuard<'_, Writer> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Peer for Redb {
    fn durable(&self, record: &[u8]) -> Outcome<()> {
        self.durable_batch(&[record])
    }

    fn durable_batch(&self, records: &[&[u8]]) -> Outcome<()> {
        let mut writer = self.lock();
        records.iter().for_each(|record| writer.gather(record));
        Ok(writer.insert(&self.database)?.commit()?)
    }

    fn buffered(&self, record: &[u8]) -> Outcome<()> {
        let mut writer = self.lock();
        writer.gather(record);
        if writer.gathered.len() >= BUFFER {
            writer.open = Some(writer.insert(&self.database)?);
        }
        Ok(())
    }

    fn sync(&self) -> Outcome<()> {
        Ok(self.lock().insert(&self.database)?.commit()?)
    }

    fn replay(&self, each: &mut dyn FnMut(&[u8])) -> Outcome<()> {
        let table = self.database.begin_read()?.open_table(RECORDS)?;
        for record in table.iter()? {
            each(record?.1.value());
        }
        Ok(())
    }

    fn close(self: Box<Self>) -> Outcome<()> {
        self.sync()?;
        Ok(self.database.close()?)
    }
}
