//! Notes: small facts that the log keeps for its user beside the records (FORMAT.md, sections 4 and 5).
//!
//! A note is a frame among the records, so that one sync makes both durable. The manifest holds what all notes
//! below its durable LSN come to: so a segment may go, and its notes with it.

use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};

use super::{MAX_LSN, u64_at};

/// Bytes of a consumer's name at most.
pub(crate) const MAX_NAME: usize = 255;
/// Bytes of the user's metadata at most: a page, so that it fits in the smallest segment.
pub(crate) const MAX_METADATA: usize = 4096;
/// Consumers at most: the manifest, which holds them all, stays small.
pub(crate) const MAX_CONSUMERS: usize = 1024;

/// One change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Note {
    /// These are the user's metadata now.
    Metadata(Vec<u8>),
    /// The consumer is done with everything below.
    Consumer { name: String, position: u64 },
    /// There is no such consumer any more.
    Removed { name: String },
    /// Everything below has been archived; none: nothing is being archived any more.
    Archived(Option<u64>),
}

impl Note {
    /// Of two notes about the same the later counts.
    pub(crate) fn about(&self) -> (u8, String) {
        match self {
            Note::Metadata(_) => (1, String::new()),
            Note::Consumer { name, .. } | Note::Removed { name } => (2, name.clone()),
            Note::Archived(_) => (4, String::new()),
        }
    }

    /// The payload of its frame.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        match self {
            Note::Metadata(metadata) => {
                bytes.push(1);
                bytes.extend_from_slice(metadata);
            }
            Note::Consumer { name, position } => {
                bytes.push(2);
                bytes.extend_from_slice(&position.to_le_bytes());
                bytes.extend_from_slice(name.as_bytes());
            }
            Note::Removed { name } => {
                bytes.push(3);
                bytes.extend_from_slice(name.as_bytes());
            }
            Note::Archived(to) => {
                bytes.push(4);
                bytes.extend(to.iter().flat_map(|to| to.to_le_bytes()));
            }
        }
        bytes
    }

    /// None: it says nothing that this version knows, and is passed over.
    pub(crate) fn decode(payload: &[u8]) -> Option<Note> {
        let (tag, rest) = payload.split_first()?;
        let name = |bytes: &[u8]| {
            let name = std::str::from_utf8(bytes).ok()?;
            is_name(name).then(|| name.to_owned())
        };
        let lsn = |bytes: &[u8]| u64_at(bytes, 0).filter(|lsn| *lsn <= MAX_LSN);
        match tag {
            1 if rest.len() <= MAX_METADATA => Some(Note::Metadata(rest.to_vec())),
            2 => Some(Note::Consumer { position: lsn(rest)?, name: name(rest.get(8..)?)? }),
            3 => Some(Note::Removed { name: name(rest)? }),
            4 if rest.is_empty() => Some(Note::Archived(None)),
            4 if rest.len() == 8 => Some(Note::Archived(Some(lsn(rest)?))),
            _ => None,
        }
    }
}

pub(crate) fn is_name(name: &str) -> bool {
    (1..=MAX_NAME).contains(&name.len())
}

/// What all notes so far come to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Notes {
    pub(crate) metadata: Vec<u8>,
    pub(crate) archived: Option<u64>,
    /// Names, in ascending order, and positions.
    consumers: Vec<(String, u64)>,
}

impl Notes {
    pub(crate) fn apply(&mut self, note: &Note) {
        match note {
            Note::Metadata(metadata) => self.metadata.clone_from(metadata),
            Note::Archived(to) => self.archived = *to,
            Note::Consumer { name, position } => match self.find(name) {
                Ok(at) => {
                    if let Some(consumer) = self.consumers.get_mut(at) {
                        consumer.1 = *position;
                    }
                }
                // More than the writer lets in come from no writer of ours.
                Err(at) if self.consumers.len() < MAX_CONSUMERS => {
                    self.consumers.insert(at, (name.clone(), *position));
                }
                Err(_) => {}
            },
            Note::Removed { name } => {
                if let Ok(at) = self.find(name) {
                    self.consumers.remove(at);
                }
            }
        }
    }

    /// Puts each consumer that stands outside of `there` to its nearer end: its position was cut away.
    pub(crate) fn move_consumers(&mut self, there: &RangeInclusive<u64>) {
        for (_, position) in &mut self.consumers {
            *position = (*position).clamp(*there.start(), *there.end());
        }
    }

    fn find(&self, name: &str) -> Result<usize, usize> {
        self.consumers.binary_search_by(|(other, _)| other.as_str().cmp(name))
    }

    pub(crate) fn position(&self, name: &str) -> Option<u64> {
        let at = self.find(name).ok()?;
        self.consumers.get(at).map(|(_, position)| *position)
    }

    pub(crate) fn consumers(&self) -> &[(String, u64)] {
        &self.consumers
    }

    /// What a manifest's checksum cannot say.
    pub(crate) fn check(&self) -> Result<(), &'static str> {
        let positions = self.consumers.iter().map(|(_, position)| *position).chain(self.archived);
        let ascend = self.consumers.is_sorted_by(|(a, _), (b, _)| a < b);
        let named = self.consumers.iter().all(|(name, _)| is_name(name));
        if self.metadata.len() > MAX_METADATA || self.consumers.len() > MAX_CONSUMERS {
            return Err("its notes are more than a log keeps");
        }
        if !ascend || !named {
            return Err("its consumers are not in order");
        }
        if positions.max().is_some_and(|position| position > MAX_LSN) {
            return Err("a position in its notes is beyond every log");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn consumer(name: &str, position: u64) -> Note {
        Note::Consumer { name: name.into(), position }
    }

    #[test]
    fn a_note_comes_back() {
        let notes = [
            Note::Metadata(Vec::new()),
            Note::Metadata(vec![7; MAX_METADATA]),
            consumer("mailer", MAX_LSN),
            Note::Removed { name: "ä".repeat(127) },
            Note::Archived(None),
            Note::Archived(Some(0)),
        ];
        for note in notes {
            assert_eq!(Note::decode(&note.encode()), Some(note));
        }
    }

    #[test]
    fn what_is_no_note_is_passed_over() {
        let long = [vec![1], vec![0; MAX_METADATA + 1]].concat();
        let far = [vec![2], vec![0xFF; 8], b"a".to_vec()].concat();
        let no_name = [vec![2], vec![0; 8]].concat();
        let long_name = [vec![3], vec![b'a'; 256]].concat();
        for bytes in [
            &b""[..],
            b"\x05x",
            b"\x02",
            b"\x03",
            b"\x03\xFF",
            b"\x04\x01",
            b"\x00",
            &long,
            &far,
            &no_name,
            &long_name,
        ] {
            assert_eq!(Note::decode(bytes), None, "{bytes:?}");
        }
    }

    #[test]
    fn the_last_note_of_a_name_counts() {
        let mut notes = Notes::default();
        for note in [consumer("b", 5), consumer("a", 9), consumer("b", 3), consumer("c", 1)] {
            notes.apply(&note);
        }
        notes.apply(&Note::Removed { name: "c".into() });
        notes.apply(&Note::Removed { name: "never".into() });
        assert_eq!(notes.consumers(), [("a".to_owned(), 9), ("b".to_owned(), 3)]);
        assert_eq!((notes.position("a"), notes.position("c")), (Some(9), None));
        assert_eq!(notes.check(), Ok(()));
    }

    #[test]
    fn notes_stay_within_their_limits() {
        let mut notes = Notes::default();
        (0..=MAX_CONSUMERS).for_each(|i| notes.apply(&consumer(&format!("{i:04}"), 1)));
        assert_eq!((notes.consumers().len(), notes.check()), (MAX_CONSUMERS, Ok(())));
        let broken: [fn(&mut Notes); 6] = [
            |n| n.metadata = vec![0; MAX_METADATA + 1],
            |n| n.archived = Some(MAX_LSN + 1),
            |n| n.consumers.swap(0, 1),
            |n| n.consumers[1] = n.consumers[0].clone(),
            |n| n.consumers[0].0.clear(),
            |n| n.consumers[0].1 = u64::MAX,
        ];
        for (i, breaking) in broken.iter().enumerate() {
            let mut bad = notes.clone();
            breaking(&mut bad);
            assert!(bad.check().is_err(), "{i}");
        }
    }
}
