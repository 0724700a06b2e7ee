//! What a user holds of the engine: only the process that opened the log gets through it.
//!
//! A child of that process inherits every handle. Nothing behind it is the child's: the files and their lock are shared with
//! the parent, the threads are not there, and any lock may be held by one of them. So the public face reaches the engine through
//! [`Handle::here`] alone, which asks before any lock is taken, and a child never lets go of an engine: what that would drop
//! unlocks, joins and calls others' code.

use std::mem::ManuallyDrop;
use std::sync::Arc;

use super::engine::Engine;
use crate::Lsn;
use crate::error::{Error, Result};
use crate::storage::Process;
use crate::sync::atomic::Ordering;

#[derive(Clone, Debug)]
pub(crate) struct Handle {
    engine: Arc<Engine>,
    process: Process,
}

impl Handle {
    pub(crate) fn new(engine: Arc<Engine>) -> Handle {
        let process = engine.files.process;
        Handle { engine, process }
    }

    /// The engine, unless this is a child of the process that opened the log. One load from a page that no one stores to.
    #[inline]
    pub(crate) fn here(&self) -> Result<&Arc<Engine>> {
        if self.process.is_this() { Ok(&self.engine) } else { Err(forked()) }
    }

    /// For those who cannot fail. In a child as of the fork.
    pub(crate) fn head(&self) -> Lsn {
        let catalog = &self.engine.catalog;
        Lsn::new(self.here().map_or_else(|_| catalog.head_at_fork(), |_| catalog.head()))
    }

    pub(crate) fn checkpoint(&self) -> Lsn {
        Lsn::new(self.engine.checkpoint.load(Ordering::Acquire))
    }

    pub(crate) fn durable(&self) -> Lsn {
        Lsn::new(self.engine.durable())
    }

    pub(crate) fn end(&self) -> Lsn {
        Lsn::new(self.engine.end())
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        if self.here().is_err() {
            // One more that no one drops: so no handle is the last.
            let _kept = ManuallyDrop::new(Arc::clone(&self.engine));
        }
    }
}

#[cold]
fn forked() -> Error {
    Error::Forked
}
