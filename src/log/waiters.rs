//! Who waits without a thread of its own: tasks, by their wakers, and callbacks, each for a position.
//!
//! Two tables, each behind the lock under which its position moves: for what is durable behind the group's, for what is
//! published behind the tail's. So whoever enters one and then looks again cannot be missed: either the position moved
//! before, and the look sees it, or it moves later, and whoever moves it finds the entry.
//!
//! Callbacks that are due are queued under that lock (`delivery.rs`). Wakers are woken at once by whoever moved the
//! position. They are others' code too: they are cloned, dropped and called under no lock, and a panic of one ends there.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::task::{Wake, Waker};
use std::time::Duration;

use super::delivery::Call;
use super::engine::Engine;
use crate::error::Error;
use crate::sync::{Condvar, Instant, Mutex};

/// What a position is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    Durable,
    Published,
}

/// An entry: it is due when what it waits for is at `need` or beyond.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    need: u64,
    id: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Waiters {
    tasks: BTreeMap<Key, Waker>,
    /// Only for what is durable.
    calls: BTreeMap<Key, Called>,
    ids: u64,
}

/// A ticket's callback, and the cuts when its record was in the log.
struct Called {
    cuts: u64,
    call: Call,
}

impl std::fmt::Debug for Called {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Called").field("cuts", &self.cuts).finish_non_exhaustive()
    }
}

/// Tasks taken out, to be woken once no lock is held.
#[derive(Debug, Default)]
#[must_use]
pub(super) struct Due(BTreeMap<Key, Waker>);

impl Waiters {
    pub(crate) fn is_empty(&self) -> bool {
        self.tasks.is_empty() && self.calls.is_empty()
    }

    fn len(&self) -> usize {
        self.tasks.len() + self.calls.len()
    }

    fn new_key(&mut self, need: u64) -> Key {
        self.ids += 1;
        Key { need, id: self.ids }
    }

    /// The entry, and what stood there before: to be dropped once no lock is held.
    fn put(&mut self, key: Option<Key>, need: u64, waker: Waker) -> (Key, Option<Waker>) {
        let key = key.unwrap_or_else(|| self.new_key(need));
        (key, self.tasks.insert(key, waker))
    }

    /// Takes out the tasks that are due at `to`.
    pub(super) fn take(&mut self, to: u64) -> Due {
        Due(split(&mut self.tasks, to))
    }
}

/// Takes out all that is due at `to`.
fn split<T>(entries: &mut BTreeMap<Key, T>, to: u64) -> BTreeMap<Key, T> {
    if entries.first_key_value().is_none_or(|(first, _)| first.need > to) {
        return BTreeMap::new();
    }
    let later = match to.checked_add(1) {
        Some(need) => entries.split_off(&Key { need, id: 0 }),
        None => BTreeMap::new(),
    };
    std::mem::replace(entries, later)
}

impl Due {
    #[inline]
    pub(super) fn wake(self) {
        if !self.0.is_empty() {
            self.wake_all();
        }
    }

    #[cold]
    fn wake_all(self) {
        for waker in self.0.into_values() {
            // The panic hook has reported it.
            drop(catch_unwind(AssertUnwindSafe(|| waker.wake())));
        }
    }
}

impl Engine {
    fn with_waiters<R>(&self, what: What, change: impl FnOnce(&mut Waiters) -> R) -> R {
        match what {
            What::Durable => change(&mut self.group.state.lock().waiters),
            What::Published => {
                let mut tail = self.tail.lock();
                let changed = change(&mut tail.waiters);
                tail.watched = !tail.waiters.is_empty();
                changed
            }
        }
    }

    /// Enters a task, or puts its waker in the place of the one at `key`. The caller looks again afterwards.
    pub(super) fn enter(&self, what: What, key: Option<Key>, need: u64, waker: Waker) -> Key {
        let (key, before) = self.with_waiters(what, |waiters| waiters.put(key, need, waker));
        drop(before);
        key
    }

    /// Takes a task out, if no one has.
    pub(super) fn leave(&self, what: What, key: Key) -> Option<Waker> {
        self.with_waiters(what, |waiters| waiters.tasks.remove(&key))
    }

    /// Queues `call` if it has an outcome, else enters it. Both under the lock, so it comes after the events of what
    /// is durable, and is missed by no one who moves that.
    pub(super) fn enter_call(&self, need: u64, cuts: u64, call: Call) -> Option<Key> {
        let mut state = self.group.state.lock();
        if let Some(outcome) = self.outcome(need, cuts) {
            self.health.delivery.call(call, outcome);
            return None;
        }
        let key = state.waiters.new_key(need);
        state.waiters.calls.insert(key, Called { cuts, call });
        Some(key)
    }

    /// Queues the callback at `key` with an error, if it still waits.
    #[cold]
    pub(super) fn refuse_call(&self, key: Key, error: Error) {
        let called = self.group.state.lock().waiters.calls.remove(&key);
        if let Some(Called { call, .. }) = called {
            self.health.delivery.call(call, Err(error));
        }
    }

    /// Takes out what is due at `to` of those who wait for what is durable. Under their lock: callbacks go to the queue.
    pub(super) fn take_due(&self, waiters: &mut Waiters, to: u64) -> Due {
        for (Key { need, .. }, Called { cuts, call }) in split(&mut waiters.calls, to) {
            // What is due has an outcome.
            let outcome = self.outcome(need, cuts).unwrap_or(Err(Error::Closed));
            self.health.delivery.call(call, outcome);
        }
        waiters.take(to)
    }

    /// Tells those whose position was passed by something else than a sync or an append.
    pub(super) fn tell_due(&self) {
        self.tell_up_to(self.durable(), self.end());
    }

    /// The log has ended, one way or another: all are told, and look for themselves.
    pub(super) fn tell_all(&self) {
        self.tell_up_to(u64::MAX, u64::MAX);
    }

    fn tell_up_to(&self, durable: u64, published: u64) {
        self.with_waiters(What::Durable, |waiters| self.take_due(waiters, durable)).wake();
        self.with_waiters(What::Published, |waiters| waiters.take(published)).wake();
    }

    /// How many wait, for either.
    pub(super) fn waiting(&self) -> u64 {
        let of = |what| self.with_waiters(what, |waiters| waiters.len() as u64);
        of(What::Durable) + of(What::Published)
    }
}

/// A thread that waits as a task would.
#[derive(Debug, Default)]
pub(super) struct Parker {
    woken: Mutex<bool>,
    changed: Condvar,
}

impl Wake for Parker {
    fn wake(self: Arc<Self>) {
        *self.woken.lock() = true;
        self.changed.notify_one();
    }
}

impl Parker {
    /// Waits until it is woken, or for what `limit` leaves. False: the time is over.
    pub(super) fn park(&self, limit: Option<(Instant, Duration)>) -> bool {
        let mut woken = self.woken.lock();
        while !*woken {
            match limit {
                None => self.changed.wait(&mut woken),
                Some((since, time)) => {
                    let left = time.saturating_sub(since.elapsed());
                    if left.is_zero() {
                        return false;
                    }
                    // Too long for the clock is for ever.
                    self.changed.wait_for(&mut woken, left.min(Duration::from_secs(1 << 20)));
                }
            }
        }
        *woken = false;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One taken out too early would be told that the log is closed, since it has no other outcome yet.
    #[test]
    fn p6_whoever_is_due_is_taken_out_and_no_one_else() {
        let mut waiters = Waiters::default();
        for need in [1, 9, 9, 10, 17, u64::MAX] {
            waiters.put(None, need, Waker::noop().clone());
        }
        let mut needs = |to| waiters.take(to).0.into_keys().map(|key| key.need).collect::<Vec<_>>();
        assert_eq!(needs(0), [0; 0]);
        assert_eq!(needs(8), [1]);
        assert_eq!(needs(9), [9, 9]);
        assert_eq!(needs(9), [0; 0]);
        assert_eq!(needs(16), [10]);
        assert_eq!(needs(u64::MAX), [17, u64::MAX]);
    }
}
