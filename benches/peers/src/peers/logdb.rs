//! logdb as its documents say for a write-ahead log (durability.md, examples/wal.rs): `Async`, and `flush` where a
//! record must be durable. `append` and `append_batch` put records into a ring, and wait when it is full; one thread
//! of the crate writes them and syncs for all that wait in `flush`, which no mode weakens. More spinning for that
//! thread, as configuration.md offers, was not faster.
//!
//! It syncs: `flush` returns after `fdatasync` (platform.rs:16).

use std::path::Path;
use std::time::Duration;

use logdb::{Config, DurabilityMode, LogDb};

use crate::peer::{Entry, Outcome, Peer};

pub const ENTRY: Entry = Entry { name: "logdb", version: "0.6.0", open };

/// A segment that is never full. Once one is filled to four fifths, the next open loses records: the segment after it
/// is made then and has the wrong base (storage/mod.rs:566), so recovery throws away what it holds (recovery.rs:637).
const SEGMENT: u64 = 1 << 40;

fn open(dir: &Path) -> Outcome<Box<dyn Peer>> {
    let config = Config {
        data_dir: dir.to_owned(),
        durability_mode: DurabilityMode::Async,
        segment_size: SEGMENT,
        ..Config::default()
    };
    Ok(Box::new(LogDb::open(config)?))
}

impl Peer for LogDb {
    fn durable(&self, record: &[u8]) -> Outcome<()> {
        self.append(record)?;
        Ok(self.flush()?)
    }

    fn durable_batch(&self, records: &[&[u8]]) -> Outcome<()> {
        self.append_batch(records)?;
        Ok(self.flush()?)
    }

    fn buffered(&self, record: &[u8]) -> Outcome<()> {
        self.append(record)?;
        Ok(())
    }

    fn sync(&self) -> Outcome<()> {
        // A `flush` of a log that took nothing since it was opened waits in vain (signal.rs:31).
        if self.producer_cursor() == self.durable_cursor() { Ok(()) } else { Ok(self.flush()?) }
    }

    fn replay(&self, each: &mut dyn FnMut(&[u8])) -> Outcome<()> {
        for record in self.replay_from(0)? {
            each(&record?.content);
        }
        Ok(())
    }

    fn close(self: Box<Self>) -> Outcome<()> {
        self.sync()?;
        // Nothing is left to wait for.
        self.shutdown(Duration::ZERO)?;
        Ok(())
    }
}
