//! A disk in memory that knows what a power cut may leave: all that was flushed, and any part of what was not.

use fastrand::Rng;

/// What the disk writes whole or not at all.
const SECTOR: usize = 512;
const PAGE: usize = 4096;

#[derive(Debug, Default)]
pub(crate) struct Platter {
    /// As it reads.
    now: Vec<u8>,
    /// As it is after a cut, if nothing of what was not flushed survives.
    durable: Vec<u8>,
    /// Since the last flush: where, and what.
    unflushed: Vec<(usize, Vec<u8>)>,
    /// The power is off: what is still written comes to nothing.
    off: bool,
}

/// How much of what was not flushed a cut leaves.
#[derive(Clone, Copy, Debug)]
enum Leaves {
    Nothing,
    All,
    /// The first writes, and parts of one.
    Prefix(usize),
    /// Each piece of this size with this chance, in percent.
    Pieces(usize, u32),
}

impl Platter {
    pub(crate) fn new(image: &[u8]) -> Platter {
        // Zeros take no memory before they are written.
        let mut platter = Platter {
            now: vec![0; image.len()],
            durable: vec![0; image.len()],
            ..Platter::default()
        };
        for (n, page) in image.chunks(PAGE).enumerate() {
            if page.iter().any(|byte| *byte != 0) {
                put(&mut platter.now, n * PAGE, page);
                put(&mut platter.durable, n * PAGE, page);
            }
        }
        platter
    }

    pub(crate) fn len(&self) -> u64 {
        self.now.len() as u64
    }

    pub(crate) fn read(&self, at: usize, len: usize) -> &[u8] {
        let end = at.saturating_add(len).min(self.now.len());
        self.now.get(at..end).unwrap_or_default()
    }

    pub(crate) fn write(&mut self, at: usize, bytes: &[u8]) {
        put(&mut self.now, at, bytes);
        self.unflushed.push((at, bytes.to_vec()));
    }

    pub(crate) fn flush(&mut self) {
        if !self.off {
            for (at, bytes) in self.unflushed.drain(..) {
                put(&mut self.durable, at, &bytes);
            }
        }
    }

    /// The power goes: how many bytes were not flushed, and how many of them survive.
    pub(crate) fn cut(&mut self, mut dice: Rng) -> (u64, u64) {
        let leaves = match dice.u32(0..10) {
            0 | 1 => Leaves::Nothing,
            2 => Leaves::All,
            3..6 => Leaves::Prefix(dice.usize(0..self.unflushed.len().max(1))),
            6 => Leaves::Pieces(SECTOR, dice.u32(1..100)),
            _ => Leaves::Pieces(PAGE, dice.u32(1..100)),
        };
        self.off = true;
        let (mut all, mut kept) = (0, 0);
        for (n, (at, bytes)) in self.unflushed.iter().enumerate() {
            let size = match leaves {
                Leaves::Pieces(size, _) => size,
                _ => PAGE,
            };
            for (piece, part) in bytes.chunks(size).enumerate() {
                all += part.len() as u64;
                let survives = match leaves {
                    Leaves::Nothing => false,
                    Leaves::All => true,
                    Leaves::Prefix(whole) => n < whole || n == whole && dice.bool(),
                    Leaves::Pieces(_, chance) => dice.u32(0..100) < chance,
                };
                if survives {
                    put(&mut self.durable, at + piece * size, part);
                    kept += part.len() as u64;
                }
            }
        }
        (all, kept)
    }

    /// The power is back.
    pub(crate) fn revive(&mut self) {
        for (at, bytes) in self.unflushed.drain(..) {
            let survived = self.durable.get(at..at + bytes.len()).unwrap_or_default();
            put(&mut self.now, at, survived);
        }
        self.off = false;
    }
}

fn put(to: &mut [u8], at: usize, bytes: &[u8]) {
    if let Some(to) = to.get_mut(at..at + bytes.len()) {
        to.copy_from_slice(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(seed: u64) -> (Vec<u8>, (u64, u64)) {
        let mut platter = Platter::new(&[1; 8 * PAGE]);
        platter.write(0, &[2; PAGE]);
        platter.flush();
        platter.write(PAGE, &[3; 2 * PAGE]);
        platter.write(2 * PAGE, &[4; PAGE]);
        let left = platter.cut(Rng::with_seed(seed));
        platter.write(5 * PAGE, &[5; PAGE]);
        platter.flush();
        assert_eq!(platter.read(5 * PAGE, 1), [5], "what is unmounted still reads what it wrote");
        platter.revive();
        (platter.read(0, 8 * PAGE).to_vec(), left)
    }

    #[test]
    fn a_cut_leaves_what_was_flushed_and_any_part_of_the_rest() {
        let (mut none, mut all, mut parts) = (0, 0, 0);
        for seed in 0..200 {
            let (disk, (unflushed, kept)) = cut(seed);
            assert_eq!(unflushed, 3 * PAGE as u64);
            assert_eq!(disk[..PAGE], [2; PAGE], "flushed");
            assert_eq!(disk[3 * PAGE..], [1; 5 * PAGE], "never written while there was power");
            assert!(disk[PAGE..2 * PAGE].iter().all(|byte| [1, 3].contains(byte)));
            assert!(disk[2 * PAGE..3 * PAGE].iter().all(|byte| [1, 3, 4].contains(byte)));
            match kept {
                0 => none += 1,
                kept if kept == unflushed => all += 1,
                _ => parts += 1,
            }
        }
        assert!(none > 10 && all > 10 && parts > 50, "{none} {all} {parts}");
    }
}
