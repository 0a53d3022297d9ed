//! Arrival processes.

use std::f64::consts::TAU;

use rand::RngExt;
use rand::rngs::ChaCha8Rng;
use rand_distr::{Distribution, Exp1, Gamma};

use super::{GenerateError, check_range};

/// When jobs arrive. Rates are long-run means in jobs per second.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Arrival {
    /// Independent arrivals: exponential gaps.
    Poisson {
        /// Mean arrivals per second.
        rate_per_s: f64,
    },
    /// A renewal process with Gamma gaps of shape `1 / cv^2` and mean `1 / rate`. A coefficient of variation above
    /// 1 gives bursts with lulls between them, 1 is Poisson, below 1 is more regular than Poisson.
    Gamma {
        /// Mean arrivals per second.
        rate_per_s: f64,
        /// Standard deviation of the gap divided by its mean, 0.01..=100.
        coefficient_of_variation: f64,
    },
    /// Independent arrivals whose rate follows the time of day:
    /// `rate(t) = rate_per_s * (1 + a * cos(2 pi (t - peak_s) / period_s))` with `a = (p - 1) / (p + 1)` for a
    /// peak-to-trough ratio `p`. Drawn by thinning a Poisson process at the peak rate (Lewis and Shedler, 1979).
    Diurnal {
        /// Mean arrivals per second over a period.
        rate_per_s: f64,
        /// Rate at the peak divided by the rate at the trough, 1..=1e6.
        peak_to_trough: f64,
        /// Time of the first peak in seconds.
        peak_s: f64,
        /// Length of a period in seconds; a day is 86,400.
        period_s: f64,
    },
}

impl Arrival {
    /// Mean arrivals per second.
    pub fn rate_per_s(&self) -> f64 {
        match *self {
            Self::Poisson { rate_per_s }
            | Self::Gamma { rate_per_s, .. }
            | Self::Diurnal { rate_per_s, .. } => rate_per_s,
        }
    }

    /// The same process at another mean rate.
    #[must_use]
    pub fn with_rate_per_s(mut self, rate: f64) -> Self {
        match &mut self {
            Self::Poisson { rate_per_s }
            | Self::Gamma { rate_per_s, .. }
            | Self::Diurnal { rate_per_s, .. } => {
                *rate_per_s = rate;
            }
        }
        self
    }

    pub(crate) fn validate(&self) -> Result<(), GenerateError> {
        check_range("arrival.rate_per_s", self.rate_per_s(), 1e-9..=1e9)?;
        match *self {
            Self::Poisson { .. } => Ok(()),
            Self::Gamma { coefficient_of_variation, .. } => {
                check_range("arrival.coefficient_of_variation", coefficient_of_variation, 0.01..=100.0)
            }
            Self::Diurnal { peak_to_trough, peak_s, period_s, .. } => {
                check_range("arrival.peak_to_trough", peak_to_trough, 1.0..=1e6)?;
                check_range("arrival.period_s", period_s, 1e-3..=1e9)?;
                check_range("arrival.peak_s", peak_s, -1e9..=1e9)
            }
        }
    }
}

/// The state of an arrival process: its law and the time of the last arrival.
pub(crate) struct ArrivalSampler {
    process: Process,
    now_s: f64,
}

enum Process {
    Poisson { mean_gap_s: f64 },
    Gamma(Gamma<f64>),
    Diurnal { peak_gap_s: f64, amplitude: f64, peak_s: f64, period_s: f64 },
}

impl ArrivalSampler {
    pub(crate) fn new(arrival: &Arrival) -> Result<Self, GenerateError> {
        let process = match *arrival {
            Arrival::Poisson { rate_per_s } => Process::Poisson { mean_gap_s: rate_per_s.recip() },
            Arrival::Gamma { rate_per_s, coefficient_of_variation } => {
                let variation = coefficient_of_variation * coefficient_of_variation;
                Process::Gamma(
                    Gamma::new(variation.recip(), variation / rate_per_s)
                        .map_err(|e| GenerateError::new("arrival", "a usable Gamma law", e))?,
                )
            }
            Arrival::Diurnal { rate_per_s, peak_to_trough, peak_s, period_s } => {
                let amplitude = (peak_to_trough - 1.0) / (peak_to_trough + 1.0);
                let peak_gap_s = (rate_per_s * (1.0 + amplitude)).recip();
                Process::Diurnal { peak_gap_s, amplitude, peak_s, period_s }
            }
        };
        Ok(Self { process, now_s: 0.0 })
    }

    /// Moves to the next arrival and returns its time in seconds.
    pub(crate) fn next_arrival_s(&mut self, rng: &mut ChaCha8Rng) -> f64 {
        match &self.process {
            Process::Poisson { mean_gap_s } => self.now_s += exponential(rng) * mean_gap_s,
            Process::Gamma(gap_s) => self.now_s += gap_s.sample(rng),
            Process::Diurnal { peak_gap_s, amplitude, peak_s, period_s } => loop {
                self.now_s += exponential(rng) * peak_gap_s;
                let phase = TAU * ((self.now_s - peak_s) / period_s).fract();
                let kept = (1.0 + amplitude * phase.cos()) / (1.0 + amplitude);
                if rng.random::<f64>() < kept {
                    break;
                }
            },
        }
        self.now_s
    }
}

/// An exponential draw of mean 1.
pub(crate) fn exponential(rng: &mut ChaCha8Rng) -> f64 {
    Exp1.sample(rng)
}
