//! What a log keeps beside its records, seen from outside: [`Kept`].

use std::sync::Arc;

use super::beside::{Until, Walk};
use super::{Inspector, RETRIES, view};
use crate::Lsn;
use crate::error::{Error, Result};
use crate::format::notes::Notes;
use crate::log::ConsumerInfo;

/// Consumers, the archive pin and the metadata, durable or not.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Kept {
    /// The consumers, by name.
    pub consumers: Vec<ConsumerInfo>,
    /// Up to where the log has been archived; none if no one archives it.
    pub archived: Option<Lsn>,
    /// The metadata; empty if none were set.
    pub metadata: Vec<u8>,
    /// The end of the log, to which the lag of consumers is counted.
    pub end: Lsn,
}

impl Kept {
    pub(super) fn new(notes: &Notes, end: u64) -> Kept {
        let consumers = notes
            .consumers()
            .iter()
            .map(|(name, position)| ConsumerInfo::new(name.clone(), *position, end));
        Kept {
            consumers: consumers.collect(),
            archived: notes.archived.map(Lsn::new),
            metadata: notes.metadata.clone(),
            end: Lsn::new(end),
        }
    }
}

impl Inspector {
    /// What the log keeps beside its records, as of some moment since the call: the manifest, and the notes behind its durable
    /// position. The manifest is read anew.
    ///
    /// # Errors
    ///
    /// Those of [`open`](Inspector::open); [`Error::Corrupt`] and [`Error::Io`] where what is behind that position is
    /// damaged or cannot be read; [`Error::Gone`] if a running writer takes segments away faster than they are read.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// let log = duralog::Log::open(dir.path())?; // as a rule in another process
    /// log.append_durable(b"a letter")?;
    /// log.consumer("mailer")?;
    ///
    /// let kept = duralog::inspect::Inspector::open(dir.path())?.kept()?;
    /// assert_eq!(kept.consumers, log.consumers()?);
    /// assert_eq!((kept.archived, kept.metadata.len()), (None, 0));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn kept(&self) -> Result<Kept> {
        for _ in 0..RETRIES {
            match self.kept_once() {
                Err(Error::Gone { .. }) => {}
                kept => return kept,
            }
        }
        self.kept_once()
    }

    fn kept_once(&self) -> Result<Kept> {
        let view = view::current(&*self.disk)?;
        // All below is in the manifest's own notes. A segment goes only after a manifest took in what it noted.
        let from = view.noted.max(view.head());
        let mut walk = Walk::new(Arc::clone(&self.disk), view, from, Until::End).jumping().noting();
        while walk.next()?.is_some() {}
        let end = walk.end();
        // A writer may have taken some in meanwhile, and given up the segment that they lay in.
        let now = view::newest(&*self.disk)?;
        let mut notes = now.notes.clone();
        let mut behind: Vec<_> = walk.into_notes().filter(|(lsn, _)| *lsn >= now.noted).collect();
        behind.sort_unstable_by_key(|(lsn, _)| *lsn);
        behind.iter().for_each(|(_, note)| notes.apply(note));
        Ok(Kept::new(&notes, end))
    }
}
