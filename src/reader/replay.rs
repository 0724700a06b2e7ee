//! All that is there now.

use crate::Lsn;
use crate::error::Result;
use crate::inspect::OwnedRecord;
use crate::inspect::beside::Walk;

/// The records of a log that another process may be writing, oldest first: an iterator of `Result<OwnedRecord>` that ends after
/// an error. Of a batch all records come out or none.
///
/// It is lazy: what it has not come to it sees as it is then. It ends where the log ended at some moment since it began,
/// however fast the writer goes on. It ends with [`Error::Gone`](crate::Error::Gone) if a
/// checkpoint has passed where it stands, or a cut what it has shown.
#[derive(Debug)]
pub struct ReaderReplay {
    walk: Walk,
}

impl ReaderReplay {
    pub(super) fn new(walk: Walk) -> ReaderReplay {
        ReaderReplay { walk }
    }

    /// The next record's LSN and payload, in memory of this replay: None at the end. Faster than the iterator, since nothing is
    /// allocated for a record.
    ///
    /// # Errors
    ///
    /// [`Error::Gone`](crate::Error::Gone), [`Error::Corrupt`](crate::Error::Corrupt),
    /// [`Error::Io`](crate::Error::Io); after an error there are no more records.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// let log = duralog::Log::open(dir.path())?;
    /// log.append_batch(&["one", "two"])?;
    /// let mut replay = duralog::Reader::open(dir.path())?.replay()?;
    /// let mut bytes = 0;
    /// while let Some((_lsn, payload)) = replay.next_payload()? {
    ///     bytes += payload.len();
    /// }
    /// assert_eq!(bytes, 6);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[inline]
    pub fn next_payload(&mut self) -> Result<Option<(Lsn, &[u8])>> {
        let found = self.walk.next()?;
        Ok(found.map(|found| (Lsn::new(found.lsn), self.walk.payload(found))))
    }
}

impl Iterator for ReaderReplay {
    type Item = Result<OwnedRecord>;

    fn next(&mut self) -> Option<Result<OwnedRecord>> {
        self.walk.next_owned().transpose()
    }
}

impl std::iter::FusedIterator for ReaderReplay {}
