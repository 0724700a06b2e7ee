//! What a log must give back, whatever happens: the promises as one comparison.

use std::collections::BTreeMap;

use std::ops::RangeInclusive;

use duralog::{Log, Lsn};

use super::notes::Told;

#[derive(Clone, Debug)]
pub(crate) struct Kept {
    pub(crate) lsn: Lsn,
    pub(crate) payload: Vec<u8>,
    /// The last of its batch, or alone: the log may be cut behind it.
    pub(crate) ends_batch: bool,
}

/// An append that failed, or was under way when the power went: its records, and how many stood before it.
#[derive(Clone, Debug)]
struct Attempt {
    after: usize,
    payloads: Vec<Vec<u8>>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Model {
    /// Every record of the log as it is, oldest first, those that a checkpoint let go included.
    pub(crate) records: Vec<Kept>,
    /// How many of them were acknowledged as durable; and before the last acknowledgement.
    pub(crate) committed: usize,
    pub(crate) committed_before: usize,
    attempts: Vec<Attempt>,
    /// A cut that failed, or was under way: how many records it was to keep.
    maybe_cut: Option<usize>,
    before_a_cut: Option<Told>,
    /// All records were dropped, or are about to be.
    maybe_reset: bool,
    /// The checkpoint that returned, and the one that was asked for.
    pub(crate) checkpoint: Lsn,
    pub(crate) checkpoint_asked: Lsn,
    /// What each position ever handed out stands for.
    named: BTreeMap<Lsn, Vec<u8>>,
    pub(crate) notes: Told,
}

/// How the process ended: what it may have lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// What no one was told is durable may be gone.
    PowerCut,
    /// Every append that returned is there (P4).
    Kill,
    /// The last acknowledged group may also be taken for a torn tail (P5's exception): damage.
    Rot,
    /// So may all groups that share the last page.
    RotOfMuch,
}

impl Model {
    pub(crate) fn appended(&mut self, lsns: &[Lsn], payloads: &[Vec<u8>]) {
        for (i, (lsn, payload)) in lsns.iter().zip(payloads).enumerate() {
            // P2: a position is handed out once, and only higher ones follow.
            let last = self.named.last_key_value().map(|(lsn, _)| *lsn);
            assert!(last.is_none_or(|last| last < *lsn), "LSN {lsn} after {last:?}");
            self.named.insert(*lsn, payload.clone());
            let ends_batch = i + 1 == payloads.len();
            self.records.push(Kept { lsn: *lsn, payload: payload.clone(), ends_batch });
        }
    }

    pub(crate) fn attempted(&mut self, payloads: Vec<Vec<u8>>) {
        self.attempts.push(Attempt { after: self.records.len(), payloads });
    }

    /// All records below `durable` were acknowledged.
    pub(crate) fn committed_to(&mut self, durable: Lsn) {
        self.notes.committed_to(durable);
        let committed = self.records.partition_point(|kept| kept.lsn < durable);
        if committed > self.committed {
            (self.committed_before, self.committed) = (self.committed, committed);
        }
    }

    pub(crate) fn cut_asked(&mut self, keep: usize) {
        self.maybe_cut = Some(keep);
        self.before_a_cut = Some(self.notes.clone());
        self.notes.cut_asked(&self.cut_at(keep));
    }

    /// Where a consumer may stand behind a cut that keeps so many records.
    fn cut_at(&self, keep: usize) -> RangeInclusive<Lsn> {
        let last = &self.records[keep - 1];
        let len = 8 + last.payload.len().next_multiple_of(8) as u64;
        Lsn::MIN..=Lsn::new(last.lsn.get() + len)
    }

    /// The cut returned: it is durable, or nothing was changed.
    pub(crate) fn cut_done(&mut self, cut: bool) {
        let keep = self.maybe_cut.take();
        let before = self.before_a_cut.take();
        self.notes = before.unwrap_or_else(|| self.notes.clone());
        if let Some(keep) = keep.filter(|_| cut) {
            self.notes.cut(&self.cut_at(keep));
            self.records.truncate(keep);
            (self.committed, self.committed_before) = (keep, keep);
            self.attempts.retain(|attempt| attempt.after < keep);
        }
    }

    pub(crate) fn reset_asked(&mut self) {
        self.maybe_reset = true;
    }

    /// The reset returned: where the log begins now, or nothing was changed.
    pub(crate) fn reset_done(&mut self, start: Option<Lsn>) {
        self.maybe_reset = false;
        if let Some(start) = start {
            let last = self.named.last_key_value().map(|(lsn, _)| *lsn);
            assert!(last.is_none_or(|last| last < start), "P2: {start} was in use");
            self.records.clear();
            self.attempts.clear();
            self.notes.cut(&(start..=Lsn::new(u64::MAX)));
            (self.committed, self.committed_before) = (0, 0);
            (self.checkpoint, self.checkpoint_asked) = (start, start);
        }
    }

    /// Whether one that was under way has happened: all or nothing. Nothing else moves the checkpoint then.
    pub(crate) fn settle_a_reset(&mut self, log: &Log) {
        if self.maybe_reset {
            let start = Some(log.checkpoint_lsn()).filter(|lsn| *lsn > self.checkpoint_asked);
            self.reset_done(start);
        }
    }

    fn lower_bound(&self, end: End) -> usize {
        match end {
            End::PowerCut => self.committed,
            End::Kill => self.records.len(),
            End::Rot => self.committed_before,
            End::RotOfMuch => 0,
        }
    }

    /// Compares what was found with what may be found; what was found is the truth from now on. False: it
    /// could not be read to the end, by a fault or because the power went meanwhile.
    pub(crate) fn found(&mut self, log: &Log, end: End) -> bool {
        let mut found = Vec::new();
        for record in log.replay() {
            match record {
                Ok(record) => found.push(Kept {
                    lsn: record.lsn(),
                    payload: record.payload().to_vec(),
                    ends_batch: true,
                }),
                Err(error) if !error.is_corrupt() => return false,
                Err(error) => panic!("a power cut is never damage: {error}"),
            }
        }
        self.settle_a_reset(log);
        let last = found.last().map(|kept| kept.lsn);
        let lost = self.records.iter().map(|kept| kept.lsn);
        // A cut takes records, not what was noted behind them.
        let lost = lost.filter(|lsn| Some(*lsn) > last.max(Some(self.checkpoint_asked)));
        let lost = if self.maybe_cut.is_none() { lost.min() } else { None };
        self.compare(&found, end);
        self.notes.found(log, end, last, lost);
        // Whoever sees the log now is told that all of it is durable.
        assert_eq!(log.durable(), log.end());
        assert!(log.head() <= log.end());
        let checkpoint = log.checkpoint_lsn();
        assert!(
            checkpoint == self.checkpoint || checkpoint == self.checkpoint_asked,
            "P10: checkpoint {checkpoint}, done {}, asked {}",
            self.checkpoint,
            self.checkpoint_asked
        );
        (self.checkpoint, self.checkpoint_asked) = (checkpoint, checkpoint);
        true
    }

    /// P1, P2, P3, P4 and P10 in one: what is there is a run of what was appended, from no later than the
    /// checkpoint to no earlier than what was acknowledged, with no batch in part.
    pub(crate) fn compare(&mut self, found: &[Kept], end: End) {
        let first_needed = self.records.partition_point(|kept| kept.lsn < self.checkpoint_asked);
        let first = match found.first() {
            Some(first) => self.records.partition_point(|kept| kept.lsn < first.lsn),
            None => first_needed,
        };
        assert!(
            first <= first_needed || self.records.len() <= first_needed,
            "P10: record {first} is the first, {first_needed} is still needed"
        );
        let same = |(a, b): &(&Kept, &Kept)| a.lsn == b.lsn && a.payload == b.payload;
        let known = self.records.get(first..).unwrap_or(&[]);
        let prefix = found.iter().zip(known).take_while(same).count();
        let kept = first + prefix;
        let more = &found[prefix..];
        if !more.is_empty() {
            // What no append returned: an attempt that failed here, whole.
            let more: Vec<&[u8]> = more.iter().map(|kept| &kept.payload[..]).collect();
            let attempted = self.attempts.iter().any(|attempt| {
                attempt.after == kept
                    && attempt.payloads.iter().map(|p| &p[..]).eq(more.iter().copied())
            });
            let expected = known.get(prefix);
            assert!(
                attempted,
                "P2: behind record {kept} of {} come {} records that no one appended there: \
                 {:?}, expected {:?}",
                self.records.len(),
                more.len(),
                found.get(prefix).map(|kept| (kept.lsn, kept.payload.len())),
                expected.map(|kept| (kept.lsn, kept.payload.len())),
            );
        }
        let bound = self.lower_bound(end);
        assert!(
            kept >= bound.min(self.records.len())
                || (self.maybe_cut == Some(kept) && more.is_empty()),
            "P1: {kept} records of {}, of which {bound} are owed ({end:?})",
            self.records.len()
        );
        // Nothing is no part of a batch, also where the checkpoint lies within one.
        let ends_batch =
            prefix == 0 || self.records.get(kept - 1).is_none_or(|kept| kept.ends_batch);
        assert!(ends_batch, "P3: a batch ends in record {kept}");
        // From here on these are the log.
        let last_of_batch: Vec<bool> =
            known.iter().take(prefix).map(|kept| kept.ends_batch).collect();
        self.records.truncate(first);
        for (i, kept) in found.iter().enumerate() {
            let ends_batch = last_of_batch.get(i).copied().unwrap_or(i + 1 == found.len());
            self.records.push(Kept { ends_batch, ..kept.clone() });
            if let Some(other) = self.named.insert(kept.lsn, kept.payload.clone()) {
                assert!(other == kept.payload, "P2: LSN {} names two records", kept.lsn);
            }
        }
        (self.committed, self.committed_before) = (self.records.len(), self.records.len());
        self.attempts.clear();
        self.maybe_cut = None;
    }
}
