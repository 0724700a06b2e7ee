//! Frames: how records, marks and the end of a segment are stored (FORMAT.md, section 5).
//!
//! ```text
//! 0        4        8              8 + n    8 + n rounded up to 8
//! | CRC    | word   | payload      | zero   |
//!            word = length (28 bits) | kind (4 bits)
//! ```

use super::{ALIGN, DATA_START, END_ROOM, u64_at};
use crate::checksum;

pub(crate) const HEADER_LEN: u64 = 8;
pub(crate) const MARK_LEN: u64 = HEADER_LEN + 16;
pub(crate) const END_LEN: u64 = HEADER_LEN + 16;
pub(crate) const MAX_PAYLOAD: u32 = (1 << 28) - 1;

const LEN_BITS: u32 = 28;

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A record, alone or the last of a batch.
    Record,
    /// A record of a batch, not the last.
    Part,
    /// Everything below an LSN was durable when this was written.
    Mark,
    /// The segment ends here.
    End,
    /// A fact that the log keeps beside the records (`notes`).
    Note,
}

impl Kind {
    const fn bits(self) -> u32 {
        match self {
            Kind::Record => 1,
            Kind::Part => 2,
            Kind::Mark => 3,
            Kind::End => 4,
            Kind::Note => 5,
        }
    }

    #[inline]
    const fn from_bits(bits: u32) -> Option<Kind> {
        match bits {
            1 => Some(Kind::Record),
            2 => Some(Kind::Part),
            3 => Some(Kind::Mark),
            4 => Some(Kind::End),
            5 => Some(Kind::Note),
            _ => None,
        }
    }
}

/// The word of a frame of this kind and length. `len` is checked against the limit before.
#[inline]
pub(crate) const fn word(kind: Kind, len: u32) -> u32 {
    debug_assert!(len <= MAX_PAYLOAD);
    (kind.bits() << LEN_BITS) | (len & MAX_PAYLOAD)
}

/// Bytes that a payload of `len` takes in the log.
#[inline]
pub(crate) const fn frame_len(len: usize) -> u64 {
    // A power of two: next_multiple_of does not know, and takes three times as many instructions.
    HEADER_LEN + ((len as u64 + (ALIGN - 1)) & !(ALIGN - 1))
}

/// The checksum of a frame at `lsn` in the life that `seed` stands for.
///
/// The position goes into the starting value, not into the data: one call, and no two positions of a
/// segment share a starting value.
#[inline]
pub(crate) fn checksum(seed: u32, lsn: u64, word: u32, payload: &[u8]) -> u32 {
    // The low 32 bits are meant: they tell apart all positions of 32 GiB, more than a segment.
    #[expect(clippy::cast_possible_truncation, reason = "modulo 2^32, as the format says")]
    let position = (lsn / ALIGN) as u32;
    checksum::framed(seed ^ position, word, payload)
}

/// A valid frame's head: what it is and how much it takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) crc: u32,
    pub(crate) kind: Kind,
    pub(crate) len: u32,
}

impl Head {
    /// Bytes of the whole frame.
    #[inline]
    pub(crate) fn frame_len(self) -> u64 {
        frame_len(self.len as usize)
    }
}

/// Where a frame stands: all that its validity depends on besides its own bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub(crate) seed: u32,
    pub(crate) base: u64,
    pub(crate) size: u64,
    pub(crate) offset: u64,
}

impl Place {
    #[inline]
    pub(crate) fn lsn(self) -> u64 {
        self.base + self.offset
    }
}

/// Conditions 1 to 3 of a valid frame, and the length of 4: enough to know how much to read.
#[inline]
pub(crate) fn head(first: [u8; 8], place: Place) -> Option<Head> {
    let whole = u64::from_le_bytes(first);
    #[expect(clippy::cast_possible_truncation, reason = "the two halves of the head")]
    let (crc, word) = (whole as u32, (whole >> 32) as u32);
    let kind = Kind::from_bits(word >> LEN_BITS)?;
    let len = word & MAX_PAYLOAD;
    let Place { offset, size, .. } = place;
    if offset % ALIGN != 0 || offset < DATA_START {
        return None;
    }
    let last = size.checked_sub(END_ROOM)?;
    let fits = match kind {
        Kind::End => len == 16 && offset <= last,
        Kind::Mark => len == 16 && offset.checked_add(frame_len(16))? <= last,
        Kind::Record | Kind::Part | Kind::Note => {
            offset.checked_add(frame_len(len as usize))? <= last
        }
    };
    fits.then_some(Head { crc, kind, len })
}

/// Conditions 4 and 5: `payload` is what follows the head, `head.len` bytes.
#[inline]
pub(crate) fn is_valid(head: Head, payload: &[u8], place: Place) -> bool {
    if matches!(head.kind, Kind::Mark | Kind::End) && u64_at(payload, 0) != Some(place.lsn()) {
        return false;
    }
    if head.kind == Kind::Mark && u64_at(payload, 8).is_none_or(|durable| durable > place.lsn()) {
        return false;
    }
    let word = word(head.kind, head.len);
    payload.len() == head.len as usize
        && checksum(place.seed, place.lsn(), word, payload) == head.crc
}

/// The second number of a mark (its durable LSN) or of an end frame (the next id).
pub(crate) fn operand(payload: &[u8]) -> u64 {
    u64_at(payload, 8).unwrap_or(0)
}

/// The payload of a mark or an end frame.
pub(crate) fn pair(own_lsn: u64, operand: u64) -> [u8; 16] {
    let mut payload = [0; 16];
    for (to, from) in
        payload.iter_mut().zip(own_lsn.to_le_bytes().into_iter().chain(operand.to_le_bytes()))
    {
        *to = from;
    }
    payload
}

/// Where the head of a mark may stand in `bytes`, which begin where a frame may: by its word, the cheap half of the search.
pub(crate) fn mark_heads(bytes: &[u8]) -> impl Iterator<Item = usize> {
    const HEAD: usize = 8;
    const _: () = assert!(HEAD as u64 == HEADER_LEN && HEADER_LEN == ALIGN);
    let (word, mut at) = (word(Kind::Mark, 16).to_le_bytes(), 0);
    std::iter::from_fn(move || {
        // A bare loop: adapters take ten times as long in a debug build, in which others test what they build on the log.
        while let Some(head) = bytes.get(at..at + HEAD) {
            at += HEAD;
            if head.ends_with(&word) {
                return Some(at - HEAD);
            }
        }
        None
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLACE: Place = Place { seed: 0x1234_5678, base: 65536, size: 65536, offset: 4096 };

    fn encode(kind: Kind, payload: &[u8], place: Place) -> Vec<u8> {
        let word = word(kind, u32::try_from(payload.len()).unwrap());
        let mut frame = checksum(place.seed, place.lsn(), word, payload).to_le_bytes().to_vec();
        frame.extend_from_slice(&word.to_le_bytes());
        frame.extend_from_slice(payload);
        frame
    }

    fn valid(bytes: &[u8], place: Place) -> bool {
        super::head(bytes[..8].try_into().unwrap(), place).is_some_and(|h| {
            bytes.get(8..8 + h.len as usize).is_some_and(|b| is_valid(h, b, place))
        })
    }

    #[test]
    fn a_frame_is_valid_in_one_place_of_one_life() {
        let frame = encode(Kind::Record, b"payload", PLACE);
        assert!(valid(&frame, PLACE));
        assert!(!valid(&frame, Place { seed: PLACE.seed ^ 1, ..PLACE }));
        for offset in (4096..8192).step_by(8).skip(1) {
            assert!(!valid(&frame, Place { offset, ..PLACE }), "valid at {offset}");
        }
    }

    #[test]
    fn every_flipped_bit_is_seen() {
        let frame = encode(Kind::Part, b"some bytes", PLACE);
        for bit in 0..frame.len() * 8 {
            let mut bad = frame.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(!valid(&bad, PLACE), "bit {bit}");
        }
    }

    #[test]
    fn a_frame_ends_before_the_room_of_the_end_frame() {
        for (len, fits) in [(56, true), (57, false), (MAX_PAYLOAD as usize, false)] {
            let offset = PLACE.size - END_ROOM - 64;
            let mut first = [0; 8];
            first[4..]
                .copy_from_slice(&word(Kind::Record, u32::try_from(len).unwrap()).to_le_bytes());
            assert_eq!(head(first, Place { offset, ..PLACE }).is_some(), fits, "{len}");
        }
        let mut end = [0; 8];
        end[4..].copy_from_slice(&word(Kind::End, 16).to_le_bytes());
        assert!(head(end, Place { offset: PLACE.size - END_ROOM, ..PLACE }).is_some());
        assert!(head(end, Place { offset: PLACE.size - END_ROOM + 8, ..PLACE }).is_none());
    }

    #[test]
    fn a_mark_must_name_its_own_place_and_nothing_beyond() {
        let lsn = PLACE.lsn();
        assert!(valid(&encode(Kind::Mark, &pair(lsn, lsn), PLACE), PLACE));
        assert!(!valid(&encode(Kind::Mark, &pair(lsn + 8, lsn), PLACE), PLACE));
        assert!(!valid(&encode(Kind::Mark, &pair(lsn, lsn + 8), PLACE), PLACE));
        let (mark, end) = (pair(lsn, 0), pair(lsn + 8, 0));
        let both = [encode(Kind::End, &end, PLACE), encode(Kind::Mark, &mark, PLACE)].concat();
        assert_eq!(mark_heads(&both).collect::<Vec<_>>(), [24]);
    }

    #[test]
    fn zeros_and_unknown_kinds_are_no_frame() {
        assert_eq!(head([0; 8], PLACE), None);
        for kind in (0..16u32).filter(|k| !(1..=5).contains(k)) {
            let mut first = [0; 8];
            first[4..].copy_from_slice(&(kind << 28 | 16).to_le_bytes());
            assert_eq!(head(first, PLACE), None, "kind {kind}");
        }
    }
}
