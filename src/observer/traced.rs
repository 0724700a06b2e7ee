//! Events as those of the crate `tracing`.

use tracing::{debug, error, info, warn};

use super::{Event, Observer, SealedSegment};

/// Tells `tracing` of each event, with the target `duralog` and the numbers as fields: [`Event::Synced`] at level debug,
/// [`Event::Full`] at warn, [`Event::Failed`] at error, all others at info. Needs the feature `tracing`.
///
/// A thread of the log tells it, so the subscriber has to be the global one: one that is set for a thread is not asked.
///
/// ```
/// use std::sync::Arc;
/// # let dir = tempfile::tempdir()?;
/// let observer = Arc::new(duralog::TracingObserver);
/// let log = duralog::Options::new().observer(observer).open(dir.path())?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct TracingObserver;

impl Observer for TracingObserver {
    fn event(&self, event: &Event<'_>) {
        match event {
            Event::Recovered(found) => info!(
                target: "duralog",
                head = found.head.get(),
                end = found.end.get(),
                records = found.records,
                segments = found.segments,
                segments_removed = found.segments_removed,
                tail = ?found.tail,
                elapsed = ?found.elapsed,
                "opened"
            ),
            Event::Found(SealedSegment { id, base, end, path, .. }) => info!(
                target: "duralog", id, base = base.get(), end = end.get(), path = %path.display(), "segment found"
            ),
            Event::Sealed(SealedSegment { id, base, end, path, .. }) => info!(
                target: "duralog", id, base = base.get(), end = end.get(), path = %path.display(), "segment sealed"
            ),
            Event::Recycled { id, base, size } => {
                info!(target: "duralog", id, base = base.get(), size, "segment recycled");
            }
            Event::Removed { id, base, size } => {
                info!(target: "duralog", id, base = base.get(), size, "segment removed");
            }
            Event::Checkpoint { lsn, reclaimed } => info!(
                target: "duralog", lsn = lsn.get(), segments = reclaimed.segments, bytes = reclaimed.bytes, "checkpoint"
            ),
            Event::CutBack { end, resumes } => {
                info!(target: "duralog", end = end.get(), resumes = resumes.get(), "cut back");
            }
            Event::Synced { durable, records, syncs, took } => {
                debug!(target: "duralog", durable = durable.get(), records, syncs, took = ?took, "synced");
            }
            Event::Full(error) => warn!(target: "duralog", %error, "no room for the next segment"),
            Event::Failed(error) => error!(target: "duralog", %error, "the log is poisoned"),
        }
    }
}
