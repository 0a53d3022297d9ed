//! The random numbers of Python's `random.Random(seed)`, so that published workloads come out job by job.

/// Words of state of the Mersenne Twister MT19937.
const WORDS: usize = 624;

/// How far apart words are combined.
const MIDDLE: usize = 397;

/// `random.Random` of Python 3, as far as Gavel uses it.
pub(super) struct PythonRandom {
    state: Box<[u32; WORDS]>,
    next: usize,
}

impl PythonRandom {
    /// `random.Random(seed)` for a seed that is a whole number.
    pub(super) fn new(seed: u64) -> Self {
        let mut key = vec![seed as u32];
        if seed >> 32 != 0 {
            key.push((seed >> 32) as u32);
        }
        let mut random = Self { state: Box::new([0; WORDS]), next: WORDS };
        random.seed_by_word(19_650_218);
        random.seed_by_array(&key);
        random
    }

    fn seed_by_word(&mut self, word: u32) {
        self.state[0] = word;
        for index in 1..WORDS {
            self.state[index] = self.mixed(index - 1).wrapping_mul(1_812_433_253).wrapping_add(index as u32);
        }
    }

    fn mixed(&self, index: usize) -> u32 {
        self.state[index] ^ (self.state[index] >> 30)
    }

    fn seed_by_array(&mut self, key: &[u32]) {
        let (mut index, mut at) = (1, 0);
        for _ in 0..WORDS.max(key.len()) {
            self.state[index] = (self.state[index] ^ self.mixed(index - 1).wrapping_mul(1_664_525))
                .wrapping_add(key[at])
                .wrapping_add(at as u32);
            index = self.following(index);
            at = (at + 1) % key.len();
        }
        for _ in 1..WORDS {
            self.state[index] = (self.state[index] ^ self.mixed(index - 1).wrapping_mul(1_566_083_941))
                .wrapping_sub(index as u32);
            index = self.following(index);
        }
        self.state[0] = 0x8000_0000;
    }

    /// The next index of a seeding, which carries the last word over to the first.
    fn following(&mut self, index: usize) -> usize {
        if index + 1 < WORDS {
            return index + 1;
        }
        self.state[0] = self.state[WORDS - 1];
        1
    }

    fn refill(&mut self) {
        for index in 0..WORDS {
            let joined = (self.state[index] & 0x8000_0000) | (self.state[(index + 1) % WORDS] & 0x7fff_ffff);
            let twist = if joined & 1 == 1 { 0x9908_b0df } else { 0 };
            self.state[index] = self.state[(index + MIDDLE) % WORDS] ^ (joined >> 1) ^ twist;
        }
        self.next = 0;
    }

    fn word(&mut self) -> u32 {
        if self.next == WORDS {
            self.refill();
        }
        let mut word = self.state[self.next];
        self.next += 1;
        word ^= word >> 11;
        word ^= (word << 7) & 0x9d2c_5680;
        word ^= (word << 15) & 0xefc6_0000;
        word ^ (word >> 18)
    }

    /// `random()`: at least 0, below 1.
    pub(super) fn unit(&mut self) -> f64 {
        let (high, low) = (f64::from(self.word() >> 5), f64::from(self.word() >> 6));
        (high * 67_108_864.0 + low) / 9_007_199_254_740_992.0
    }

    /// `uniform(low, high)`.
    pub(super) fn uniform(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.unit()
    }

    /// `randrange(n)`, and the index that `choice` takes of `n` items. `n` is at least 1 and below 2^32.
    pub(super) fn below(&mut self, n: usize) -> usize {
        let bits = usize::BITS - n.leading_zeros();
        loop {
            let drawn = (self.word() >> (32 - bits)) as usize;
            if drawn < n {
                return drawn;
            }
        }
    }

    /// `shuffle(items)`.
    pub(super) fn shuffle<T>(&mut self, items: &mut [T]) {
        for index in (1..items.len()).rev() {
            let other = self.below(index + 1);
            items.swap(index, other);
        }
    }

    /// `expovariate(rate)`.
    pub(super) fn exponential(&mut self, rate: f64) -> f64 {
        -(1.0 - self.unit()).ln() / rate
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Printed by CPython 3.11.
    #[test]
    fn draws_are_those_of_python() {
        let check = |seed, expected: [f64; 3]| {
            let mut random = PythonRandom::new(seed);
            let drawn = [random.unit(), random.unit(), random.unit()];
            assert_eq!(drawn.map(f64::to_bits), expected.map(f64::to_bits), "seed {seed}: {drawn:?}");
        };
        check(0, [0.844_421_851_525_048_1, 0.757_954_402_940_302_5, 0.420_571_580_830_845]);
        check(3, [0.237_964_627_091_891_37, 0.544_229_225_295_951_9, 0.369_955_166_548_079_25]);
        check(1_099_511_627_781, [0.504_380_297_041_844_3, 0.268_604_439_972_328_2, 0.925_786_547_567_158_5]);
    }

    #[test]
    fn choices_are_those_of_python() {
        let mut random = PythonRandom::new(0);
        let drawn: Vec<usize> = (0..10).map(|_| random.below(26)).collect();
        assert_eq!(drawn, [12, 24, 13, 1, 8, 16, 15, 12, 25, 9]);
        let mut items = [0, 1, 2, 3, 4, 5];
        PythonRandom::new(7).shuffle(&mut items);
        assert_eq!(items, [4, 0, 5, 3, 1, 2]);
        assert!((PythonRandom::new(5).exponential(2.0) - 0.487_624_684_632_196_8).abs() < 1e-15);
    }
}
