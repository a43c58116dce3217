//! Chance from a seed: the same seed draws the same, on every machine and with every version of every library.

/// A generator (SplitMix64).
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    /// The dice of a seed.
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Other dice for a part of the same soak, so that parts can be repeated alone.
    pub fn for_part(seed: u64, part: &str) -> Self {
        let mix = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        Self(part.bytes().fold(seed ^ 0xcbf2_9ce4_8422_2325, mix))
    }

    /// The next number.
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `end`, which must not be zero.
    pub fn below(&mut self, end: u64) -> u64 {
        self.draw() % end.max(1)
    }

    /// A number from `first` to `last`.
    pub fn between(&mut self, first: u64, last: u64) -> u64 {
        first + self.below(last.saturating_sub(first) + 1)
    }

    /// True in so many of a hundred cases.
    pub fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    /// One of several; nothing of none.
    pub fn pick<'a, T>(&mut self, all: &'a [T]) -> Option<&'a T> {
        let index = usize::try_from(self.below(all.len() as u64)).ok()?;
        all.get(index)
    }

    /// The same in another order.
    pub fn shuffle<T>(&mut self, all: &mut [T]) {
        for last in (1..all.len()).rev() {
            let other = usize::try_from(self.below(last as u64 + 1)).unwrap_or(0);
            all.swap(last, other);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_always_draws_the_same() {
        let draw = |seed| {
            let mut dice = Dice::new(seed);
            [dice.draw(), dice.draw()]
        };
        // The published first numbers of SplitMix64 for the seed 1234567.
        assert_eq!(draw(1_234_567), [6_457_827_717_110_365_317, 3_203_168_211_198_807_973]);
        assert_ne!(draw(1), draw(2));
        assert_ne!(Dice::for_part(1, "a").draw(), Dice::for_part(1, "b").draw());
    }

    #[test]
    fn borders_are_kept() {
        let mut dice = Dice::new(7);
        assert!((0..1_000).all(|_| (3..=5).contains(&dice.between(3, 5))));
        assert!(dice.pick::<u8>(&[]).is_none());
        let mut all = [1, 2, 3, 4];
        dice.shuffle(&mut all);
        all.sort_unstable();
        assert_eq!(all, [1, 2, 3, 4]);
    }
}
