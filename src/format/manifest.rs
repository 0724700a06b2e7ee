//! The manifest's bytes and the rules that make one valid (FORMAT.md, section 4).

use serde::{Deserialize, Serialize};

use super::header::{self, Identity, MANIFEST_MAGIC, PREFIX_LEN, Refusal};
use super::notes::Notes;
use super::{
    ALIGN, DATA_START, END_ROOM, MAX_LSN, MAX_SEGMENT_SIZE, is_segment_size, u32_at, u64_at,
};
use crate::checksum;

/// Longest manifest that is read: room for more than a million segments.
const MAX_LEN: usize = 64 << 20;

/// Which files are the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Manifest {
    pub(crate) log_id: [u8; 16],
    pub(crate) generation: u64,
    pub(crate) checkpoint: u64,
    pub(crate) durable: u64,
    pub(crate) next_id: u64,
    pub(crate) next_base: u64,
    pub(crate) clean_end: Option<u64>,
    pub(crate) segments: Vec<Entry>,
    /// What all notes below `noted` come to.
    pub(crate) notes: Notes,
    /// `durable` as the file says it, which a watermark may raise.
    #[serde(skip)]
    pub(crate) noted: u64,
}

/// One segment of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Entry {
    pub(crate) id: u64,
    pub(crate) base: u64,
    pub(crate) size: u64,
    pub(crate) salt: u64,
    pub(crate) state: State,
    pub(crate) end: u64,
}

/// What a segment is for. The order of the variants is their number on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum State {
    Ready,
    Active,
    Sealed,
}

impl Entry {
    pub(crate) fn identity(&self, log_id: [u8; 16]) -> Identity {
        Identity { log_id, id: self.id, base: self.base, size: self.size, salt: self.salt }
    }

    fn may_end_at(&self, end: u64) -> bool {
        let last = self.base + self.size - END_ROOM;
        (self.base + DATA_START..=last).contains(&end) && end % ALIGN == 0
    }
}

fn config() -> impl bincode::config::Config {
    bincode::config::standard()
        .with_little_endian()
        .with_fixed_int_encoding()
        .with_limit::<MAX_LEN>()
}

impl Manifest {
    /// Nothing was ever appended to this segment: it is ready, and the log was closed.
    pub(crate) fn is_unused(&self, entry: &Entry) -> bool {
        self.clean_end.is_some() && entry.state == State::Ready
    }

    /// The same, without these segments.
    pub(crate) fn without(&self, ids: &[u64]) -> Manifest {
        let mut manifest = self.clone();
        manifest.segments.retain(|entry| !ids.contains(&entry.id));
        manifest
    }

    /// The first position of the oldest segment; in a log without one, where the next window begins.
    pub(crate) fn head(&self) -> u64 {
        self.segments.first().map_or(self.next_base, |entry| entry.base + DATA_START)
    }

    /// The file's bytes. Fails for more segments than a manifest may name, and when positions or numbers
    /// are used up: what no reader would accept is never written.
    pub(crate) fn encode(&self) -> Result<Vec<u8>, &'static str> {
        self.check()?;
        let body = bincode::serde::encode_to_vec(self, config())
            .map_err(|_| "the log has too many segments for one manifest")?;
        let mut bytes = header::encode_prefix(MANIFEST_MAGIC);
        bytes.extend_from_slice(&(body.len() as u64).to_le_bytes());
        bytes.extend_from_slice(&body);
        bytes.extend_from_slice(&checksum::of(&bytes).to_le_bytes());
        Ok(bytes)
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Manifest, Refusal> {
        let damaged = Refusal::Damaged;
        header::decode_prefix(bytes, MANIFEST_MAGIC)?;
        let wrong_len = damaged("its length is not what it says");
        let len = u64_at(bytes, PREFIX_LEN).ok_or(wrong_len)?;
        let sum_at = usize::try_from(len)
            .ok()
            .and_then(|n| n.checked_add(PREFIX_LEN + 8))
            .ok_or(wrong_len)?;
        if sum_at.checked_add(4) != Some(bytes.len()) {
            return Err(wrong_len);
        }
        let covered = bytes.get(..sum_at).ok_or(wrong_len)?;
        if u32_at(bytes, sum_at) != Some(checksum::of(covered)) {
            return Err(damaged("its checksum is wrong"));
        }
        let body = covered.get(PREFIX_LEN + 8..).ok_or(wrong_len)?;
        let (mut manifest, read): (Manifest, usize) =
            bincode::serde::decode_from_slice(body, config())
                .map_err(|_| damaged("its body is malformed"))?;
        if read != body.len() {
            return Err(damaged("something follows its notes"));
        }
        manifest.check().map_err(damaged)?;
        manifest.noted = manifest.durable;
        Ok(manifest)
    }

    /// Conditions 4 to 8 of a valid manifest: what a checksum cannot say.
    pub(crate) fn check(&self) -> Result<(), &'static str> {
        let (mut free_from, mut next_id, mut last) = (0, 0, State::Sealed);
        for entry in &self.segments {
            if !is_segment_size(entry.size) || entry.base % DATA_START != 0 {
                return Err("a segment has an impossible size or base");
            }
            let end = entry.base.checked_add(entry.size).ok_or("a window overflows")?;
            if entry.base < free_from || entry.id < next_id {
                return Err("its segments are not in order");
            }
            if end > self.next_base || entry.id >= self.next_id {
                return Err("a segment is beyond the next one");
            }
            let follows = matches!(
                (last, entry.state),
                (State::Sealed, State::Sealed | State::Active)
                    | (State::Active | State::Ready, State::Ready)
            );
            if !follows {
                return Err("the states of its segments are not in order");
            }
            let end_is_right = match entry.state {
                State::Sealed => entry.may_end_at(entry.end),
                State::Active | State::Ready => entry.end == 0,
            };
            if !end_is_right {
                return Err("a segment ends where it cannot");
            }
            (free_from, next_id, last) = (end, entry.id + 1, entry.state);
        }
        // Half of all numbers is more than any log uses; so one more never overflows.
        if self.next_id > MAX_LSN || self.generation > MAX_LSN {
            return Err("its numbers are used up");
        }
        if self.next_base % DATA_START != 0 || self.next_base > MAX_LSN - MAX_SEGMENT_SIZE {
            return Err("its next base is no place for a segment");
        }
        if self.checkpoint > self.durable || self.durable > self.next_base {
            return Err("its positions are not in order");
        }
        match self.clean_end {
            Some(end) if !self.active().is_some_and(|active| active.may_end_at(end)) => {
                Err("its clean end is not in the active segment")
            }
            Some(end) if end < self.durable => Err("its clean end is below what was durable"),
            _ => self.notes.check(),
        }
    }

    /// The first that is not sealed.
    pub(crate) fn active(&self) -> Option<&Entry> {
        self.segments.get(self.sealed().len())
    }

    /// Those that are sealed, which come first.
    pub(crate) fn sealed(&self) -> &[Entry] {
        let sealed = self.segments.partition_point(|entry| entry.state == State::Sealed);
        self.segments.get(..sealed).unwrap_or_default()
    }

    /// The entry of segment `id`; the ids grow.
    pub(crate) fn find(&self, id: u64) -> Option<&Entry> {
        let at = self.segments.binary_search_by_key(&id, |entry| entry.id).ok()?;
        self.segments.get(at)
    }
}

#[cfg(test)]
mod tests {
    use super::super::notes::Note;
    use super::*;

    fn entry(id: u64, state: State, end: u64) -> Entry {
        Entry { id, base: id * 65536, size: 65536, salt: id, state, end }
    }

    fn notes() -> Notes {
        let mut notes = Notes::default();
        notes.apply(&Note::Metadata(vec![1, 2, 3]));
        notes.apply(&Note::Archived(Some(4096)));
        notes.apply(&Note::Consumer { name: "mailer".into(), position: 5000 });
        notes
    }

    fn manifest() -> Manifest {
        Manifest {
            log_id: [9; 16],
            generation: 5,
            checkpoint: 4096,
            durable: 70_000,
            next_id: 4,
            next_base: 4 * 65536,
            clean_end: Some(2 * 65536 + 4096),
            segments: vec![
                entry(1, State::Sealed, 65536 + 8000),
                entry(2, State::Active, 0),
                entry(3, State::Ready, 0),
            ],
            notes: notes(),
            noted: 70_000,
        }
    }

    #[test]
    fn a_manifest_comes_back_and_is_as_long_as_the_format_says() {
        let bytes = manifest().encode().unwrap();
        let notes = 8 + 3 + 9 + 8 + (8 + 6 + 8);
        assert_eq!(bytes.len(), 36 + 16 + 5 * 8 + 9 + 8 + 3 * 44 + notes);
        assert_eq!(Manifest::decode(&bytes), Ok(manifest()));
    }

    #[test]
    fn every_flipped_bit_and_every_other_length_is_damage() {
        let good = manifest().encode().unwrap();
        for bit in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(matches!(Manifest::decode(&bad), Err(Refusal::Damaged(_))), "bit {bit}");
        }
        for len in 0..good.len() {
            assert!(matches!(Manifest::decode(&good[..len]), Err(Refusal::Damaged(_))));
        }
        let mut grown = good;
        grown.push(0);
        assert!(matches!(Manifest::decode(&grown), Err(Refusal::Damaged(_))));
    }

    #[test]
    fn what_a_checksum_cannot_say_is_checked() {
        let broken: [fn(&mut Manifest); 20] = [
            |m| m.segments[0].base = 1,
            |m| m.segments[1].base = 65536,
            |m| m.segments[1].id = 1,
            |m| m.segments[0].size = 4096,
            |m| m.segments[0].size = u64::MAX - 4095,
            |m| m.segments[0].end = 65536,
            |m| m.segments[0].state = State::Ready,
            |m| m.segments[2].state = State::Active,
            |m| m.segments[1].state = State::Ready,
            |m| m.next_id = 3,
            |m| m.next_base = 3 * 65536,
            |m| m.checkpoint = 70_001,
            |m| m.clean_end = Some(3 * 65536 + 4096),
            |m| m.durable = 2 * 65536 + 4104,
            |m| m.next_base = MAX_LSN + 4096,
            |m| m.next_base = MAX_LSN,
            |m| m.next_base += 8,
            |m| m.next_id = u64::MAX,
            |m| m.generation = u64::MAX,
            |m| m.notes.archived = Some(u64::MAX),
        ];
        for (i, breaking) in broken.iter().enumerate() {
            let mut bad = manifest();
            breaking(&mut bad);
            assert!(bad.check().is_err(), "{i}");
        }
    }
}
