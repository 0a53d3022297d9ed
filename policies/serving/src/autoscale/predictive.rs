//! Replicas for the load to come.

use super::forecast::{HoltWinters, Weights};
use super::window::Laps;
use super::{Autoscaler, Bounds, Decision, Observed, Reason, ceiling, nanoseconds, rate};

/// Parameters of [`Predictive`].
#[derive(Clone, Debug, PartialEq)]
pub struct Prediction {
    /// Fewest and most replicas: 1 and no limit.
    pub bounds: Bounds,
    /// Time between ticks, which is also that between values of the series: 60.
    pub tick_s: f64,
    /// After how long arrivals are expected to repeat: a day, 86400.
    pub season_s: f64,
    /// How long a replica takes until it serves: 120.
    pub lead_time_s: f64,
    /// Requests per second that a replica holds: 1, to be measured.
    pub replica_rate: f64,
    /// How fast what is known of the series follows it.
    pub weights: Weights,
}

impl Default for Prediction {
    fn default() -> Self {
        Self {
            bounds: Bounds { min_replicas: 1, max_replicas: u32::MAX },
            tick_s: 60.0,
            season_s: 86_400.0,
            lead_time_s: 120.0,
            replica_rate: 1.0,
            weights: Weights::default(),
        }
    }
}

/// Replicas for the highest rate of arrivals that is expected from now until one asked for now would serve.
#[derive(Clone, Debug)]
pub struct Predictive {
    parameters: Prediction,
    laps: Laps,
    smoothing: HoltWinters,
}

impl Predictive {
    /// For a new service.
    pub fn new(parameters: Prediction) -> Self {
        let length = libm::round(parameters.season_s / parameters.tick_s) as usize;
        let smoothing = HoltWinters::new(length, parameters.weights);
        Self { laps: Laps::new(nanoseconds(parameters.tick_s)), smoothing, parameters }
    }
}

impl Autoscaler for Predictive {
    fn period_ns(&self) -> u64 {
        nanoseconds(self.parameters.tick_s)
    }

    fn decide(&mut self, observed: &Observed) -> Decision {
        let latest = rate(observed.arrivals, self.laps.lap_ns(observed.now_ns));
        self.smoothing.record(latest);
        let Prediction { bounds, tick_s, lead_time_s, replica_rate, .. } = self.parameters;
        let steps = (libm::ceil(lead_time_s / tick_s) as usize).max(1);
        let predicted = (1..=steps).filter_map(|step| self.smoothing.forecast(step)).reduce(f64::max);
        let (rate, reason) = match predicted {
            Some(rate) => (rate.max(0.0), Reason::Predicted { rate: rate.max(0.0), replica_rate }),
            None => (latest, Reason::NotYetPredicted { rate: latest, replica_rate }),
        };
        bounds.apply(ceiling(rate / replica_rate), reason)
    }
}
