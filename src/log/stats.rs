//! Counters and positions for whoever watches.

use super::engine::Engine;
use super::fork::Handle;
use crate::Lsn;

/// A look at the log, from [`Log::stats`](crate::Log::stats). Counters begin at open. Those of sealed, spare and held segments
/// are as the background last left them: no look waits for it.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Stats {
    /// Start of the oldest segment.
    pub head: Lsn,
    /// Nothing below is needed.
    pub checkpoint: Lsn,
    /// Everything below survives a power cut.
    pub durable: Lsn,
    /// Everything below has been appended.
    pub end: Lsn,
    /// Segments that the manifest calls sealed, so that no recovery reads them. A segment that is full is sealed in
    /// the background, once it is durable.
    pub segments_sealed: u64,
    /// Segments made ready ahead of the active one.
    pub segments_ready: u64,
    /// Files kept for recycling.
    pub segments_spare: u64,
    /// Segments out of the log that a reader still holds.
    pub segments_held: u64,
    /// Records appended.
    pub appends: u64,
    /// Bytes of their payloads.
    pub bytes: u64,
    /// Syncs of the log's records.
    pub syncs: u64,
    /// Tickets that were polled, callbacks and followers that wait now.
    pub waiting: u64,
    /// Records covered by a sync, on average: how well group commit groups.
    pub records_per_sync: f64,
    /// Latencies and group sizes, if [`Options::measure`](crate::Options::measure) is on. Needs the feature `histograms`.
    #[cfg(feature = "histograms")]
    pub histograms: Option<super::Histograms>,
}

impl Stats {
    /// What a child can know, which may take no lock.
    pub(super) fn at_fork(log: &Handle) -> Stats {
        Stats {
            head: log.head(),
            checkpoint: log.checkpoint(),
            durable: log.durable(),
            end: log.end(),
            segments_sealed: 0,
            segments_ready: 0,
            segments_spare: 0,
            segments_held: 0,
            appends: 0,
            bytes: 0,
            syncs: 0,
            waiting: 0,
            records_per_sync: 0.0,
            #[cfg(feature = "histograms")]
            histograms: None,
        }
    }
}

impl Engine {
    pub(crate) fn stats(&self) -> Stats {
        let (sealed, spare, held) = {
            let shown = self.shown.lock();
            (shown.sealed, shown.spare, shown.retired.len() as u64)
        };
        let (syncs, records) = self.syncs();
        #[cfg(feature = "histograms")]
        let histograms = self.meter.look();
        let waiting = self.waiting();
        let tail = self.tail.lock();
        let lsn = |at: u64| Lsn::new(at);
        #[expect(clippy::cast_precision_loss, reason = "an average for people")]
        let records_per_sync = if syncs == 0 { 0.0 } else { records as f64 / syncs as f64 };
        Stats {
            head: lsn(self.catalog.head()),
            checkpoint: lsn(self.checkpoint.load(std::sync::atomic::Ordering::Acquire)),
            durable: lsn(self.durable()),
            end: lsn(self.end()),
            segments_sealed: sealed,
            segments_ready: tail.ready.len() as u64,
            segments_spare: spare,
            segments_held: held,
            appends: tail.appends,
            bytes: tail.bytes,
            syncs,
            waiting,
            records_per_sync,
            #[cfg(feature = "histograms")]
            histograms,
        }
    }
}

#[cfg(all(test, not(shuttle)))]
mod tests {
    use std::sync::{Arc, mpsc};
    use std::time::Duration;

    #[test]
    fn who_looks_does_not_wait_for_upkeep() {
        let dir = tempfile::tempdir().unwrap();
        let log = Arc::new(crate::Log::open(dir.path()).unwrap());
        log.append_durable(b"one").unwrap();
        log.roll().unwrap();
        let _upkeep = log.engine.here().unwrap().upkeep.lock();
        let (looks, looked) = mpsc::channel();
        let looking = Arc::clone(&log);
        std::thread::spawn(move || looks.send((looking.stats().end, looking.blockers())));
        let (end, blockers) = looked.recv_timeout(Duration::from_secs(60)).unwrap();
        assert_eq!(end, log.end());
        assert_eq!(blockers.unwrap().len(), 1);
    }
}
