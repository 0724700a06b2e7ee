//! Tickets: to be told when a record is durable, without a thread that waits for it.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use super::Log;
use super::engine::Engine;
use super::fork::Handle;
use super::waiters::{Key, Parker, What};
use crate::Lsn;
use crate::error::{Error, Result};
use crate::options::SyncPolicy;

/// A ticket from [`Log::when_durable`]: a future that is ready once the record is durable.
///
/// It belongs to no runtime; any executor can await it, and it may move between threads and executors. It does nothing
/// until it is polled or [waited for](Durable::wait); then, but under [`SyncPolicy::Interval`], it asks for a sync, which
/// it shares with all who commit at that time. The thread that syncs wakes it. Dropping it cancels nothing. Polled or waited
/// for again after it was ready, it gives the same outcome again.
///
/// # Errors
///
/// As [`Log::commit_to`], by the state in which the log is when it is polled:
/// - [`Error::OutOfRange`], [`Error::Gone`], [`Error::Closed`], [`Error::Poisoned`] if they held when it was made;
/// - [`Error::Gone`] if the record was cut away before it was durable (what was durable is Ok, whatever came later);
/// - [`Error::Poisoned`] if a failure ended the log before: the record may or may not be there when it is opened anew;
/// - [`Error::Closed`] if the log was dropped before. After a [`close`](Log::close) that succeeded all is durable: Ok.
/// - [`Error::Io`] if the thread that syncs for tickets could not be started.
#[must_use = "a future does nothing unless it is polled"]
pub struct Durable {
    /// None: it has an outcome.
    engine: Option<Handle>,
    lsn: Lsn,
    cuts: u64,
    /// What was wrong when it was made, or what it has said.
    outcome: Option<Result<()>>,
    key: Option<Key>,
}

impl fmt::Debug for Durable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Durable").field("lsn", &self.lsn).finish_non_exhaustive()
    }
}

impl Log {
    /// A ticket for the record at `lsn`: a future that is ready once the record, and all before it, is durable.
    ///
    /// Under [`SyncPolicy::OnCommit`] and [`SyncPolicy::Bytes`] a thread of the log syncs as soon as a ticket is
    /// polled, for all that were polled by then. Under [`SyncPolicy::Interval`] tickets ask for nothing, and are woken by
    /// the next sync.
    ///
    /// # Errors
    ///
    /// None here; the future gives them ([`Durable`]).
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let log = duralog::Log::open(dir.path())?;
    /// # let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    /// # runtime.block_on(async {
    /// let lsn = log.append(b"paid")?;
    /// log.when_durable(lsn).await?;
    /// assert!(lsn < log.durable());
    /// # Ok::<(), duralog::Error>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn when_durable(&self, lsn: Lsn) -> Durable {
        let admitted = self.engine.here().map_or_else(|error| (0, Err(error)), |e| e.admit(lsn));
        let (engine, cuts, outcome) = match admitted {
            (cuts, Ok(())) => (Some(self.engine.clone()), cuts, None),
            (cuts, Err(error)) => (None, cuts, Some(Err(error))),
        };
        Durable { engine, lsn, cuts, outcome, key: None }
    }

    /// Calls `f` once, when the record at `lsn`, and all before it, is durable, or never will be. It asks for a sync as a
    /// polled ticket does ([`when_durable`](Log::when_durable)), and never waits.
    ///
    /// One thread of the log makes all callbacks and calls the [`Observer`](crate::Observer), one after another and never on
    /// the caller's stack, even if the record is durable already or is refused. So a commit may be made under a lock
    /// that `f` takes. `f` may make any call on the log; the documentation of [`Observer`](crate::Observer) has the table, the
    /// order of callbacks and events, and what waits for them: [`close`](Log::close), and dropping the log. Callbacks that
    /// follow wait for `f`, so it should be short. If it panics, the panic ends there.
    ///
    /// If the system refuses the log that thread, callbacks wait until it grants one; if it never does, the call that closes
    /// or drops the log makes them.
    ///
    /// # Errors
    ///
    /// `f` is given what [`Durable`] would give.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let log = duralog::Log::open(dir.path())?;
    /// let (send, receive) = std::sync::mpsc::channel();
    /// let lsn = log.append(b"paid")?;
    /// log.on_durable(lsn, move |durable| drop(send.send(durable)));
    /// receive.recv()??;
    /// assert!(lsn < log.durable());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn on_durable(&self, lsn: Lsn, f: impl FnOnce(Result<()>) + Send + 'static) {
        let engine = match self.engine.here() {
            Ok(engine) => engine,
            // There is no thread that could call it.
            Err(error) => return f(Err(error)),
        };
        if engine.health.delivery.start(engine).is_err() {
            engine.signal.wake();
        }
        let (cuts, admitted) = engine.admit(lsn);
        if let Err(error) = admitted {
            return engine.health.delivery.call(Box::new(f), Err(error));
        }
        let need = lsn.get() + 1;
        if let Some(key) = engine.enter_call(need, cuts, Box::new(f)) {
            if let Err(error) = engine.ask_for(need) {
                engine.refuse_call(key, error);
            }
        }
    }
}

impl Durable {
    /// The record that it is for.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let log = duralog::Log::open(dir.path())?;
    /// let lsn = log.append(b"one")?;
    /// assert_eq!(log.when_durable(lsn).lsn(), lsn);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn lsn(&self) -> Lsn {
        self.lsn
    }

    /// Waits in this thread, which takes part in the group as [`commit_to`](Log::commit_to) does, and may be the one that
    /// syncs; under [`SyncPolicy::Interval`] it only waits.
    ///
    /// # Errors
    ///
    /// As the future's ([`Durable`]).
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let log = duralog::Log::open(dir.path())?;
    /// let ticket = log.when_durable(log.append(b"one")?);
    /// // ... other work ...
    /// ticket.wait()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn wait(mut self) -> Result<()> {
        if let Some(engine) = &self.engine {
            let engine = engine.here()?;
            if engine.tickets_ask() {
                return engine.wait_durable(self.lsn.get() + 1, self.cuts);
            }
        }
        let parker = Arc::new(Parker::default());
        let waker = Waker::from(Arc::clone(&parker));
        loop {
            match Pin::new(&mut self).poll(&mut Context::from_waker(&waker)) {
                Poll::Ready(outcome) => return outcome,
                Poll::Pending => drop(parker.park(None)),
            }
        }
    }

    fn look(&mut self, waker: &Waker) -> Option<Result<()>> {
        let Some(engine) = &self.engine else { return self.outcome.as_ref().map(copy) };
        let engine = match engine.here() {
            Ok(engine) => engine,
            Err(error) => return Some(Err(error)),
        };
        let need = self.lsn.get() + 1;
        let outcome = engine.outcome(need, self.cuts);
        if outcome.is_some() {
            return outcome;
        }
        self.key = Some(engine.enter(What::Durable, self.key, need, waker.clone()));
        if let Err(error) = engine.ask_for(need) {
            return Some(Err(error));
        }
        // What moved between the look and the entry found no entry to wake.
        engine.outcome(need, self.cuts)
    }

    fn release(&mut self) {
        if let Some(engine) = self.engine.take() {
            if let (Some(key), Ok(engine)) = (self.key.take(), engine.here()) {
                drop(engine.leave(What::Durable, key));
            }
        }
    }
}

fn copy(outcome: &Result<()>) -> Result<()> {
    outcome.as_ref().copied().map_err(Error::copy)
}

impl Future for Durable {
    type Output = Result<()>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        match self.look(context.waker()) {
            Some(outcome) => {
                self.release();
                self.outcome = Some(copy(&outcome));
                Poll::Ready(outcome)
            }
            None => Poll::Pending,
        }
    }
}

impl Drop for Durable {
    fn drop(&mut self) {
        self.release();
    }
}

impl Engine {
    /// Whether a ticket for `lsn` can be had, and the cuts so far.
    fn admit(&self, lsn: Lsn) -> (u64, Result<()>) {
        let cuts = self.cuts();
        (cuts, self.health.check().and_then(|()| self.check_position(lsn.get())))
    }

    /// What a ticket says of the positions below `need`; none as long as they may still become durable.
    pub(super) fn outcome(&self, need: u64, cuts: u64) -> Option<Result<()>> {
        // Before the position: what was durable when the log ended is so.
        let ended = self.health.ended();
        if self.durable() >= need {
            // It also moves past what was cut away.
            let cut = self.cuts() != cuts;
            return Some(if cut { self.check_kept(need.saturating_sub(1)) } else { Ok(()) });
        }
        ended.map(Err)
    }

    fn tickets_ask(&self) -> bool {
        !matches!(self.files.options.sync_policy, SyncPolicy::Interval(_))
    }

    fn ask_for(self: &Arc<Self>, need: u64) -> Result<()> {
        self.health.syncer.ask(self, if self.tickets_ask() { need } else { 0 })
    }
}

const _: () = {
    const fn owned<T: Send + Unpin + 'static>() {}
    owned::<Durable>();
};
