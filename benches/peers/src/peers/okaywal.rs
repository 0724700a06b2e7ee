//! okaywal: an entry for each record or batch, a chunk for each record, `commit` from every thread. It has group
//! commit: one thread syncs for all that wait. There is no append without a sync, so a buffered run is one entry that
//! stays open until `sync`, and goes to the file as it grows. Preallocation is what its documents call critical.
//!
//! It syncs: `commit` returns after `fdatasync` (log_file.rs:97), and `fsync` of the folder when the file is new.
//! A checkpoint drops records, so there are none but where all is given back. It hands records out while it opens, never
//! later: `open` keeps them.

use std::io::{self, Read};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use okaywal::{
    Configuration, EntryId, EntryWriter, LogManager, ReadChunkResult, SegmentReader, WriteAheadLog,
};

use crate::peer::{Entry, Outcome, Peer};

pub const ENTRY: Entry = Entry { name: "okaywal", version: "0.3.1", open };

/// Each open fills the file to a multiple of it.
const PREALLOCATED: u32 = 64 << 20;
const BUFFER: usize = 256 << 10;
const PANICKED: &str = "a thread panicked";

struct Log {
    /// Leaked, so that an entry can stay open.
    wal: &'static WriteAheadLog,
    buffered: Mutex<Option<EntryWriter<'static>>>,
    recovered: Arc<Mutex<Records>>,
    appended: AtomicBool,
}

#[derive(Debug, Default)]
struct Records {
    bytes: Vec<u8>,
    lens: Vec<usize>,
}

#[derive(Debug)]
struct Manager(Arc<Mutex<Records>>);

fn open(dir: &Path) -> Outcome<Box<dyn Peer>> {
    let recovered = Arc::<Mutex<Records>>::default();
    let wal = Configuration::default_for(dir)
        .preallocate_bytes(PREALLOCATED)
        .buffer_bytes(BUFFER)
        .checkpoint_after_bytes(u64::MAX)
        .open(Manager(recovered.clone()))?;
    let wal = Box::leak(Box::new(wal));
    let (buffered, appended) = Default::default();
    Ok(Box::new(Log { wal, buffered, recovered, appended }))
}

impl Records {
    /// False if the entry is not whole.
    fn read(&mut self, entry: &mut okaywal::Entry<'_>) -> io::Result<bool> {
        loop {
            let mut chunk = match entry.read_chunk()? {
                ReadChunkResult::Chunk(chunk) => chunk,
                ReadChunkResult::EndOfEntry => return Ok(true),
                ReadChunkResult::AbortedEntry => return Ok(false),
            };
            self.lens.push(chunk.read_to_end(&mut self.bytes)?);
            if chunk.bytes_remaining() > 0 {
                return Ok(false);
            }
            // As its own `read_all_chunks` has it.
            if !chunk.check_crc()? {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "crc check failed"));
            }
        }
    }
}

impl LogManager for Manager {
    fn recover(&mut self, entry: &mut okaywal::Entry<'_>) -> io::Result<()> {
        let mut records = self.0.lock().map_err(|_| io::Error::other(PANICKED))?;
        let (bytes, lens) = (records.bytes.len(), records.lens.len());
        if !records.read(entry)? {
            records.bytes.truncate(bytes);
            records.lens.truncate(lens);
        }
        Ok(())
    }

    fn checkpoint_to(
        &mut self,
        _: EntryId,
        _: &mut SegmentReader,
        _: &WriteAheadLog,
    ) -> io::Result<()> {
        // There are none but of what was given back.
        Ok(())
    }
}

impl Peer for Log {
    fn durable(&self, record: &[u8]) -> Outcome<()> {
        self.durable_batch(&[record])
    }

    fn durable_batch(&self, records: &[&[u8]]) -> Outcome<()> {
        self.sync()?;
        self.appended.store(true, Ordering::Relaxed);
        let mut entry = self.wal.begin_entry()?;
        for record in records {
            entry.write_chunk(record)?;
        }
        entry.commit()?;
        Ok(())
    }

    fn buffered(&self, record: &[u8]) -> Outcome<()> {
        let mut buffered = self.buffered.lock().map_err(|_| PANICKED)?;
        if buffered.is_none() {
            self.appended.store(true, Ordering::Relaxed);
            *buffered = Some(self.wal.begin_entry()?);
        }
        if let Some(entry) = &mut *buffered {
            entry.write_chunk(record)?;
        }
        Ok(())
    }

    fn sync(&self) -> Outcome<()> {
        let entry = self.buffered.lock().map_err(|_| PANICKED)?.take();
        entry.map_or(Ok(()), |entry| Ok(entry.commit().map(drop)?))
    }

    fn give_back(&self) -> Outcome<()> {
        Ok(self.wal.checkpoint_active()?)
    }

    fn replay(&self, each: &mut dyn FnMut(&[u8])) -> Outcome<()> {
        if self.appended.load(Ordering::Relaxed) {
            return Err("it hands records out while it opens, before it takes more".into());
        }
        let records = self.recovered.lock().map_err(|_| PANICKED)?;
        let mut rest = &*records.bytes;
        for len in &records.lens {
            let (record, after) = rest.split_at(*len);
            each(record);
            rest = after;
        }
        Ok(())
    }

    fn close(self: Box<Self>) -> Outcome<()> {
        self.sync()?;
        Ok(self.wal.clone().shutdown()?)
    }
}
