//! SQLite by rusqlite: one connection, a lock, cached statements, a table whose key is the rowid. `journal_mode = WAL`
//! and `synchronous = FULL`: each commit appends to the WAL and calls `fsync` on it (the bundled build does not know
//! of `fdatasync`), which no other commit shares. Faster at no cost by its documents: `locking_mode = EXCLUSIVE` (no
//! file locks, no shared memory), `mmap_size` for reading. Buffered records are one transaction, which `sync` commits.
//! Checkpoints come as by default, at 1000 pages.

use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rusqlite::Connection;

use crate::peer::{Entry, Outcome, Peer};

pub const ENTRY: Entry = Entry { name: "rusqlite", version: "0.43.0", open };

const SETUP: &str = "
    PRAGMA locking_mode = EXCLUSIVE;
    PRAGMA journal_mode = WAL;
    PRAGMA synchronous = FULL;
    PRAGMA mmap_size = 2147418112;
    CREATE TABLE IF NOT EXISTS records (id INTEGER PRIMARY KEY, payload BLOB NOT NULL);";

fn open(dir: &Path) -> Outcome<Box<dyn Peer>> {
    let connection = Connection::open(dir.join("sqlite"))?;
    connection.execute_batch(SETUP)?;
    Ok(Box::new(Mutex::new(connection)))
}

fn lock(connection: &Mutex<Connection>) -> MutexGuard<'_, Connection> {
    connection.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Outside a transaction this is one.
fn insert(connection: &Connection, record: &[u8]) -> Outcome<()> {
    connection.prepare_cached("INSERT INTO records (payload) VALUES (?)")?.execute([record])?;
    Ok(())
}

fn begin(connection: &Connection) -> Outcome<()> {
    if connection.is_autocommit() {
        connection.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
    }
    Ok(())
}

fn commit(connection: &Connection) -> Outcome<()> {
    if !connection.is_autocommit() {
        connection.prepare_cached("COMMIT")?.execute([])?;
    }
    Ok(())
}

impl Peer for Mutex<Connection> {
    fn durable(&self, record: &[u8]) -> Outcome<()> {
        let connection = lock(self);
        insert(&connection, record)?;
        commit(&connection)
    }

    fn durable_batch(&self, records: &[&[u8]]) -> Outcome<()> {
        let connection = lock(self);
        begin(&connection)?;
        records.iter().try_for_each(|record| insert(&connection, record))?;
        commit(&connection)
    }

    fn buffered(&self, record: &[u8]) -> Outcome<()> {
        let connection = lock(self);
        begin(&connection)?;
        insert(&connection, record)
    }

    fn sync(&self) -> Outcome<()> {
        commit(&lock(self))
    }

    fn replay(&self, each: &mut dyn FnMut(&[u8])) -> Outcome<()> {
        let connection = lock(self);
        let mut all = connection.prepare("SELECT payload FROM records ORDER BY id")?;
        let mut rows = all.query([])?;
        while let Some(row) = rows.next()? {
            each(row.get_ref(0)?.as_blob()?);
        }
        Ok(())
    }

    fn close(self: Box<Self>) -> Outcome<()> {
        self.sync()?;
        let connection = self.into_inner().unwrap_or_else(PoisonError::into_inner);
        connection.close().map_err(|(_, e)| e.into())
    }
}
