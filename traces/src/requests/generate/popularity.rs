//! Which of several each asks for.

use rand::RngExt;
use rand_distr::{Distribution, Zipf};

use crate::generate::{GenerateError, check_range};

use super::{Own, own_stream};

/// Several that are asked for, some more often than others: number `k` in proportion to `(k + 1)^-zipf_exponent`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Popularity {
    /// How many, 1 to 1,000,000.
    pub count: u32,
    /// Skew: 0 = all alike, up to 10.
    pub zipf_exponent: f64,
    /// Share of those who ask for none of them, 0 to 1.
    pub none_share: f64,
}

/// Most of them.
const MAX_COUNT: u32 = 1_000_000;

/// What each asks for. It depends on who asks and on the seed alone, so that it does not change what else is drawn.
#[derive(Debug, Clone)]
pub struct Choices {
    law: Zipf<f64>,
    none_share: f64,
    seed: u64,
}

impl Choices {
    /// Checks the configuration; the error names the first field that cannot be used.
    pub fn new(popularity: &Popularity, seed: u64) -> Result<Self, GenerateError> {
        let Popularity { count, zipf_exponent, none_share } = *popularity;
        check_range("count", f64::from(count), 1.0..=f64::from(MAX_COUNT))?;
        check_range("zipf_exponent", zipf_exponent, 0.0..=10.0)?;
        check_range("none_share", none_share, 0.0..=1.0)?;
        let law = Zipf::new(f64::from(count), zipf_exponent)
            .map_err(|error| GenerateError::new("zipf_exponent", "a usable Zipf law", error))?;
        Ok(Self { law, none_share, seed })
    }

    /// What a request, a conversation or a user asks for, by their number; from 0.
    pub fn of(&self, number: u64) -> Option<u32> {
        let mut stream = own_stream(self.seed, number, Own::Choice);
        let none = stream.random::<f64>() < self.none_share;
        // Zipf draws a rank from 1.
        (!none).then(|| self.law.sample(&mut stream) as u32 - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn choices_have_their_shares() {
        const ASKED: u64 = 40_000;
        for (count, zipf_exponent, none_share) in [(4, 1.0, 0.0), (3, 0.0, 0.25), (10, 2.0, 0.5)] {
            let choices = Choices::new(&Popularity { count, zipf_exponent, none_share }, 7).unwrap();
            let mut counts = vec![0_u32; count as usize];
            for number in 0..ASKED {
                if let Some(choice) = choices.of(number) {
                    counts[choice as usize] += 1;
                }
            }
            let weights: Vec<f64> = (1..=count).map(|rank| f64::from(rank).powf(-zipf_exponent)).collect();
            let sum: f64 = weights.iter().sum();
            for (counted, weight) in counts.iter().zip(weights) {
                let expected = (1.0 - none_share) * weight / sum;
                let share = f64::from(*counted) / ASKED as f64;
                assert!((share - expected).abs() < 0.01, "{share} in place of {expected}");
            }
        }
    }

    #[test]
    fn what_cannot_be_is_named() {
        let check = |popularity: Popularity, field: &str| {
            assert_eq!(Choices::new(&popularity, 1).unwrap_err().field, field);
        };
        let good = Popularity { count: 2, zipf_exponent: 1.0, none_share: 0.0 };
        check(Popularity { count: 0, ..good }, "count");
        check(Popularity { zipf_exponent: -1.0, ..good }, "zipf_exponent");
        check(Popularity { none_share: 1.5, ..good }, "none_share");
    }
}
