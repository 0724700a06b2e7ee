//! A panic where others depend on the thread: it poisons the log, and ends no thread.
//!
//! Without this a panic of the thread that syncs would leave leadership taken for ever, and one in the background would
//! end the syncs of an interval without a word.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::engine::Engine;
use crate::error::{Error, Result};
use crate::sync::thread;

impl Engine {
    /// Runs a part of the engine for which others wait.
    pub(super) fn contain<T>(&self, run: impl FnOnce() -> Result<T>) -> Result<T> {
        if cfg!(shuttle) {
            return run(); // it ends threads by a panic of its own
        }
        catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|panic| Err(self.panicked(&*panic)))
    }

    /// The whole of a background thread. After a panic it runs again: it still has to tell those who wait.
    pub(super) fn contain_thread(&self, run: impl Fn(&Engine)) {
        let run = || {
            run(self);
            Ok(())
        };
        // Once poisoned, the log gives no thread anything to do that could fail again.
        while self.contain(run).is_err() {}
    }

    #[cold]
    fn panicked(&self, panic: &(dyn Any + Send)) -> Error {
        let message = match (panic.downcast_ref::<&str>(), panic.downcast_ref::<String>()) {
            (Some(text), _) => (*text).to_owned(),
            (_, Some(text)) => text.clone(),
            _ => String::from("without words"),
        };
        let thread = thread::current().name().unwrap_or("unnamed").to_owned();
        let error = self.health.poison(Error::Panicked { thread, message });
        // Whoever waits for what this thread was to do looks again. With the locks, or one that is about to wait misses it.
        drop(self.tail.lock());
        self.filled.notify_all();
        self.wake_group();
        error
    }
}
