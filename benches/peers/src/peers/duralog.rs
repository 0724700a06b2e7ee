//! duralog with its default options.

use std::path::Path;

use duralog::Log;

use crate::peer::{Entry, Outcome, Peer};

pub const ENTRY: Entry = Entry { name: "duralog", version: "0.1.0", open };

fn open(dir: &Path) -> Outcome<Box<dyn Peer>> {
    Ok(Box::new(Log::open(dir)?))
}

impl Peer for Log {
    fn durable(&self, record: &[u8]) -> Outcome<()> {
        self.append_durable(record)?;
        Ok(())
    }

    fn durable_batch(&self, records: &[&[u8]]) -> Outcome<()> {
        let lsns = self.append_batch(records)?;
        Ok(lsns.last().map_or(Ok(()), |lsn| self.commit_to(*lsn))?)
    }

    fn buffered(&self, record: &[u8]) -> Outcome<()> {
        self.append(record)?;
        Ok(())
    }

    fn sync(&self) -> Outcome<()> {
        self.commit()?;
        Ok(())
    }

    fn give_back(&self) -> Outcome<()> {
        self.checkpoint(self.durable())?;
        Ok(())
    }

    fn replay(&self, each: &mut dyn FnMut(&[u8])) -> Outcome<()> {
        let mut replay = Log::replay(self);
        while let Some((_, payload)) = replay.next_payload()? {
            each(payload);
        }
        Ok(())
    }

    fn close(self: Box<Self>) -> Outcome<()> {
        Ok(Log::close(&self)?)
    }
}
