//! What comes: [`ReaderFollower`].

use std::sync::Arc;
use std::time::Duration;

use crate::Lsn;
use crate::error::Result;
use crate::inspect::beside::{Found, Until, Walk};
use crate::inspect::{OwnedRecord, view};
use crate::sync::{Instant, thread};
use crate::watermark::Watch;

/// How often files are looked up by name, whatever happens. In a model, whose clock says little, more often.
const RECHECK: Duration = Duration::from_millis(if cfg!(shuttle) { 1 } else { 100 });
/// How long it sleeps at first and at most where nothing wakes it.
const FIRST: Duration = Duration::from_micros(50);
const MOST: Duration = Duration::from_millis(1);
/// Where to look is dear: in a log that is closed, and in one without a watermark.
const MOST_IF_DEAR: Duration = Duration::from_millis(10);

/// The records of a log as another process makes them durable, each once, in order, without a gap.
///
/// It goes through whatever the writer does: rolling, recycling, cuts of what it has not shown, a close, which is not its
/// end, since the log may be opened again, and a crash with the recovery of the next writer. A durable record that it has
/// shown is in the log until a checkpoint or `truncate_after` takes it.
///
/// After an error it stands where it stood: the next call tries again. Of [`Error::Gone`](crate::Error::Gone) it comes back
/// no more: follow from elsewhere.
#[derive(Debug)]
pub struct ReaderFollower {
    walk: Walk,
    watch: Option<Watch>,
    until: Until,
    /// Behind the last record that was shown.
    shown: u64,
    /// When files were last looked up by name; none: never.
    checked: Option<Instant>,
    failed: bool,
}

impl ReaderFollower {
    pub(super) fn new(walk: Walk, from: u64) -> ReaderFollower {
        let (watch, until) = (None, Until::Durable);
        ReaderFollower { walk, watch, until, shown: from, checked: None, failed: false }
    }

    /// Shows records as soon as they can be read. Such a record survives the writer's death, but not the loss of
    /// power; where a crash has taken one that was shown, the follower says [`Error::Gone`](crate::Error::Gone).
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// let log = duralog::Log::open(dir.path())?;
    /// let reader = duralog::Reader::open(dir.path())?;
    /// log.append(b"not durable")?;
    /// assert!(reader.follow(reader.head()?)?.try_next()?.is_none());
    /// assert!(reader.follow(reader.head()?)?.published().try_next()?.is_some());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn published(mut self) -> ReaderFollower {
        self.until = Until::Published;
        self.walk.set_until(Until::Published);
        self
    }

    /// Where it goes on: the end of the last record that it has shown, or where it began. Given to
    /// [`follow`](crate::Reader::follow), in whatever process, the next record is the one that would be next here.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// let log = duralog::Log::open(dir.path())?;
    /// log.append_durable(b"one")?;
    /// let reader = duralog::Reader::open(dir.path())?;
    /// let mut follower = reader.follow(reader.head()?)?;
    /// follower.try_next()?;
    /// assert_eq!(follower.position(), log.durable());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn position(&self) -> Lsn {
        Lsn::new(self.shown)
    }

    /// The next record, if there is one by now. Does not wait.
    ///
    /// # Errors
    ///
    /// [`Error::Gone`](crate::Error::Gone) if a checkpoint has passed it, or a cut or a crash has taken what it has shown;
    /// [`Error::Corrupt`](crate::Error::Corrupt), [`Error::Io`](crate::Error::Io), and if the log as a whole is
    /// gone those of [`Reader::open`](crate::Reader::open).
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// let log = duralog::Log::open(dir.path())?;
    /// let reader = duralog::Reader::open(dir.path())?;
    /// assert!(reader.follow(reader.head()?)?.try_next()?.is_none());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn try_next(&mut self) -> Result<Option<OwnedRecord>> {
        let found = self.advance()?;
        Ok(found.map(|found| self.owned(found)))
    }

    /// The same, in memory of this follower: nothing is allocated for a record.
    ///
    /// # Errors
    ///
    /// Those of [`try_next`](ReaderFollower::try_next).
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// let log = duralog::Log::open(dir.path())?;
    /// let lsn = log.append_durable(b"one")?;
    /// let reader = duralog::Reader::open(dir.path())?;
    /// let mut follower = reader.follow(reader.head()?)?;
    /// assert_eq!(follower.try_next_payload()?, Some((lsn, &b"one"[..])));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[inline]
    pub fn try_next_payload(&mut self) -> Result<Option<(Lsn, &[u8])>> {
        let found = self.advance()?;
        Ok(found.map(|found| (Lsn::new(found.lsn), self.walk.payload(found))))
    }

    /// The next record; waits for it `at_most` so long.
    ///
    /// # Errors
    ///
    /// Those of [`try_next`](ReaderFollower::try_next).
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// let log = duralog::Log::open(dir.path())?;
    /// let reader = duralog::Reader::open(dir.path())?;
    /// let mut follower = reader.follow(reader.head()?)?;
    /// let wait = std::time::Duration::from_millis(5);
    /// assert!(follower.next_timeout(wait)?.is_none());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn next_timeout(&mut self, at_most: Duration) -> Result<Option<OwnedRecord>> {
        let began = Instant::now();
        let mut pause = FIRST;
        loop {
            let found = self.advance()?;
            if let Some(found) = found {
                return Ok(Some(self.owned(found)));
            }
            let left = at_most.saturating_sub(began.elapsed());
            if left.is_zero() {
                return Ok(None);
            }
            self.wait(left, &mut pause);
        }
    }

    fn owned(&self, found: Found) -> OwnedRecord {
        OwnedRecord { lsn: Lsn::new(found.lsn), payload: self.walk.payload(found).to_vec() }
    }

    #[inline]
    fn advance(&mut self) -> Result<Option<Found>> {
        let mut found = self.walk.next()?;
        if found.is_none() {
            self.look()?;
            found = self.walk.next()?;
        }
        if let Some(found) = found {
            self.shown = found.end;
        }
        Ok(found)
    }

    /// Finds out whether the log has grown.
    #[cold]
    fn look(&mut self) -> Result<()> {
        if self.checked.is_none_or(|checked| checked.elapsed() >= RECHECK) {
            self.checked = Some(Instant::now());
            self.look_up()?;
        }
        let told = match &mut self.watch {
            Some(watch) => watch.look(),
            None => None,
        };
        let durable = match told {
            None if self.until == Until::Durable => self.vouched_by_marks(),
            told => told.unwrap_or(0),
        };
        self.walk.raise(durable)?;
        self.walk.look_again();
        Ok(())
    }

    fn look_up(&mut self) -> Result<()> {
        let directory = self.walk.directory();
        if !self.watch.as_ref().is_some_and(|watch| watch.is_current(&**directory)) {
            self.watch = Watch::open(&**directory, self.walk.view().log_id);
        }
        self.walk.renew()
    }

    /// What marks beyond say, where there is no watermark.
    fn vouched_by_marks(&self) -> u64 {
        let directory = self.walk.directory();
        let Ok(view) = view::newest(&**directory) else { return 0 };
        let (from, durable) = (self.walk.passed().unwrap_or(0).max(self.shown), view.durable);
        let mut ahead = Walk::new(Arc::clone(directory), view, from, Until::Published);
        // Whatever stops it is met by the walk that shows.
        while let Ok(Some(_)) = ahead.next() {}
        ahead.marked().max(durable)
    }

    /// Sleeps until there may be more.
    fn wait(&self, at_most: Duration, pause: &mut Duration) {
        let dear = self.watch.is_none() || !self.walk.stands_at_the_tail();
        let most = if dear { MOST_IF_DEAR } else { MOST };
        let polls = self.until == Until::Published || self.watch.is_none();
        let sleep = at_most.min(if polls { *pause } else { RECHECK });
        *pause = (*pause * 2).min(most);
        if !self.watch.as_ref().is_some_and(|watch| watch.wait(sleep)) {
            thread::sleep(sleep.min(most));
        }
    }
}

/// Waits for each record as long as it takes: also while the log is closed. Ends after an error.
impl Iterator for ReaderFollower {
    type Item = Result<OwnedRecord>;

    fn next(&mut self) -> Option<Result<OwnedRecord>> {
        while !self.failed {
            let next = self.next_timeout(Duration::MAX).transpose();
            self.failed = matches!(next, Some(Err(_)));
            if next.is_some() {
                return next;
            }
        }
        None
    }
}
