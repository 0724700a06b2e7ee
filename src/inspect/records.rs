//! The records that an inspector shows.

use std::marker::PhantomData;
use std::sync::Arc;

use super::Inspector;
use super::beside::{Until, Walk};
use crate::Lsn;
use crate::error::Result;
use crate::format::manifest::Manifest;
use crate::log::Tail;

/// A record, copied out.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct OwnedRecord {
    /// Its position.
    pub lsn: Lsn,
    /// Its bytes.
    pub payload: Vec<u8>,
}

/// An iterator over copied records; ends after an error. Only whole batches come out.
///
/// It is lazy, and a writer may go on meanwhile: the walk then sees what it has not come to as it is now, and ends where the
/// log ended at some moment since it began. If
/// what it stands in or has shown is no longer in the log, it ends with [`Error::Gone`](crate::Error::Gone).
#[derive(Debug)]
pub struct Records<'a> {
    walk: Walk,
    _inspector: PhantomData<&'a Inspector>,
}

impl Records<'_> {
    pub(super) fn new(inspector: &Inspector, view: Arc<Manifest>, from: u64) -> Records<'_> {
        let walk = Walk::new(Arc::clone(&inspector.disk), view, from, Until::End);
        Records { walk, _inspector: PhantomData }
    }

    /// It does not end before a window that begins at `lsn` or later.
    pub(super) fn at_least_to(mut self, lsn: u64) -> Self {
        self.walk.at_least_to(lsn);
        self
    }

    /// How the log ends; none before the iterator has come there.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// let log = duralog::Log::open(dir.path())?;
    /// log.append(b"one")?;
    /// let inspector = duralog::inspect::Inspector::open(dir.path())?;
    /// let mut records = inspector.records();
    /// assert_eq!(records.by_ref().count(), 1);
    /// assert!(matches!(records.tail(), Some(duralog::Tail::Unclean { .. })));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn tail(&self) -> Option<Tail> {
        self.walk.tail()
    }

    /// Where the walk stands.
    pub(super) fn end(&self) -> u64 {
        self.walk.end()
    }

    /// The manifest that it goes by.
    pub(super) fn view(&self) -> &Arc<Manifest> {
        self.walk.view()
    }
}

impl Iterator for Records<'_> {
    type Item = Result<OwnedRecord>;

    fn next(&mut self) -> Option<Result<OwnedRecord>> {
        self.walk.next_owned().transpose()
    }
}

impl std::iter::FusedIterator for Records<'_> {}
