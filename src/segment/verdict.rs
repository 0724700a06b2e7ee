//! What the end of a walk means: the table of FORMAT.md, section 6, as one pure function.

use super::scan::{Stop, Why};

/// What the manifest says of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Says {
    /// Sealed, or active in a log that was closed cleanly: the end is known.
    Bounded,
    /// The end is to be found. The id of the segment that follows, if the manifest names one.
    Open { next: Option<u64> },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Row A: all that the manifest says is there.
    Whole,
    /// Rows B, C, E, F: committed data is damaged at this offset.
    Damage { at: u64, what: &'static str },
    /// Row D: the log goes on in the next segment; this one ends here.
    Follow { at: u64 },
    /// Row G: the log ends here. `torn`: something that no one was told is durable is cut.
    Ends { at: u64, torn: bool },
}

/// The offset from which nothing is accepted: the start of an incomplete batch, or the stop itself.
pub(crate) fn cut_of(stop: &Stop) -> u64 {
    stop.open_batch.unwrap_or(stop.at)
}

/// Whether the verdict depends on marks beyond: only then are they looked for.
pub(crate) fn needs_evidence(says: Says, stop: &Stop) -> bool {
    let follows = matches!(stop.why, Why::End { .. }) && stop.open_batch.is_none();
    matches!(says, Says::Open { .. }) && !follows
}

/// `vouched`: evidence says that the position of the cut was durable once.
pub(crate) fn verdict(says: Says, stop: &Stop, vouched: bool) -> Verdict {
    let cut = cut_of(stop);
    match (says, stop.why) {
        (Says::Bounded, Why::Bound) if stop.open_batch.is_none() => Verdict::Whole,
        (Says::Bounded, Why::PastBound) => Verdict::Damage {
            at: stop.at,
            what: "a frame reaches beyond the end of the segment's records",
        },
        (Says::Bounded, Why::Bound) => Verdict::Damage { at: cut, what: "a batch is not complete" },
        (Says::Bounded, Why::Invalid { .. }) => Verdict::Damage {
            at: stop.at,
            what: "there is no valid frame where committed records must be",
        },
        (Says::Bounded, Why::End { .. }) => Verdict::Damage {
            at: stop.at,
            what: "the segment ends before the end that the manifest says",
        },
        (Says::Open { next }, Why::End { next: named }) if stop.open_batch.is_none() => {
            if next == Some(named) {
                Verdict::Follow { at: stop.at }
            } else {
                Verdict::Damage {
                    at: stop.at,
                    what: "it names a next segment that the manifest does not",
                }
            }
        }
        (Says::Open { .. }, _) if vouched => Verdict::Damage {
            at: cut,
            what: "there is no valid frame, yet what lies beyond says that it was durable",
        },
        (Says::Open { .. }, why) => {
            let nothing_there = stop.open_batch.is_none() && why == Why::Invalid { zero: true };
            Verdict::Ends { at: cut, torn: !nothing_there }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The table of FORMAT.md, written anew from its words: the row of each case.
    fn row(says: Says, stop: &Stop, vouched: bool) -> char {
        let batch = stop.open_batch.is_some();
        match says {
            Says::Bounded => match stop.why {
                Why::Bound if !batch => 'A',
                Why::PastBound => 'C',
                _ => 'B',
            },
            Says::Open { next } => match stop.why {
                Why::End { next: named } if !batch && next == Some(named) => 'D',
                Why::End { .. } if !batch => 'E',
                _ if vouched => 'F',
                _ => 'G',
            },
        }
    }

    #[test]
    fn every_case_has_exactly_the_verdict_of_its_row() {
        let mut rows = std::collections::BTreeSet::new();
        let whys = [
            Why::Bound,
            Why::PastBound,
            Why::End { next: 7 },
            Why::End { next: 8 },
            Why::Invalid { zero: true },
            Why::Invalid { zero: false },
        ];
        for says in [Says::Bounded, Says::Open { next: Some(7) }, Says::Open { next: None }] {
            for why in whys {
                // An open segment has no bound to stop at.
                if matches!(says, Says::Open { .. }) && matches!(why, Why::Bound | Why::PastBound) {
                    continue;
                }
                for open_batch in [None, Some(4096)] {
                    for vouched in [false, true] {
                        let stop = Stop { at: 5000, open_batch, why };
                        let got = verdict(says, &stop, vouched);
                        let row = row(says, &stop, vouched);
                        let right = match row {
                            'A' => got == Verdict::Whole,
                            'B' | 'C' | 'E' | 'F' => matches!(got, Verdict::Damage { .. }),
                            'D' => got == Verdict::Follow { at: 5000 },
                            _ => {
                                let torn =
                                    open_batch.is_some() || why != Why::Invalid { zero: true };
                                got == Verdict::Ends { at: open_batch.unwrap_or(5000), torn }
                            }
                        };
                        assert!(
                            right,
                            "row {row}: {says:?} {stop:?} vouched {vouched} gave {got:?}"
                        );
                        let evidence = needs_evidence(says, &stop);
                        assert_eq!(evidence, matches!(row, 'F' | 'G'), "row {row}");
                        rows.insert(row);
                    }
                }
            }
        }
        assert_eq!(rows.into_iter().collect::<String>(), "ABCDEFG");
    }
}
