//! The watermark: how far the log was durable, for recovery to know (FORMAT.md, section 4).

use super::{bytes_at, u32_at, u64_at};
use crate::checksum;

/// Bytes of the file: one page.
pub(crate) const LEN: usize = 4096;
/// Two slots take turns, each in a sector of its own: one is whole whenever the power goes.
pub(crate) const SLOTS: [usize; 2] = [0, 512];
const SLOT_LEN: usize = 36;
/// As much of the file as holds them.
pub(crate) const LEN_OF_SLOTS: usize = 512 + SLOT_LEN;
/// Where in a slot the low half of the LSN stands, which changes with each store.
const WORD: usize = 24;
const MAGIC: [u8; 8] = *b"duralogW";

/// The bytes of a slot.
pub(crate) fn slot(log_id: [u8; 16], durable: u64) -> [u8; SLOT_LEN] {
    let mut bytes = [0; SLOT_LEN];
    let fields = MAGIC.into_iter().chain(log_id).chain(durable.to_le_bytes());
    bytes.iter_mut().zip(fields).for_each(|(to, from)| *to = from);
    let (fields, sum) = bytes.split_at_mut(SLOT_LEN - 4);
    sum.copy_from_slice(&checksum::of(fields).to_le_bytes());
    bytes
}

/// What the slot at `at` says, if it is one of this log.
fn read(bytes: &[u8], at: usize, log_id: [u8; 16]) -> Option<u64> {
    let slot = bytes.get(at..at + SLOT_LEN)?;
    let sound = has_magic(slot) && is_whole(slot)? && bytes_at(slot, 8)? == log_id;
    u64_at(slot, WORD).filter(|_| sound)
}

fn has_magic(slot: &[u8]) -> bool {
    bytes_at(slot, 0) == Some(MAGIC)
}

fn is_whole(slot: &[u8]) -> Option<bool> {
    Some(u32_at(slot, SLOT_LEN - 4)? == checksum::of(slot.get(..SLOT_LEN - 4)?))
}

/// Whether a slot was read in the middle of a store, or is torn: then a store may be over of which it says nothing.
pub(crate) fn is_torn(bytes: &[u8]) -> bool {
    let mut slots = SLOTS.into_iter().filter_map(|at| bytes.get(at..at + SLOT_LEN));
    slots.any(|slot| has_magic(slot) && is_whole(slot) == Some(false))
}

/// What the slots say, if any is one of this log. Anything else in the file means nothing.
pub(crate) fn highest(bytes: &[u8], log_id: [u8; 16]) -> Option<u64> {
    SLOTS.into_iter().filter_map(|at| read(bytes, at, log_id)).max()
}

/// The slot whose turn it is: not the one that says the most, so that a store that is torn leaves that one.
pub(crate) fn next(bytes: &[u8], log_id: [u8; 16]) -> usize {
    let [first, second] = SLOTS;
    if read(bytes, first, log_id) >= read(bytes, second, log_id) { second } else { first }
}

/// The slot that was stored last, if any is one of this log.
pub(crate) fn turned(bytes: &[u8], log_id: [u8; 16]) -> Option<usize> {
    let slots = SLOTS.into_iter().filter_map(|at| Some((read(bytes, at, log_id)?, at)));
    slots.max().map(|(_, at)| at)
}

/// Four bytes of a slot that change with each store into it, and where in the file they stand: what a reader in another
/// process waits for.
pub(crate) fn word(bytes: &[u8], slot: usize) -> (u64, [u8; 4]) {
    let at = slot + WORD;
    (at as u64, bytes_at(bytes, at).unwrap_or([0; 4]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_sound_slot_of_this_log_counts() {
        let mut file = vec![0; LEN];
        assert_eq!(highest(&file, [7; 16]), None);
        file[..SLOT_LEN].copy_from_slice(&slot([7; 16], 4096));
        file[512..512 + SLOT_LEN].copy_from_slice(&slot([7; 16], 5000));
        assert_eq!((highest(&file, [7; 16]), turned(&file, [7; 16])), (Some(5000), Some(512)));
        assert_eq!(highest(&file, [8; 16]), None);
        for bit in 0..SLOT_LEN * 8 {
            let mut torn = file.clone();
            torn[512 + bit / 8] ^= 1 << (bit % 8);
            assert_eq!(highest(&torn, [7; 16]), Some(4096), "bit {bit}");
            assert_eq!(is_torn(&torn), bit >= 64, "bit {bit}");
        }
        assert!(!is_torn(&file) && !is_torn(&[0; LEN]));
        assert_eq!(highest(&file[..530], [7; 16]), Some(4096));
        assert_eq!(highest(&[], [7; 16]), None);
    }

    #[test]
    fn the_turn_is_of_the_slot_that_says_less_and_its_word_changes() {
        let mut file = vec![0; LEN];
        assert_eq!(next(&file, [7; 16]), 512);
        for (durable, turn) in [(4096, 512), (5000, 0), (6000, 512), (6008, 0)] {
            assert_eq!(next(&file, [7; 16]), turn);
            let before = word(&file, turn);
            file[turn..turn + SLOT_LEN].copy_from_slice(&slot([7; 16], durable));
            assert!(word(&file, turn).0 == before.0 && word(&file, turn).1 != before.1);
        }
        assert_eq!(next(&file, [8; 16]), 512);
        assert_eq!(word(&[], 512), (536, [0; 4]));
    }
}
