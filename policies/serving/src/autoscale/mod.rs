//! How many replicas a model service has.
//!
//! Whoever runs a service asks its [`Autoscaler`] once every [`Autoscaler::period_ns`], telling it what was [`Observed`] since the tick before.
//!
//! - [`KnativePodAutoscaler`]: averages over a stable and a panic window.
//! - [`HorizontalPodAutoscaler`]: Kubernetes' ratio to a target, with KEDA's way to zero and back.
//! - [`SlaPlanner`]: capacities at the objectives for latencies, as Dynamo's planner has them.
//! - [`Scheduled`]: a timetable.
//! - [`Predictive`]: arrivals as they are expected when a new replica would be ready.
//!
//! `docs/autoscalers.md` has the parameters and what differs from the originals.

mod forecast;
mod horizontal;
mod knative;
mod planner;
mod predictive;
mod reason;
mod rules;
mod scheduled;
mod window;

pub use forecast::{HoltWinters, Predictor, Weights};
pub use horizontal::{Horizontal, HorizontalPodAutoscaler, Keda};
pub use knative::{Knative, KnativePodAutoscaler};
pub use planner::{Planner, Role, SlaPlanner};
pub use predictive::{Prediction, Predictive};
pub use reason::Reason;
pub use rules::{Policy, Rules, Select};
pub use scheduled::{Scheduled, Timetable};

/// What an autoscaler sees of a service, at one of its ticks.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Observed {
    /// Time of the tick.
    pub now_ns: u64,
    /// Replicas that serve.
    pub ready: u32,
    /// Replicas that were asked for (ready, starting or waiting for room; not those that drain).
    pub desired: u32,
    /// Requests in the service (queued, waiting or running), averaged over the time since the tick before.
    pub concurrency: f64,
    /// Requests that arrived since the tick before.
    pub arrivals: u64,
    /// Tokens of the prompts of those.
    pub prompt_tokens: u64,
    /// Tokens generated since the tick before.
    pub output_tokens: u64,
    /// Mean time to first token of requests that ended since the tick before, seconds; none if none ended.
    pub ttft_s: Option<f64>,
    /// Mean time per output token of those.
    pub tpot_s: Option<f64>,
    /// Share of KV blocks in use, averaged over replicas that serve and the time.
    pub kv_share: f64,
    /// Share of time in which replicas that serve computed.
    pub busy_share: f64,
}

/// How many replicas there shall be, and why.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Decision {
    /// Replicas to ask for.
    pub replicas: u32,
    /// What led to the number.
    pub reason: Reason,
}

/// Decides how many replicas a service has.
pub trait Autoscaler {
    /// Time between ticks.
    fn period_ns(&self) -> u64;

    /// The number of replicas from now on. Within the autoscaler's [`Bounds`].
    fn decide(&mut self, observed: &Observed) -> Decision;
}

/// The fewest and the most replicas. Where they contradict each other the most win.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// The fewest.
    pub min_replicas: u32,
    /// The most.
    pub max_replicas: u32,
}

impl Bounds {
    /// The allowed number next to a wanted one, as a decision: for `reason`, unless the bounds changed the number.
    fn apply(self, replicas: u32, reason: Reason) -> Decision {
        let allowed = replicas.max(self.min_replicas).min(self.max_replicas);
        let reason = if allowed == replicas { reason } else { Reason::Bounded { wanted: replicas } };
        Decision { replicas: allowed, reason }
    }
}

/// What is measured of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Metric {
    /// Requests in the service.
    Concurrency,
    /// Requests that arrive per second.
    Rate,
    /// Share of time in which replicas computed.
    BusyShare,
    /// Share of KV blocks in use.
    KvShare,
}

impl Metric {
    /// Summed over the service: shares are of one replica and count once for each that serves.
    fn total(self, observed: &Observed, elapsed_ns: u64) -> f64 {
        match self {
            Self::Concurrency => observed.concurrency,
            Self::Rate => rate(observed.arrivals, elapsed_ns),
            Self::BusyShare => observed.busy_share * f64::from(observed.ready),
            Self::KvShare => observed.kv_share * f64::from(observed.ready),
        }
    }

    /// Whether it is measured in replicas, and so unknown of one that does not serve.
    fn of_replicas(self) -> bool {
        matches!(self, Self::BusyShare | Self::KvShare)
    }
}

/// Per second.
fn rate(count: u64, elapsed_ns: u64) -> f64 {
    if elapsed_ns == 0 { 0.0 } else { count as f64 * 1e9 / elapsed_ns as f64 }
}

/// Nanoseconds of a parameter in seconds.
fn nanoseconds(seconds: f64) -> u64 {
    libm::round(seconds * 1e9) as u64
}

/// The least whole number of replicas not below `amount`; none for what is no number.
fn ceiling(amount: f64) -> u32 {
    libm::ceil(amount) as u32
}
