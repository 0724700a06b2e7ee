//! [`Histogram`]: how often which value was seen. `hdrhistogram` does the work, and is not part of the API.

use std::fmt;
use std::ops::RangeInclusive;

/// One hour in nanoseconds: what is above counts as this.
const HIGHEST: u64 = 3_600_000_000_000;
/// Values in one bucket differ by less than 1 %.
const DIGITS: u8 = 2;

/// How often which value was seen, to within 1 %. Values above 3.6e12, an hour in nanoseconds, count as that.
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// let log = duralog::Options::new().measure(true).open(dir.path())?;
/// let before = log.stats().histograms.unwrap_or_default();
/// for _ in 0..10 {
///     log.append_durable(b"one")?;
/// }
/// let after = log.stats().histograms.unwrap_or_default();
/// let appends = after.append.since(&before.append).unwrap_or_default();
/// assert_eq!(appends.count(), 10);
/// assert!(appends.min() <= appends.percentile(50.0) && appends.percentile(50.0) <= appends.max());
/// for (nanoseconds, count) in appends.buckets() {
///     println!("{count} took {} to {} ns", nanoseconds.start(), nanoseconds.end());
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Default)]
pub struct Histogram(
    /// None before the first value: most of them stay empty.
    Option<hdrhistogram::Histogram<u64>>,
);

impl Histogram {
    /// How many values were counted.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.as_ref().map_or(0, hdrhistogram::Histogram::len)
    }

    /// The lowest; 0 of an empty one.
    #[must_use]
    pub fn min(&self) -> u64 {
        self.0.as_ref().filter(|seen| !seen.is_empty()).map_or(0, hdrhistogram::Histogram::min)
    }

    /// The highest; 0 of an empty one.
    #[must_use]
    pub fn max(&self) -> u64 {
        self.0.as_ref().filter(|seen| !seen.is_empty()).map_or(0, hdrhistogram::Histogram::max)
    }

    /// The average; 0 of an empty one.
    #[must_use]
    pub fn mean(&self) -> f64 {
        self.0.as_ref().filter(|seen| !seen.is_empty()).map_or(0.0, hdrhistogram::Histogram::mean)
    }

    /// The value that `percent` of all are not above, for instance 99.9; 0 of an empty one. Below 0 counts as 0, above 100
    /// as 100.
    #[must_use]
    pub fn percentile(&self, percent: f64) -> u64 {
        let quantile = (percent / 100.0).clamp(0.0, 1.0);
        self.0.as_ref().map_or(0, |seen| seen.value_at_quantile(quantile))
    }

    /// Each range of values in which some were counted, and how many, in order: to draw the distribution.
    pub fn buckets(&self) -> impl Iterator<Item = (RangeInclusive<u64>, u64)> + '_ {
        self.0.iter().flat_map(|seen| {
            seen.iter_recorded().map(|bucket| {
                let value = bucket.value_iterated_to();
                let range = seen.lowest_equivalent(value)..=seen.highest_equivalent(value);
                (range, bucket.count_at_value())
            })
        })
    }

    /// What was counted between two looks at one log: `earlier` was taken before this. None if it was not.
    #[must_use]
    pub fn since(&self, earlier: &Histogram) -> Option<Histogram> {
        let mut since = self.clone();
        match (&mut since.0, &earlier.0) {
            (Some(all), Some(before)) => all.subtract(before).ok()?,
            (None, Some(before)) if !before.is_empty() => return None,
            (_, _) => {}
        }
        Some(since)
    }

    pub(super) fn count_in(&mut self, value: u64) {
        if self.0.is_none() {
            self.0 = hdrhistogram::Histogram::new_with_bounds(1, HIGHEST, DIGITS).ok();
        }
        if let Some(seen) = &mut self.0 {
            seen.saturating_record(value);
        }
    }

    pub(super) fn add(&mut self, other: &Histogram) {
        match (&mut self.0, &other.0) {
            // Of the same bounds, so that it cannot fail.
            (Some(seen), Some(more)) => drop(seen.add(more)),
            (None, Some(more)) => self.0 = Some(more.clone()),
            (_, None) => {}
        }
    }
}

impl PartialEq for Histogram {
    fn eq(&self, other: &Histogram) -> bool {
        self.buckets().eq(other.buckets())
    }
}

impl fmt::Debug for Histogram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Histogram")
            .field("count", &self.count())
            .field("min", &self.min())
            .field("p50", &self.percentile(50.0))
            .field("p99", &self.percentile(99.0))
            .field("max", &self.max())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: &[u64]) -> Histogram {
        let mut seen = Histogram::default();
        values.iter().for_each(|value| seen.count_in(*value));
        seen
    }

    #[test]
    fn it_counts_what_it_was_given() {
        let values: Vec<u64> = (1..=1000).collect();
        let seen = of(&values);
        assert_eq!((seen.count(), seen.min()), (1000, 1));
        let near = |value: u64, to: u64| value.abs_diff(to) * 100 <= to;
        assert!(near(seen.max(), 1000) && near(seen.percentile(50.0), 500), "{seen:?}");
        assert!(near(seen.percentile(99.0), 990) && near(seen.percentile(0.1), 1), "{seen:?}");
        assert!((seen.mean() - 500.5).abs() < 5.0, "{}", seen.mean());
        let buckets: Vec<_> = seen.buckets().collect();
        assert_eq!(buckets.iter().map(|bucket| bucket.1).sum::<u64>(), 1000);
        assert!(buckets.windows(2).all(|pair| pair[0].0.end() < pair[1].0.start()));
        for value in values {
            assert_eq!(buckets.iter().filter(|(range, _)| range.contains(&value)).count(), 1);
        }
    }

    #[test]
    fn an_empty_one_is_all_zero_and_nothing_is_out_of_range() {
        let empty = Histogram::default();
        assert_eq!((empty.count(), empty.min(), empty.max(), empty.percentile(99.0)), (0, 0, 0, 0));
        assert_eq!((empty.mean(), empty.buckets().count()), (0.0, 0));
        let seen = of(&[0, u64::MAX]);
        assert_eq!((seen.count(), seen.min()), (2, 0));
        for percent in [f64::NAN, f64::INFINITY, -1.0, 101.0] {
            assert!(seen.percentile(percent) <= seen.max());
        }
    }

    #[test]
    fn two_looks_give_what_came_between() {
        let (before, after) = (of(&[5, 100]), of(&[5, 7, 7, 100]));
        assert_eq!(after.since(&before), Some(of(&[7, 7])));
        assert_eq!(after.since(&Histogram::default()), Some(after.clone()));
        assert_eq!(after.since(&after), Some(Histogram::default()));
        assert_eq!(before.since(&after), None);
        assert_eq!(Histogram::default().since(&after), None);
        let mut both = before.clone();
        both.add(&of(&[7, 7]));
        assert_eq!(both, after);
    }
}
