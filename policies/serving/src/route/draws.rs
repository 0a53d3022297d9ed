//! Random numbers out of the random word of a request.

use super::Load;

/// Random numbers from one word: `SplitMix64` (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014).
#[derive(Clone, Copy, Debug)]
pub(super) struct Draws(u64);

impl Draws {
    pub(super) const fn new(word: u64) -> Self {
        Self(word)
    }

    pub(super) const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(GOLDEN);
        mixed(self.0)
    }

    /// Below `count`, all alike but for 1 in 2^64 / `count`.
    pub(super) fn below(&mut self, count: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(count)) >> 64) as u64
    }

    /// From 0 to less than 1.
    pub(super) fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// An open replica other than `except`, all alike.
    pub(super) fn open(&mut self, loads: &[Load], except: Option<usize>) -> Option<usize> {
        let fits = |replica: usize| loads[replica].open && Some(replica) != except;
        // Where most are open, counting them is not needed. Whoever is rejected is rejected whatever the rest is: all stay alike.
        for _ in 0..TRIES {
            if loads.is_empty() {
                return None;
            }
            let replica = self.below(loads.len() as u64) as usize;
            if fits(replica) {
                return Some(replica);
            }
        }
        let count = (0..loads.len()).filter(|&replica| fits(replica)).count();
        let nth = self.below(count as u64) as usize;
        (0..loads.len()).filter(|&replica| fits(replica)).nth(nth)
    }
}

/// How often one is drawn before all are counted.
const TRIES: usize = 8;

/// 2^64 over the golden ratio, made odd: the step of `SplitMix64`.
pub const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// `SplitMix64`'s finaliser: each bit of the result depends on all of the word.
pub const fn mixed(word: u64) -> u64 {
    let word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}
