//! What of KAI's configuration is modelled.

use alloc::vec;
use alloc::vec::Vec;

use foretell_framework::Time;

use crate::usage::UsageConfig;

/// A verb of a cycle.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verb {
    /// Places what fits.
    Allocate,
    /// Moves tasks so that free room comes together.
    Consolidation,
    /// Takes back what other queues hold beyond their share.
    Reclaim,
    /// Stops tasks of lower priority in the same queue.
    Preempt,
    /// Stops what is left of gangs that have lost their minimum.
    StaleGangEviction,
}

impl Verb {
    /// Its name in KAI's configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Allocate => "allocate",
            Self::Consolidation => "consolidation",
            Self::Reclaim => "reclaim",
            Self::Preempt => "preempt",
            Self::StaleGangEviction => "stalegangeviction",
        }
    }

    /// The verb of this name.
    pub fn named(name: &str) -> Option<Self> {
        let all =
            [Self::Allocate, Self::Consolidation, Self::Reclaim, Self::Preempt, Self::StaleGangEviction];
        all.into_iter().find(|verb| verb.name() == name)
    }
}

/// Whether tasks come together or spread.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Strategy {
    /// Together.
    #[default]
    Binpack,
    /// Apart.
    Spread,
}

/// Which nodes go before others.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NodePreferences {
    /// Those with a device in use that still takes the part of a GPU (plugin `gpusharingorder`).
    pub shared_gpus: bool,
    /// Those with free room, as against room that is being made (`nodeavailability`).
    pub available: bool,
    /// Those without GPUs, for tasks without GPUs (`resourcetype`).
    pub resource_type: bool,
}

/// How a cycle goes.
#[derive(Clone, PartialEq, Debug)]
pub struct KaiConfig {
    /// What it does, in order.
    pub verbs: Vec<Verb>,
    /// How tasks with GPUs are placed on nodes.
    pub gpu_placement: Strategy,
    /// How other tasks are placed on nodes.
    pub cpu_placement: Strategy,
    /// How parts of GPUs are placed on devices.
    pub gpu_sharing: Strategy,
    /// Which nodes go before others.
    pub prefers: NodePreferences,
    /// How much past usage counts when what nobody deserves is divided (`kValue`).
    pub usage_factor: f64,
    /// How past usage is measured, if it counts.
    pub usage: UsageConfig,
    /// How full of its share a queue may become by reclaiming, relative to those that it reclaims from
    /// (`reclaimerUtilizationMultiplier`), at least 1.
    pub saturation_multiplier: f64,
    /// Whether reclaim may move tasks rather than stop them.
    pub allows_consolidating_reclaim: bool,
    /// The most tasks that consolidation moves for a job.
    pub max_consolidation_victims: usize,
    /// How long a gang may run without its minimum; `None` for ever.
    pub staleness_grace: Option<Time>,
    /// Least time between two cycles (`schedulePeriod`); zero: one whenever something changed.
    pub period: Time,
}

impl Default for KaiConfig {
    fn default() -> Self {
        Self {
            verbs: vec![
                Verb::Allocate,
                Verb::Consolidation,
                Verb::Reclaim,
                Verb::Preempt,
                Verb::StaleGangEviction,
            ],
            gpu_placement: Strategy::Binpack,
            cpu_placement: Strategy::Binpack,
            gpu_sharing: Strategy::Binpack,
            prefers: NodePreferences { shared_gpus: true, available: true, resource_type: true },
            usage_factor: 0.0,
            usage: UsageConfig::default(),
            saturation_multiplier: 1.0,
            allows_consolidating_reclaim: true,
            max_consolidation_victims: 16,
            staleness_grace: Some(Time::from_nanos(60_000_000_000)),
            period: Time::ZERO,
        }
    }
}
