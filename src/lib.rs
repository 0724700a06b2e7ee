#![doc = include_str!("../docs/guide.md")]
#![deny(missing_docs)]

mod checksum;
mod error;
mod format;
pub mod inspect;
mod log;
mod lsn;
mod manifest;
mod options;
mod reader;
mod segment;
mod storage;
mod sync;
mod walk;
mod watermark;

/// A simulated disk, for crash tests of the log and of what is built on it. Needs the feature `sim`.
#[cfg(feature = "sim")]
pub mod sim {
    pub use crate::storage::sim::{Call, Fault, SimDisk, Unwritten};
}

pub use error::{Corruption, Error, Result};
pub use inspect::OwnedRecord;
pub use log::{Log, Reclaimed, Record, Recovery, Replay, Stats, Tail};
pub use lsn::Lsn;
pub use options::{Options, SyncMethod, SyncPolicy, WriteMethod};
pub use reader::{Reader, ReaderFollower, ReaderReplay};
