//! The floor: what a program reaches that does nothing but this. Frames of length, CRC and payload in one file that was
//! filled with zeros ahead of time; `pwrite`, `fdatasync`; one thread syncs for all who wait, and then the next.
//!
//! Nothing is promised for a torn tail, nothing rolls, nothing is given back: it is no log, but the price of one.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use crate::peer::{Entry, Outcome, Peer};

pub const ENTRY: Entry = Entry { name: "floor", version: "", open };

/// Filled ahead. Durable records go round in it; buffered ones beyond it make the file grow.
const FILLED: u64 = 256 << 20;
/// Buffered records gather here before a `pwrite`.
const BUFFER: usize = 1 << 20;

struct Floor {
    file: File,
    tail: Mutex<Tail>,
    group: Mutex<Group>,
    synced: Condvar,
}

#[derive(Default)]
struct Tail {
    buffer: Vec<u8>,
    /// Where in the file the next byte goes.
    at: u64,
    /// How many bytes were written in all.
    written: u64,
}

#[derive(Default)]
struct Group {
    durable: u64,
    led: bool,
}

fn open(dir: &Path) -> Outcome<Box<dyn Peer>> {
    let path = dir.join("floor");
    let new = !path.exists();
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
    let mut at = 0;
    if new {
        // Small pages, as in duralog: large ones would be written whole for each small commit.
        for at in (0..FILLED).step_by(4096) {
            file.write_all_at(&[0; 4096], at)?;
        }
        file.sync_data()?;
    } else {
        walk(&file, &mut |_, end| at = end)?;
    }
    let tail = Tail { buffer: Vec::with_capacity(2 * BUFFER), at, written: 0 };
    Ok(Box::new(Floor { file, tail: tail.into(), group: Mutex::default(), synced: Condvar::new() }))
}

pub fn frame(buffer: &mut Vec<u8>, record: &[u8]) {
    buffer.extend_from_slice(&(record.len() as u32).to_le_bytes());
    buffer.extend_from_slice(&crc32c::crc32c(record).to_le_bytes());
    buffer.extend_from_slice(record);
    buffer.resize(buffer.len().next_multiple_of(8), 0);
}

/// Each payload and where its frame ends.
fn walk(file: &File, each: &mut dyn FnMut(&[u8], u64)) -> Outcome<()> {
    let len = usize::try_from(file.metadata()?.len())?;
    // SAFETY: the run's own file, which nothing else writes or truncates meanwhile.
    let map = unsafe { memmap2::MmapOptions::new().len(len).map(file)? };
    let mut at = 0;
    while let Some(head) = map.get(at..at + 8) {
        let len = u32::from_le_bytes(head[..4].try_into()?) as usize;
        let crc = u32::from_le_bytes(head[4..].try_into()?);
        let Some(payload) = map.get(at + 8..at + 8 + len) else { break };
        if len == 0 || crc32c::crc32c(payload) != crc {
            break;
        }
        at = (at + 8 + len).next_multiple_of(8);
        each(payload, at as u64);
    }
    Ok(())
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Floor {
    fn write(&self, tail: &mut Tail) -> Outcome<u64> {
        self.file.write_all_at(&tail.buffer, tail.at)?;
        tail.at += tail.buffer.len() as u64;
        tail.written += tail.buffer.len() as u64;
        tail.buffer.clear();
        Ok(tail.written)
    }

    /// Leader and followers: whoever finds no leader syncs for all that was written before.
    fn wait(&self, need: u64) -> Outcome<()> {
        let mut group = lock(&self.group);
        while group.durable < need {
            if group.led {
                group = self.synced.wait(group).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            group.led = true;
            drop(group);
            // Those that the last sync woke come back first: else groups of one and of all the others alternate.
            std::thread::yield_now();
            let written = lock(&self.tail).written;
            let synced = self.file.sync_data();
            group = lock(&self.group);
            group.led = false;
            self.synced.notify_all();
            synced?;
            group.durable = group.durable.max(written);
        }
        Ok(())
    }
}

impl Peer for Floor {
    fn durable(&self, record: &[u8]) -> Outcome<()> {
        self.durable_batch(&[record])
    }

    fn durable_batch(&self, records: &[&[u8]]) -> Outcome<()> {
        let mut tail = lock(&self.tail);
        records.iter().for_each(|record| frame(&mut tail.buffer, record));
        if tail.at + tail.buffer.len() as u64 > FILLED {
            tail.at = 0;
        }
        let need = self.write(&mut tail)?;
        drop(tail);
        self.wait(need)
    }

    fn buffered(&self, record: &[u8]) -> Outcome<()> {
        let mut tail = lock(&self.tail);
        frame(&mut tail.buffer, record);
        if tail.buffer.len() >= BUFFER {
            self.write(&mut tail)?;
        }
        Ok(())
    }

    fn sync(&self) -> Outcome<()> {
        let need = self.write(&mut lock(&self.tail))?;
        self.wait(need)
    }

    fn give_back(&self) -> Outcome<()> {
        // It goes round.
        Ok(())
    }

    fn replay(&self, each: &mut dyn FnMut(&[u8])) -> Outcome<()> {
        walk(&self.file, &mut |payload, _| each(payload))
    }

    fn close(self: Box<Self>) -> Outcome<()> {
        self.sync()
    }
}
