//! Open: lock, manifest, recovery of what was not sealed, a segment to append to.
//!
//! Everything that is reported as recovered is on the disk before `open` returns: after a process kill
//! the page cache holds records that no sync covered, and after an I/O error bytes that the disk
//! does not have (design fact 13). So each open segment is synced, dropped from the cache, and read
//! past it. Nothing is deleted or overwritten before the end of the log is known.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::catalog::{Catalog, Slot};
use super::commit::Group;
use super::delivery::Delivery;
use super::engine::{Engine, Health, Tail, Upkeep};
use super::files::{self, Files, Stock};
use super::find_end::{Found, check_before, find_end};
use super::lost::Lost;
use super::meter::Meter;
use super::notes::Noted;
use super::waiters::Waiters;
use super::worker::{Signal, Worker};
use crate::Lsn;
use crate::error::{Error, Result};
use crate::format::DATA_START;
use crate::format::manifest::{Entry, Manifest, State};
use crate::format::notes::Notes;
use crate::manifest;
use crate::options::Options;
use crate::segment::{
    Ahead, Flow, SegmentWriter, Way, check_there, chunk, file_name, id_of, is_ours_alone,
    open_checked,
};
use crate::storage::{Access, Directory, Disk, Process, create_directory};
use crate::sync::atomic::AtomicU64;
use crate::sync::{Condvar, Mutex};
use crate::watermark::Watermark;
use crate::{stale, watermark};

/// How the log was found to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LogTail {
    /// New, or closed cleanly: the end was known.
    Clean,
    /// Not closed, and nothing lies behind the last record.
    Unclean {
        /// The end of the last record.
        at: Lsn,
    },
    /// Not closed, and something unfinished lay behind the last record; no one was ever told that it was
    /// durable, and it was cut.
    Torn {
        /// Where it was cut.
        at: Lsn,
    },
}

/// What [`Log::open`](crate::Log::open) found.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Recovery {
    /// Start of the oldest segment.
    pub head: Lsn,
    /// Where the log goes on.
    pub end: Lsn,
    /// Records found in the segments that had to be read; 0 after a clean close, which reads none.
    pub records: u64,
    /// Bytes of their payloads.
    pub bytes: u64,
    /// Segments that hold records, or will.
    pub segments: u64,
    /// Files removed or set aside for recycling: without records, or in no manifest.
    pub segments_removed: u64,
    /// Segments that had been made ready and were lost or damaged after a clean close. Nothing was ever in them; the log makes
    /// others.
    pub ready_lost: u64,
    /// How the log ended.
    pub tail: LogTail,
    /// `fallocate` is not to be had here, so that each file was written with zeros instead, and each new segment costs a write
    /// of its whole size: on ext2, ext3 and some of FUSE, or in a sandbox that refuses the call. False also where this opening
    /// had nothing to allocate.
    pub allocated_by_zeros: bool,
    /// How long it took.
    pub elapsed: Duration,
}

/// Opens the log in a directory of the real disk.
pub(crate) fn open(options: Options, path: &Path) -> Result<(Engine, Recovery)> {
    options.validate()?;
    if options.create {
        create_directory(path).map_err(|e| Error::io("mkdir", path, e))?;
    }
    let disk = Disk::open(path).map_err(|e| match e.kind() {
        std::io::ErrorKind::NotFound => Error::NoLog { dir: path.to_owned() },
        _ => Error::io("open", path, e),
    })?;
    open_in(Box::new(disk), options)
}

pub(crate) fn open_in(disk: Box<dyn Directory>, options: Options) -> Result<(Engine, Recovery)> {
    let started = Instant::now();
    options.validate()?;
    let path = &disk.path().to_owned();
    let process = Process::this().map_err(|e| Error::io("mmap", path, e))?;
    if !disk.try_lock().map_err(|e| Error::io("flock", path, e))? {
        return Err(Error::Locked { dir: path.to_owned() });
    }
    // Killed between the rename of a manifest and the sync that makes it durable, the last instance left one that
    // only the cache has. What is done because of it, files removed first of all, must not outlive it.
    disk.sync().map_err(|e| Error::io("fsync", path, e))?;
    let names = disk.names().map_err(|e| Error::io("readdir", path, e))?;
    let (manifest, is_new) = match manifest::load(&*disk)? {
        Some(manifest) => (manifest, false),
        None => (create(&*disk, &names, &options)?, true),
    };
    check_files(&*disk, &manifest)?;
    let unnamed = stale::check(&*disk, &manifest, &names, Access::Direct)?;
    let ready_lost = unnamed.lost.len() as u64;
    let files = Files::new(disk, options, manifest.log_id, process);
    let found = match manifest.clean_end {
        Some(end) => {
            check_before(&*files.directory, &manifest, end)?;
            Found::nothing(manifest.notes.clone())
        }
        None if is_new => Found::nothing(manifest.notes.clone()),
        None => find_end(&files, &manifest)?,
    };
    // The callback of `progress` may have forked. Nothing was written so far.
    if !files.process.is_this() {
        return Err(Error::Forked);
    }
    let (engine, removed) = take_over(files, manifest, &found, &unnamed, &names)?;
    let recovery = Recovery {
        head: Lsn::new(engine.catalog.head()),
        end: Lsn::new(engine.end()),
        records: found.records,
        bytes: found.bytes,
        segments: engine.catalog.len() as u64,
        segments_removed: removed,
        ready_lost,
        tail: found.tail,
        allocated_by_zeros: engine.files.directory.allocates_by_zeros(),
        elapsed: started.elapsed(),
    };
    engine.tell_of_recovery(&recovery, &found.sealed);
    Ok((engine, recovery))
}

/// No manifest: a new log, if nothing else is here.
fn create(directory: &dyn Directory, names: &[String], options: &Options) -> Result<Manifest> {
    let path = directory.path();
    if names.iter().any(|name| id_of(name).is_some()) {
        let manifest = path.join(manifest::NAME);
        let what = "it is missing, but there are segments";
        return Err(Error::corrupt(manifest, None, 0, Lsn::MIN..Lsn::MIN, what));
    }
    // What an interrupted creation leaves, and what mkfs puts into the root of a file system.
    let harmless = [manifest::NEW, manifest::RESERVE, watermark::NAME, "lost+found"];
    if let Some(found) = names.iter().find(|name| !harmless.contains(&name.as_str())) {
        return Err(Error::NotALog { dir: path.to_owned(), found: found.clone() });
    }
    if !options.create {
        return Err(Error::NoLog { dir: path.to_owned() });
    }
    let log_id = directory.random().map_err(|e| Error::io("getrandom", path, e))?;
    // The directory may have been made just now, by whomever: its own name must be durable before what is in it.
    directory.sync_own_name().map_err(|e| Error::io("fsync", path.join(".."), e))?;
    // Before any segment: so that segments without a manifest always mean that it was lost.
    let manifest = Manifest {
        log_id,
        generation: 1,
        checkpoint: 0,
        durable: 0,
        next_id: 1,
        next_base: 0,
        clean_end: None,
        segments: Vec::new(),
        notes: Notes::default(),
        noted: 0,
    };
    manifest::store(directory, &manifest, true)?;
    Ok(manifest)
}

/// Every named segment that may hold something is there, in its size, and those that are not sealed are what the manifest says.
/// What else is in a sealed one is found by who reads it.
fn check_files(directory: &dyn Directory, manifest: &Manifest) -> Result<()> {
    for entry in manifest.segments.iter().filter(|entry| !manifest.is_unused(entry)) {
        let identity = entry.identity(manifest.log_id);
        match entry.state {
            State::Sealed => check_there(directory, &identity)?,
            State::Active | State::Ready => {
                open_checked(directory, &identity, Access::Read)?;
            }
        }
    }
    Ok(())
}

/// Makes the log ours: a manifest that says it is in use, the files that have no place in it
/// given back, a segment to append to.
fn take_over(
    files: Files,
    old: Manifest,
    found: &Found,
    unnamed: &stale::Files,
    names: &[String],
) -> Result<(Engine, u64)> {
    let directory = &*files.directory;
    let mut manifest = Manifest { generation: old.generation + 1, clean_end: None, ..old.clone() };
    match old.clean_end {
        Some(end) => {
            manifest.durable = manifest.durable.max(end);
            // A ready segment of another size could not take the records that the options allow.
            let size = files.options.segment_size;
            manifest.segments.retain(|entry| entry.state != State::Ready || entry.size == size);
            manifest.segments.retain(|entry| !unnamed.lost.contains(&entry.id));
        }
        None => {
            manifest.segments.retain(|entry| entry.state == State::Sealed);
            manifest.segments.extend(&found.sealed);
            manifest.notes.clone_from(&found.notes);
            let end = found.sealed.last().map_or(0, |entry| entry.end);
            manifest.durable = manifest.durable.max(end);
        }
    }
    // Before the clean end goes: what fails here leaves a clean log, which needs no new segment.
    let clean = match (old.clean_end, manifest.active().copied()) {
        (Some(end), Some(active)) => Some(open_clean(&files, &manifest, &active, end)?),
        _ => None,
    };
    if manifest.segments != old.segments || old.clean_end.is_some() {
        manifest::store(directory, &manifest, true)?;
    } else {
        manifest.generation = old.generation;
    }
    let mut stock = Stock {
        generation: manifest.generation,
        next_id: manifest.next_id,
        next_base: manifest.next_base,
        pool: Vec::new(),
        taken: unnamed.unknown.clone(),
        // The manifest just now may have taken it.
        had_reserve: names.iter().any(|name| name == manifest::RESERVE),
    };
    // From here on the end of the log stands; what has no place in it may go.
    manifest::remove_if_there(directory, manifest::NEW)?;
    let dropped = old.segments.iter().map(|entry| entry.id);
    // What was lost is among the files that it does not name, if it is there.
    let dropped = dropped.filter(|id| manifest.find(*id).is_none() && !unnamed.lost.contains(id));
    let mut removed = 0;
    for id in unnamed.free.iter().copied().chain(dropped) {
        files.give_back(&mut stock, id)?;
        removed += 1;
    }
    // The one to go on in is made whatever the cap: a log that could not be opened could not be checkpointed either.
    files.trim(&mut stock, manifest.segments.iter().map(|entry| entry.size).sum());
    // Before any segment takes the room: a checkpoint on a full disk lives on it.
    files.fill_some_reserve(&mut stock)?;
    for entry in &found.sealed {
        give_rest_back(directory, entry);
    }
    let (writer, ready, watermark) = match clean {
        Some(opened) => opened,
        None => {
            let writer = first_segment(&files, &mut manifest, &mut stock)?;
            // Only now: until a manifest knew what it says, it was evidence.
            let watermark = files.open_watermark()?;
            (writer, VecDeque::new(), watermark)
        }
    };
    Ok((engine(files, manifest, stock, writer, ready, watermark), removed))
}

/// The active segment, the ready ones and the watermark of a log that was closed cleanly. Changes no byte of them.
fn open_clean(
    files: &Files,
    manifest: &Manifest,
    active: &Entry,
    end: u64,
) -> Result<(SegmentWriter, VecDeque<SegmentWriter>, Option<Watermark>)> {
    let ready = manifest.segments.iter().filter(|entry| entry.state == State::Ready);
    let open = |entry: &Entry| files.open_writer(entry, entry.base + DATA_START);
    let ready = ready.map(open).collect::<Result<VecDeque<_>>>()?;
    let writer = files.open_writer(active, end)?;
    Ok((writer, ready, files.open_watermark()?))
}

/// What the segment to go on in is made of where there is no room for a full one: of the reserve, which has to hold a
/// manifest besides.
const SMALL: [u64; 3] = [64 << 10, 32 << 10, 16 << 10];

/// Makes the segment to go on in, and names it in a durable manifest. With no byte free a small one: a log that could not
/// be opened could not be checkpointed either, and so could not give room back.
fn first_segment(
    files: &Files,
    manifest: &mut Manifest,
    stock: &mut Stock,
) -> Result<SegmentWriter> {
    let full = files.options.segment_size;
    let mut made = named_segment(files, manifest, stock, full);
    if !is_full(&made) {
        return made;
    }
    manifest::release_reserve(&*files.directory)?;
    for size in SMALL.into_iter().filter(|size| *size <= full) {
        // Journaling file systems hand out what the last try took only once its removal is committed.
        files.directory.sync().map_err(|e| Error::io("fsync", files.directory.path(), e))?;
        made = named_segment(files, manifest, stock, size);
        if !is_full(&made) {
            break;
        }
    }
    // Of what is left, for the next checkpoint.
    files.fill_some_reserve(stock)?;
    made
}

fn is_full<T>(made: &Result<T>) -> bool {
    matches!(made, Err(Error::Full { .. }))
}

/// `Full`: nothing has changed.
fn named_segment(
    files: &Files,
    manifest: &mut Manifest,
    stock: &mut Stock,
    size: u64,
) -> Result<SegmentWriter> {
    let directory = &*files.directory;
    let mut writer = files.make_segment(stock, size)?;
    if writer.to_warm().is_some() {
        // Where an append may also write, so much has to be there at once, and the rest is warmed in the background.
        let first = if files.way == Way::Either { chunk(size) } else { size };
        let ahead = Ahead { range: 0..first, fills: false, reads: true };
        let done = writer.segment().get_ready(directory, &ahead)?;
        if first == size && done.reads {
            writer.warmed(None);
        }
        writer.end_ahead(Some(done));
    }
    let identity = *writer.segment().identity();
    let mut named = Manifest {
        generation: manifest.generation + 1,
        next_id: identity.id + 1,
        next_base: identity.base + size,
        // Everything below the new window is durable: all that is reported was read from the disk.
        durable: identity.base + DATA_START,
        ..manifest.clone()
    };
    named.segments.push(files::entry(&identity, State::Active, 0));
    if let Err(error) = manifest::store(directory, &named, true) {
        if matches!(error, Error::Full { .. }) {
            files.discard(identity.id);
        }
        return Err(error);
    }
    (stock.generation, stock.next_id, stock.next_base) =
        (named.generation, named.next_id, named.next_base);
    *manifest = named;
    Ok(writer)
}

/// A segment that ended early gives the blocks behind its end back. Only space is at stake: where the file
/// system cannot punch holes they stay until the checkpoint passes.
fn give_rest_back(directory: &dyn Directory, entry: &Entry) {
    let rest = (entry.end - entry.base + 8).next_multiple_of(DATA_START)..entry.size;
    if !rest.is_empty() {
        let file = directory.open(&file_name(entry.id), Access::ReadWrite);
        // Synced, so that no file of the log is ever left with changes that are not on the disk.
        drop(file.and_then(|file| match file.status() {
            // A record of an earlier instance may still show what was cut; and what looks cut here is acknowledged where the
            // log that this directory was linked from goes on.
            Ok(status) if !is_ours_alone(&status) => Ok(()),
            Ok(_) => file.punch_hole(rest).and_then(|()| file.sync()),
            Err(error) => Err(error),
        }));
    }
}

fn engine(
    files: Files,
    manifest: Manifest,
    stock: Stock,
    writer: SegmentWriter,
    ready: VecDeque<SegmentWriter>,
    watermark: Option<Watermark>,
) -> Engine {
    let end = writer.lsn();
    let sealed = manifest.sealed().iter();
    let mut slots: Vec<Arc<Slot>> =
        sealed.map(|entry| Slot::sealed(entry.identity(manifest.log_id), entry.end)).collect();
    let newest_sealed = slots.last().map_or(0, |slot| slot.identity().id);
    let meter = Meter::new(&files.options);
    let health = Health::new(Delivery::new(files.options.observer.clone()));
    slots.push(Slot::active(writer.segment()));
    let sync_at = end.saturating_add(files.sync_every());
    let tail = Tail {
        writer,
        ready,
        unsynced: Vec::new(),
        spoiled: false,
        marked: end,
        synced: Flow::default(),
        wake: false,
        watched: false,
        waiters: Waiters::default(),
        sync_at,
        appends: 0,
        bytes: 0,
        notes: Box::new(Noted::new(manifest.notes.clone())),
    };
    let checkpoint = AtomicU64::new(manifest.checkpoint);
    let upkeep = Upkeep {
        stock,
        retired: Vec::new(),
        checkpointed: crate::sync::Instant::now(),
        manifest,
        newest_sealed,
        loosened: newest_sealed,
        full: false,
    };
    Engine {
        files,
        tail: Mutex::new(tail),
        filled: Condvar::default(),
        lost: Lost::new(&slots),
        catalog: Catalog::new(slots),
        group: Group::new(watermark),
        shown: Mutex::new(upkeep.shown()),
        upkeep: Mutex::new(upkeep),
        health,
        signal: Signal::default(),
        worker: Worker::default(),
        meter,
        end: AtomicU64::new(end),
        durable: AtomicU64::new(end),
        checkpoint,
    }
}
