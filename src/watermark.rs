//! The watermark as a file: evidence of what was durable, in another place than the log itself.
//!
//! A mark in the log is lost with the sector or the page that holds it, and the last groups share one. So after
//! each sync the durable LSN is also stored in this file, and never synced: a store of one sector through a mapping, no system
//! call, no write of its own. Where a store could be a signal (`storage/safety.rs`), and under `WriteMethod::Pwrite`, for which
//! another program may also truncate the file, it is a `pwrite` of one to seven microseconds next to a sync of a hundred and
//! more; its failure changes nothing. After the death of the process the
//! cache has the exact end of what was committed; after a power cut the disk has some earlier one. Both are
//! true, since they were stored after the sync: where the log is found to end before, committed
//! records are damaged (P5). Nothing else depends on it: without the file there are the marks.
//!
//! It is also how readers in other processes learn of a sync (`reader`). The page cache is one for all, so they see it at
//! once; and they sleep on a word of it, for which the writer wakes them once a sync. Such a wake without anyone to wake is a
//! system call of 0.2 to 0.9 us, and the writer cannot know better: readers may not write here.
//!
//! Beside it in the same sector, and so by the same store, stands what the syncs came to, for people who watch from outside
//! (`format/pulse.rs`). No one else looks at that.

use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;

use crate::error::{Error, Result};
use crate::format::pulse::{self, Pulse};
use crate::format::u64_at;
use crate::format::watermark::{self as format, LEN, LEN_OF_SLOTS, SLOTS};
use crate::manifest::remove_if_there;
use crate::storage::{Access, Directory, File, Region, Writer};

pub(crate) const NAME: &str = "WATERMARK";

/// The file, in the writer's hand.
#[derive(Debug)]
pub(crate) struct Watermark {
    writer: Writer,
    /// It is stored to through the mapping; else written, and the mapping is only what readers wait by.
    stores: bool,
    file: Arc<dyn File>,
    log_id: [u8; 16],
    /// The slot whose turn it is.
    turn: usize,
    pulse: Pulse,
}

/// Wakes readers in other processes.
#[derive(Clone, Debug)]
pub(crate) struct Bell {
    file: Arc<dyn File>,
    region: Arc<Region>,
}

impl Bell {
    /// Once for each [`Watermark::note`], with what that gave. To wake no one is no failure: they look again by themselves.
    pub(crate) fn ring(&self, word: u64) {
        self.file.wake(&self.region, word).unwrap_or_default();
    }
}

/// The file's bytes; none if there is no such file.
pub(crate) fn load(directory: &dyn Directory) -> Result<Vec<u8>> {
    let path = directory.path().join(NAME);
    let file = match directory.open(NAME, Access::Read) {
        Ok(file) => file,
        // None, or not a file of ours: it says nothing.
        Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::InvalidData) => {
            return Ok(Vec::new());
        }
        Err(e) => return Err(Error::io("open", path, e)),
    };
    let mut bytes = vec![0; LEN];
    let read = file.read_at(&mut bytes, 0).map_err(|e| Error::io("pread", path, e))?;
    bytes.truncate(read);
    Ok(bytes)
}

impl Watermark {
    /// Opens the file, or makes it. None where there is no room for it: then there are only the marks. `stores`: it may be
    /// stored to through a mapping, where the file system makes that safe.
    pub(crate) fn open(
        directory: &dyn Directory,
        log_id: [u8; 16],
        stores: bool,
    ) -> Result<Option<Watermark>> {
        let stores = stores && directory.stores_are_safe();
        let fit = |file: &Arc<dyn File>| {
            // Linked elsewhere it would say of the copy what is durable here.
            file.status().is_ok_and(|status| status.len == LEN as u64 && status.links == 1)
                && (!stores || file.blocks(0).is_ok_and(|blocks| blocks.written >= LEN as u64))
        };
        let found = match directory.open(NAME, Access::ReadWrite) {
            Ok(file) => Some(file).filter(fit),
            Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::InvalidData) => None,
            Err(e) => return Err(Error::io("open", directory.path().join(NAME), e)),
        };
        let file = match found.map_or_else(|| create(directory), Ok) {
            Ok(file) => file,
            Err(Error::Full { .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        let path = directory.path().join(NAME);
        let mut bytes = vec![0; LEN];
        file.read_at(&mut bytes, 0).map_err(|e| Error::io("pread", &path, e))?;
        let turn = format::next(&bytes, log_id);
        let writer = file.map(LEN as u64, stores, 0).map_err(|e| Error::io("mmap", path, e))?;
        let random = directory.random();
        let random = random.map_err(|e| Error::io("getrandom", directory.path(), e))?;
        let pulse = Pulse { run: u64_at(&random, 0).unwrap_or(0), ..Pulse::default() };
        Ok(Some(Watermark { writer, stores, file, log_id, turn, pulse }))
    }

    /// For those who watch: a sync took so long, and so many records and bytes of theirs are durable since the open.
    /// Stored with the next note.
    pub(crate) fn beat(&mut self, took: Duration, records: u64, bytes: u64) {
        self.pulse.beat(took, records, bytes);
    }

    /// Everything below `durable` is. Only after the sync that made it so. Gives what readers wait for.
    pub(crate) fn note(&mut self, durable: u64) -> u64 {
        let at = self.turn;
        let [first, second] = SLOTS;
        self.turn = if at == first { second } else { first };
        let sector = sector(self.log_id, durable, &self.pulse);
        if self.stores {
            self.writer.write(at as u64, &sector);
        } else {
            // A full disk, or one that fails: then the last one stands, which is as true.
            self.file.write_at(&sector, at as u64).unwrap_or_default();
        }
        format::word(&[], at).0
    }

    pub(crate) fn bell(&self) -> Bell {
        Bell { file: Arc::clone(&self.file), region: Arc::clone(self.writer.region()) }
    }
}

/// A slot, and the pulse behind it.
fn sector(log_id: [u8; 16], durable: u64, pulse: &Pulse) -> [u8; pulse::AT + pulse::LEN] {
    let mut sector = [0; pulse::AT + pulse::LEN];
    let (first, second) = sector.split_at_mut(pulse::AT);
    let slot = format::slot(log_id, durable);
    if let Some(to) = first.get_mut(..slot.len()) {
        to.copy_from_slice(&slot);
    }
    second.copy_from_slice(&pulse.encode());
    sector
}

/// What the writer's syncs came to when it last stored it; none if no writer has, or the file cannot be read.
pub(crate) fn pulse(directory: &dyn Directory, log_id: [u8; 16]) -> Option<Pulse> {
    // Again if it was read in the middle of a store.
    (0..3).find_map(|_| {
        let bytes = load(directory).ok()?;
        let at = format::turned(&bytes, log_id)?;
        Pulse::decode(bytes.get(at + pulse::AT..)?)
    })
}

/// The file, in the hand of a reader in another process.
#[derive(Debug)]
pub(crate) struct Watch {
    file: Arc<dyn File>,
    /// Never looked at, only waited by: another program that truncates the file meets no one here.
    mapped: Writer,
    bytes: Vec<u8>,
    log_id: [u8; 16],
}

impl Watch {
    /// None if there is no such file, or not one to be waited by.
    pub(crate) fn open(directory: &dyn Directory, log_id: [u8; 16]) -> Option<Watch> {
        let file = directory.open(NAME, Access::Read).ok()?;
        let mapped = file.map(LEN as u64, false, 0).ok()?;
        Some(Watch { file, mapped, bytes: vec![0; LEN_OF_SLOTS], log_id })
    }

    /// Up to where the log is durable, by this file as it is now.
    pub(crate) fn look(&mut self) -> Option<u64> {
        self.read()?;
        if format::is_torn(&self.bytes) {
            // The writer was about to store it, and is through by now.
            self.read()?;
        }
        format::highest(&self.bytes, self.log_id)
    }

    /// None where it is unreadable: then it says nothing.
    fn read(&mut self) -> Option<()> {
        self.bytes.fill(0);
        self.file.read_at(&mut self.bytes, 0).ok().map(drop)
    }

    /// Sleeps until the file has changed since the last [`look`](Watch::look), or for `at_most`. False: it did not sleep, since
    /// it cannot be woken, or might have missed the wake.
    pub(crate) fn wait(&self, at_most: Duration) -> bool {
        // With the word that is stored already, and its wake behind us, it would sleep until the next sync.
        if format::is_torn(&self.bytes) {
            return false;
        }
        let (at, seen) = format::word(&self.bytes, format::next(&self.bytes, self.log_id));
        self.file.wait(self.mapped.region(), at, seen, at_most).is_ok()
    }

    /// Whether the file of that name is still this one.
    pub(crate) fn is_current(&self, directory: &dyn Directory) -> bool {
        let id = |file: &dyn File| file.status().map(|status| status.id).ok();
        let named = directory.open(NAME, Access::Read).ok();
        named.is_some_and(|named| id(&*named).is_some_and(|named| id(&*self.file) == Some(named)))
    }
}

fn create(directory: &dyn Directory) -> Result<Arc<dyn File>> {
    let path = directory.path().join(NAME);
    remove_if_there(directory, NAME)?;
    let file = directory.create(NAME).map_err(|e| Error::io("open", &path, e))?;
    let filled = file
        .allocate(LEN as u64)
        .map_err(|e| Error::io("fallocate", &path, e))
        .and_then(|()| file.write_at(&[0; LEN], 0).map_err(|e| Error::io("pwrite", &path, e)))
        .and_then(|()| file.sync().map_err(|e| Error::io("fdatasync", &path, e)))
        .and_then(|()| directory.sync().map_err(|e| Error::io("fsync", directory.path(), e)));
    if filled.is_err() {
        drop(remove_if_there(directory, NAME)); // else replaced the next time
    }
    filled.map(|()| file)
}
