//! A reader of the sound bytes, from FORMAT.md alone.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::Files;

#[derive(Clone, Debug)]
pub(crate) struct Frame {
    pub(crate) file: String,
    pub(crate) offsets: Range<usize>,
    /// What the checksum covers, with the checksum.
    pub(crate) bytes: Range<usize>,
    pub(crate) kind: u8,
    pub(crate) lsn: u64,
    pub(crate) payload: Vec<u8>,
}

impl Frame {
    pub(crate) fn is_record(&self) -> bool {
        self.kind < 3
    }

    pub(crate) fn end(&self) -> u64 {
        self.lsn + self.offsets.len() as u64
    }
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap())
}

/// The frames of a sound log, in order.
pub(crate) fn frames(files: &Files) -> Vec<Frame> {
    let mut frames = Vec::new();
    for (file, bytes) in files.iter().filter(|(name, _)| name.ends_with(".seg")) {
        let (base, mut at) = (u64_at(bytes, 48), 4096);
        loop {
            let word = (u64_at(bytes, at) >> 32) as u32;
            let (kind, len) = ((word >> 28) as u8, word as usize & 0x0FFF_FFFF);
            if word == 0 {
                break;
            }
            let (end, lsn) = ((at + 8 + len).next_multiple_of(8), base + at as u64);
            let payload = bytes[at + 8..at + 8 + len].to_vec();
            let (file, bytes) = (file.clone(), at..at + 8 + len);
            frames.push(Frame { file, offsets: at..end, bytes, kind, lsn, payload });
            at = end;
            if kind == 4 {
                break;
            }
        }
    }
    frames
}

/// The batch that each record is in, or the record itself: indices of frames.
pub(crate) fn batches(frames: &[Frame]) -> BTreeMap<u64, Range<usize>> {
    let (mut batches, mut start) = (BTreeMap::new(), 0);
    for (index, frame) in frames.iter().enumerate() {
        if frame.kind == 1 {
            let batch = start..index + 1;
            batches.extend(batch.clone().map(|i| (frames[i].lsn, batch.clone())));
        }
        if frame.kind != 2 {
            start = index + 1;
        }
    }
    batches
}
