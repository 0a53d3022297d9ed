//! Laws of job run times, with their exact means.

use rand::RngExt;
use rand::rngs::ChaCha8Rng;
use rand_distr::weighted::WeightedAliasIndex;
use rand_distr::{Distribution, Exp1, LogNormal};

use super::{GenerateError, WEIGHT_RANGE, check_range};
use crate::record::MAX_TIME_S;

/// Run times in seconds: a law whose draws are clamped to `min_s..=max_s`.
#[derive(Debug, Clone, PartialEq)]
pub struct Duration {
    /// The law before clamping.
    pub law: DurationLaw,
    /// Shorter draws become this.
    pub min_s: f64,
    /// Longer draws become this.
    pub max_s: f64,
}

/// A distribution of run times in seconds.
#[derive(Debug, Clone, PartialEq)]
pub enum DurationLaw {
    /// Always the same.
    Fixed {
        /// The run time.
        seconds: f64,
    },
    /// Exponential.
    Exponential {
        /// Mean.
        mean_s: f64,
    },
    /// The logarithm of the run time is normal.
    LogNormal {
        /// Median, `exp(mu)`.
        median_s: f64,
        /// Standard deviation of the natural logarithm, 0..=10.
        sigma: f64,
    },
    /// The logarithm of the run time is uniform between the logarithms of the bounds.
    LogUniform {
        /// Smallest run time, above 0.
        min_s: f64,
        /// Largest run time.
        max_s: f64,
    },
    /// One of several laws, in proportion to the weights.
    Mixture {
        /// Weight and law of each component; not empty, and no mixtures inside.
        components: Vec<(f64, Self)>,
    },
}

impl From<DurationLaw> for Duration {
    /// The law as it is: clamped to 0..=[`MAX_TIME_S`], which every trace must keep.
    fn from(law: DurationLaw) -> Self {
        Self { law, min_s: 0.0, max_s: MAX_TIME_S }
    }
}

impl Duration {
    /// Mean run time in seconds after clamping, in closed form.
    pub fn mean_s(&self) -> f64 {
        self.law.clamped_mean_s(self.min_s, self.max_s)
    }

    pub(crate) fn validate(&self, field: &str) -> Result<(), GenerateError> {
        check_range(format!("{field}.max_s"), self.max_s, 0.0..=MAX_TIME_S)?;
        check_range(format!("{field}.min_s"), self.min_s, 0.0..=self.max_s)?;
        self.law.validate(field, true)
    }
}

impl DurationLaw {
    fn validate(&self, field: &str, may_mix: bool) -> Result<(), GenerateError> {
        let positive_s = 1e-6..=MAX_TIME_S;
        match self {
            Self::Fixed { seconds } => check_range(format!("{field}.seconds"), *seconds, 0.0..=MAX_TIME_S),
            Self::Exponential { mean_s } => check_range(format!("{field}.mean_s"), *mean_s, positive_s),
            Self::LogNormal { median_s, sigma } => {
                check_range(format!("{field}.median_s"), *median_s, positive_s)?;
                check_range(format!("{field}.sigma"), *sigma, 0.0..=10.0)
            }
            Self::LogUniform { min_s, max_s } => {
                check_range(format!("{field}.max_s"), *max_s, positive_s)?;
                check_range(format!("{field}.min_s"), *min_s, 1e-6..=*max_s)
            }
            Self::Mixture { components } => {
                if !may_mix || components.is_empty() {
                    let expected = "one or more components that are not mixtures themselves";
                    let got = if components.is_empty() { "none" } else { "a mixture inside a mixture" };
                    return Err(GenerateError::new(format!("{field}.components"), expected, got));
                }
                for (i, (weight, law)) in components.iter().enumerate() {
                    let field = format!("{field}.components[{i}]");
                    check_range(format!("{field}.weight"), *weight, WEIGHT_RANGE)?;
                    law.validate(&field, false)?;
                }
                Ok(())
            }
        }
    }

    /// `E[clamp(X, low, high)]`.
    fn clamped_mean_s(&self, low: f64, high: f64) -> f64 {
        match self {
            Self::Fixed { seconds } => seconds.clamp(low, high),
            // low + the integral of P(X > x) over low..high.
            Self::Exponential { mean_s } => low + mean_s * ((-low / mean_s).exp() - (-high / mean_s).exp()),
            Self::LogNormal { median_s, sigma: 0.0 } => median_s.clamp(low, high),
            Self::LogNormal { median_s, sigma } => {
                let standardise = |x: f64| (x / median_s).ln() / sigma;
                let (a, b) = (standardise(low), standardise(high));
                let inside =
                    median_s * (sigma * sigma / 2.0).exp() * (normal_cdf(b - sigma) - normal_cdf(a - sigma));
                low * normal_cdf(a) + inside + high * normal_cdf(-b)
            }
            Self::LogUniform { min_s, max_s } => {
                if min_s >= max_s {
                    return min_s.clamp(low, high);
                }
                let (a, b) = (low.clamp(*min_s, *max_s), high.clamp(*min_s, *max_s));
                let width = (max_s / min_s).ln();
                (low * (a / min_s).ln() + (b - a) + high * (max_s / b).ln()) / width
            }
            Self::Mixture { components } => {
                let total: f64 = components.iter().map(|(weight, _)| weight).sum();
                let sum: f64 =
                    components.iter().map(|(weight, law)| weight * law.clamped_mean_s(low, high)).sum();
                sum / total
            }
        }
    }
}

/// Cumulative distribution of the standard normal law; infinite arguments are welcome.
fn normal_cdf(x: f64) -> f64 {
    0.5 * libm::erfc(-x / std::f64::consts::SQRT_2)
}

/// A [`Duration`] ready to draw from.
pub(crate) struct DurationSampler {
    law: LawSampler,
    min_s: f64,
    max_s: f64,
}

enum LawSampler {
    Fixed(f64),
    Exponential { mean_s: f64 },
    LogNormal(LogNormal<f64>),
    LogUniform { min_s: f64, log_width: f64 },
    Mixture { choice: WeightedAliasIndex<f64>, laws: Vec<Self> },
}

impl DurationSampler {
    pub(crate) fn new(duration: &Duration) -> Result<Self, GenerateError> {
        Ok(Self { law: LawSampler::new(&duration.law)?, min_s: duration.min_s, max_s: duration.max_s })
    }

    /// Draws a run time in seconds.
    pub(crate) fn sample(&self, rng: &mut ChaCha8Rng) -> f64 {
        self.law.sample(rng).clamp(self.min_s, self.max_s)
    }
}

impl LawSampler {
    fn new(law: &DurationLaw) -> Result<Self, GenerateError> {
        Ok(match law {
            DurationLaw::Fixed { seconds } => Self::Fixed(*seconds),
            DurationLaw::Exponential { mean_s } => Self::Exponential { mean_s: *mean_s },
            DurationLaw::LogNormal { median_s, sigma } => Self::LogNormal(
                LogNormal::new(median_s.ln(), *sigma)
                    .map_err(|e| GenerateError::new("duration", "a usable log-normal law", e))?,
            ),
            DurationLaw::LogUniform { min_s, max_s } => {
                Self::LogUniform { min_s: *min_s, log_width: (max_s / min_s).ln() }
            }
            DurationLaw::Mixture { components } => Self::Mixture {
                choice: WeightedAliasIndex::new(components.iter().map(|(weight, _)| *weight).collect())
                    .map_err(|e| GenerateError::new("duration.components", "usable weights", e))?,
                laws: components.iter().map(|(_, law)| Self::new(law)).collect::<Result<_, _>>()?,
            },
        })
    }

    fn sample(&self, rng: &mut ChaCha8Rng) -> f64 {
        match self {
            Self::Fixed(seconds) => *seconds,
            Self::Exponential { mean_s } => {
                let draw: f64 = Exp1.sample(rng);
                draw * mean_s
            }
            Self::LogNormal(law) => law.sample(rng),
            Self::LogUniform { min_s, log_width } => min_s * (rng.random::<f64>() * log_width).exp(),
            Self::Mixture { choice, laws } => laws[choice.sample(rng)].sample(rng),
        }
    }
}
