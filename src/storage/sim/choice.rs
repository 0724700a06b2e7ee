//! What chance decides: which of the allowed states a power cut leaves.

/// Makes each choice in turn.
pub(super) trait Choose {
    /// One of `0..n`: 0 is the oldest, `n - 1` the newest state.
    fn choose(&mut self, n: usize) -> usize;
    /// Which words of a sector are the newer ones, where the power went while it was stored to: a bit
    /// for each of its 64 words of 8 bytes.
    fn mix(&mut self) -> u64;
}

/// splitmix64 (Steele, Lea, Flood 2014).
#[derive(Clone, Debug)]
pub(super) struct Dice(pub(super) u64);

impl Dice {
    pub(super) fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: usize) -> usize {
        usize::try_from(self.roll() % (n as u64).max(1)).unwrap_or(0)
    }
}

/// Chance with a bent: states in which nearly all or nearly nothing is old find more than even ones do.
#[derive(Debug)]
pub(super) struct Chance {
    dice: Dice,
    bent: usize,
}

impl Chance {
    pub(super) fn new(seed: u64) -> Chance {
        let mut dice = Dice(seed);
        let bent = dice.below(6);
        Chance { dice, bent }
    }
}

impl Choose for Chance {
    fn choose(&mut self, n: usize) -> usize {
        let rarely = self.dice.below(8) == 0;
        let any = self.dice.below(n);
        match (self.bent, rarely) {
            (0, _) | (2, false) => 0,
            (1, _) | (3, false) => n - 1,
            _ => any,
        }
    }

    fn mix(&mut self) -> u64 {
        // Mostly sectors are whole.
        if self.bent >= 2 && self.dice.below(4) == 0 { self.dice.roll() } else { u64::MAX }
    }
}

/// Every combination in turn, as an odometer goes: the choices made so far, each with its range.
#[derive(Debug, Default)]
pub(super) struct Odometer {
    wheels: Vec<(usize, usize)>,
    at: usize,
}

impl Odometer {
    /// The next combination. False: there are no more.
    pub(super) fn turn(&mut self) -> bool {
        self.at = 0;
        while let Some((value, n)) = self.wheels.pop() {
            if value + 1 < n {
                self.wheels.push((value + 1, n));
                return true;
            }
        }
        false
    }
}

impl Choose for Odometer {
    fn choose(&mut self, n: usize) -> usize {
        if self.at == self.wheels.len() {
            self.wheels.push((0, n));
        }
        let (value, _) = self.wheels[self.at];
        self.at += 1;
        value
    }

    fn mix(&mut self) -> u64 {
        u64::MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_odometer_makes_every_combination_once() {
        let mut odometer = Odometer::default();
        let mut seen = std::collections::BTreeSet::new();
        loop {
            let first = odometer.choose(3);
            // A choice may depend on those before it.
            let second = if first == 1 { odometer.choose(4) } else { odometer.choose(2) };
            assert!(seen.insert((first, second)));
            if !odometer.turn() {
                break;
            }
        }
        assert_eq!(seen.len(), 2 + 4 + 2);
    }
}
