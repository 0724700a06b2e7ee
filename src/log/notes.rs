//! What the log keeps for its user beside the records: appended as notes, kept whole by the manifest.
//!
//! A note is durable with the records around it, by the same sync. A manifest takes in those that are durable
//! by then, so that a sealed segment need not be read for them, and a segment that goes takes none with it.

use std::collections::{BTreeMap, VecDeque};
use std::ops::{Range, RangeInclusive};

use super::change::Change;
use super::engine::{Engine, Tail};
use super::upkeep::ignore_gone;
use crate::Lsn;
use crate::error::{Error, Result};
use crate::format::DATA_START;
use crate::format::frame::{Kind, frame_len};
use crate::format::notes::{MAX_METADATA, Note, Notes};
use crate::log::Log;
use crate::sync::{Instant, MutexGuard};

/// The notes as they are, and as a crash might leave them. In `Tail`: their order is that of the log.
#[derive(Debug)]
pub(crate) struct Noted {
    current: Notes,
    /// What those below some LSN come to, that was durable when it was looked at; and the ones behind.
    settled: Notes,
    pending: VecDeque<(u64, Note)>,
    /// A checkpoint that is under way, or was made, may have given up what can be read from below.
    pub(crate) floor: u64,
    /// Since when each consumer stands where it does, the archive too.
    since: BTreeMap<String, Instant>,
    archived_since: Instant,
    opened: Instant,
}

impl Noted {
    pub(crate) fn new(notes: Notes) -> Noted {
        let opened = Instant::now();
        Noted {
            current: notes.clone(),
            settled: notes,
            pending: VecDeque::new(),
            floor: 0,
            since: BTreeMap::new(),
            archived_since: opened,
            opened,
        }
    }

    pub(crate) fn current(&self) -> &Notes {
        &self.current
    }

    /// What all notes below `durable` come to.
    pub(crate) fn as_of(&self, durable: u64) -> Notes {
        let mut notes = self.settled.clone();
        let durable = self.pending.iter().take_while(|(lsn, _)| *lsn < durable);
        durable.for_each(|(_, note)| notes.apply(note));
        notes
    }

    /// The same, and no crash takes them away.
    pub(crate) fn settle(&mut self, durable: u64) {
        let settled = self.pending.partition_point(|(lsn, _)| *lsn < durable);
        self.pending.drain(..settled).for_each(|(_, note)| self.settled.apply(&note));
    }

    /// Where the frames of those lie that are not settled, from `from` on.
    pub(crate) fn frames_from(&self, from: u64) -> impl Iterator<Item = Range<u64>> {
        let behind = self.pending.iter().filter(move |(lsn, _)| *lsn >= from);
        behind.map(|(lsn, note)| *lsn..*lsn + frame_len(note.encode().len()))
    }

    fn add(&mut self, lsn: u64, note: Note) {
        self.stamp(&note);
        self.current.apply(&note);
        self.pending.push_back((lsn, note));
    }

    /// One that a manifest holds: behind all that are durable, and there are no others.
    fn add_settled(&mut self, note: &Note) {
        self.stamp(note);
        self.settle(u64::MAX);
        self.settled.apply(note);
        self.current.apply(note);
    }

    /// A manifest has cut the log back: it took in all of them, and moved the consumers to what is `there` (`Change::there`).
    pub(crate) fn cut(&mut self, there: &RangeInclusive<u64>) {
        self.settle(u64::MAX);
        self.settled.move_consumers(there);
        let before = std::mem::replace(&mut self.current, self.settled.clone());
        for (name, position) in before.consumers() {
            if !there.contains(position) {
                self.since.insert(name.clone(), Instant::now());
            }
        }
        self.floor = self.floor.max(*there.start());
    }

    fn stamp(&mut self, note: &Note) {
        match note {
            Note::Consumer { name, .. } => drop(self.since.insert(name.clone(), Instant::now())),
            Note::Removed { name } => drop(self.since.remove(name)),
            Note::Archived(_) => self.archived_since = Instant::now(),
            Note::Metadata(_) => {}
        }
    }

    /// Each position that a consumer has, or that a crash may give back to it: some of the notes that are not durable may
    /// survive, and the last of those counts.
    pub(crate) fn positions(&self, durable: u64) -> Vec<(String, u64)> {
        let mut positions = self.as_of(durable).consumers().to_vec();
        let behind = self.pending.iter().filter(|(lsn, _)| *lsn >= durable);
        positions.extend(behind.filter_map(|(_, note)| match note {
            Note::Consumer { name, position } => Some((name.clone(), *position)),
            _ => None,
        }));
        positions
    }

    /// Where the slowest of them is, if there is any: what lies above holds, whatever happens.
    pub(crate) fn slowest(&self, durable: u64) -> Option<u64> {
        self.positions(durable).iter().map(|(_, position)| *position).min()
    }

    /// Since when the consumer has stood where it does: as far as this instance knows.
    pub(crate) fn since(&self, name: &str) -> Instant {
        self.since.get(name).copied().unwrap_or(self.opened)
    }

    pub(crate) fn archived_since(&self) -> Instant {
        self.archived_since
    }
}

impl Engine {
    /// Appends a note of at most `len` bytes, made by what the notes say under the lock; its LSN. None: there is
    /// nothing to say.
    pub(crate) fn note(
        &self,
        len: usize,
        make: impl Fn(&Noted) -> Result<Option<Note>>,
    ) -> Result<Option<Lsn>> {
        match self.tail_with_room(frame_len(len)) {
            Ok(tail) => self.note_in(tail, &make),
            // By a note who holds the log lets go of it: it must be possible where there is room for nothing else.
            Err(Error::Full { .. }) => self.note_in_manifest(&make),
            Err(error) => Err(error),
        }
    }

    fn note_in(
        &self,
        mut tail: MutexGuard<'_, Tail>,
        make: impl Fn(&Noted) -> Result<Option<Note>>,
    ) -> Result<Option<Lsn>> {
        let note = make(&tail.notes);
        let appended = match &note {
            Ok(Some(note)) => self.put_note(&mut tail, note).map(Some),
            // The room that was taken is given up with nothing in it but a mark, if one was due.
            Ok(None) | Err(_) => self.publish(&mut tail, 0, 0).map(|()| None),
        };
        self.release(tail);
        note?;
        appended
    }

    fn put_note(&self, tail: &mut Tail, note: &Note) -> Result<Lsn> {
        let lsn = tail.writer.put(Kind::Note, &note.encode());
        self.publish(tail, 0, 0)?;
        tail.notes.settle(self.durable());
        tail.notes.add(lsn, note.clone());
        Ok(Lsn::new(lsn))
    }

    /// Without a frame: a manifest takes it in as it does those below its durable position, and may spend the reserve.
    /// So all must be durable, and no one may append before the manifest is. Some LSN that is durable.
    fn note_in_manifest(
        &self,
        make: impl Fn(&Noted) -> Result<Option<Note>>,
    ) -> Result<Option<Lsn>> {
        loop {
            self.wait_durable(self.end(), self.cuts()).or_else(ignore_gone)?;
            let mut upkeep = self.keep_up();
            self.health.check()?;
            let mut tail = self.tail.lock();
            let end = tail.writer.lsn();
            if end > self.durable() {
                continue; // what was smaller had room
            }
            let Some(note) = make(&tail.notes)? else { return Ok(None) };
            let change = Change { note: Some(&note), ..Change::default() };
            self.write_manifest_locked(&mut upkeep, &change, &tail)?;
            tail.notes.add_settled(&note);
            drop(tail);
            self.loosen_sealed(&mut upkeep);
            self.keep_reserve(&mut upkeep);
            return Ok(Some(Lsn::new(end - 1)));
        }
    }

    /// Where the slowest consumer stands, or might after a crash, if there is any.
    pub(crate) fn slowest(&self) -> Option<u64> {
        self.tail.lock().notes.slowest(self.durable())
    }
}

impl Log {
    /// Sets the log's metadata, a small slot for what belongs to the log as a whole: a vote, a term, an applied position.
    /// They replace the present ones whole: after a crash it is these or the ones before. Not durable yet: they are when
    /// the LSN that is returned is, [`commit_to`](Log::commit_to) it; one sync covers them and records. A cut or a
    /// checkpoint leaves them alone. 0 to 4096 bytes.
    ///
    /// # Errors
    ///
    /// [`Error::MetadataTooLarge`], and those of [`append`](Log::append). The metadata are as before.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let log = duralog::Log::open(dir.path())?;
    /// let lsn = log.set_metadata(b"term 7, voted for 2")?;
    /// log.commit_to(lsn)?;
    /// assert_eq!(log.metadata()?, b"term 7, voted for 2");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn set_metadata(&self, metadata: &[u8]) -> Result<Lsn> {
        if metadata.len() > MAX_METADATA {
            return Err(Error::MetadataTooLarge { len: metadata.len() });
        }
        let note = Note::Metadata(metadata.to_vec());
        let lsn = self.engine.here()?.note(1 + metadata.len(), |_| Ok(Some(note.clone())))?;
        lsn.ok_or(Error::Closed)
    }

    /// The metadata that were set last, durable or not; empty if none ever were.
    ///
    /// # Errors
    ///
    /// [`Error::Forked`].
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let log = duralog::Log::open(dir.path())?;
    /// assert!(log.metadata()?.is_empty());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn metadata(&self) -> Result<Vec<u8>> {
        Ok(self.engine.here()?.tail.lock().notes.current().metadata.clone())
    }

    /// Says that everything below `lsn` has been archived, durably. From the first call on no segment that reaches
    /// above is given back, whatever the checkpoint: it can still be read, and shipped. What a checkpoint had left
    /// for the archive goes in the background. An LSN below the present one changes nothing.
    ///
    /// `Lsn::MIN` as the first one holds everything back, until something has been archived.
    ///
    /// # Errors
    ///
    /// [`Error::NotDurable`] beyond [`durable`](Log::durable), and those of [`append_durable`](Log::append_durable).
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let log = duralog::Log::open(dir.path())?;
    /// log.archived_up_to(duralog::Lsn::MIN)?;
    /// log.append_durable(b"one")?;
    /// log.checkpoint(log.durable())?;
    /// assert_eq!(log.replay().count(), 1); // not archived yet
    /// log.archived_up_to(log.durable())?;
    /// log.checkpoint(log.durable())?;
    /// assert_eq!(log.replay().count(), 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn archived_up_to(&self, lsn: Lsn) -> Result<()> {
        self.engine.here()?;
        let durable = self.engine.durable();
        if lsn > durable {
            return Err(Error::NotDurable { lsn, durable });
        }
        self.archive(|now| {
            let further = now.archived.is_none_or(|archived| archived < lsn.get());
            further.then(|| Note::Archived(Some(lsn.get())))
        })
    }

    /// Nothing is being archived any more: [`archived_up_to`](Log::archived_up_to) holds nothing back. Durable on Ok.
    ///
    /// # Errors
    ///
    /// As [`append_durable`](Log::append_durable).
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let log = duralog::Log::open(dir.path())?;
    /// log.archived_up_to(duralog::Lsn::MIN)?;
    /// log.stop_archiving()?;
    /// assert_eq!(log.archived()?, None);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn stop_archiving(&self) -> Result<()> {
        self.archive(|now| now.archived.map(|_| Note::Archived(None)))
    }

    /// Up to where the log has been archived; None if no one archives it.
    ///
    /// # Errors
    ///
    /// [`Error::Forked`].
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let log = duralog::Log::open(dir.path())?;
    /// assert_eq!(log.archived()?, None);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn archived(&self) -> Result<Option<Lsn>> {
        Ok(self.engine.here()?.tail.lock().notes.current().archived.map(Lsn::new))
    }

    fn archive(&self, note: impl Fn(&Notes) -> Option<Note>) -> Result<()> {
        let engine = self.engine.here()?;
        let cuts = engine.cuts();
        match engine.note(9, |now| Ok(note(now.current())))? {
            Some(lsn) => engine.wait_durable(lsn.get() + 1, cuts)?,
            // Another's, which may not be durable yet.
            None => drop(engine.commit()?),
        }
        // A checkpoint that did not know of it is under way no more.
        drop(engine.upkeep.lock());
        engine.signal.wake();
        Ok(())
    }
}

const _: () = assert!(frame_len(MAX_METADATA + 1) + DATA_START < crate::format::MIN_SEGMENT_SIZE);
