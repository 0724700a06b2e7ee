//! What the log keeps beside the records: said between them, and checked against them.

use duralog::{Error, Log, Lsn, Result};

use crate::driver::Driver;
use crate::words::{Dice, said};

const CONSUMER: &str = "consumer";

/// A number that grows, and the position that the consumer had then.
fn metadata(number: u64, position: Lsn) -> Vec<u8> {
    [number, position.get()].map(u64::to_le_bytes).concat()
}

fn parts(metadata: &[u8]) -> (u64, Lsn) {
    let part = |at| metadata.get(at..at + 8).and_then(|bytes| bytes.try_into().ok());
    let part = |at| part(at).map_or(0, u64::from_le_bytes);
    (part(0), Lsn::new(part(8)))
}

/// A crash leaves a prefix: what was said before the last record is there, and the consumer is as far as the metadata
/// say, which were set behind its note. The number in the metadata.
pub(crate) fn check(log: &Log) -> Result<u64> {
    let (number, position) = parts(&log.metadata());
    let mut last = 0;
    for record in log {
        last = last.max(said(record?.payload()).unwrap_or(0));
    }
    let consumer = log.consumers().first().map_or(Lsn::MIN, |consumer| consumer.position);
    if number < last || consumer < position {
        eprintln!(
            "metadata {number}, the last record says {last}; consumer at {consumer}, not {position}"
        );
        return Err(Error::InvalidConsumer { name: CONSUMER.into() });
    }
    Ok(number)
}

impl Driver<'_> {
    /// The consumer comes as far as some record that is durable, then the metadata say so.
    pub(crate) fn say_something(&self, dice: &mut Dice) -> Result<()> {
        let mut known = self.known.lock().unwrap_or_else(|e| e.into_inner());
        let durable = known.records.iter().rev().filter(|(n, ..)| *n < known.durable);
        let Some(lsn) = durable.map(|(_, lsn, _)| *lsn).nth(dice.pick(8)) else { return Ok(()) };
        let consumer = self.log.consumer(CONSUMER)?;
        consumer.ack(lsn)?;
        let number = known.said + 1;
        let note = self.log.set_metadata(&metadata(number, consumer.position()?))?;
        known.said = number;
        drop(known);
        if dice.below(3) == 0 {
            self.log.commit_to(note)?;
        }
        Ok(())
    }
}
