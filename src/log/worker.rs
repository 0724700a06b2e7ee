//! The background thread: it waits and calls. All logic is in [`Engine::step`] and in commit.

use std::sync::Arc;
use std::time::Duration;

use super::engine::Engine;
use crate::error::{Error, Result};
use crate::options::SyncPolicy;
use crate::sync::thread::{self, JoinHandle};
use crate::sync::{Condvar, Instant, Mutex};

/// How often segments that readers hold are looked at again, and a thread that the system refused is asked for.
const AGAIN_EVERY: Duration = Duration::from_millis(50);

/// How soon what failed before anything was changed is tried again.
const RETRY_EVERY: Duration = Duration::from_millis(500);

/// Wakes the worker.
#[derive(Debug, Default)]
pub(crate) struct Signal {
    flags: Mutex<Flags>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Flags {
    work: bool,
    stop: bool,
}

impl Signal {
    pub(crate) fn wake(&self) {
        self.flags.lock().work = true;
        self.changed.notify_one();
    }

    fn stop(&self) {
        self.flags.lock().stop = true;
        self.changed.notify_one();
    }

    /// Waits for work, or for `at_most`.
    fn wait(&self, at_most: Option<Duration>) -> Woken {
        let mut flags = self.flags.lock();
        while !flags.work && !flags.stop {
            match at_most {
                None => self.changed.wait(&mut flags),
                Some(time) => {
                    if self.changed.wait_for(&mut flags, time).timed_out() {
                        break;
                    }
                }
            }
        }
        let work = std::mem::take(&mut flags.work);
        match (flags.stop, work) {
            (true, _) => Woken::ToStop,
            (false, true) => Woken::ForWork,
            (false, false) => Woken::ByTime,
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Woken {
    ToStop,
    ForWork,
    ByTime,
}

/// The thread; joined on close and on drop.
#[derive(Debug, Default)]
pub(crate) struct Worker {
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Worker {
    pub(crate) fn start(engine: &Arc<Engine>) -> Result<()> {
        let running = Arc::clone(engine);
        let spawned = thread::Builder::new()
            .name("duralog".into())
            .spawn(move || running.contain_thread(|_| run(&running)));
        let path = engine.files.directory.path();
        *engine.worker.thread.lock() = Some(spawned.map_err(|e| Error::io("clone", path, e))?);
        Ok(())
    }

    pub(crate) fn stop(engine: &Engine) {
        engine.signal.stop();
        let thread = engine.worker.thread.lock().take();
        super::syncer::join(thread);
    }
}

fn run(engine: &Arc<Engine>) {
    let policy = engine.files.options.sync_policy;
    let mut last_sync = Instant::now();
    let mut failed = false;
    loop {
        // Two clocks: neither may put off the other.
        let sync = match policy {
            SyncPolicy::Interval(every) => Some(every.saturating_sub(last_sync.elapsed())),
            SyncPolicy::OnCommit | SyncPolicy::Bytes(_) => None,
        };
        let retired = engine.has_retired().then_some(AGAIN_EVERY);
        let aging = engine.retains_every();
        let undelivered = engine.health.delivery.lacks_thread().then_some(AGAIN_EVERY);
        // What was left undone; or what is done a piece at a time, so that nothing else waits for all of it.
        let rest = if failed { Some(RETRY_EVERY) } else { engine.cold().map(|_| Duration::ZERO) };
        let times = sync.into_iter().chain(retired).chain(aging).chain(undelivered).chain(rest);
        let woken = engine.signal.wait(times.min());
        let much = woken == Woken::ForWork && engine.unsynced() >= engine.files.sync_every();
        let sync_due = match policy {
            SyncPolicy::OnCommit => much,
            SyncPolicy::Bytes(_) => woken == Woken::ForWork,
            SyncPolicy::Interval(every) => much || last_sync.elapsed() >= every,
        };
        if woken == Woken::ToStop {
            return;
        }
        if undelivered.is_some() {
            drop(engine.health.delivery.start(engine));
        }
        // Errors are not lost here: a failed sync has poisoned the log, a full disk is met again by the append that
        // needs the space, and all else is tried again.
        if sync_due {
            last_sync = Instant::now();
            drop(engine.commit_in_background());
        }
        failed = matches!(engine.step(), Err(Error::Io { .. }));
    }
}
