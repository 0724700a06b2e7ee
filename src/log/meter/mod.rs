//! Latencies and group sizes, for whoever asked for them. Without the feature `histograms` nothing of it is there.

#[cfg(feature = "histograms")]
mod histogram;

#[cfg(feature = "histograms")]
pub(crate) use on::Meter;
#[cfg(feature = "histograms")]
pub use {histogram::Histogram, on::Histograms};

#[cfg(not(feature = "histograms"))]
pub(crate) use off::Meter;

#[cfg(feature = "histograms")]
mod on {
    use std::cell::Cell;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use super::Histogram;
    use crate::Options;
    use crate::sync::{Instant, Mutex, MutexGuard, thread_local};

    impl Options {
        /// Whether to measure: [`Stats::histograms`](crate::Stats::histograms) then holds the latencies of appends, commits and
        /// syncs, and the sizes of groups. Default: false, since two looks at the clock and a count take longer than
        /// a small append does. Takes about 700 KiB of memory. Needs the feature `histograms`.
        ///
        /// ```
        /// # let dir = tempfile::tempdir()?;
        /// let log = duralog::Options::new().measure(true).open(dir.path())?;
        /// log.append_durable(b"one")?;
        /// let measured = log.stats().histograms.unwrap_or_default();
        /// assert_eq!((measured.append.count(), measured.commit.count()), (1, 1));
        /// println!("99 % of all syncs took {} ns at most", measured.sync.percentile(99.0));
        /// # Ok::<(), Box<dyn std::error::Error>>(())
        /// ```
        pub fn measure(mut self, on: bool) -> Options {
            self.measure = on;
            self
        }
    }

    /// What was measured since the log was opened, as of one moment for each of the two pairs: append and commit,
    /// sync and group. Latencies are in nanoseconds.
    #[derive(Clone, Debug, Default, PartialEq)]
    #[non_exhaustive]
    pub struct Histograms {
        /// How long each append took that succeeded; a batch is one, and of a durable append this is the first half.
        pub append: Histogram,
        /// How long each caller of `commit`, `commit_to` or `append_durable` waited until its records were durable; next
        /// to nothing if they were already.
        pub commit: Histogram,
        /// How long the disk took for each sync.
        pub sync: Histogram,
        /// Records that each sync made durable.
        pub group: Histogram,
    }

    /// Two histograms under a lock. On cache lines of its own.
    #[derive(Debug, Default)]
    #[repr(align(128))]
    struct Shard(Mutex<(Histogram, Histogram)>);

    /// Threads append and commit beside each other: they rarely meet in one of so many shards.
    const SHARDS: usize = 8;

    #[derive(Debug, Default)]
    struct Shards {
        /// Append, commit.
        of_threads: [Shard; SHARDS],
        /// Sync, group: one leads at a time.
        of_leaders: Shard,
    }

    thread_local! {
        /// Which shard the thread takes, drawn in turn.
        static MINE: Cell<Option<usize>> = const { Cell::new(None) };
    }

    /// By no primitive of `sync`: nothing hangs on who gets which.
    static NEXT: AtomicUsize = AtomicUsize::new(0);

    #[derive(Debug)]
    pub(crate) struct Meter(Option<Box<Shards>>);

    impl Meter {
        pub(crate) fn new(options: &Options) -> Meter {
            Meter(options.measure.then(Box::default))
        }

        #[inline]
        pub(crate) fn is_on(&self) -> bool {
            self.0.is_some()
        }

        #[inline]
        pub(crate) fn begin(&self) -> Option<Instant> {
            self.0.is_some().then(Instant::now)
        }

        #[inline]
        pub(crate) fn appended(&self, begun: Option<Instant>, counts: bool) {
            if let Some(begun) = begun.filter(|_| counts) {
                self.time(begun.elapsed(), |(append, _)| append);
            }
        }

        #[inline]
        pub(crate) fn committed(&self, begun: Option<Instant>, counts: bool) {
            if let Some(begun) = begun.filter(|_| counts) {
                self.time(begun.elapsed(), |(_, commit)| commit);
            }
        }

        #[inline(never)]
        fn time(&self, took: Duration, which: fn(&mut (Histogram, Histogram)) -> &mut Histogram) {
            let mine = MINE.with(|mine| {
                mine.get().unwrap_or_else(|| {
                    let drawn = NEXT.fetch_add(1, Ordering::Relaxed) % SHARDS;
                    mine.set(Some(drawn));
                    drawn
                })
            });
            if let Some(shard) = self.0.as_ref().and_then(|shards| shards.of_threads.get(mine)) {
                which(&mut shard.0.lock()).count_in(nanos(took));
            }
        }

        pub(crate) fn synced(&self, took: Duration, records: u64) {
            if let Some(shards) = &self.0 {
                let mut leaders = shards.of_leaders.0.lock();
                leaders.0.count_in(nanos(took));
                leaders.1.count_in(records);
            }
        }

        pub(crate) fn look(&self) -> Option<Histograms> {
            let shards = self.0.as_ref()?;
            // All at once, for one moment; no one else holds two.
            let held: Vec<MutexGuard<'_, _>> =
                shards.of_threads.iter().map(|shard| shard.0.lock()).collect();
            let mut all = Histograms::default();
            for shard in &held {
                all.append.add(&shard.0);
                all.commit.add(&shard.1);
            }
            drop(held);
            (all.sync, all.group) = shards.of_leaders.0.lock().clone();
            Some(all)
        }
    }

    fn nanos(took: Duration) -> u64 {
        u64::try_from(took.as_nanos()).unwrap_or(u64::MAX)
    }
}

#[cfg(not(feature = "histograms"))]
mod off {
    use std::time::Duration;

    use crate::Options;

    /// Nothing, which costs nothing.
    #[derive(Debug)]
    pub(crate) struct Meter;

    #[derive(Clone, Copy)]
    pub(crate) struct NoTime;

    impl Meter {
        pub(crate) fn new(_: &Options) -> Meter {
            Meter
        }

        #[inline]
        pub(crate) fn is_on(&self) -> bool {
            false
        }

        #[inline]
        pub(crate) fn begin(&self) -> NoTime {
            NoTime
        }

        #[inline]
        pub(crate) fn appended(&self, _: NoTime, _: bool) {}

        #[inline]
        pub(crate) fn committed(&self, _: NoTime, _: bool) {}

        #[inline]
        pub(crate) fn synced(&self, _: Duration, _: u64) {}
    }
}
