//! Autoscalers of services, as written.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::is_default;

/// What autoscalers can follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum MetricFile {
    /// Requests in the service.
    #[default]
    Concurrency,
    /// Requests that arrive, a second.
    Rate,
    /// Share of time in which replicas compute.
    BusyShare,
    /// Share of blocks of keys and values in use.
    KvShare,
}

/// A row of a timetable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TimetableRowFile {
    /// Second of the period.
    pub from_s: u64,
    /// Replicas from then on.
    #[schemars(range(min = 0, max = 100_000))]
    pub replicas: u32,
}

/// KEDA's way to no replicas and back.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct KedaFile {
    /// There are replicas while the metric, over all of them, is above this.
    #[schemars(range(min = 0))]
    pub activation: f64,
    /// Seconds for which it must not have been before the last ones go.
    #[schemars(range(min = 0, max = 86_400))]
    pub cooldown_s: f64,
    /// Seconds after which that is looked at again.
    #[schemars(range(min = 1, max = 3600))]
    pub polling_s: f64,
}

impl Default for KedaFile {
    fn default() -> Self {
        Self { activation: 0.0, cooldown_s: 300.0, polling_s: 30.0 }
    }
}

/// What a replica generates at a time per output token.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DecodePointFile {
    /// Time per output token.
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub tpot_s: f64,
    /// Tokens a second of all requests together.
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub tokens_per_s: f64,
}

/// How many replicas a service has as time goes on.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(tag = "policy", rename_all = "kebab-case", deny_unknown_fields)]
pub enum AutoscalerFile {
    /// Knative's: averages over a stable window, and over a short one when load rises fast; down to none.
    Knative {
        /// Fewest replicas.
        #[serde(default)]
        #[schemars(range(min = 0, max = 100_000))]
        min_replicas: u32,
        /// Most replicas.
        #[serde(default = "most_replicas")]
        #[schemars(range(min = 1, max = 100_000))]
        max_replicas: u32,
        /// `concurrency` or `rate`.
        #[serde(default, skip_serializing_if = "is_default")]
        metric: MetricFile,
        /// Of that metric, what a replica can take.
        #[schemars(extend("exclusiveMinimum" = 0))]
        target: f64,
        /// Share of `target` that is aimed at.
        #[serde(default = "knative_utilization")]
        #[schemars(range(min = 0.01, max = 1))]
        target_utilization: f64,
        /// Seconds of the stable window.
        #[serde(default = "knative_window")]
        #[schemars(range(min = 6, max = 3600))]
        stable_window_s: f64,
        /// Seconds for which the highest number of replicas holds before there are fewer.
        #[serde(default, skip_serializing_if = "is_default")]
        #[schemars(range(min = 0, max = 3600))]
        scale_down_delay_s: f64,
    },
    /// Kubernetes' horizontal pod autoscaler: in proportion to how far a metric is from its target.
    Hpa {
        /// Fewest replicas; 0 with `keda` only.
        #[serde(default = "one_replica")]
        #[schemars(range(min = 0, max = 100_000))]
        min_replicas: u32,
        /// Most replicas.
        #[serde(default = "most_replicas")]
        #[schemars(range(min = 1, max = 100_000))]
        max_replicas: u32,
        /// What is followed, of a replica on average.
        #[serde(default, skip_serializing_if = "is_default")]
        metric: MetricFile,
        /// What it should be.
        #[schemars(extend("exclusiveMinimum" = 0))]
        target: f64,
        /// Seconds for which the highest recommendation holds before there are fewer replicas.
        #[serde(default = "hpa_stabilisation")]
        #[schemars(range(min = 0, max = 3600))]
        stabilisation_s: f64,
        /// KEDA beside it, which makes the first replica and takes the last; without it there is always one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        keda: Option<KedaFile>,
    },
    /// By what a replica was measured to do within the promised latencies (NVIDIA Dynamo's planner).
    SlaPlanner {
        /// Fewest replicas.
        #[serde(default = "one_replica")]
        #[schemars(range(min = 0, max = 100_000))]
        min_replicas: u32,
        /// Most replicas.
        #[serde(default = "most_replicas")]
        #[schemars(range(min = 1, max = 100_000))]
        max_replicas: u32,
        /// Seconds between decisions.
        #[serde(default = "planner_interval")]
        #[schemars(range(min = 1, max = 86_400))]
        interval_s: f64,
        /// Tokens of prompts a second that a replica takes within `slo.ttft_s`.
        #[schemars(extend("exclusiveMinimum" = 0))]
        prefill_tokens_per_s: f64,
        /// Tokens a second that a replica generates at times per output token, the shortest first.
        #[schemars(length(min = 1))]
        decode: Vec<DecodePointFile>,
        /// Whether latencies that are seen correct the plan.
        #[serde(default = "yes")]
        corrections: bool,
    },
    /// By the clock.
    Scheduled {
        /// After how long the timetable begins again.
        #[serde(default = "day")]
        #[schemars(range(min = 1))]
        period_s: u64,
        /// From when on there are how many.
        #[schemars(length(min = 1))]
        rows: Vec<TimetableRowFile>,
    },
    /// By the requests that are expected when a replica that is asked for now will be ready (Holt-Winters).
    Predictive {
        /// Fewest replicas.
        #[serde(default = "one_replica")]
        #[schemars(range(min = 1, max = 100_000))]
        min_replicas: u32,
        /// Most replicas.
        #[serde(default = "most_replicas")]
        #[schemars(range(min = 1, max = 100_000))]
        max_replicas: u32,
        /// Requests a second that a replica can take.
        #[schemars(extend("exclusiveMinimum" = 0))]
        replica_rate_per_s: f64,
        /// Seconds of a season: load is expected to be as it was one before.
        #[serde(default = "day_s")]
        #[schemars(range(min = 60))]
        season_s: f64,
        /// Seconds ahead that are looked to.
        #[serde(default = "lead_time")]
        #[schemars(range(min = 0))]
        lead_time_s: f64,
    },
}

fn yes() -> bool {
    true
}

fn planner_interval() -> f64 {
    180.0
}

fn one_replica() -> u32 {
    1
}

fn most_replicas() -> u32 {
    100_000
}

fn knative_utilization() -> f64 {
    0.7
}

fn knative_window() -> f64 {
    60.0
}

fn hpa_stabilisation() -> f64 {
    300.0
}

fn day() -> u64 {
    86_400
}

fn day_s() -> f64 {
    86_400.0
}

fn lead_time() -> f64 {
    120.0
}
