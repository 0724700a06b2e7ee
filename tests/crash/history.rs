//! Histories: what is done to a log, one life of its process after another.

use duralog::sim::SimDisk;
use duralog::{Error, Log, Lsn, Options, SyncMethod, WriteMethod};

use super::model::Model;
use super::notes::{Key, name};

#[derive(Clone, Debug)]
pub(crate) enum Op {
    Append(usize),
    Batch(Vec<usize>),
    /// An append that waits until it is durable.
    Durable(usize),
    Commit,
    /// The record this far (in 256ths) through the log, and all before it.
    CommitTo(u8),
    Roll,
    Checkpoint(u8),
    Truncate(u8),
    /// Metadata of so many bytes.
    Metadata(usize),
    /// A consumer is done with the record this far through the log; made if there is none.
    Ack(u8, u8),
    Forget(u8),
    CheckpointToSlowest,
    /// Everything below the record this far through the log.
    Archived(u8),
    NotArchived,
    /// So many half pages behind the end.
    ResetTo(u8),
    TruncateAll,
    Read(u8),
    /// What the background thread does.
    Step,
    Close,
    /// The process ends without a word, and comes again.
    Reopen,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Way {
    pub(crate) write: WriteMethod,
    pub(crate) sync: SyncMethod,
    pub(crate) spare: usize,
    pub(crate) pages: u64,
}

impl Way {
    pub(crate) fn open(self, disk: &SimDisk) -> Result<Log, Error> {
        Options::new()
            .segment_size(self.pages * 4096)
            .spare_segments(self.spare)
            .write_method(self.write)
            .sync_method(self.sync)
            .open_on(disk)
    }
}

/// Bytes that say which record they are.
pub(crate) fn payload(number: &mut u64, len: usize) -> Vec<u8> {
    *number += 1;
    let mut state = *number;
    (0..len)
        .map(|_| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 56) as u8
        })
        .collect()
}

/// One process at work: the log, what it owes, and what was done so far.
pub(crate) struct Run {
    pub(crate) way: Way,
    pub(crate) disk: SimDisk,
    pub(crate) model: Model,
    pub(crate) log: Option<Log>,
    /// Numbers the payloads, over all lives.
    pub(crate) number: u64,
    /// Errors that are not the power's: only where faults were ordered.
    pub(crate) errors: Vec<Error>,
    /// The log that is open has told so.
    pub(crate) poisoned: bool,
}

/// Not `Err` by a fault: then it is a bug.
fn refusal(error: &Error) -> bool {
    matches!(error, Error::RecordTooLarge { .. } | Error::BatchTooLarge { .. })
}

impl Run {
    pub(crate) fn new(way: Way, disk: SimDisk) -> Run {
        Run {
            way,
            disk,
            model: Model::default(),
            log: None,
            number: 0,
            errors: Vec::new(),
            poisoned: false,
        }
    }

    fn failed(&mut self, error: Error) {
        if !self.disk.is_off() && !refusal(&error) {
            self.poisoned |= error.is_poisoned();
            self.errors.push(error);
        }
    }

    fn payloads(&mut self, lens: &[usize]) -> Vec<Vec<u8>> {
        lens.iter().map(|len| payload(&mut self.number, *len)).collect()
    }

    /// Does all of it, or as much as the disk allows. Every success is a promise.
    pub(crate) fn live(&mut self, ops: &[Op]) {
        for op in ops {
            if self.disk.is_off() {
                return;
            }
            let Some(log) = self.log.take() else { return };
            self.log = self.act(log, op);
        }
    }

    fn at(&self, fraction: u8) -> Option<usize> {
        let first =
            self.model.records.partition_point(|kept| kept.lsn < self.model.checkpoint_asked);
        let live = self.model.records.len() - first;
        (live > 0).then(|| first + live * usize::from(fraction) / 256)
    }

    fn act(&mut self, log: Log, op: &Op) -> Option<Log> {
        match op {
            Op::Append(len) => {
                let payloads = self.payloads(&[*len]);
                self.told(log.append(&payloads[0]).map(|lsn| vec![lsn]), payloads);
            }
            Op::Batch(lens) => {
                let payloads = self.payloads(lens);
                self.told(log.append_batch(&payloads), payloads);
            }
            Op::Durable(len) => {
                let payloads = self.payloads(&[*len]);
                match log.append_durable(&payloads[0]) {
                    Ok(lsn) => {
                        self.model.appended(&[lsn], &payloads);
                        self.model.committed_to(duralog::Lsn::new(lsn.get() + 1));
                    }
                    // Perhaps appended, and not known to be durable.
                    Err(error) => {
                        if !refusal(&error) && !matches!(error, Error::Full { .. }) {
                            self.model.attempted(payloads);
                        }
                        self.failed(error);
                    }
                }
            }
            Op::Commit => match log.commit() {
                Ok(durable) => self.model.committed_to(durable),
                Err(error) => self.failed(error),
            },
            Op::CommitTo(fraction) => {
                if let Some(kept) = self.at(*fraction).map(|at| self.model.records[at].lsn) {
                    match log.commit_to(kept) {
                        Ok(()) => self.model.committed_to(duralog::Lsn::new(kept.get() + 1)),
                        Err(error) => self.failed(error),
                    }
                }
            }
            Op::Roll => drop(log.roll().map_err(|error| self.failed(error))),
            Op::Checkpoint(fraction) => {
                if let Some(at) = self.at(*fraction).filter(|at| *at < self.model.committed) {
                    let lsn = self.model.records[at].lsn;
                    self.model.checkpoint_asked = lsn.max(self.model.checkpoint_asked);
                    match log.checkpoint(lsn) {
                        Ok(_) => self.model.checkpoint = self.model.checkpoint_asked,
                        Err(error) => self.failed(error),
                    }
                }
            }
            Op::Truncate(fraction) => {
                if let Some(at) = self.at(*fraction).filter(|at| self.model.records[*at].ends_batch)
                {
                    self.model.cut_asked(at + 1);
                    match log.truncate_after(self.model.records[at].lsn) {
                        Ok(()) => self.model.cut_done(true),
                        Err(error) => {
                            if !error.is_poisoned() {
                                self.model.cut_done(false);
                            }
                            self.failed(error);
                        }
                    }
                }
            }
            Op::Metadata(len) => {
                let bytes = payload(&mut self.number, *len);
                let said = log.set_metadata(&bytes);
                self.said(Key::Metadata, bytes, said);
            }
            Op::Ack(number, fraction) => {
                let lsn = self.at(*fraction).filter(|at| *at < self.model.committed);
                let lsn = lsn.map(|at| self.model.records[at].lsn);
                let key = Key::Consumer(*number);
                let known = log.consumers().unwrap().iter().any(|c| c.name == name(*number));
                let consumer = match log.consumer(&name(*number)) {
                    Ok(consumer) => consumer,
                    Err(error) => {
                        self.said(key, log.head().get().to_le_bytes().to_vec(), Err(error));
                        return Some(log);
                    }
                };
                let position = |consumer: &duralog::Consumer| {
                    consumer.position().unwrap().get().to_le_bytes().to_vec()
                };
                if !known {
                    // Where its note lies is not told, but it lies below the end.
                    let last = Lsn::new(log.end().get() - 1);
                    self.model.notes.said(key.clone(), position(&consumer), Some(last));
                }
                if let Some(lsn) = lsn {
                    let said = consumer.ack(lsn);
                    let behind = Lsn::new(lsn.get() + 8).get().to_le_bytes().to_vec();
                    let value = if said.is_ok() { position(&consumer) } else { behind };
                    self.said(key, value, said);
                }
            }
            Op::Forget(number) => {
                if log.consumers().unwrap().iter().any(|c| c.name == name(*number)) {
                    let said = log.consumer(&name(*number)).and_then(|consumer| consumer.remove());
                    self.said(Key::Consumer(*number), Vec::new(), said);
                }
            }
            Op::CheckpointToSlowest => {
                if let Some(lsn) = self.model.notes.slowest(log.durable()) {
                    self.model.checkpoint_asked = lsn.max(self.model.checkpoint_asked);
                    match log.checkpoint_to_slowest() {
                        Ok(_) => self.model.checkpoint = self.model.checkpoint_asked,
                        Err(error) => self.failed(error),
                    }
                }
            }
            Op::Archived(fraction) => {
                if let Some(at) = self.at(*fraction).filter(|at| *at < self.model.committed) {
                    let lsn =
                        self.model.records[at].lsn.max(log.archived().unwrap().unwrap_or(Lsn::MIN));
                    let said = log.archived_up_to(lsn).map(|()| Lsn::new(log.durable().get() - 1));
                    self.said(Key::Archived, lsn.get().to_le_bytes().to_vec(), said);
                    self.model.committed_to(log.durable());
                }
            }
            Op::NotArchived => {
                let said = log.stop_archiving().map(|()| Lsn::new(log.durable().get() - 1));
                self.said(Key::Archived, Vec::new(), said);
                self.model.committed_to(log.durable());
            }
            Op::ResetTo(halves) => {
                let ahead = u64::from(*halves) * 2048 * self.way.pages;
                let lsn = duralog::Lsn::new(log.end().get() + ahead);
                let windows = 3 * 4096 * self.way.pages;
                let exact = lsn.get() % 4096 == 0 && ahead >= windows;
                self.model.reset_asked();
                let reset = log.reset_to(lsn).inspect(|start| {
                    assert!(if exact { *start == lsn } else { *start >= lsn });
                });
                self.reset(&log, reset.map(drop));
            }
            Op::TruncateAll => {
                self.model.reset_asked();
                self.reset(&log, log.truncate_all());
            }
            Op::Read(fraction) => {
                if let Some(at) = self.at(*fraction) {
                    let kept = self.model.records[at].clone();
                    match log.read(kept.lsn) {
                        Ok(record) => assert!(record.payload() == kept.payload),
                        Err(error) => self.failed(error),
                    }
                }
            }
            Op::Step => drop(log.step().map_err(|error| self.failed(error))),
            Op::Close | Op::Reopen => return self.reopen(log, matches!(op, Op::Close)),
        }
        Some(log)
    }

    fn said(&mut self, key: Key, value: Vec<u8>, said: Result<Lsn, Error>) {
        let at = said.as_ref().ok().copied();
        if !matches!(said, Err(Error::Full { .. })) {
            self.model.notes.said(key, value, at);
        }
        if let Err(error) = said {
            self.failed(error);
        }
    }

    fn reset(&mut self, log: &Log, done: Result<(), Error>) {
        match done {
            Ok(()) => {
                assert_eq!((log.head(), log.durable()), (log.end(), log.end()));
                self.model.reset_done(Some(log.checkpoint_lsn()));
            }
            Err(error) => {
                if !error.is_poisoned() {
                    self.model.reset_done(None);
                }
                self.failed(error);
            }
        }
    }

    fn told(&mut self, lsns: Result<Vec<duralog::Lsn>, Error>, payloads: Vec<Vec<u8>>) {
        match lsns {
            Ok(lsns) => self.model.appended(&lsns, &payloads),
            Err(error) => {
                // `Full` says that nothing was appended, and no crash makes that untrue.
                if !refusal(&error) && !matches!(error, Error::Full { .. }) {
                    self.model.attempted(payloads);
                }
                self.failed(error);
            }
        }
    }

    fn reopen(&mut self, log: Log, close: bool) -> Option<Log> {
        if close {
            match log.close() {
                Ok(()) => self.model.committed_to(log.end()),
                Err(error) => self.failed(error),
            }
        }
        drop(log);
        self.poisoned = false;
        match self.way.open(&self.disk) {
            // The process ended, the disk did not: all is there.
            Ok(log) => {
                let end = if self.errors.is_empty() {
                    super::model::End::Kill
                } else {
                    super::model::End::PowerCut
                };
                self.model.found(&log, end).then_some(log)
            }
            Err(error) => {
                self.failed(error);
                None
            }
        }
    }
}
