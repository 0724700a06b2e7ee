#![doc = include_str!("../docs/guide.md")]
#![deny(missing_docs)]

#[cfg(not(target_os = "linux"))]
compile_error!(
    "duralog runs on Linux alone: no other system's syncs, locks and full disks were tested"
);

mod checksum;
mod error;
mod extent;
mod format;
#[cfg(any(doc, doctest))]
pub mod guide;
pub mod inspect;
mod log;
mod lsn;
mod manifest;
mod observer;
mod options;
mod progress;
mod reader;
mod segment;
mod stale;
mod storage;
mod sync;
pub mod typed;
mod walk;
mod watermark;

/// A simulated disk, for crash tests of the log and of what is built on it. Needs the feature `sim`.
#[cfg(feature = "sim")]
pub mod sim {
    pub use crate::storage::sim::{Call, Fault, SimDisk, Unwritten};
}

pub use error::{Corruption, Error, Limit, Result};
pub use inspect::OwnedRecord;
pub use log::{
    Blocker, Consumer, ConsumerInfo, Durable, Follower, Following, Holder, Log, Reclaimed, Record,
    Recovery, Replay, Stats, Tail,
};
#[cfg(feature = "histograms")]
pub use log::{Histogram, Histograms};
pub use lsn::Lsn;
#[cfg(feature = "tracing")]
pub use observer::TracingObserver;
pub use observer::{Event, Observer, SealedSegment};
pub use options::{Options, SyncMethod, SyncPolicy, WhenFull, WriteMethod};
pub use progress::Progress;
pub use reader::{Reader, ReaderFollower, ReaderReplay, SyncStats};
#[cfg(feature = "json")]
pub use typed::Json;
pub use typed::{Bincode, Codec, TypedLog, TypedReplay};
