//! The primitives by which the engine's threads meet. One place, so that a model checker can take their
//! place (`--cfg shuttle`): the engine then runs under every schedule that it is told to try.

#[cfg(not(shuttle))]
mod real {
    pub(crate) use std::sync::atomic;
    pub(crate) use std::thread;
    pub(crate) use std::thread_local;
    pub(crate) use std::time::Instant;

    pub(crate) use parking_lot::{Condvar, Mutex, MutexGuard, RwLock};

    /// Where a system call would take its time: a model checker lets others go on here.
    #[cfg(feature = "sim")]
    pub(crate) fn pause() {}
}

#[cfg(not(shuttle))]
pub(crate) use real::*;

#[cfg(shuttle)]
mod model;
#[cfg(shuttle)]
pub(crate) use model::*;
