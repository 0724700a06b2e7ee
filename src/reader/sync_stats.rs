//! What the writer's syncs come to, for who watches from another process: [`SyncStats`].

use std::time::Duration;

use crate::error::Result;
use crate::format::pulse::{Pulse, limit};
use crate::reader::Reader;
use crate::watermark;

/// What the syncs of the writer came to since it opened the log, as it stored them after the last one. Two of them, taken
/// a second apart, give rates and latencies: [`since`](SyncStats::since).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyncStats(Pulse);

impl SyncStats {
    /// Syncs of records.
    #[must_use]
    pub fn syncs(&self) -> u64 {
        self.0.syncs
    }

    /// Records that were made durable by them.
    #[must_use]
    pub fn records(&self) -> u64 {
        self.0.records
    }

    /// Bytes of the payloads of those.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.0.bytes
    }

    /// What all of them took together. Over the time between two looks: how busy the disk is with this log.
    #[must_use]
    pub fn time(&self) -> Duration {
        Duration::from_nanos(self.0.nanos)
    }

    /// `percent` of the syncs took no longer, to within a quarter above; 0 if there were none. Beyond two seconds it
    /// knows no difference.
    #[must_use]
    pub fn percentile(&self, percent: f64) -> Duration {
        let counts = self.0.buckets.iter().copied().map(u64::from);
        let all: u64 = counts.clone().sum();
        #[expect(clippy::cast_precision_loss, reason = "a rank")]
        let rank = (percent / 100.0).clamp(0.0, 1.0) * all as f64;
        let mut below = 0;
        let found = counts.enumerate().find(|(_, count)| {
            below += count;
            #[expect(clippy::cast_precision_loss, reason = "a rank")]
            let reached = below as f64 >= rank;
            *count > 0 && reached
        });
        found.map_or(Duration::ZERO, |(bucket, _)| Duration::from_micros(limit(bucket)))
    }

    /// What was added since `earlier`; none if the writer has opened the log anew in between.
    #[must_use]
    pub fn since(&self, earlier: &SyncStats) -> Option<SyncStats> {
        let (now, before) = (&self.0, &earlier.0);
        if now.run != before.run {
            return None;
        }
        let mut buckets = now.buckets;
        for (count, before) in buckets.iter_mut().zip(before.buckets) {
            *count = count.wrapping_sub(before);
        }
        Some(SyncStats(Pulse {
            run: now.run,
            syncs: now.syncs.checked_sub(before.syncs)?,
            records: now.records.checked_sub(before.records)?,
            bytes: now.bytes.checked_sub(before.bytes)?,
            nanos: now.nanos.checked_sub(before.nanos)?,
            buckets,
        }))
    }
}

impl Reader {
    /// What the syncs of the writer came to by now, or those of the last one if there is none. None where it has not
    /// synced yet, or keeps no watermark; also while it stores one, now and then.
    ///
    /// # Errors
    ///
    /// Those of [`open`](Reader::open).
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// let log = duralog::Log::open(dir.path())?; // as a rule in another process
    /// log.append_durable(b"one")?;
    ///
    /// let reader = duralog::Reader::open(dir.path())?;
    /// let before = reader.sync_stats()?.ok_or("none")?;
    /// log.append_batch(&["two", "three"])?;
    /// log.commit()?;
    /// let stats = reader.sync_stats()?.and_then(|now| now.since(&before)).ok_or("none")?;
    /// assert_eq!((stats.syncs(), stats.records(), stats.bytes()), (1, 2, 8));
    /// assert!(stats.percentile(50.0) > std::time::Duration::ZERO);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn sync_stats(&self) -> Result<Option<SyncStats>> {
        let log_id = self.newest()?.log_id;
        Ok(watermark::pulse(&*self.directory, log_id).map(SyncStats))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(took: &[u64]) -> SyncStats {
        let mut pulse = Pulse::default();
        took.iter().for_each(|us| pulse.beat(Duration::from_micros(*us), 0, 0));
        SyncStats(pulse)
    }

    #[test]
    fn a_percentile_is_that_of_the_syncs_within_a_quarter() {
        let stats = of(&[100; 98].iter().copied().chain([900, 5000]).collect::<Vec<_>>());
        for (percent, us) in [(0.0, 100), (50.0, 100), (98.0, 100), (99.0, 900), (100.0, 5000)] {
            let found = stats.percentile(percent).as_micros();
            assert!(found > us && found <= us * 5 / 4 + 1, "{percent}: {found}");
        }
        assert_eq!(of(&[]).percentile(99.0), Duration::ZERO);
        assert_eq!(of(&[3_600_000_000]).percentile(99.0), Duration::from_micros(1 << 21));
    }

    #[test]
    fn a_writer_that_began_anew_has_no_difference() {
        let (few, many) = (of(&[7]), of(&[7, 7, 90]));
        assert_eq!(many.since(&few).map(|since| since.syncs()), Some(2));
        assert_eq!(
            many.since(&few).map(|since| since.percentile(50.0)),
            Some(Duration::from_micros(8))
        );
        assert_eq!(few.since(&many), None);
        let other = SyncStats(Pulse { run: 1, ..many.0.clone() });
        assert_eq!(other.since(&few), None);
    }
}
