//! Random numbers that a seed reproduces for ever: xoshiro256++ (Blackman and Vigna, 2019),
//! its state filled by splitmix64.

/// A generator of numbers in [0, 1).
pub(crate) struct Random {
    state: [u64; 4],
}

impl Random {
    /// The generator of a seed.
    pub(crate) fn new(seed: u64) -> Self {
        let mut x = seed;
        let state = std::array::from_fn(|_| {
            x = x.wrapping_add(0x9E37_79B9_7F4A_7C15);
            let mut z = x;
            z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            z ^ (z >> 31)
        });
        Self { state }
    }

    /// A generator that differs from run to run and from sequence to sequence.
    pub(crate) fn from_entropy() -> Self {
        use std::hash::{BuildHasher as _, RandomState};
        // Each RandomState is keyed by the operating system's entropy and a counter.
        Self::new(RandomState::new().hash_one(0))
    }

    fn next(&mut self) -> u64 {
        let s = &mut self.state;
        let result = s[0].wrapping_add(s[3]).rotate_left(23).wrapping_add(s[0]);
        let t = s[1] << 17;
        s[2] ^= s[0];
        s[3] ^= s[1];
        s[1] ^= s[2];
        s[0] ^= s[3];
        s[2] ^= t;
        s[3] = s[3].rotate_left(45);
        result
    }

    /// Uniform in [0, 1), with 53 bits.
    pub(crate) fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_reproduces_and_the_numbers_are_uniform() {
        let (mut a, mut b) = (Random::new(7), Random::new(7));
        let numbers: Vec<f64> = (0..100_000).map(|_| a.unit()).collect();
        assert!(
            numbers
                .iter()
                .all(|&x| x == b.unit() && (0.0..1.0).contains(&x))
        );
        let mean = numbers.iter().sum::<f64>() / numbers.len() as f64;
        assert!((mean - 0.5).abs() < 0.005, "{mean}");
        let below = numbers.iter().filter(|&&x| x < 0.1).count();
        assert!((9_600..10_400).contains(&below), "{below}");
    }

    #[test]
    fn unseeded_generators_differ() {
        assert_ne!(Random::from_entropy().next(), Random::from_entropy().next());
    }
}
