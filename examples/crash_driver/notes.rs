//! What the log keeps beside the records: said between them, and checked against them.

use duralog::{Log, Lsn, Result};

use crate::driver::{Driver, Known};
use crate::words::{Dice, said, violation};

const CONSUMER: &str = "consumer";

/// What the metadata say, and what there is beside them.
#[derive(Default)]
pub(crate) struct Said {
    /// A number that grows.
    pub(crate) number: u64,
    /// Records with lower numbers were dropped by a reset, or are about to be (`anew.rs`).
    pub(crate) floor: u64,
    /// The number of the last record.
    pub(crate) last: Option<u64>,
}

impl Said {
    /// The number that the next record gets.
    pub(crate) fn next(&self) -> u64 {
        self.last.map_or(self.floor, |last| last + 1)
    }
}

/// A number, the position that the consumer had then, the floor.
fn parts(metadata: &[u8]) -> [u64; 3] {
    let part = |at| metadata.get(at..at + 8).and_then(|bytes| bytes.try_into().ok());
    [0, 8, 16].map(|at| part(at).map_or(0, u64::from_le_bytes))
}

/// A crash leaves a prefix: what was said before the last record is there, and the consumer is as far as the metadata
/// say, which were set behind its note. What a reset dropped is gone once something was appended behind it.
pub(crate) fn check(log: &Log) -> Result<Said> {
    let [number, position, floor] = parts(&log.metadata()?);
    let mut told = 0;
    let (mut first, mut last) = (None, None);
    for record in log {
        let record = record?;
        told = told.max(said(record.payload()).unwrap_or(0));
        last = crate::words::number(record.payload());
        first = first.or(last);
    }
    let consumer = log.consumers()?.first().map_or(Lsn::MIN, |consumer| consumer.position);
    let astride = first.is_some_and(|n| n < floor) && last.is_some_and(|n| n + 1 != floor);
    if number < told || consumer.get() < position || astride {
        violation(&format!(
            "metadata {number}, the last record says {told}; consumer at {consumer}, not {position}; \
             records {first:?} to {last:?}, floor {floor}"
        ));
    }
    Ok(Said { number, floor, last })
}

impl Driver<'_> {
    /// The consumer comes as far as some record that is durable, then the metadata say so.
    pub(crate) fn say_something(&self, dice: &mut Dice) -> Result<()> {
        let mut known = self.known.lock().unwrap_or_else(|e| e.into_inner());
        let durable = known.records.iter().rev().filter(|(n, ..)| *n < known.durable);
        let Some(lsn) = durable.map(|(_, lsn, _)| *lsn).nth(dice.pick(8)) else { return Ok(()) };
        self.log.consumer(CONSUMER)?.ack(lsn)?;
        let note = self.set_metadata(&mut known)?;
        drop(known);
        if dice.below(3) == 0 {
            self.log.commit_to(note)?;
        }
        Ok(())
    }

    pub(crate) fn set_metadata(&self, known: &mut Known) -> Result<Lsn> {
        let number = known.said + 1;
        let position = self.log.consumer(CONSUMER)?.position()?.get();
        let parts = [number, position, known.floor].map(u64::to_le_bytes).concat();
        let note = self.log.set_metadata(&parts)?;
        known.said = number;
        Ok(note)
    }
}
