//! Waiting for what comes: as a thread, as an iterator, as a stream.

use std::borrow::BorrowMut;
use std::iter::FusedIterator;
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use super::Follower;
use crate::error::{Error, Result};
use crate::log::read::Record;
use crate::log::waiters::What;
use crate::sync::{Instant, thread};

impl Follower {
    pub(super) fn wait_next(
        &mut self,
        limit: Option<(Instant, Duration)>,
    ) -> Result<Option<Record>> {
        loop {
            if let Some(record) = self.try_next()? {
                return Ok(Some(record));
            }
            if !self.wait(limit) {
                // What came at the last moment is not left for the next call.
                return self.try_next();
            }
        }
    }

    /// Waits until there may be more than at the last look. False: the time is over.
    fn wait(&mut self, limit: Option<(Instant, Duration)>) -> bool {
        // Under load more comes at once, and to sleep and be woken costs both sides more than that.
        for _ in 0..YIELDS {
            if self.has_moved() {
                return true;
            }
            thread::yield_now();
        }
        let parker = Arc::clone(self.parker.get_or_insert_default());
        self.seat(Waker::from(Arc::clone(&parker)));
        let woken = self.has_moved() || parker.park(limit);
        self.unseat();
        woken
    }

    pub(super) fn reach(&self) -> u64 {
        match self.what {
            What::Durable => self.engine.durable().get(),
            What::Published => self.engine.end().get(),
        }
    }

    fn has_moved(&self) -> bool {
        self.reach() > self.bound
            || self.engine.here().map_or(true, |engine| engine.health.ended().is_some())
    }

    /// Has `waker` woken when the log goes beyond `bound`, or ends. The caller looks again afterwards.
    fn seat(&mut self, waker: Waker) {
        self.unseat();
        let Ok(engine) = self.engine.here() else { return };
        // Without anyone to tell of a failure it would be told when the log is dropped.
        drop(engine.health.syncer.ask(engine, 0));
        let need = self.bound.saturating_add(1);
        self.key = Some(engine.enter(self.what, None, need, waker));
    }

    pub(super) fn unseat(&mut self) {
        if let (Some(key), Ok(engine)) = (self.key.take(), self.engine.here()) {
            drop(engine.leave(self.what, key));
        }
    }

    /// Whether the iterator ends as it should: closed, and all was shown.
    fn is_through(&self, error: &Error) -> bool {
        let is_whole = self.engine.here().is_ok_and(|engine| engine.health.is_whole());
        matches!(error, Error::Closed) && is_whole && self.bound >= self.reach()
    }

    /// What an iterator makes of it: it ends after an error.
    fn item(&mut self, next: Result<Record>) -> Option<Result<Record>> {
        let Err(error) = &next else { return Some(next) };
        self.done = true;
        let through = self.is_through(error);
        self.let_go();
        (!through).then_some(next)
    }
}

/// How often a thread that waits lets others go first before it sleeps.
const YIELDS: u32 = 8;

/// The iterator of a [`Follower`], or of one that is borrowed: it waits for each record.
///
/// A type of its own, since `next` of a follower is that of its `Stream`.
#[derive(Debug)]
pub struct Following<F>(F);

impl<F: BorrowMut<Follower>> Iterator for Following<F> {
    type Item = Result<Record>;

    fn next(&mut self) -> Option<Result<Record>> {
        let follower = self.0.borrow_mut();
        loop {
            if follower.done {
                return None;
            }
            // Without a limit there is none only where it was woken for nothing.
            if let Some(next) = follower.wait_next(None).transpose() {
                return follower.item(next);
            }
        }
    }
}

impl<F: BorrowMut<Follower>> FusedIterator for Following<F> {}

impl IntoIterator for Follower {
    type Item = Result<Record>;
    type IntoIter = Following<Follower>;

    fn into_iter(self) -> Following<Follower> {
        Following(self)
    }
}

impl<'a> IntoIterator for &'a mut Follower {
    type Item = Result<Record>;
    type IntoIter = Following<&'a mut Follower>;

    fn into_iter(self) -> Following<&'a mut Follower> {
        Following(self)
    }
}

#[cfg(feature = "stream")]
impl futures_core::Stream for Follower {
    type Item = Result<Record>;

    fn poll_next(
        self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<Record>>> {
        use std::task::Poll;
        let this = self.get_mut();
        loop {
            if this.done {
                return Poll::Ready(None);
            }
            if let Some(next) = this.try_next().transpose() {
                return Poll::Ready(this.item(next));
            }
            this.seat(context.waker().clone());
            if !this.has_moved() {
                return Poll::Pending;
            }
        }
    }
}
