//! Arrival processes of requests.

use rand::RngExt;
use rand::rngs::ChaCha8Rng;

use crate::generate::{Arrival, ArrivalSampler, GenerateError, check_range, exponential};

/// When requests, sessions or users arrive.
#[derive(Debug, Clone, PartialEq)]
pub enum RequestArrival {
    /// Equal gaps of `1 / rate`, the first arrival after one of them.
    Constant {
        /// Arrivals per second.
        rate_per_s: f64,
    },
    /// Poisson, Gamma or a daily sinusoid, as jobs arrive.
    Law(Arrival),
    /// A Poisson process whose rate is that of a hidden state (Markov-modulated, Fischer and Meier-Hellstern, 1993). Each
    /// state lasts exponentially long and is followed by the next one, the last by the first. The first is drawn as if
    /// the process had run forever.
    Mmpp {
        /// Two or more states, one of them with arrivals.
        states: Vec<MmppState>,
    },
    /// A Poisson process whose rate repeats itself, such as by hour of the day; drawn by thinning one at the highest rate
    /// (Lewis and Shedler, 1979).
    Profile {
        /// Rates of equal parts of the period, in arrivals per second.
        rates_per_s: Vec<f64>,
        /// Length of the period in seconds; a day is 86,400.
        period_s: f64,
    },
}

/// A state of a Markov-modulated process.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MmppState {
    /// Arrivals per second, which may be 0.
    pub rate_per_s: f64,
    /// Mean time in this state, in seconds.
    pub mean_sojourn_s: f64,
}

/// Rates that a process may have.
const RATE_RANGE: std::ops::RangeInclusive<f64> = 1e-9..=1e9;

/// Most states, and most parts of a profile.
const MAX_PARTS: usize = 100_000;

/// Least arrivals on average between two returns to a state, and least share of arrivals of the highest rate: with
/// fewer, the time to draw one has no bound.
const MIN_SHARE: f64 = 1e-6;

impl RequestArrival {
    /// Independent arrivals at this rate.
    pub fn poisson(rate_per_s: f64) -> Self {
        Self::Law(Arrival::Poisson { rate_per_s })
    }

    /// Mean arrivals per second in the long run.
    pub fn rate_per_s(&self) -> f64 {
        match self {
            Self::Constant { rate_per_s } => *rate_per_s,
            Self::Law(arrival) => arrival.rate_per_s(),
            Self::Mmpp { states } => {
                let cycle_s: f64 = states.iter().map(|state| state.mean_sojourn_s).sum();
                Self::arrivals_of_cycle(states) / cycle_s
            }
            Self::Profile { rates_per_s, .. } => rates_per_s.iter().sum::<f64>() / rates_per_s.len() as f64,
        }
    }

    fn arrivals_of_cycle(states: &[MmppState]) -> f64 {
        states.iter().map(|state| state.rate_per_s * state.mean_sojourn_s).sum()
    }

    /// The same process at another mean rate: all rates are scaled, times stay.
    #[must_use]
    pub fn with_rate_per_s(mut self, rate: f64) -> Self {
        let factor = rate / self.rate_per_s();
        match &mut self {
            Self::Constant { rate_per_s } => *rate_per_s = rate,
            Self::Law(arrival) => *arrival = arrival.with_rate_per_s(rate),
            Self::Mmpp { states } => states.iter_mut().for_each(|state| state.rate_per_s *= factor),
            Self::Profile { rates_per_s, .. } => rates_per_s.iter_mut().for_each(|rate| *rate *= factor),
        }
        self
    }

    pub(super) fn validate(&self) -> Result<(), GenerateError> {
        let check_rate = |field: String, rate: f64| check_range(field, rate, 0.0..=*RATE_RANGE.end());
        match self {
            Self::Constant { rate_per_s } => check_range("arrival.rate_per_s", *rate_per_s, RATE_RANGE),
            Self::Law(arrival) => arrival.validate(),
            Self::Mmpp { states } => {
                if !(2..=MAX_PARTS).contains(&states.len()) {
                    let expected = format!("2 to {MAX_PARTS} states");
                    return Err(GenerateError::new("arrival.states", expected, states.len()));
                }
                for (index, state) in states.iter().enumerate() {
                    let field = |name: &str| format!("arrival.states[{index}].{name}");
                    check_rate(field("rate_per_s"), state.rate_per_s)?;
                    check_range(field("mean_sojourn_s"), state.mean_sojourn_s, 1e-6..=1e9)?;
                }
                let arrivals = Self::arrivals_of_cycle(states);
                if arrivals < MIN_SHARE {
                    let expected =
                        format!("at least {MIN_SHARE} arrivals on average while all states pass once");
                    return Err(GenerateError::new("arrival.states", expected, arrivals));
                }
                Ok(())
            }
            Self::Profile { rates_per_s, period_s } => {
                check_range("arrival.period_s", *period_s, 1e-3..=1e9)?;
                if !(1..=MAX_PARTS).contains(&rates_per_s.len()) {
                    let expected = format!("1 to {MAX_PARTS} rates");
                    return Err(GenerateError::new("arrival.rates_per_s", expected, rates_per_s.len()));
                }
                for (index, &rate) in rates_per_s.iter().enumerate() {
                    check_rate(format!("arrival.rates_per_s[{index}]"), rate)?;
                }
                let (peak, mean) = (peak(rates_per_s), self.rate_per_s());
                if peak < *RATE_RANGE.start() || mean < peak * MIN_SHARE {
                    let expected = format!("rates of which the mean is at least {MIN_SHARE} of the highest");
                    return Err(GenerateError::new("arrival.rates_per_s", expected, mean));
                }
                Ok(())
            }
        }
    }
}

fn peak(rates_per_s: &[f64]) -> f64 {
    rates_per_s.iter().copied().fold(0.0, f64::max)
}

/// The state of an arrival process, and the time of the last arrival.
pub(super) struct RequestArrivals {
    process: Process,
    now_s: f64,
    rng: ChaCha8Rng,
}

enum Process {
    Constant { gap_s: f64, arrivals: u64 },
    Law(ArrivalSampler),
    Mmpp { states: Vec<MmppState>, present: usize, end_s: f64 },
    Profile { rates_per_s: Vec<f64>, period_s: f64, peak_per_s: f64 },
}

impl RequestArrivals {
    pub(super) fn new(arrival: &RequestArrival, mut rng: ChaCha8Rng) -> Result<Self, GenerateError> {
        arrival.validate()?;
        let process = match arrival {
            RequestArrival::Constant { rate_per_s } => {
                Process::Constant { gap_s: rate_per_s.recip(), arrivals: 0 }
            }
            RequestArrival::Law(arrival) => Process::Law(ArrivalSampler::new(arrival)?),
            RequestArrival::Mmpp { states } => {
                // Each state has its share of the time; the rest of its sojourn is as long as a whole one.
                let cycle_s: f64 = states.iter().map(|state| state.mean_sojourn_s).sum();
                let mut rest_s = rng.random::<f64>() * cycle_s;
                let reached = states.iter().position(|state| {
                    rest_s -= state.mean_sojourn_s;
                    rest_s < 0.0
                });
                let present = reached.unwrap_or(states.len() - 1);
                let end_s = exponential(&mut rng) * states[present].mean_sojourn_s;
                Process::Mmpp { states: states.clone(), present, end_s }
            }
            RequestArrival::Profile { rates_per_s, period_s } => Process::Profile {
                peak_per_s: peak(rates_per_s),
                rates_per_s: rates_per_s.clone(),
                period_s: *period_s,
            },
        };
        Ok(Self { process, now_s: 0.0, rng })
    }

    /// Moves to the next arrival and returns its time in seconds.
    pub(super) fn next_s(&mut self) -> f64 {
        let Self { process, now_s, rng } = self;
        match process {
            Process::Constant { gap_s, arrivals } => {
                *arrivals += 1;
                *now_s = *gap_s * *arrivals as f64;
            }
            Process::Law(sampler) => *now_s = sampler.next_arrival_s(rng),
            Process::Mmpp { states, present, end_s } => loop {
                let rate_per_s = states[*present].rate_per_s;
                if rate_per_s > 0.0 {
                    // An exponential gap that the end of the state cuts off may be drawn anew: it has no memory.
                    let arrival_s = *now_s + exponential(rng) / rate_per_s;
                    if arrival_s < *end_s {
                        *now_s = arrival_s;
                        break;
                    }
                }
                *now_s = *end_s;
                *present = (*present + 1) % states.len();
                *end_s += exponential(rng) * states[*present].mean_sojourn_s;
            },
            Process::Profile { rates_per_s, period_s, peak_per_s } => loop {
                *now_s += exponential(rng) / *peak_per_s;
                let part = (*now_s / *period_s).fract() * rates_per_s.len() as f64;
                let rate_per_s = rates_per_s[(part as usize).min(rates_per_s.len() - 1)];
                if rng.random::<f64>() * *peak_per_s < rate_per_s {
                    break;
                }
            },
        }
        *now_s
    }
}
