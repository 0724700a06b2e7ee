//! One thread of the child.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use duralog::{Error, Log, Lsn, Record};
use fastrand::Rng;

use super::child::{Voice, is_only_full};
use super::words::{CONSUMER, Origin, Said, WRITERS, metadata};

/// More than this is not kept, so that a small disk is enough.
const KEPT: u64 = 6 << 20;

pub(crate) struct Writer<'a> {
    log: &'a Log,
    voice: &'a Voice,
    seed: u64,
    dice: Rng,
    /// One step in so many commits.
    every: u32,
    id: u32,
    pub(crate) seq: u64,
    pub(crate) metadata: u64,
    /// The last record of each append.
    pub(crate) ends: Vec<Lsn>,
    /// Held over checkpoints: its bytes must stay.
    held: Option<(Record, Origin)>,
    failed: &'a AtomicBool,
}

type Done = duralog::Result<()>;

impl<'a> Writer<'a> {
    #[expect(clippy::too_many_arguments, reason = "plain data, from one place")]
    pub(crate) fn new(
        log: &'a Log,
        voice: &'a Voice,
        seed: u64,
        mut dice: Rng,
        id: u32,
        seq: u64,
        metadata: u64,
        failed: &'a AtomicBool,
    ) -> Writer<'a> {
        let (ends, held) = (Vec::new(), None);
        let every = dice.choice([1, 2, 8, 40]).unwrap_or(1);
        Writer { log, voice, seed, dice, every, id, seq, metadata, ends, held, failed }
    }

    pub(crate) fn work(&mut self, steps: u32) -> Done {
        for _ in 0..steps {
            if self.failed.load(Ordering::Acquire) {
                break;
            }
            self.step().inspect_err(|_| self.failed.store(true, Ordering::Release))?;
        }
        self.holds()
    }

    fn step(&mut self) -> Done {
        let lsn = self.append()?;
        self.commit(lsn)?;
        match self.dice.u32(0..40) {
            0 => std::thread::sleep(Duration::from_micros(self.dice.u64(0..4000))),
            1 => self.read_back()?,
            _ => {}
        }
        // One thread alone, so that the order of these is known.
        if self.id % WRITERS == 0 {
            match self.dice.u32(0..24) {
                0 => self.ack()?,
                1 => self.set_metadata()?,
                2 => self.checkpoint()?,
                _ => {}
            }
            if self.log.end().get().saturating_sub(self.log.checkpoint_lsn().get()) > KEPT {
                self.checkpoint_at(self.log.durable())?;
            }
        }
        Ok(())
    }

    /// One record, or several as a batch: the LSN of the last.
    fn append(&mut self) -> duralog::Result<Lsn> {
        let count = if self.dice.u32(0..4) == 0 { self.dice.u32(1..9) } else { 1 };
        let (writer, seq) = (self.id, self.seq);
        let origins = (0..count).map(|index| Origin { writer, seq, index, count });
        let payloads: Vec<_> = origins.map(|origin| origin.payload(self.seed)).collect();
        self.seq += 1;
        let durably = self.dice.u32(0..4 * self.every) == 0;
        let appended = match payloads.as_slice() {
            [payload] if durably => self.log.append_durable(payload).map(|lsn| vec![lsn]),
            [payload] if self.dice.bool() => self.log.append(payload).map(|lsn| vec![lsn]),
            payloads => self.log.append_batch(payloads),
        };
        let lsns = match appended {
            Ok(lsns) => lsns,
            Err(error) => {
                let may_be = !is_only_full(&error);
                self.voice.say(&Said::Failed { writer, seq, may_be })?;
                return Err(error);
            }
        };
        let last = lsns.last().copied().unwrap_or(Lsn::MIN);
        let lsns = lsns.iter().map(|lsn| lsn.get()).collect();
        self.voice.say(&Said::Appended { writer, seq, lsns })?;
        if durably && count == 1 {
            self.voice.say(&Said::Durable(last.get()))?;
        }
        self.ends.push(last);
        Ok(last)
    }

    fn commit(&mut self, lsn: Lsn) -> Done {
        let committed = match self.dice.u32(0..6 * self.every) {
            0 | 1 => self.log.commit_to(lsn),
            2 => self.log.commit().map(drop),
            3 => self.log.when_durable(lsn).wait(),
            4 => {
                // Without waiting for it: what others, or a sync in the background, have made durable.
                return match self.log.durable() > lsn {
                    true => self.voice.say(&Said::Durable(lsn.get())),
                    false => Ok(()),
                };
            }
            _ => return Ok(()),
        };
        match committed {
            Ok(()) => self.voice.say(&Said::Durable(lsn.get())),
            // Another thread's checkpoint came first, and takes only what is durable.
            Err(Error::Gone { .. }) if lsn < self.log.checkpoint_lsn() => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// One of the last records of this thread.
    fn recent(&mut self) -> Option<Lsn> {
        let back = self.dice.usize(0..30).min(self.ends.len().checked_sub(1)?);
        self.ends.iter().rev().nth(back).copied()
    }

    fn read_back(&mut self) -> Done {
        self.holds()?;
        let Some(lsn) = self.recent() else { return Ok(()) };
        match self.log.read(lsn) {
            Ok(record) => match Origin::of(record.payload(), self.seed) {
                Some(origin) => self.held = Some((record, origin)),
                None => self.voice.broken("P2", format!("other bytes at LSN {lsn}"))?,
            },
            Err(Error::Gone { .. } | Error::OutOfRange { .. })
                if lsn < self.log.checkpoint_lsn() => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    fn holds(&mut self) -> Done {
        let Some((record, origin)) = self.held.take() else { return Ok(()) };
        if record.payload() == origin.payload(self.seed) {
            return Ok(());
        }
        self.voice.broken("P10", format!("the held record at {} changed", record.lsn()))
    }

    fn ack(&mut self) -> Done {
        let Some(lsn) = self.recent().filter(|lsn| *lsn < self.log.durable()) else {
            return Ok(());
        };
        let consumer = self.log.consumer(CONSUMER)?;
        self.voice.say(&Said::Acking(lsn.get()))?;
        let note = consumer.ack(lsn)?;
        let position = consumer.position()?;
        if self.dice.bool() {
            self.log.commit_to(note)?;
            self.voice.say(&Said::Acked(position.get()))?;
        }
        Ok(())
    }

    fn set_metadata(&mut self) -> Done {
        self.metadata += 1;
        let n = self.metadata;
        self.voice.say(&Said::Metadata { n, done: false })?;
        let note = self.log.set_metadata(&metadata(self.seed, n))?;
        if self.dice.bool() {
            self.log.commit_to(note)?;
            self.voice.say(&Said::Metadata { n, done: true })?;
        }
        Ok(())
    }

    fn checkpoint(&mut self) -> Done {
        match self.recent() {
            Some(lsn) if lsn < self.log.durable() => self.checkpoint_at(lsn),
            _ => Ok(()),
        }
    }

    fn checkpoint_at(&self, at: Lsn) -> Done {
        self.voice.say(&Said::Checkpoint { at: at.get(), done: false })?;
        self.log.checkpoint(at)?;
        self.voice.say(&Said::Checkpoint { at: at.get(), done: true })
    }
}
