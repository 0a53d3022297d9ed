//! How often times were how long.

use crate::engine::Steps;

/// Each power of two of nanoseconds is divided into so many parts (as a power of two): times are known to a part in a thousand.
const PART_BITS: u32 = 10;

const PARTS: u64 = 1 << PART_BITS;

/// How often times were how long: exact below a microsecond and in sum, and to half a part in a thousand above. What a day of many replicas brings
/// fits, and adding one costs the same whatever came before.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Latencies {
    /// The bucket that the first of `counts` belongs to.
    first: usize,
    counts: Vec<u64>,
    count: u64,
    sum_ns: u128,
    max_ns: u64,
}

/// How often a time is halved until it is less than twice as many nanoseconds as there are parts.
const fn halvings(latency_ns: u64) -> u32 {
    (latency_ns | 1).ilog2().saturating_sub(PART_BITS)
}

const fn bucket(latency_ns: u64) -> usize {
    let halvings = halvings(latency_ns);
    ((halvings as u64) * PARTS + (latency_ns >> halvings)) as usize
}

/// The shortest of a bucket, and how many times belong to it.
const fn span_ns(bucket: usize) -> (u64, u64) {
    let bucket = bucket as u64;
    if bucket < 2 * PARTS {
        return (bucket, 1);
    }
    let halvings = bucket / PARTS - 1;
    ((bucket - halvings * PARTS) << halvings, 1 << halvings)
}

const fn middle_ns(bucket: usize) -> u64 {
    let (first_ns, width_ns) = span_ns(bucket);
    first_ns + width_ns / 2
}

/// The longest of a bucket.
const fn last_ns(bucket: usize) -> u64 {
    let (first_ns, width_ns) = span_ns(bucket);
    first_ns + width_ns - 1
}

/// How many of the first times are in the same bucket as one.
fn alike(latencies_ns: &[u64], one_ns: u64) -> usize {
    let halvings = halvings(one_ns);
    let differ =
        |some: &[u64]| some.iter().fold(0, |bits, latency_ns| bits | (latency_ns ^ one_ns)) >> halvings > 0;
    let (several, _) = latencies_ns.as_chunks::<8>();
    let before = 8 * several.iter().take_while(|&some| !differ(some)).count();
    before + latencies_ns[before..].iter().take_while(|&&latency_ns| !differ(&[latency_ns])).count()
}

impl Latencies {
    /// Adds a time that came so often.
    #[inline]
    pub fn add(&mut self, latency_ns: u64, times: u32) {
        *self.count_of(bucket(latency_ns)) += u64::from(times);
        self.count += u64::from(times);
        self.sum_ns += u128::from(latency_ns) * u128::from(times);
        self.max_ns = self.max_ns.max(latency_ns);
    }

    /// Adds times of which each came so often; fast where they ascend, or most are about as long as those before them.
    pub fn add_steps(&mut self, steps: &Steps<'_>, times: u32) {
        match steps.unordered() {
            Some(latencies_ns) => self.add_each(latencies_ns, times),
            None => self.add_ascending(steps, times),
        }
        self.count += u64::from(steps.len()) * u64::from(times);
        self.sum_ns += u128::from(steps.sum_ns()) * u128::from(times);
    }

    fn add_ascending(&mut self, steps: &Steps<'_>, times: u32) {
        if steps.is_empty() {
            return;
        }
        let (mut from, mut latency_ns) = (0, steps.latency_ns(0));
        while from < steps.len() {
            let bucket = bucket(latency_ns);
            let (longer, longer_ns) = steps.first_longer(from, last_ns(bucket));
            *self.count_of(bucket) += u64::from(longer - from) * u64::from(times);
            (from, latency_ns) = (longer, longer_ns);
        }
        self.max_ns = self.max_ns.max(latency_ns);
    }

    fn add_each(&mut self, latencies_ns: &[u64], times: u32) {
        let mut left = latencies_ns;
        while let Some(&first_ns) = left.first() {
            let alike = alike(left, first_ns);
            let bucket = bucket(first_ns);
            *self.count_of(bucket) += alike as u64 * u64::from(times);
            let (these, others) = left.split_at(alike);
            if middle_ns(bucket + 1) > self.max_ns {
                self.max_ns = these.iter().fold(self.max_ns, |max_ns, &one| max_ns.max(one));
            }
            left = others;
        }
    }

    #[inline]
    fn count_of(&mut self, bucket: usize) -> &mut u64 {
        if bucket < self.first || bucket >= self.first + self.counts.len() {
            self.reach(bucket);
        }
        &mut self.counts[bucket - self.first]
    }

    /// Makes room for a bucket.
    fn reach(&mut self, bucket: usize) {
        if self.counts.is_empty() {
            self.first = bucket;
        }
        let end = (bucket + 1).max(self.first + self.counts.len());
        if bucket < self.first {
            self.counts.splice(0..0, std::iter::repeat_n(0, self.first - bucket));
            self.first = bucket;
        }
        self.counts.resize(end - self.first, 0);
    }

    /// Adds what others were.
    pub fn merge(&mut self, other: &Self) {
        if other.counts.is_empty() {
            return;
        }
        self.reach(other.first);
        self.reach(other.first + other.counts.len() - 1);
        for (mine, theirs) in self.counts[other.first - self.first..].iter_mut().zip(&other.counts) {
            *mine += theirs;
        }
        self.count += other.count;
        self.sum_ns += other.sum_ns;
        self.max_ns = self.max_ns.max(other.max_ns);
    }

    /// How many.
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// Sum of all.
    pub const fn sum_ns(&self) -> u128 {
        self.sum_ns
    }

    /// The longest.
    pub const fn max_ns(&self) -> u64 {
        self.max_ns
    }

    /// Times and how often they came, in ascending order.
    pub fn iter(&self) -> impl Iterator<Item = (u64, u64)> + Clone + '_ {
        let counted = self.counts.iter().enumerate().filter(|&(_, &count)| count > 0);
        counted.map(|(at, &count)| (middle_ns(self.first + at).min(self.max_ns), count))
    }
}
