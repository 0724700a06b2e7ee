//! What the log keeps for its user beside the records: appended as notes, kept whole by the manifest.
//!
//! A note is durable with the records around it, by the same sync. A manifest takes in those that are durable
//! by then, so that a sealed segment need not be read for them, and a segment that goes takes none with it.

use std::collections::{BTreeMap, VecDeque};

use super::engine::{Engine, Tail};
use crate::Lsn;
use crate::error::{Error, Result};
use crate::format::DATA_START;
use crate::format::frame::{Kind, frame_len};
use crate::format::notes::{MAX_METADATA, Note, Notes};
use crate::log::Log;
use crate::sync::Instant;

/// The notes as they are, and as a crash might leave them. In `Tail`: their order is that of the log.
#[derive(Debug)]
pub(crate) struct Noted {
    current: Notes,
    /// What those below some LSN come to, that was durable when it was looked at; and the ones behind.
    settled: Notes,
    pending: VecDeque<(u64, Note)>,
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

    fn add(&mut self, lsn: u64, note: Note) {
        self.current.apply(&note);
        match &note {
            Note::Consumer { name, .. } => drop(self.since.insert(name.clone(), Instant::now())),
            Note::Removed { name } => drop(self.since.remove(name)),
            Note::Archived(_) => self.archived_since = Instant::now(),
            Note::Metadata(_) => {}
        }
        self.pending.push_back((lsn, note));
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
        make: impl FnOnce(&Notes) -> Result<Option<Note>>,
    ) -> Result<Option<Lsn>> {
        let mut tail = self.tail_with_room(frame_len(len))?;
        let note = make(tail.notes.current());
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

    /// Where the slowest consumer stands, if there is any.
    pub(crate) fn slowest(&self) -> Option<u64> {
        let tail = self.tail.lock();
        let (now, durable) = (tail.notes.current(), tail.notes.as_of(self.durable()));
        // Of both: neither a position that a crash would take back frees anything, nor is one who has just come passed over.
        now.slowest().into_iter().chain(durable.slowest()).min()
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
    /// assert_eq!(log.metadata(), b"term 7, voted for 2");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn set_metadata(&self, metadata: &[u8]) -> Result<Lsn> {
        if metadata.len() > MAX_METADATA {
            return Err(Error::MetadataTooLarge { len: metadata.len() });
        }
        let note = Note::Metadata(metadata.to_vec());
        let lsn = self.engine.note(1 + metadata.len(), |_| Ok(Some(note)))?;
        lsn.ok_or(Error::Closed)
    }

    /// The metadata that were set last, durable or not; empty if none ever were.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let log = duralog::Log::open(dir.path())?;
    /// assert!(log.metadata().is_empty());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn metadata(&self) -> Vec<u8> {
        self.engine.tail.lock().notes.current().metadata.clone()
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
        let durable = self.engine.durable();
        if lsn.get() > durable {
            return Err(Error::NotDurable { lsn, durable: Lsn::new(durable) });
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
    /// assert_eq!(log.archived(), None);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn stop_archiving(&self) -> Result<()> {
        self.archive(|now| now.archived.map(|_| Note::Archived(None)))
    }

    /// Up to where the log has been archived; None if no one archives it.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let log = duralog::Log::open(dir.path())?;
    /// assert_eq!(log.archived(), None);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn archived(&self) -> Option<Lsn> {
        self.engine.tail.lock().notes.current().archived.map(Lsn::new)
    }

    fn archive(&self, note: impl FnOnce(&Notes) -> Option<Note>) -> Result<()> {
        match self.engine.note(9, |now| Ok(note(now)))? {
            Some(lsn) => self.engine.commit_to(lsn)?,
            // Another's, which may not be durable yet.
            None => drop(self.engine.commit()?),
        }
        self.engine.signal.wake();
        Ok(())
    }
}

const _: () = assert!(frame_len(MAX_METADATA + 1) + DATA_START < crate::format::MIN_SEGMENT_SIZE);
