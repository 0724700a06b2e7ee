//! What a log has to do here.

use std::error::Error;
use std::path::Path;

/// What goes wrong in a peer is reported as it says it.
pub type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// A log, driven as its own documents say is fastest. Shared by all threads of a run; where a peer has one writer, its
/// adapter puts a lock around it.
pub trait Peer: Send + Sync {
    /// Appends one record: durable when it returns.
    fn durable(&self, record: &[u8]) -> Outcome<()>;

    /// Appends records as one group: all durable when it returns.
    fn durable_batch(&self, records: &[&[u8]]) -> Outcome<()>;

    /// Appends one record and does not wait for the disk. Before the next durable call comes a `sync`.
    fn buffered(&self, record: &[u8]) -> Outcome<()>;

    /// Makes durable all that `buffered` took.
    fn sync(&self) -> Outcome<()>;

    /// Says that what is durable is needed no more, so that its space can be used again.
    fn give_back(&self) -> Outcome<()> {
        Err("it has no call that gives records back".into())
    }

    /// Gives each record's payload, oldest first.
    fn replay(&self, each: &mut dyn FnMut(&[u8])) -> Outcome<()>;

    /// Ends it as an orderly program does.
    fn close(self: Box<Self>) -> Outcome<()>;
}

/// How a peer is found in the list.
#[derive(Clone, Copy)]
pub struct Entry {
    /// Its name on the registry, or `floor`.
    pub name: &'static str,
    pub version: &'static str,
    /// Opens or creates the log in a directory of its own, and recovers it.
    pub open: fn(&Path) -> Outcome<Box<dyn Peer>>,
}
