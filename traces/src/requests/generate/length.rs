//! Laws of whole numbers: tokens of prompts and answers, turns of a conversation.

use std::sync::Arc;

use rand::RngExt;
use rand::rngs::ChaCha8Rng;
use rand_distr::{Distribution, LogNormal, Zipf};

use crate::generate::{GenerateError, check_range};
use crate::requests::record::{Lengths, MAX_TOKENS, expected_tokens};

/// A law of whole numbers from 1 on, in tokens or turns.
#[derive(Debug, Clone, PartialEq)]
pub enum CountLaw {
    /// Always the same.
    Constant {
        /// The number.
        count: u32,
    },
    /// Any number within bounds, both included, equally often.
    Uniform {
        /// Least.
        min: u32,
        /// Most.
        max: u32,
    },
    /// The logarithm is normal; draws are rounded, and clamped to the bounds.
    LogNormal {
        /// Median, `exp(mu)`.
        median: f64,
        /// Standard deviation of the natural logarithm, 0..=10.
        sigma: f64,
        /// Smaller draws become this.
        min: u32,
        /// Larger draws become this.
        max: u32,
    },
    /// `P(k)` in proportion to `(k - min + 1)^-exponent`: small numbers are frequent, and a few are large.
    Zipf {
        /// Least, and most frequent.
        min: u32,
        /// Most.
        max: u32,
        /// 0 = uniform, 1 = classic Zipf; up to 10.
        exponent: f64,
    },
    /// One of these, each equally often.
    Empirical {
        /// What was seen, repetitions included. Not empty.
        counts: Arc<[u32]>,
    },
}

/// The quantile of the standard normal law at 90 % and at 99 %.
const NORMAL_P90: f64 = 1.281_551_565_544_600_4;
const NORMAL_P99: f64 = 2.326_347_874_040_841;

impl CountLaw {
    /// The log-normal law with this median and 90th percentile: `sigma = ln(p90 / median) / 1.28155`.
    pub fn log_normal_p90(median: f64, p90: f64) -> Self {
        Self::LogNormal { median, sigma: (p90 / median).ln() / NORMAL_P90, min: 1, max: MAX_TOKENS }
    }

    /// The log-normal law with this median and 99th percentile: `sigma = ln(p99 / median) / 2.32635`.
    pub fn log_normal_p99(median: f64, p99: f64) -> Self {
        Self::LogNormal { median, sigma: (p99 / median).ln() / NORMAL_P99, min: 1, max: MAX_TOKENS }
    }

    pub(super) fn validate(&self, field: &str) -> Result<(), GenerateError> {
        let check = |name: &str, count: u32, least: u32| {
            if (least..=MAX_TOKENS).contains(&count) {
                return Ok(());
            }
            Err(GenerateError::new(format!("{field}.{name}"), expected_tokens(least), count))
        };
        match self {
            Self::Constant { count } => check("count", *count, 1),
            Self::Uniform { min, max } => {
                check("min", *min, 1)?;
                check("max", *max, *min)
            }
            Self::LogNormal { median, sigma, min, max } => {
                check_range(format!("{field}.median"), *median, 1e-3..=f64::from(MAX_TOKENS))?;
                check_range(format!("{field}.sigma"), *sigma, 0.0..=10.0)?;
                check("min", *min, 1)?;
                check("max", *max, *min)
            }
            Self::Zipf { min, max, exponent } => {
                check("min", *min, 1)?;
                check("max", *max, *min)?;
                check_range(format!("{field}.exponent"), *exponent, 0.0..=10.0)
            }
            Self::Empirical { counts } => {
                if counts.is_empty() {
                    return Err(GenerateError::new(format!("{field}.counts"), "at least one number", "none"));
                }
                counts
                    .iter()
                    .enumerate()
                    .try_for_each(|(index, &count)| check(&format!("counts[{index}]"), count, 1))
            }
        }
    }
}

/// A law that can be drawn from.
#[derive(Clone)]
pub(super) struct CountSampler(Sampler);

#[derive(Clone)]
enum Sampler {
    Uniform(u32, u32),
    LogNormal(LogNormal<f64>, u32, u32),
    Zipf(Zipf<f64>, u32, u32),
    Empirical(Arc<[u32]>),
}

impl CountSampler {
    pub(super) fn new(law: &CountLaw, field: &str) -> Result<Self, GenerateError> {
        law.validate(field)?;
        Ok(Self(match law {
            CountLaw::Constant { count } => Sampler::Uniform(*count, *count),
            CountLaw::Uniform { min, max } => Sampler::Uniform(*min, *max),
            CountLaw::LogNormal { median, sigma, min, max } => {
                let law = LogNormal::new(median.ln(), *sigma)
                    .map_err(|error| GenerateError::new(field, "a usable log-normal law", error))?;
                Sampler::LogNormal(law, *min, *max)
            }
            CountLaw::Zipf { min, max, exponent } => {
                let law = Zipf::new(f64::from(max - min) + 1.0, *exponent)
                    .map_err(|error| GenerateError::new(field, "a usable Zipf law", error))?;
                Sampler::Zipf(law, *min, *max)
            }
            CountLaw::Empirical { counts } => Sampler::Empirical(Arc::clone(counts)),
        }))
    }

    pub(super) fn sample(&self, rng: &mut ChaCha8Rng) -> u32 {
        match &self.0 {
            Sampler::Uniform(min, max) => rng.random_range(*min..=*max),
            // The conversion saturates.
            Sampler::LogNormal(law, min, max) => (law.sample(rng).round() as u32).clamp(*min, *max),
            // Zipf draws a rank from 1.
            Sampler::Zipf(law, min, max) => {
                (min - 1).saturating_add(law.sample(rng) as u32).clamp(*min, *max)
            }
            Sampler::Empirical(counts) => counts[rng.random_range(0..counts.len())],
        }
    }
}

/// A law of both lengths of a request.
#[derive(Debug, Clone, PartialEq)]
pub enum LengthsLaw {
    /// Prompts and answers have nothing to do with each other.
    Independent {
        /// Tokens of the prompt.
        prompt: CountLaw,
        /// Tokens of the answer.
        output: CountLaw,
    },
    /// Pairs of a trace, see [`read_lengths`](crate::requests::read_lengths).
    Trace {
        /// What was seen. Not empty.
        lengths: Arc<[Lengths]>,
        /// Whether pairs are drawn, each equally often; else they come in their order, again and again.
        drawn: bool,
    },
}

/// A law of both lengths that can be drawn from, within the tokens that a model can hold.
pub(super) struct LengthsSampler {
    law: LengthsOf,
    max_model_tokens: u32,
}

enum LengthsOf {
    Independent { prompt: CountSampler, output: CountSampler },
    Drawn(Arc<[Lengths]>),
    InOrder(Arc<[Lengths]>, usize),
}

/// Where lengths are drawn from: a stream for prompts (and pairs), and one for answers.
pub(super) struct LengthStreams {
    pub(super) prompt: ChaCha8Rng,
    pub(super) output: ChaCha8Rng,
}

impl LengthsSampler {
    pub(super) fn new(law: &LengthsLaw, max_model_tokens: u32) -> Result<Self, GenerateError> {
        check_model_tokens(max_model_tokens)?;
        let law = match law {
            LengthsLaw::Independent { prompt, output } => LengthsOf::Independent {
                prompt: CountSampler::new(prompt, "lengths.prompt")?,
                output: CountSampler::new(output, "lengths.output")?,
            },
            LengthsLaw::Trace { lengths, drawn } => {
                let valid = 1..=MAX_TOKENS;
                let is_valid = |lengths: &Lengths| {
                    valid.contains(&lengths.prompt_tokens) && valid.contains(&lengths.output_tokens)
                };
                if lengths.is_empty() || !lengths.iter().all(is_valid) {
                    let expected = format!("one or more pairs of 1 to {MAX_TOKENS} tokens");
                    let got = if lengths.is_empty() { "none" } else { "others" };
                    return Err(GenerateError::new("lengths.trace", expected, got));
                }
                let lengths = Arc::clone(lengths);
                if *drawn { LengthsOf::Drawn(lengths) } else { LengthsOf::InOrder(lengths, 0) }
            }
        };
        Ok(Self { law, max_model_tokens })
    }

    pub(super) fn sample(&mut self, streams: &mut LengthStreams) -> Lengths {
        let Lengths { prompt_tokens, output_tokens } = match &mut self.law {
            LengthsOf::Independent { prompt, output } => Lengths {
                prompt_tokens: prompt.sample(&mut streams.prompt),
                output_tokens: output.sample(&mut streams.output),
            },
            LengthsOf::Drawn(lengths) => lengths[streams.prompt.random_range(0..lengths.len())],
            LengthsOf::InOrder(lengths, next) => {
                let index = *next;
                *next = (index + 1) % lengths.len();
                lengths[index]
            }
        };
        clip(prompt_tokens, output_tokens, self.max_model_tokens)
    }
}

pub(super) fn check_model_tokens(max_model_tokens: u32) -> Result<(), GenerateError> {
    if (2..=MAX_TOKENS).contains(&max_model_tokens) {
        return Ok(());
    }
    Err(GenerateError::new("max_model_tokens", expected_tokens(2), max_model_tokens))
}

/// Cuts the prompt so that an answer of one token fits, then the answer so that both do.
pub(super) fn clip(prompt_tokens: u32, output_tokens: u32, max_model_tokens: u32) -> Lengths {
    let prompt_tokens = prompt_tokens.min(max_model_tokens - 1);
    Lengths { prompt_tokens, output_tokens: output_tokens.min(max_model_tokens - prompt_tokens) }
}
