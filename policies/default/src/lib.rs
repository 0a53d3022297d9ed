//! kube-scheduler's default profile (Kubernetes 1.36): filters, scores, sampling of nodes, and its queue.
//!
//! Pods (tasks) are scheduled one by one and each is bound by itself, so a job whose tasks do not all fit
//! ends up partly placed: this is the behaviour that gang schedulers were made to avoid.
//!
//! ```text
//!   JobAdded ──► activeQ ──┐
//!                          ├──► filters ──► sample of feasible nodes ──► scores ──► bind
//!           ┌──► backoffQ ─┘       │ none feasible
//!           │                      ▼
//!   event that may help ◄── unschedulable pool
//! ```
//!
//! What is left out, because the state of the cluster has no such thing: namespaces, pod affinity, volumes,
//! host ports, images, `DoNotSchedule` spreading, nominated nodes. Preemption is not done.
#![no_std]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod affinity;
mod backoff;
mod domains;
mod filters;
mod node_order;
mod queue;
mod sampling;
mod schedule;
mod scores;
mod spread;
#[cfg(test)]
mod test_support;

use alloc::boxed::Box;

use foretell_framework::select::BestFitGpus;
use foretell_framework::{Action, Plugins, Time};

pub use affinity::{InterPodAffinity, InterPodAffinityScore, PodAffinityConfig};
pub use filters::{
    GpuModel, IgnoredResources, Insufficiency, NodeAffinity, NodeName, NodePorts, NodeResourcesFit,
    NodeUnschedulable, TaintToleration, filters, insufficiencies, narrowed_nodes,
};
pub use sampling::{SampledNodes, nodes_to_find};
pub use schedule::SchedulePods;
pub use scores::{
    BalancedAllocation, FitScore, FitScoring, ImageLocality, NodeAffinityScore, ScoringStrategy,
    TaintTolerationScore, UtilizationShape, WeightedResource, normalise, normalise_reversed,
};
pub use spread::{PodTopologySpread, PodTopologySpreadScore, SpreadDefaults};

/// What `KubeSchedulerConfiguration` says of the default profile.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DefaultConfig {
    /// Share of the nodes of a large cluster that must be found feasible before the search stops, 1..=100
    /// percent; 0 adapts it to the size of the cluster.
    pub percentage_of_nodes_to_score: u32,
    /// How long a pod backs off after its first failed attempt; every further failure doubles it.
    pub pod_initial_backoff: Time,
    /// The longest that a pod backs off; zero turns backoff off.
    pub pod_max_backoff: Time,
}

impl Default for DefaultConfig {
    fn default() -> Self {
        Self {
            percentage_of_nodes_to_score: 0,
            pod_initial_backoff: Time::from_nanos(1_000_000_000),
            pod_max_backoff: Time::from_nanos(10_000_000_000),
        }
    }
}

/// The plugins of the default profile with their weights.
pub fn plugins(config: &DefaultConfig) -> Plugins {
    Plugins::new(Box::new(SampledNodes::new(config.percentage_of_nodes_to_score)), Box::new(BestFitGpus))
        .with_filters(filters())
        .with_score(Box::new(FitScore::new(FitScoring::default())), 1)
        .with_score(Box::new(BalancedAllocation::default()), 1)
        .with_candidate_score(Box::new(TaintTolerationScore::default()), 3)
        .with_candidate_score(Box::new(NodeAffinityScore::default()), 2)
        .with_candidate_score(Box::new(PodTopologySpreadScore::new(&SpreadDefaults::System)), 2)
}

/// The action that takes pods from kube-scheduler's queue and binds them.
pub fn action(config: &DefaultConfig) -> Box<dyn Action> {
    Box::new(SchedulePods::new(config))
}
