//! The thread that syncs for those who wait without a thread, started with the first of them.
//!
//! Apart from the worker, which may be making a segment for milliseconds. It takes the lead as every committer does, so
//! that it shares syncs with them; what asks while a sync is under way is covered by the next one.
//!
//! It also tells of a failure: whoever poisons the log may hold any lock, and so only rings.

use std::sync::Arc;

use super::engine::Engine;
use crate::error::{Error, Result};
use crate::sync::thread::{self, JoinHandle};
use crate::sync::{Condvar, Mutex};

#[derive(Debug, Default)]
pub(crate) struct Syncer {
    /// The last of all locks.
    state: Mutex<State>,
    rung: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// A sync is asked for up to here.
    wanted: u64,
    failed: bool,
    stopped: bool,
    started: bool,
    thread: Option<JoinHandle<()>>,
}

enum Rung {
    Sync(u64),
    Failed,
    Stop,
}

impl Syncer {
    /// Makes sure that there is someone to tell of a failure, and asks for a sync up to `wanted`; 0 asks for none.
    pub(super) fn ask(&self, engine: &Arc<Engine>, wanted: u64) -> Result<()> {
        let mut state = self.state.lock();
        if !state.started && !state.stopped {
            let running = Arc::clone(engine);
            let spawned = thread::Builder::new()
                .name("duralog-sync".into())
                .spawn(move || running.contain_thread(run));
            let path = engine.files.directory.path();
            state.thread = Some(spawned.map_err(|e| Error::io("clone", path, e))?);
            state.started = true;
        }
        if wanted > state.wanted {
            state.wanted = wanted;
            drop(state);
            self.rung.notify_one();
        }
        Ok(())
    }

    /// The log is poisoned.
    pub(super) fn ring(&self) {
        self.state.lock().failed = true;
        self.rung.notify_one();
    }

    /// Nothing is synced by it afterwards.
    pub(super) fn stop(&self) {
        let mut state = self.state.lock();
        state.stopped = true;
        let thread = state.thread.take();
        drop(state);
        self.rung.notify_one();
        join(thread);
    }

    fn wait(&self, done: u64) -> Rung {
        let mut state = self.state.lock();
        loop {
            if state.stopped {
                return Rung::Stop;
            }
            if std::mem::take(&mut state.failed) {
                return Rung::Failed;
            }
            if state.wanted > done {
                return Rung::Sync(state.wanted);
            }
            self.rung.wait(&mut state);
        }
    }
}

/// Joins a thread of the log, unless it is this one: a callback may close the log, or drop the last handle of it.
pub(super) fn join(thread: Option<JoinHandle<()>>) {
    if let Some(thread) = thread.filter(|thread| thread.thread().id() != thread::current().id()) {
        // No panic comes out of it (`contain.rs`).
        drop(thread.join());
    }
}

fn run(engine: &Engine) {
    let mut done = 0;
    loop {
        match engine.health.syncer.wait(done) {
            Rung::Stop => return,
            Rung::Failed => engine.tell_all(),
            Rung::Sync(wanted) => {
                // Errors are not lost here: they have poisoned the log, of which all are told.
                drop(engine.wait_durable(wanted, engine.cuts()));
                done = wanted;
            }
        }
    }
}
