//! Beginning anew: `reset_to` and `truncate_all`, so that a checker which knows only checkpoints can follow.
//!
//! To it a reset is a checkpoint of everything. But then no record tells the next number, and after a crash the records
//! are there or not. So the metadata say durably, before, where the numbers go on (the *floor*). Whoever finds the records
//! right below the floor at the end of the log, `recover` too, resets anew; records on both sides of it are a violation.

use duralog::{Log, Lsn, Result};

use crate::driver::{Driver, Known};
use crate::notes::Said;
use crate::words::Dice;

/// Finishes the reset that the metadata announce. `tell` is called around it.
pub(crate) fn finish(log: &Log, said: &Said, tell: impl Fn(&str, u64)) -> Result<()> {
    if said.last.is_some_and(|last| last + 1 == said.floor) {
        tell("T", said.floor);
        log.truncate_all()?;
        tell("t", said.floor);
    }
    Ok(())
}

impl Driver<'_> {
    /// Only while no other thread writes.
    pub(crate) fn begin_anew(&self, dice: &mut Dice) -> Result<()> {
        let known = self.known.lock().unwrap_or_else(|e| e.into_inner());
        let Known { next, floor, .. } = *known;
        drop(known);
        if next == floor {
            return Ok(());
        }
        self.log.commit()?;
        self.committed(next - 1);
        let mut known = self.known.lock().unwrap_or_else(|e| e.into_inner());
        self.voice.say(&format!("T {next}"));
        known.floor = next;
        let note = self.set_metadata(&mut known)?;
        self.log.commit_to(note)?;
        if dice.below(2) == 0 {
            self.log.truncate_all()?;
        } else {
            // Also far behind, where only a new window can begin.
            let behind = (1 << (8 * dice.below(6))) + dice.below(9000) - 1;
            self.log.reset_to(Lsn::new(self.log.end().get() + behind))?;
        }
        self.voice.say(&format!("t {next}"));
        known.records.clear();
        known.checkpoint = next;
        Ok(())
    }
}
