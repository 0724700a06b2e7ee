//! What is said and what is written: the lines, the dice, the payloads.

use std::io::Write;

/// splitmix64 (Steele, Lea, Flood 2014): all choices come from the seed.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, n: u64) -> u64 {
        self.roll() % n
    }

    pub(crate) fn pick(&mut self, n: u8) -> usize {
        usize::from(self.roll().to_le_bytes()[0] % n)
    }
}

/// FNV-1a, 64 bits: not the engine's checksum.
pub(crate) fn hash(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xCBF2_9CE4_8422_2325, |h, b| (h ^ u64::from(*b)).wrapping_mul(0x0100_0000_01B3))
}

/// Each line by one write of the whole line, so that its place among the disk's writes is exact: what
/// standard output does with a line while nothing is buffered.
pub(crate) struct Voice;

impl Voice {
    pub(crate) fn say(&self, line: &str) {
        // Nobody listening: the test is over.
        if std::io::stdout().lock().write_all(format!("{line}\n").as_bytes()).is_err() {
            std::process::exit(0);
        }
    }
}

/// Record `n`: its number, what the metadata said when it was appended, then bytes and a length that depend on the seed
/// and the number.
pub(crate) fn payload(seed: u64, n: u64, said: u64) -> Vec<u8> {
    let mut dice = Dice(seed ^ n.wrapping_mul(0xA076_1D64_78BD_642F));
    let len = match dice.below(40) {
        0 => 0,
        1..=3 => 1024 + dice.below(3072),
        4 => dice.below(14_000),
        _ => dice.below(300),
    };
    let mut bytes = [n, said].map(u64::to_le_bytes).concat();
    bytes.extend((0..len).map(|_| dice.roll().to_le_bytes()[0]));
    bytes
}

pub(crate) fn number(payload: &[u8]) -> Option<u64> {
    payload.first_chunk().map(|bytes| u64::from_le_bytes(*bytes))
}

/// What the metadata said when a record was appended.
pub(crate) fn said(payload: &[u8]) -> Option<u64> {
    payload.get(8..16)?.try_into().ok().map(u64::from_le_bytes)
}

const NOTE: &[u8; 8] = b"cut back";

/// The last record before a cut: what to keep.
pub(crate) fn note(n: u64, said: u64, keep: u64) -> Vec<u8> {
    [n.to_le_bytes(), said.to_le_bytes(), *NOTE, keep.to_le_bytes()].concat()
}

pub(crate) fn kept_by_note(payload: &[u8]) -> Option<u64> {
    let keep = payload.get(16..)?.strip_prefix(NOTE)?;
    keep.try_into().ok().map(u64::from_le_bytes)
}

/// What must not be was seen: no error of the log's.
pub(crate) fn violation(what: &str) -> ! {
    eprintln!("{what}");
    std::process::exit(1)
}
