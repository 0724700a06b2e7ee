//! What a child tells its parent, a line each; and what is in a record, which follows from who appended it.

use std::fmt;

/// Writers of one life: their ids are `life * WRITERS + thread`, so that none is ever used twice.
pub(crate) const WRITERS: u32 = 64;

/// The consumer that the children acknowledge by.
pub(crate) const CONSUMER: &str = "mailer";

/// Which record: the `index`th of `count` that `writer` appended as one, its append number `seq`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Origin {
    pub(crate) writer: u32,
    pub(crate) seq: u64,
    pub(crate) index: u32,
    pub(crate) count: u32,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Origin { writer, seq, index, count } = self;
        let (life, thread) = (writer / WRITERS, writer % WRITERS);
        write!(f, "record {} of {count} of append {seq} of thread {thread}, life {life}", index + 1)
    }
}

const HEADER: usize = 20;

/// An independent stream of random numbers for each pair.
pub(crate) fn dice(seed: u64, of: u64) -> fastrand::Rng {
    let mixed = seed.wrapping_add(of.wrapping_mul(0x9E37_79B9_7F4A_7C15));
    fastrand::Rng::with_seed(fastrand::Rng::with_seed(mixed).u64(..))
}

impl Origin {
    /// The bytes of the record, length and all: who knows the origin knows what must be there.
    pub(crate) fn payload(&self, seed: u64) -> Vec<u8> {
        let [writer, index, count] = [self.writer, self.index, self.count].map(u64::from);
        let seed =
            [writer, self.seq, index].into_iter().fold(seed, |seed, of| dice(seed, of).u64(..));
        let mut dice = dice(seed, count);
        let len = match dice.u32(0..100) {
            0..70 => dice.usize(0..300),
            70..98 => dice.usize(300..6000),
            _ => dice.usize(6000..24_000),
        };
        let mut bytes = Vec::with_capacity(HEADER + len);
        bytes.extend(self.writer.to_le_bytes());
        bytes.extend(self.seq.to_le_bytes());
        bytes.extend(self.index.to_le_bytes());
        bytes.extend(self.count.to_le_bytes());
        bytes.resize(HEADER + len, 0);
        dice.fill(bytes.get_mut(HEADER..).unwrap_or_default());
        bytes
    }

    /// Who says to have appended this; none if these are not, byte for byte, the record that it then would be.
    pub(crate) fn of(payload: &[u8], seed: u64) -> Option<Origin> {
        let word = |at: usize| -> Option<u32> {
            Some(u32::from_le_bytes(payload.get(at..at + 4)?.try_into().ok()?))
        };
        let seq = u64::from_le_bytes(payload.get(4..12)?.try_into().ok()?);
        let origin = Origin { writer: word(0)?, seq, index: word(12)?, count: word(16)? };
        (origin.payload(seed) == payload).then_some(origin)
    }
}

/// The metadata of number `n`.
pub(crate) fn metadata(seed: u64, n: u64) -> Vec<u8> {
    let mut dice = dice(!seed, n);
    let mut bytes = n.to_le_bytes().to_vec();
    bytes.resize(8 + dice.usize(0..1500), 0);
    dice.fill(bytes.get_mut(8..).unwrap_or_default());
    bytes
}

/// Of which number these metadata are: 0 if there are none.
pub(crate) fn metadata_number(seed: u64, bytes: &[u8]) -> Option<u64> {
    if bytes.is_empty() {
        return Some(0);
    }
    let n = u64::from_le_bytes(bytes.get(..8)?.try_into().ok()?);
    (metadata(seed, n) == bytes).then_some(n)
}

/// A line on the child's standard output, each by one write. What begins is told before, what is done after.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Said {
    /// `I pid`
    Started(i32),
    /// `O` the log is open
    Opened,
    /// `R writer seq lsn..` appended: one record, or several as a batch
    Appended { writer: u32, seq: u64, lsns: Vec<u64> },
    /// `X writer seq 0|1` the append failed; whether it may be in the log all the same
    Failed { writer: u32, seq: u64, may_be: bool },
    /// `A lsn` this record and all before it are durable
    Durable(u64),
    /// `T lsn`, `t lsn` a checkpoint
    Checkpoint { at: u64, done: bool },
    /// `U lsn`, `u lsn` a cut: this record is the last one kept
    Cut { keep: u64, done: bool },
    /// `B`, `b` a close
    Close { done: bool },
    /// `C lsn` the consumer is about to acknowledge this record
    Acking(u64),
    /// `c position` where it then stands, durably
    Acked(u64),
    /// `M n`, `m n` metadata of this number; done: durable
    Metadata { n: u64, done: bool },
    /// `L` the log stays open until a line comes on standard input
    Locked,
    /// `H head end checkpoint torn|whole` what an open found
    Found { head: u64, end: u64, checkpoint: u64, torn: bool },
    /// `r lsn writer seq index count` a record found
    Record { lsn: u64, origin: Origin },
    /// `p position` where the consumer stands
    Position(u64),
    /// `n number` of which number the metadata are
    Number(u64),
    /// `V promise text` a broken promise that the child saw itself
    Broken { promise: String, what: String },
    /// `E text` an error that ended this child
    Error(String),
    /// `.` all that was found was told
    End,
}

impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pick = |done: &bool, begun, end| if *done { end } else { begun };
        match self {
            Said::Started(pid) => write!(f, "I {pid}"),
            Said::Opened => f.write_str("O"),
            Said::Appended { writer, seq, lsns } => {
                write!(f, "R {writer} {seq}")?;
                lsns.iter().try_for_each(|lsn| write!(f, " {lsn}"))
            }
            Said::Failed { writer, seq, may_be } => {
                write!(f, "X {writer} {seq} {}", u8::from(*may_be))
            }
            Said::Durable(lsn) => write!(f, "A {lsn}"),
            Said::Checkpoint { at, done } => write!(f, "{} {at}", pick(done, "T", "t")),
            Said::Cut { keep, done } => write!(f, "{} {keep}", pick(done, "U", "u")),
            Said::Close { done } => f.write_str(pick(done, "B", "b")),
            Said::Acking(lsn) => write!(f, "C {lsn}"),
            Said::Acked(position) => write!(f, "c {position}"),
            Said::Metadata { n, done } => write!(f, "{} {n}", pick(done, "M", "m")),
            Said::Locked => f.write_str("L"),
            Said::Found { head, end, checkpoint, torn } => {
                let tail = if *torn { "torn" } else { "whole" };
                write!(f, "H {head} {end} {checkpoint} {tail}")
            }
            Said::Record { lsn, origin: Origin { writer, seq, index, count } } => {
                write!(f, "r {lsn} {writer} {seq} {index} {count}")
            }
            Said::Position(position) => write!(f, "p {position}"),
            Said::Number(n) => write!(f, "n {n}"),
            Said::Broken { promise, what } => {
                write!(f, "V {promise} {}", what.replace('\n', " "))
            }
            Said::Error(what) => write!(f, "E {}", what.replace('\n', " ")),
            Said::End => f.write_str("."),
        }
    }
}

impl Said {
    /// None: not a line of ours, such as one that a kill cut short.
    pub(crate) fn parse(line: &str) -> Option<Said> {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        match word {
            "V" => {
                let (promise, what) = rest.split_once(' ')?;
                return Some(Said::Broken { promise: promise.into(), what: what.into() });
            }
            "E" => return Some(Said::Error(rest.into())),
            "I" => return rest.parse().ok().map(Said::Started),
            "H" => {
                let (numbers, tail) = rest.rsplit_once(' ')?;
                let [head, end, checkpoint] = numbers_of(numbers)?.try_into().ok()?;
                return Some(Said::Found { head, end, checkpoint, torn: tail == "torn" });
            }
            _ => {}
        }
        let numbers = numbers_of(rest)?;
        let narrow = |n: u64| u32::try_from(n).ok();
        Some(match (word, numbers.as_slice()) {
            ("O", []) => Said::Opened,
            ("R", [writer, seq, lsns @ ..]) if !lsns.is_empty() => {
                Said::Appended { writer: narrow(*writer)?, seq: *seq, lsns: lsns.to_vec() }
            }
            ("X", [writer, seq, may_be]) => {
                Said::Failed { writer: narrow(*writer)?, seq: *seq, may_be: *may_be == 1 }
            }
            ("A", [lsn]) => Said::Durable(*lsn),
            ("T" | "t", [at]) => Said::Checkpoint { at: *at, done: word == "t" },
            ("U" | "u", [keep]) => Said::Cut { keep: *keep, done: word == "u" },
            ("B" | "b", []) => Said::Close { done: word == "b" },
            ("C", [lsn]) => Said::Acking(*lsn),
            ("c", [position]) => Said::Acked(*position),
            ("M" | "m", [n]) => Said::Metadata { n: *n, done: word == "m" },
            ("L", []) => Said::Locked,
            ("r", [lsn, writer, seq, index, count]) => {
                let (writer, index, count) = (narrow(*writer)?, narrow(*index)?, narrow(*count)?);
                Said::Record { lsn: *lsn, origin: Origin { writer, seq: *seq, index, count } }
            }
            ("p", [position]) => Said::Position(*position),
            ("n", [n]) => Said::Number(*n),
            (".", []) => Said::End,
            _ => return None,
        })
    }
}

fn numbers_of(words: &str) -> Option<Vec<u64>> {
    words.split(' ').filter(|word| !word.is_empty()).map(|word| word.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_is_what_is_heard() {
        let origin = Origin { writer: 130, seq: 7, index: 1, count: 3 };
        let all = [
            Said::Started(4711),
            Said::Opened,
            Said::Appended { writer: 64, seq: 1, lsns: vec![4096, 5000] },
            Said::Failed { writer: 64, seq: 2, may_be: true },
            Said::Durable(4096),
            Said::Checkpoint { at: 5, done: true },
            Said::Cut { keep: 6, done: false },
            Said::Close { done: true },
            Said::Acking(1),
            Said::Acked(2),
            Said::Metadata { n: 3, done: false },
            Said::Locked,
            Said::Found { head: 1, end: 2, checkpoint: 3, torn: true },
            Said::Record { lsn: 9, origin },
            Said::Position(8),
            Said::Number(7),
            Said::Broken { promise: "P5".into(), what: "damage at 1".into() },
            Said::Error("no such file".into()),
            Said::End,
        ];
        for said in all {
            assert_eq!(Said::parse(&said.to_string()), Some(said));
        }
        for half in ["", "R 64 1", "R 64 x 1", "r 1 2 3 4", "H 1 2 3", "Q"] {
            assert_eq!(Said::parse(half), None, "{half:?}");
        }
    }

    #[test]
    fn a_record_says_who_it_is_and_no_byte_of_it_may_change() {
        let origin = Origin { writer: 130, seq: 7, index: 1, count: 3 };
        let payload = origin.payload(1);
        assert_eq!(Origin::of(&payload, 1), Some(origin));
        for at in 0..payload.len() {
            let mut changed = payload.clone();
            changed[at] ^= 1;
            assert_eq!(Origin::of(&changed, 1), None, "byte {at}");
        }
        assert_eq!(Origin::of(&payload[..payload.len() - 1], 1), None);
        assert_eq!(Origin::of(&payload, 2), None, "another run");
        assert_eq!(metadata_number(1, &metadata(1, 9)), Some(9));
        assert_eq!(metadata_number(2, &metadata(1, 9)), None);
    }
}
