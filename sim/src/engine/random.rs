//! Named random streams.

use rand::SeedableRng;
use rand::rngs::ChaCha8Rng;

/// Bytes of a `ChaCha` key that are left for the name beside the seed.
const NAME_LEN_MAX: usize = 24;

/// The source of all randomness of a run: one independent stream per (seed, name, entity).
///
/// `ChaCha8` takes a 256-bit key and a 64-bit stream number. The key is the seed followed by the bytes of the name, the
/// stream number is the entity, so no two streams can coincide, there is nothing to hash, and a new entity or a new
/// name leaves every other stream as it was.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Streams {
    seed: u64,
}

impl Streams {
    /// The streams of a run.
    pub const fn new(seed: u64) -> Self {
        Self { seed }
    }

    /// The stream of `name` (a constant of the code, at most 24 bytes) for one entity, from its start.
    ///
    /// # Panics
    /// If the name is longer.
    pub fn stream(&self, name: &'static str, entity: u64) -> ChaCha8Rng {
        assert!(name.len() <= NAME_LEN_MAX, "stream name {name:?} is longer than {NAME_LEN_MAX} bytes");
        let mut key = [0; 32];
        key[..8].copy_from_slice(&self.seed.to_le_bytes());
        key[8..8 + name.len()].copy_from_slice(name.as_bytes());
        let mut stream = ChaCha8Rng::from_seed(key);
        stream.set_stream(entity);
        stream
    }
}

#[cfg(test)]
#[expect(clippy::unreadable_literal, reason = "draws are pinned as they are printed")]
mod tests {
    use std::fmt::Debug;

    use rand::distr::weighted::WeightedIndex;
    use rand::distr::{Distribution, Uniform};
    use rand::{Rng, RngExt};
    use rand_distr::{Exp, Gamma, LogNormal, Normal, Poisson, Weibull, Zipf};

    use super::*;

    fn raw(streams: Streams, name: &'static str, entity: u64) -> [u64; 4] {
        let mut stream = streams.stream(name, entity);
        [(); 4].map(|()| stream.next_u64())
    }

    #[test]
    fn first_raw_draws_are_pinned() {
        let expected = [13644588376656018612, 9876646252311788009, 11152839856688394305, 7222535170753947069];
        assert_eq!(raw(Streams::new(42), "arrivals", 7), expected);
    }

    #[test]
    fn seed_name_and_entity_each_select_another_stream() {
        let base = raw(Streams::new(42), "arrivals", 7);
        assert_eq!(raw(Streams::new(42), "arrivals", 7), base);
        assert_ne!(raw(Streams::new(43), "arrivals", 7), base);
        assert_ne!(raw(Streams::new(42), "failures", 7), base);
        assert_ne!(raw(Streams::new(42), "arrivals", 8), base);
    }

    /// Draws of a fleet whose nodes take turns, node by node.
    fn interleaved(nodes: u64) -> Vec<Vec<u64>> {
        let streams = Streams::new(1);
        let mut sources: Vec<_> = (0..nodes).map(|node| streams.stream("node failures", node)).collect();
        let mut draws = vec![Vec::new(); sources.len()];
        for _ in 0..100 {
            for (source, draws) in sources.iter_mut().zip(&mut draws) {
                draws.push(source.next_u64());
            }
        }
        draws
    }

    #[test]
    fn adding_an_entity_shifts_no_other_stream() {
        assert_eq!(interleaved(4), interleaved(5)[..4]);
    }

    #[test]
    fn the_longest_name_counts_to_its_last_byte() {
        let streams = Streams::new(0);
        let (one, other) = ("a name of twenty-four by", "a name of twenty-four bz");
        assert_eq!(one.len(), NAME_LEN_MAX);
        assert_ne!(raw(streams, one, 0), raw(streams, other, 0));
    }

    #[track_caller]
    fn check<T: Debug + PartialEq, const N: usize>(
        distribution: Result<impl Distribution<T>, impl Debug>,
        expected: &[T; N],
    ) {
        let distribution = distribution.expect("the parameters are valid");
        let mut stream = Streams::new(42).stream("golden", 0);
        assert_eq!(&[(); N].map(|()| stream.sample(&distribution)), expected);
    }

    /// To the last bit, so that a new version of `rand_distr` cannot change a run unnoticed.
    ///
    /// `rand_distr` calls `libm`, unless any crate of the build enables `num-traits/std`, which moves it to the
    /// platform's logarithms: Cargo unites features, and both proptest and plotters do. Of a million draws that changes
    /// the last bits of about one in seven from `Weibull`, one in ten from `LogNormal` and from `Gamma` of a shape below
    /// one, and a handful from `Exp` and `Normal`. The workspace therefore enables it on purpose (`std_math`), so that
    /// these are the draws of every build.
    #[test]
    fn first_draws_of_every_distribution_are_pinned() {
        check(
            Uniform::new(0.0, 1.0),
            &[0.179785040369544, 0.7816838505135801, 0.601602480315641, 0.20307994342534297],
        );
        check(
            Exp::new(0.5),
            &[1.106893422544525, 1.9392729835394533, 0.5168293996883211, 0.3684268546382791],
        );
        check(
            Gamma::new(0.3, 2.0),
            &[0.012259530325906699, 0.010790494332913696, 0.32112868913099163, 0.18886677076262456],
        );
        check(
            Gamma::new(4.0, 0.25),
            &[0.39602915777051295, 0.9838579081910169, 0.9783296903809284, 1.6043635766093411],
        );
        check(
            LogNormal::new(6.0, 1.5),
            &[49.26637314667314, 1196.8055061632583, 495.5124922798893, 156.09977366056125],
        );
        check(
            Normal::new(10.0, 3.0),
            &[5.794483524095181, 12.174822415895292, 10.411185129830368, 8.100990755111923],
        );
        check(Poisson::new(3.5), &[3.0, 3.0, 5.0, 5.0]);
        check(Poisson::new(1e4), &[9859.0, 10013.0, 9936.0, 9957.0]);
        check(Zipf::new(1000.0, 1.1), &[21.0, 16.0, 463.0, 2.0]);
        check(
            Weibull::new(3600.0, 0.7),
            &[7786.186311190543, 486.38289979100773, 1368.6777517391376, 7008.6128818843445],
        );
        check(WeightedIndex::new([70.0, 20.0, 5.0, 5.0]), &[0, 1, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 1, 0, 0, 2]);
    }
}
