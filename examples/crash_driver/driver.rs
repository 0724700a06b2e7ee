//! A log at work, by one thread or many.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use duralog::{Error, Log, Lsn, Result};

use crate::watch::Watched;
use crate::words::{Dice, Voice, hash, note, payload};

/// What the driver knows of the log: shared by its threads.
pub(crate) struct Known {
    pub(crate) next: u64,
    /// Number, LSN and whether a cut may follow it, of the last records.
    pub(crate) records: VecDeque<(u64, Lsn, bool)>,
    /// Numbers below were told to be durable.
    pub(crate) durable: u64,
    pub(crate) checkpoint: u64,
    /// What the metadata say.
    pub(crate) said: u64,
    /// Records with lower numbers were dropped by a reset.
    pub(crate) floor: u64,
    /// How many milliseconds a tracer may still cost.
    pub(crate) patience: u32,
}

pub(crate) fn announcement(n: u64, payload: &[u8]) -> String {
    format!("P {n} {} {:016x}", payload.len(), hash(payload))
}

pub(crate) struct Driver<'a> {
    pub(crate) log: &'a Log,
    pub(crate) voice: &'a Voice,
    pub(crate) seed: u64,
    pub(crate) known: Mutex<Known>,
    pub(crate) failed: AtomicBool,
    /// A tracer reads our system calls.
    pub(crate) traced: bool,
    pub(crate) watched: &'a Watched,
}

impl Driver<'_> {
    pub(crate) fn announce(&self, n: u64, said: u64) -> Vec<u8> {
        let payload = payload(self.seed, n, said);
        self.watched.appended.insert(n, &payload);
        self.voice.say(&announcement(n, &payload));
        payload
    }

    /// Appends `count` records as one batch, or one by one; the last number and LSN. None when an append has
    /// failed before, in whichever thread: what it tried may be in the log, or there may be room for less, and
    /// whoever came next would give its number to a second record. Only an open knows the next number then.
    pub(crate) fn append(&self, count: u64, batch: bool) -> Result<Option<(u64, Lsn)>> {
        let mut known = self.known.lock().unwrap_or_else(|e| e.into_inner());
        if self.failed.load(Ordering::Acquire) {
            return Ok(None);
        }
        let appended = self.append_next(&mut known, count, batch);
        if appended.is_err() {
            // While no one else can take the number.
            self.failed.store(true, Ordering::Release);
        }
        appended.map(Some)
    }

    pub(crate) fn append_next(
        &self,
        known: &mut Known,
        count: u64,
        batch: bool,
    ) -> Result<(u64, Lsn)> {
        let first = known.next;
        let mut last = Lsn::MIN;
        if batch {
            self.voice.say("[");
            let payloads: Vec<_> =
                (first..first + count).map(|n| self.announce(n, known.said)).collect();
            let lsns = self.log.append_batch(&payloads)?;
            self.voice.say("]");
            for (n, lsn) in (first..).zip(lsns) {
                known.records.push_back((n, lsn, n + 1 == first + count));
                last = lsn;
            }
        } else {
            for n in first..first + count {
                let payload = self.announce(n, known.said);
                last = self.log.append(&payload)?;
                known.records.push_back((n, last, true));
                known.next = n + 1;
            }
        }
        known.next = first + count;
        while known.records.len() > 4096 {
            known.records.pop_front();
        }
        Ok((known.next - 1, last))
    }

    pub(crate) fn committed(&self, n: u64) {
        if self.traced {
            return self.committed_under_a_tracer(n);
        }
        let mut known = self.known.lock().unwrap_or_else(|e| e.into_inner());
        known.durable = known.durable.max(n + 1);
        self.voice.say(&format!("A {n}"));
    }

    /// Who reads the system calls sees neither which sync covers which thread's record, nor that a
    /// file in preparation is no part of the log yet. So: only when all that was announced is
    /// durable, and nothing is being prepared (on a full disk nothing ever is ready: not for ever).
    pub(crate) fn committed_under_a_tracer(&self, n: u64) {
        let mut known = self.known.lock().unwrap_or_else(|e| e.into_inner());
        while self.log.stats().segments_ready == 0 && known.patience > 0 {
            known.patience -= 1;
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        known.durable = known.durable.max(n + 1);
        if self.log.durable() == self.log.end() {
            self.voice.say(&format!("A {}", known.next - 1));
        }
    }

    pub(crate) fn is_below_checkpoint(&self, n: u64) -> bool {
        self.known.lock().unwrap_or_else(|e| e.into_inner()).checkpoint > n
    }

    /// One step of a writer that shares the log with others.
    pub(crate) fn write(&self, dice: &mut Dice, left: u64) -> Result<u64> {
        let (count, batch) = match dice.below(10) {
            0..=5 => (1, false),
            6 | 7 => (1 + dice.below(8), true),
            _ => (1 + dice.below(6), false),
        };
        let count = count.min(left);
        let Some((n, lsn)) = self.append(count, batch)? else { return Ok(0) };
        if dice.below(8) > 0 {
            if dice.below(6) == 0 {
                self.log.commit().map(drop)?
            } else {
                match self.log.commit_to(lsn) {
                    // Another thread's checkpoint came first, and that takes only what is durable.
                    Err(Error::Gone { .. }) if self.is_below_checkpoint(n) => (),
                    done => done?,
                }
            }
            self.committed(n);
        }
        if dice.below(4) == 0 {
            self.say_something(dice)?;
        }
        Ok(count)
    }

    /// Lets go of all but the last records; never of the very last, whose number must not come again.
    pub(crate) fn checkpoint(&self, dice: &mut Dice) -> Result<()> {
        let mut known = self.known.lock().unwrap_or_else(|e| e.into_inner());
        let keep = 1 + dice.below(20);
        let durable = known.durable;
        let found = known.records.iter().rev().find(|(n, ..)| n + keep < durable).copied();
        if let Some((n, lsn, _)) = found.filter(|(n, ..)| *n > known.checkpoint) {
            self.voice.say(&format!("T {n}"));
            self.log.checkpoint(lsn)?;
            self.voice.say(&format!("t {n}"));
            known.checkpoint = n;
        }
        Ok(())
    }

    /// Only while no other thread writes.
    pub(crate) fn cut(&self, dice: &mut Dice) -> Result<()> {
        for _ in 0..1 + dice.below(3) {
            self.append(1 + dice.below(8), dice.below(2) == 0)?;
            if dice.below(4) == 0 {
                self.log.roll()?;
            }
        }
        let mut known = self.known.lock().unwrap_or_else(|e| e.into_inner());
        let told = known.durable;
        let ends = known.records.iter().rev().take_while(|(n, ..)| n + 1 >= told);
        let ends: Vec<_> = ends.filter(|(.., end)| *end).copied().collect();
        let Some((keep, lsn, _)) =
            ends.get(dice.pick(6).min(ends.len().saturating_sub(1))).copied()
        else {
            return Ok(());
        };
        // After the last record nothing is cut, so no note is needed; and none has synced what is kept.
        if keep + 1 < known.next {
            let last = note(known.next, known.said, keep);
            self.watched.appended.insert(known.next, &last);
            self.voice.say(&announcement(known.next, &last));
            self.log.append(&last)?;
            self.log.commit()?;
        }
        self.watched.cuts.fetch_add(1, Ordering::AcqRel);
        self.voice.say(&format!("U {keep}"));
        self.log.truncate_after(lsn)?;
        self.voice.say(&format!("u {keep}"));
        self.voice.say(&format!("A {keep}"));
        known.records.retain(|(m, ..)| *m <= keep);
        known.next = keep + 1;
        known.durable = keep + 1;
        Ok(())
    }

    pub(crate) fn threads(&self, dice: &mut Dice, count: u64) -> Result<()> {
        let writers = 2 + dice.below(3);
        let share = count.div_ceil(writers);
        std::thread::scope(|scope| {
            let started: Vec<std::thread::ScopedJoinHandle<'_, Result<()>>> = (0..writers)
                .map(|_| {
                    let mut dice = Dice(dice.roll());
                    let writer = move || {
                        let mut left = share;
                        while left > 0 && !self.failed.load(Ordering::Acquire) {
                            let step = self.write(&mut dice, left).and_then(|done| {
                                if dice.below(15) == 0 {
                                    self.checkpoint(&mut dice)?
                                }
                                Ok(done)
                            });
                            left -=
                                step.inspect_err(|_| self.failed.store(true, Ordering::Release))?;
                        }
                        Ok(())
                    };
                    std::thread::Builder::new().spawn_scoped(scope, writer)
                })
                .collect::<std::io::Result<_>>()
                .map_err(|source| Error::Io { op: "clone", path: "a thread".into(), source })?;
            started.into_iter().try_for_each(|thread| match thread.join() {
                Ok(done) => done,
                Err(panic) => std::panic::resume_unwind(panic),
            })
        })
    }

    pub(crate) fn alone(&self, dice: &mut Dice, count: u64) -> Result<()> {
        let mut left = count;
        while left > 0 {
            match dice.below(30) {
                0 | 1 => self.checkpoint(dice)?,
                2 => self.cut(dice)?,
                3 => self.log.roll().map(drop)?,
                4 => self.begin_anew(dice)?,
                _ => left -= self.write(dice, left)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test")]

    use super::*;
    use crate::options;

    fn driver<'a>(log: &'a Log, voice: &'a Voice, watched: &'a Watched) -> Driver<'a> {
        Driver {
            log,
            voice,
            seed: 1,
            known: Mutex::new(Known {
                next: 0,
                records: VecDeque::new(),
                durable: 0,
                checkpoint: 0,
                said: 0,
                floor: 0,
                patience: 0,
            }),
            failed: AtomicBool::new(false),
            traced: false,
            watched,
        }
    }

    #[test]
    fn a_number_that_was_tried_is_not_given_again() {
        let dir = tempfile::tempdir().unwrap();
        let log = options(1).open(dir.path()).unwrap();
        let watched = Watched::default();
        let driver = driver(&log, &Voice, &watched);
        assert_eq!(driver.append(3, false).unwrap().unwrap().0, 2);
        log.close().unwrap();
        assert!(driver.append(1, false).is_err());
        // Another thread, which had waited for its turn.
        assert!(driver.append(1, false).unwrap().is_none());
        assert!(driver.append(2, true).unwrap().is_none());
    }
}
