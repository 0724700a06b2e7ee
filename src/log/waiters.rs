//! Who waits without a thread of its own: wakers and callbacks, each for a position.
//!
//! Two tables, each behind the lock under which its position moves: for what is durable behind the group's, for what is
//! published behind the tail's. So whoever enters one and then looks again cannot be missed: either the position moved
//! before, and the look sees it, or it moves later, and whoever moves it finds the entry.
//!
//! Wakers and callbacks are others' code. They are cloned, dropped and called under no lock, and a panic of one ends
//! there: the thread that syncs has others to serve.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::task::{Wake, Waker};
use std::time::Duration;

use super::engine::Engine;
use crate::error::{Error, Result};
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
    entries: BTreeMap<Key, Waiter>,
    ids: u64,
}

pub(super) enum Waiter {
    Task(Waker),
    /// A ticket's callback, and the cuts when its record was in the log.
    Call {
        cuts: u64,
        call: Box<dyn FnOnce(Result<()>) + Send>,
    },
}

impl std::fmt::Debug for Waiter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Waiter::Task(_) => "Task",
            Waiter::Call { .. } => "Call",
        })
    }
}

/// Entries taken out, to be told once no lock is held.
#[derive(Debug, Default)]
#[must_use]
pub(super) struct Due(BTreeMap<Key, Waiter>);

impl Waiters {
    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// The entry, and what stood there before: to be dropped once no lock is held.
    fn put(&mut self, key: Option<Key>, need: u64, waiter: Waiter) -> (Key, Option<Waiter>) {
        let key = key.unwrap_or_else(|| {
            self.ids += 1;
            Key { need, id: self.ids }
        });
        (key, self.entries.insert(key, waiter))
    }

    /// Takes out all that are due at `to`.
    pub(super) fn take(&mut self, to: u64) -> Due {
        if self.entries.first_key_value().is_none_or(|(first, _)| first.need > to) {
            return Due::default();
        }
        let later = match to.checked_add(1) {
            Some(need) => self.entries.split_off(&Key { need, id: 0 }),
            None => BTreeMap::new(),
        };
        Due(std::mem::replace(&mut self.entries, later))
    }
}

impl Due {
    #[inline]
    pub(super) fn tell(self, engine: &Engine) {
        if !self.0.is_empty() {
            self.tell_all(engine);
        }
    }

    #[cold]
    fn tell_all(self, engine: &Engine) {
        for (Key { need, .. }, waiter) in self.0 {
            let told = catch_unwind(AssertUnwindSafe(|| match waiter {
                Waiter::Task(waker) => waker.wake(),
                // What is due has an outcome.
                Waiter::Call { cuts, call } => {
                    call(engine.outcome(need, cuts).unwrap_or(Err(Error::Closed)));
                }
            }));
            // The panic hook has told of it.
            drop(told);
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

    /// Enters a waiter, or puts it in the place of the one at `key`. The caller looks again afterwards.
    pub(super) fn enter(&self, what: What, key: Option<Key>, need: u64, waiter: Waiter) -> Key {
        let (key, before) = self.with_waiters(what, |waiters| waiters.put(key, need, waiter));
        drop(before);
        key
    }

    /// Takes an entry out, if no one has.
    pub(super) fn leave(&self, what: What, key: Key) -> Option<Waiter> {
        self.with_waiters(what, |waiters| waiters.entries.remove(&key))
    }

    /// Tells those whose position was passed by something else than a sync or an append.
    pub(super) fn tell_due(&self) {
        for (what, to) in [(What::Durable, self.durable()), (What::Published, self.end())] {
            self.with_waiters(what, |waiters| waiters.take(to)).tell(self);
        }
    }

    /// The log has ended, one way or another: all are told, and look for themselves.
    pub(super) fn tell_all(&self) {
        for what in [What::Durable, What::Published] {
            self.with_waiters(what, |waiters| waiters.take(u64::MAX)).tell(self);
        }
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
