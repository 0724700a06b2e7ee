use std::cell::Cell;

use super::*;

const SIZE: u64 = 8 << 20;
const IDENTITY: Identity =
    Identity { log_id: [7; 16], id: 3, base: 3 * SIZE, size: SIZE, salt: 0xDEAD_BEEF };

/// Bytes in memory, of which some blocks cannot be read.
#[derive(Debug)]
struct Memory {
    bytes: Vec<u8>,
    bad: Vec<u64>,
    read: Cell<u64>,
}

impl ReadAt for &Memory {
    fn read_at(&self, to: &mut [u8], offset: u64) -> io::Result<usize> {
        let end = offset + to.len() as u64;
        if self.bad.iter().any(|bad| *bad < end && offset < bad + BLOCK) {
            return Err(io::Error::from_raw_os_error(5));
        }
        let from = self.bytes.get(offset as usize..).unwrap_or(&[]);
        let len = from.len().min(to.len());
        to[..len].copy_from_slice(&from[..len]);
        self.read.set(self.read.get() + len as u64);
        Ok(len)
    }
}

impl Memory {
    fn new() -> Memory {
        Memory { bytes: vec![0; SIZE as usize], bad: Vec::new(), read: Cell::new(0) }
    }

    /// Bytes that are like no others.
    fn noise(&mut self, range: Range<usize>) {
        let mut z = 1u64;
        for byte in &mut self.bytes[range] {
            z = z.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            *byte = (z >> 56) as u8;
        }
    }

    /// A frame around what is there; the offset behind it.
    fn frame(&mut self, offset: u64, kind: Kind, len: u32) -> u64 {
        let (at, word) = (offset as usize, frame::word(kind, len));
        let payload = &self.bytes[at + 8..at + 8 + len as usize];
        let sum = frame::checksum(IDENTITY.seed(), IDENTITY.base + offset, word, payload);
        self.bytes[at..at + 4].copy_from_slice(&sum.to_le_bytes());
        self.bytes[at + 4..at + 8].copy_from_slice(&word.to_le_bytes());
        offset + frame::frame_len(len as usize)
    }

    fn source(&self) -> Source<&Memory> {
        Source::new(Ok(self), SIZE, &IDENTITY)
    }
}

#[test]
fn a_frame_is_checked_alike_in_the_window_and_by_sums() {
    let mut memory = Memory::new();
    memory.noise(4096..SIZE as usize);
    let (mut at, mut spots) = (DATA_START, Vec::new());
    for len in [0, 1, 100, 4088, 4096, 4097, 65_530, 1 << 20, (1 << 20) + 1, 3_000_001] {
        spots.push((at, len));
        at = memory.frame(at, Kind::Record, len);
    }
    for credit in [0, u64::MAX] {
        let mut source = Source { credit, ..memory.source() };
        for (at, len) in &spots {
            let spot = source.frame(*at).unwrap_or_else(|| panic!("{at}: {len}"));
            assert_eq!(spot.head.len, *len);
            let start = *at as usize + 8;
            let payload = source.payload(&spot).unwrap();
            assert!(payload == memory.bytes[start..start + *len as usize], "{at}");
        }
        for (at, len) in spots.iter().filter(|(_, len)| *len > 0) {
            for flip in [0, *len / 2, *len - 1] {
                let place = *at as usize + 8 + flip as usize;
                memory.bytes[place] ^= 0x10;
                let mut source = Source { credit, ..memory.source() };
                assert!(source.frame(*at).is_none(), "{at}, byte {flip} of {len}");
                memory.bytes[place] ^= 0x10;
            }
        }
    }
}

#[test]
fn blocks_that_cannot_be_read_are_read_around() {
    for credit in [0, u64::MAX] {
        let mut memory = Memory::new();
        let mut at = DATA_START;
        let mut frames = Vec::new();
        while at < 2_000_000 {
            frames.push(at..at);
            at = memory.frame(at, Kind::Record, [30, 5000, 20_000][frames.len() % 3]);
            frames.last_mut().unwrap().end = at;
        }
        memory.bad = vec![8 * BLOCK, 100 * BLOCK, 101 * BLOCK, 255 * BLOCK];
        let hit = |frame: &Range<u64>| {
            memory.bad.iter().any(|bad| *bad < frame.end && frame.start < bad + BLOCK)
        };
        let sound: Vec<u64> =
            frames.iter().filter(|frame| !hit(frame)).map(|frame| frame.start).collect();
        let (mut source, mut found) = (Source { credit, ..memory.source() }, Vec::new());
        at = DATA_START;
        while let Some(spot) = source.find(at, SIZE, |_| true) {
            assert!(source.payload(&spot).is_some());
            found.push(spot.offset);
            at = spot.end();
        }
        assert_eq!(found, sound);
        assert_eq!(source.bad.len(), 4);
        assert!(source.why(&(8 * BLOCK..9 * BLOCK)).contains("cannot be read"));
    }
}

/// Every place says that it is a record of up to all the rest; between some stand such as are, so that a walk
/// steps as well as it searches.
#[test]
fn p11_the_time_of_a_search_is_in_proportion_to_the_bytes() {
    let mut memory = Memory::new();
    for at in (DATA_START..SIZE - 64).step_by(8) {
        let room = (SIZE - 64 - at) as u32;
        let len = [room, 5000, room / 2, 1 << 20, room / 3, 4096][(at / 8 % 6) as usize];
        let word = frame::word(Kind::Record, len.min(room));
        memory.bytes[at as usize + 4..at as usize + 8].copy_from_slice(&word.to_le_bytes());
    }
    for at in (DATA_START..SIZE - 64).step_by(800) {
        memory.frame(at, Kind::Record, 0);
    }
    let (mut source, mut at, mut found) = (memory.source(), DATA_START, 0);
    while let Some(spot) = source.find(at, SIZE, |_| true) {
        (found, at) = (found + 1, spot.end());
        source.passed(8);
    }
    assert_eq!(found, (SIZE - 64 - DATA_START).div_ceil(800));
    // A block for each place at most, of what is checked and of what is read.
    let most = SIZE / 8 * BLOCK;
    assert!(source.checked < most, "{} of {most}", source.checked);
    assert!(memory.read.get() < most, "{} of {most}", memory.read.get());
}
