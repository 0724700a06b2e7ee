//! raft-engine, as the Multi-Raft store that it is: each thread appends entries to a group of its own, and threads that
//! write at once share a sync (README, "Write"). Entries carry their place in the whole log, by which `replay` merges
//! the groups. Buffered records gather in a `LogBatch`, as the README says, and are written a MiB at a time. Not
//! compressed: payloads are random. Prefilled files are left off, the default: the first file is never one of them.
//! It syncs: `Engine::write` with `sync` calls fdatasync (env/log_fd/unix.rs). `Engine::sync` does not, as its empty
//! batch returns at once (engine.rs, `write`), so `sync` here writes a mark.

use std::collections::VecDeque;
use std::ops::Range;
use std::path::Path;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use parking_lot::{Mutex, MutexGuard};
use protobuf::well_known_types::BytesValue;
use raft_engine::{Config, Engine, LogBatch, MessageExt, ReadableSize};

use crate::peer::{Entry, Outcome, Peer};

pub const ENTRY: Entry = Entry { name: "raft-engine", version: "0.4.2", open };

/// As many groups as the largest cell has threads, and one for the marks.
const GROUPS: u64 = 64;
const MARKS: u64 = GROUPS;
/// Buffered records of a group gather to this size.
const BUFFER: usize = 1 << 20;
/// Two of its files; its default is 10 GiB, before which nothing that is given back is used again.
const PURGED_ABOVE_MB: u64 = 256;
/// How many entries `replay` reads at once.
const CHUNK: u64 = 512;

struct Log {
    engine: Engine,
    groups: Vec<Mutex<Group>>,
    /// The place of the next record in the whole log.
    place: AtomicU64,
}

/// A Raft group. Its indexes may have no gaps, so it has one writer at a time.
struct Group {
    id: u64,
    index: u64,
    batch: LogBatch,
}

/// An entry is a protobuf message of bytes: the index in its group, the place in the whole log, the payload.
struct Record;

impl MessageExt for Record {
    type Entry = BytesValue;

    fn index(entry: &BytesValue) -> u64 {
        number(entry, 0)
    }
}

const PLACE: usize = 8;
const PAYLOAD: usize = 16;

fn number(entry: &BytesValue, at: usize) -> u64 {
    let bytes = entry.value.get(at..).and_then(|bytes| bytes.first_chunk());
    bytes.map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

fn open(dir: &Path) -> Outcome<Box<dyn Peer>> {
    let engine = Engine::open(Config {
        dir: dir.to_str().ok_or("a path that is not UTF-8")?.into(),
        batch_compression_threshold: ReadableSize(0),
        purge_threshold: ReadableSize::mb(PURGED_ABOVE_MB),
        ..Config::default()
    })?;
    let (mut groups, mut place) = (Vec::new(), 0);
    for id in 0..GROUPS {
        let last = engine.last_index(id).unwrap_or(0);
        if let Some(entry) = engine.get_entry::<Record>(id, last)? {
            place = place.max(number(&entry, PLACE) + 1);
        }
        groups.push(Mutex::new(Group { id, index: last + 1, batch: LogBatch::default() }));
    }
    Ok(Box::new(Log { engine, groups, place: place.into() }))
}

impl Log {
    /// The group of this thread.
    fn group(&self) -> MutexGuard<'_, Group> {
        static THREADS: AtomicUsize = AtomicUsize::new(0);
        thread_local!(static THREAD: usize = THREADS.fetch_add(1, Ordering::Relaxed));
        self.groups[THREAD.with(|thread| thread % self.groups.len())].lock()
    }

    fn add(&self, group: &mut Group, records: &[&[u8]]) -> Outcome<()> {
        let mut place = self.place.fetch_add(records.len() as u64, Ordering::Relaxed);
        let entry = |record: &&[u8]| {
            let mut value = Vec::with_capacity(PAYLOAD + record.len());
            value.extend_from_slice(&group.index.to_le_bytes());
            value.extend_from_slice(&place.to_le_bytes());
            value.extend_from_slice(record);
            (group.index, place) = (group.index + 1, place + 1);
            BytesValue { value, ..BytesValue::default() }
        };
        let entries: Vec<BytesValue> = records.iter().map(entry).collect();
        Ok(group.batch.add_entries::<Record>(group.id, &entries)?)
    }
}

/// What `replay` has yet to give of a group.
struct Rest {
    id: u64,
    indexes: Range<u64>,
    entries: VecDeque<BytesValue>,
}

impl Rest {
    fn fill(&mut self, engine: &Engine) -> Outcome<()> {
        if self.entries.is_empty() && !self.indexes.is_empty() {
            let (start, mut entries) = (self.indexes.start, Vec::new());
            self.indexes.start = self.indexes.end.min(start + CHUNK);
            engine.fetch_entries_to::<Record>(
                self.id,
                start,
                self.indexes.start,
                None,
                &mut entries,
            )?;
            self.entries = entries.into();
        }
        Ok(())
    }
}

impl Peer for Log {
    fn durable(&self, record: &[u8]) -> Outcome<()> {
        self.durable_batch(&[record])
    }

    fn durable_batch(&self, records: &[&[u8]]) -> Outcome<()> {
        let mut group = self.group();
        self.add(&mut group, records)?;
        self.engine.write(&mut group.batch, true)?;
        Ok(())
    }

    fn buffered(&self, record: &[u8]) -> Outcome<()> {
        let mut group = self.group();
        self.add(&mut group, &[record])?;
        if group.batch.approximate_size() >= BUFFER {
            self.engine.write(&mut group.batch, false)?;
        }
        Ok(())
    }

    fn sync(&self) -> Outcome<()> {
        for group in &self.groups {
            self.engine.write(&mut group.lock().batch, false)?;
        }
        let mut mark = LogBatch::with_capacity(1);
        mark.put(MARKS, b"synced".to_vec(), Vec::new())?;
        self.engine.write(&mut mark, true)?;
        Ok(())
    }

    fn give_back(&self) -> Outcome<()> {
        for id in 0..GROUPS {
            let next = self.engine.last_index(id).map_or(0, |last| last + 1);
            self.engine.compact_to(id, next);
        }
        self.engine.purge_expired_files()?;
        Ok(())
    }

    fn replay(&self, each: &mut dyn FnMut(&[u8])) -> Outcome<()> {
        let span = |id| Some(self.engine.first_index(id)?..self.engine.last_index(id)? + 1);
        let rest = |id| Some(Rest { id, indexes: span(id)?, entries: VecDeque::new() });
        let mut groups: Vec<Rest> = (0..GROUPS).filter_map(rest).collect();
        loop {
            groups.iter_mut().try_for_each(|rest| rest.fill(&self.engine))?;
            groups.retain(|rest| !rest.entries.is_empty());
            let place = |rest: &&mut Rest| rest.entries.front().map(|entry| number(entry, PLACE));
            let Some(oldest) = groups.iter_mut().min_by_key(place) else { return Ok(()) };
            if let Some(entry) = oldest.entries.pop_front() {
                each(entry.value.get(PAYLOAD..).unwrap_or_default());
            }
        }
    }

    fn close(self: Box<Self>) -> Outcome<()> {
        self.sync()
    }
}
