//! Consumers: named positions that the log keeps, so that who processes it knows where to go on after a crash,
//! and the log knows what is still needed.

use std::sync::Arc;

use super::follow::{Follower, follow};
use super::fork::Handle;
use super::notes::Noted;
use crate::Lsn;
use crate::error::{Error, Result};
use crate::format::notes::{MAX_CONSUMERS, Note, is_name};
use crate::log::{Log, Reclaimed};

/// A named, durable position in the log, from [`Log::consumer`]: everything below it is done. `Send`, `Sync` and cheap
/// to clone; it does not keep the log open.
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// let log = duralog::Log::open(dir.path())?;
/// log.append_batch(&["one", "two"])?;
/// log.commit()?;
/// let mailer = log.consumer("mailer")?;
/// for record in log.replay_from(mailer.position()?)? {
///     let record = record?;
///     // .. send it ..
///     mailer.ack(record.lsn())?; // durable with the next commit
/// }
/// log.commit()?;
/// assert_eq!(log.replay_from(mailer.position()?)?.count(), 0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Consumer {
    engine: Handle,
    name: Arc<str>,
}

/// A consumer as [`Log::consumers`] shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConsumerInfo {
    /// Its name.
    pub name: String,
    /// Everything below is done.
    pub position: Lsn,
    /// Bytes of the log between its position and the end, frames and gaps included.
    pub lag: u64,
}

impl ConsumerInfo {
    pub(crate) fn new(name: String, position: u64, end: u64) -> ConsumerInfo {
        ConsumerInfo { name, position: Lsn::new(position), lag: end.saturating_sub(position) }
    }
}

impl Consumer {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns where it stands: everything below is done, as far as was acknowledged, durable or not. If a checkpoint went
    /// past it, it can be read from no more. A cut moves it with the log, in the same manifest: one that stood after the record of
    /// [`truncate_after`](Log::truncate_after) stands at its end, and after [`reset_to`](Log::reset_to) or
    /// [`truncate_all`](Log::truncate_all) all stand where the log begins.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidConsumer`] if it has been removed.
    pub fn position(&self) -> Result<Lsn> {
        let position = self.engine.here()?.tail.lock().notes.current().position(&self.name);
        position.map(Lsn::new).ok_or_else(|| self.unknown())
    }

    /// The record at `lsn` is done, and with it all before it. Not durable yet: it is when the LSN that is returned is,
    /// which [`Log::commit_to`] waits for; if the process or the power fails before, the consumer sees some
    /// records again, and misses none. Below its position nothing changes.
    ///
    /// A note of 24 bytes and the name goes into the log, so acknowledge once for many records where it can be.
    ///
    /// # Errors
    ///
    /// [`Error::NotDurable`] if the record is not durable yet: a crash could take it away, and its position would name
    /// nothing; also beyond the end. [`Error::NotARecord`], [`Error::Gone`] if the record was cut away,
    /// [`Error::InvalidConsumer`] if the consumer has been removed, and those of [`Log::append`].
    pub fn ack(&self, lsn: Lsn) -> Result<Lsn> {
        let position = self.behind(lsn)?;
        let engine = self.engine.here()?;
        self.note(|_, now| Ok(now.max(engine.catalog.below_a_cut(position))))
    }

    /// Follows the log from its position: what is durable, as it comes. Acknowledge what is done.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidConsumer`] if it has been removed, and those of [`Log::follow`].
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let log = duralog::Log::open(dir.path())?;
    /// log.append_durable(b"one")?;
    /// let mailer = log.consumer("mailer")?;
    /// let mut follower = mailer.follow()?;
    /// while let Some(record) = follower.try_next()? {
    ///     mailer.ack(record.lsn())?;
    /// }
    /// assert!(mailer.follow()?.try_next()?.is_none());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn follow(&self) -> Result<Follower> {
        self.position().and_then(|from| follow(&self.engine, from))
    }

    /// Moves the position to `position`, forward or back: to do again what was done, or to pass over what is not wanted.
    /// Not durable before the LSN that is returned is. No lower than what can be read from ([`Log::replay_from`]).
    ///
    /// # Errors
    ///
    /// [`Error::NotDurable`] beyond what is durable, [`Error::OutOfRange`] where nothing can be read from,
    /// [`Error::InvalidConsumer`] if it has been removed, and those of [`Log::append`].
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let log = duralog::Log::open(dir.path())?;
    /// log.append_durable(b"an old story")?;
    /// let mailer = log.consumer("mailer")?;
    /// mailer.seek(log.durable())?;
    /// assert_eq!(mailer.position()?, log.durable());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn seek(&self, position: Lsn) -> Result<Lsn> {
        self.check_durable(position.get(), position)?;
        self.engine.here()?.from(position)?;
        self.note(|now, _| {
            // A checkpoint that is under way has not asked for it.
            if position.get() < now.floor {
                let (head, end) = (Lsn::new(now.floor), self.engine.end());
                return Err(Error::OutOfRange { lsn: position, head, end });
            }
            Ok(self.engine.here()?.catalog.below_a_cut(position.get()))
        })
    }

    /// Forgets the consumer: it holds nothing back any more. Not durable before the LSN that is returned is.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidConsumer`] if it has been removed, and those of [`Log::append`].
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let log = duralog::Log::open(dir.path())?;
    /// log.consumer("mailer")?.remove()?;
    /// assert!(log.consumers()?.is_empty());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn remove(&self) -> Result<Lsn> {
        let lsn = self.engine.here()?.note(1 + self.name.len(), |now| {
            now.current().position(&self.name).ok_or_else(|| self.unknown())?;
            Ok(Some(Note::Removed { name: self.name.to_string() }))
        })?;
        lsn.ok_or(Error::Closed)
    }

    fn note(&self, to: impl Fn(&Noted, u64) -> Result<u64>) -> Result<Lsn> {
        let lsn = self.engine.here()?.note(9 + self.name.len(), |now| {
            let position = now.current().position(&self.name).ok_or_else(|| self.unknown())?;
            let position = to(now, position)?;
            Ok(Some(Note::Consumer { name: self.name.to_string(), position }))
        })?;
        lsn.ok_or(Error::Closed)
    }

    /// Where the record at `lsn` ends.
    fn behind(&self, lsn: Lsn) -> Result<u64> {
        self.check_durable(lsn.get().saturating_add(1), lsn)?;
        if lsn.get() < self.engine.head().get() {
            // A checkpoint has passed it: it was done before it was said.
            return Ok(lsn.get());
        }
        let (_, _, head) = self.engine.here()?.locate(lsn)?;
        Ok(lsn.get() + head.frame_len())
    }

    fn check_durable(&self, need: u64, lsn: Lsn) -> Result<()> {
        self.engine.here()?;
        let durable = self.engine.durable();
        if need > durable.get() {
            return Err(Error::NotDurable { lsn, durable });
        }
        Ok(())
    }

    fn unknown(&self) -> Error {
        Error::InvalidConsumer { name: self.name.to_string() }
    }
}

impl Log {
    /// The consumer of this name; if there is none it is made, at the [`head`](Log::head), durable with the
    /// next commit. Names have 1 to 255 bytes; a log has at most 1024 consumers.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidConsumer`], and those of [`append`](Log::append). There is no such consumer then.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let log = duralog::Log::open(dir.path())?;
    /// let mailer = log.consumer("mailer")?;
    /// assert_eq!(mailer.position()?, log.head());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn consumer(&self, name: &str) -> Result<Consumer> {
        let engine = self.engine.here()?;
        let consumer = Consumer { engine: self.engine.clone(), name: name.into() };
        engine.health.check()?;
        if engine.tail.lock().notes.current().position(name).is_some() {
            return Ok(consumer);
        }
        let invalid = || Error::InvalidConsumer { name: name.to_owned() };
        if !is_name(name) {
            return Err(invalid());
        }
        engine.note(9 + name.len(), |now| {
            if now.current().position(name).is_some() {
                return Ok(None); // another thread's
            }
            if now.current().consumers().len() >= MAX_CONSUMERS {
                return Err(invalid());
            }
            // Or where it is about to be.
            let position = engine.catalog.head().max(now.floor);
            Ok(Some(Note::Consumer { name: name.to_owned(), position }))
        })?;
        Ok(consumer)
    }

    /// All consumers, by name.
    ///
    /// # Errors
    ///
    /// [`Error::Forked`].
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let log = duralog::Log::open(dir.path())?;
    /// log.consumer("mailer")?;
    /// assert_eq!(log.consumers()?[0].name, "mailer");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn consumers(&self) -> Result<Vec<ConsumerInfo>> {
        let tail = self.engine.here()?.tail.lock();
        let end = tail.writer.lsn();
        let consumers = tail.notes.current().consumers().iter();
        let info =
            |(name, position): &(String, u64)| ConsumerInfo::new(name.clone(), *position, end);
        Ok(consumers.map(info).collect())
    }

    /// A [`checkpoint`](Log::checkpoint) up to where all consumers have come, durably: what none of them needs is given
    /// back. Without consumers it does nothing.
    ///
    /// A plain checkpoint asks no consumer: one that it passes cannot read from its position any more.
    ///
    /// # Errors
    ///
    /// As [`checkpoint`](Log::checkpoint).
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let log = duralog::Log::open(dir.path())?;
    /// let lsn = log.append_durable(b"one")?;
    /// let mailer = log.consumer("mailer")?;
    /// mailer.ack(lsn)?;
    /// log.commit()?;
    /// log.checkpoint_to_slowest()?;
    /// assert_eq!(log.checkpoint_lsn(), mailer.position()?);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn checkpoint_to_slowest(&self) -> Result<Reclaimed> {
        self.engine.here()?.checkpoint_to_slowest()
    }
}
