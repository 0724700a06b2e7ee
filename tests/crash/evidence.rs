//! What the bytes of a log say of themselves, by FORMAT.md alone: nothing here is the engine's.

use std::collections::BTreeMap;

type Files = BTreeMap<String, Vec<u8>>;

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().unwrap()))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().unwrap()))
}

/// CRC-32C, bit by bit of a table, as RFC 3720 has it.
fn crc32c(from: u32, bytes: &[u8]) -> u32 {
    const TABLE: [u32; 256] = {
        let mut table = [0; 256];
        let mut i = 0;
        while i < 256 {
            let (mut sum, mut bit) = (i as u32, 0);
            while bit < 8 {
                sum = if sum & 1 == 1 { (sum >> 1) ^ 0x82F6_3B78 } else { sum >> 1 };
                bit += 1;
            }
            table[i] = sum;
            i += 1;
        }
        table
    };
    let step = |sum: u32, byte: &u8| (sum >> 8) ^ TABLE[((sum ^ u32::from(*byte)) & 255) as usize];
    !bytes.iter().fold(!from, step)
}

/// A segment, as the manifest names it; its file's bytes may be anything.
#[derive(Clone, Debug)]
pub(crate) struct Segment {
    pub(crate) file: String,
    pub(crate) base: u64,
    pub(crate) size: u64,
    /// Where its records end, if the manifest says so: sealed, or active in a log that was closed.
    pub(crate) end: Option<u64>,
    /// What its frames' checksums begin with, from what the manifest says of the header.
    seed: u32,
}

#[derive(Debug)]
pub(crate) struct Evidence {
    segments: Vec<Segment>,
    /// The highest LSN below which the manifest, the watermark or a mark says that all was durable.
    vouched: u64,
}

impl Evidence {
    /// None: there is no valid manifest.
    pub(crate) fn of(files: &Files) -> Option<Evidence> {
        let bytes = files.get("MANIFEST")?;
        let n = u64_at(bytes, 24)? as usize;
        let sound = bytes.len() == n.checked_add(36)?
            && bytes.starts_with(b"duralogM")
            && u32_at(bytes, 32 + n)? == crc32c(0, &bytes[..32 + n]);
        if !sound {
            return None;
        }
        let body = &bytes[32..32 + n];
        let (id, mut vouched, closed) = (&body[..16], u64_at(body, 32)?, body[56] == 1);
        let (clean_end, mut at) = if closed { (u64_at(body, 57), 65) } else { (None, 57) };
        let count = u64_at(body, at)?;
        at += 8;
        let mut segments = Vec::new();
        for _ in 0..count {
            let field = |n: usize| u64_at(body, at + n * 8).unwrap();
            let [number, base, size, salt, end] =
                [field(0), field(1), field(2), field(3), u64_at(body, at + 36)?];
            let mut header = b"duralogS\x01\0\0\0\0\0\0\0".to_vec();
            header.extend(crc32c(0, &header).to_le_bytes());
            header.extend([0; 4]);
            header.extend(id);
            [number, base, size, salt].iter().for_each(|field| header.extend(field.to_le_bytes()));
            let end = match u32_at(body, at + 32)? {
                2 => Some(end),
                1 => clean_end,
                _ => None,
            };
            let (file, seed) = (format!("{number:016x}.seg"), crc32c(0, &header));
            segments.push(Segment { file, base, size, end, seed });
            at += 44;
        }
        for slot in [0, 512].iter().filter_map(|at| files.get("WATERMARK")?.get(*at..at + 36)) {
            let sound = slot.starts_with(b"duralogW") && slot[8..24] == *id;
            if sound && u32_at(slot, 32)? == crc32c(0, &slot[..32]) {
                vouched = vouched.max(u64_at(slot, 24)?);
            }
        }
        for segment in segments.iter().filter(|segment| segment.end.is_none()) {
            let bytes = files.get(&segment.file).map_or(&[][..], |bytes| bytes);
            let marks = (4096..bytes.len()).step_by(8).filter_map(|at| segment.frame(bytes, at));
            let marks = marks.filter(|frame| frame.kind == 3);
            vouched = marks.map(|mark| mark.operand).fold(vouched, u64::max);
        }
        Some(Evidence { segments, vouched })
    }

    pub(crate) fn vouched(&self) -> u64 {
        self.vouched
    }

    pub(crate) fn segment(&self, file: &str) -> Option<&Segment> {
        self.segments.iter().find(|segment| segment.file == file)
    }

    /// Whether this position lies in a segment whose end is known.
    pub(crate) fn is_bounded(&self, lsn: u64) -> bool {
        self.segments.iter().any(|s| (s.base..s.base + s.size).contains(&lsn) && s.end.is_some())
    }

    /// The LSN of this place of a file, if it is a segment of the log.
    pub(crate) fn lsn(&self, file: &str, at: usize) -> Option<u64> {
        self.segment(file).map(|segment| segment.base + at as u64)
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Frame {
    pub(crate) lsn: u64,
    pub(crate) end: u64,
    kind: u32,
    /// The second field of a mark or an end.
    operand: u64,
    /// Of the batch that it is in, or its own.
    pub(crate) batch_start: u64,
    pub(crate) batch_end: u64,
}

impl Frame {
    pub(crate) fn is_record(&self) -> bool {
        self.kind < 3
    }
}

impl Segment {
    /// The valid frame at this offset.
    fn frame(&self, bytes: &[u8], at: usize) -> Option<Frame> {
        let word = u32_at(bytes, at + 4)?;
        let (kind, len, lsn) = (word >> 28, (word & 0x0FFF_FFFF) as usize, self.base + at as u64);
        let next = (at + 8 + len).next_multiple_of(8);
        let room = self.size.checked_sub(32)?;
        let fits = if kind == 4 { at as u64 <= room } else { next as u64 <= room };
        if !(1..=5).contains(&kind) || !fits || bytes.len() as u64 != self.size {
            return None;
        }
        let pair = kind == 3 || kind == 4;
        let operand = if pair { u64_at(bytes, at + 16)? } else { 0 };
        let named =
            !pair || (len == 16 && u64_at(bytes, at + 8)? == lsn && (kind == 4 || operand <= lsn));
        let sum = || crc32c(self.seed ^ (lsn / 8) as u32, &bytes[at + 4..at + 8 + len]);
        if !named || u32_at(bytes, at)? != sum() {
            return None;
        }
        let end = self.base + next as u64;
        Some(Frame { lsn, end, kind, operand, batch_start: lsn, batch_end: end })
    }
}

/// All frames, segment by segment, each up to the first that is not valid.
pub(crate) fn frames(files: &Files) -> Vec<Frame> {
    let mut all = Vec::new();
    for segment in Evidence::of(files).into_iter().flat_map(|evidence| evidence.segments) {
        let (bytes, mut at, mut batch) = (&files[&segment.file], 4096, all.len());
        while let Some(frame) = segment.frame(bytes, at) {
            (at, batch) = ((frame.end - segment.base) as usize, batch);
            let (kind, end) = (frame.kind, frame.end);
            all.push(frame);
            if kind != 2 {
                let start = all[batch].lsn;
                for frame in &mut all[batch..] {
                    (frame.batch_start, frame.batch_end) = (start, end);
                }
                batch = all.len();
            }
            if kind == 4 {
                break;
            }
        }
    }
    all
}
