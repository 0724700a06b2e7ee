//! The pulse: what the writer's syncs came to, beside the watermark, for people who watch (FORMAT.md, section 4).

use std::time::Duration;

use super::{bytes_at, u32_at, u64_at};
use crate::checksum;

/// Where in a slot's sector it stands.
pub(crate) const AT: usize = 64;
pub(crate) const LEN: usize = 8 + 5 * 8 + BUCKETS * 4 + 4;
/// Four of each doubling from 4 us to 2^21, so that two values of one differ by a quarter at most; below 4 us one of each.
pub(crate) const BUCKETS: usize = 80;
const MAGIC: [u8; 8] = *b"duralogP";

/// Since the writer opened the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pulse {
    /// Random, new each time the log is opened.
    pub(crate) run: u64,
    pub(crate) syncs: u64,
    /// Records that they made durable, and bytes of their payloads.
    pub(crate) records: u64,
    pub(crate) bytes: u64,
    /// What they took together.
    pub(crate) nanos: u64,
    /// How many took how long. It may wrap: only differences are looked at.
    pub(crate) buckets: [u32; BUCKETS],
}

impl Default for Pulse {
    fn default() -> Pulse {
        Pulse { run: 0, syncs: 0, records: 0, bytes: 0, nanos: 0, buckets: [0; BUCKETS] }
    }
}

/// The bucket of what took `us` microseconds.
fn bucket(us: u64) -> usize {
    let octave = u64::from(us.max(1).ilog2());
    let bucket = if octave < 2 { us } else { 4 * (octave - 1) + ((us >> (octave - 2)) & 3) };
    usize::try_from(bucket).map_or(BUCKETS - 1, |bucket| bucket.min(BUCKETS - 1))
}

/// What is in it took less than so many microseconds.
pub(crate) fn limit(bucket: usize) -> u64 {
    let next = bucket as u64 + 1;
    if next < 4 { next } else { (4 + next % 4) << (next / 4 - 1) }
}

impl Pulse {
    /// One sync more, by which so many records and bytes are durable in all.
    pub(crate) fn beat(&mut self, took: Duration, records: u64, bytes: u64) {
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.syncs += 1;
        (self.records, self.bytes) = (records, bytes);
        self.nanos = self.nanos.saturating_add(nanos);
        if let Some(count) = self.buckets.get_mut(bucket(nanos / 1000)) {
            *count = count.wrapping_add(1);
        }
    }

    pub(crate) fn encode(&self) -> [u8; LEN] {
        let mut bytes = [0; LEN];
        // Chunk by chunk, not byte by byte: it is on the way of a commit.
        let (numbers, rest) = bytes.split_at_mut(48);
        let fields = [self.run, self.syncs, self.records, self.bytes, self.nanos];
        let fields = [MAGIC].into_iter().chain(fields.into_iter().map(u64::to_le_bytes));
        for (to, from) in numbers.chunks_exact_mut(8).zip(fields) {
            to.copy_from_slice(&from);
        }
        for (to, from) in rest.chunks_exact_mut(4).zip(self.buckets) {
            to.copy_from_slice(&from.to_le_bytes());
        }
        let (fields, sum) = bytes.split_at_mut(LEN - 4);
        sum.copy_from_slice(&checksum::of(fields).to_le_bytes());
        bytes
    }

    /// None: there is none, or it was read in the middle of a store.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Pulse> {
        let bytes = bytes.get(..LEN)?;
        let sound = bytes_at(bytes, 0) == Some(MAGIC)
            && u32_at(bytes, LEN - 4)? == checksum::of(bytes.get(..LEN - 4)?);
        let number = |i: usize| u64_at(bytes, 8 + i * 8);
        let (run, syncs, records) = (number(0)?, number(1)?, number(2)?);
        let (payload, nanos) = (number(3)?, number(4)?);
        let mut buckets = [0; BUCKETS];
        for (i, bucket) in buckets.iter_mut().enumerate() {
            *bucket = u32_at(bytes, 48 + i * 4)?;
        }
        sound.then_some(Pulse { run, syncs, records, bytes: payload, nanos, buckets })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_comes_back_and_no_bit_of_it_is_taken_for_another() {
        let mut pulse = Pulse::default();
        pulse.beat(Duration::from_micros(170), 16, 1600);
        pulse.beat(Duration::from_secs(3600), 17, 1700);
        let bytes = pulse.encode();
        assert_eq!(Pulse::decode(&bytes), Some(pulse));
        for bit in 0..LEN * 8 {
            let mut torn = bytes;
            torn[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Pulse::decode(&torn), None, "bit {bit}");
        }
        assert_eq!((Pulse::decode(&[]), Pulse::decode(&[0; LEN])), (None, None));
    }

    #[test]
    fn each_value_lies_below_the_limit_of_its_bucket_and_not_below_that_of_the_one_before() {
        for us in (0..5000).chain((12..21).flat_map(|bit| (1 << bit) - 1..(1 << bit) + 2)) {
            let bucket = bucket(us);
            assert!(us < limit(bucket), "{us}");
            assert!(bucket == 0 || us >= limit(bucket - 1), "{us}");
        }
        assert_eq!((limit(BUCKETS - 1), bucket(u64::MAX)), (1 << 21, BUCKETS - 1));
    }
}
