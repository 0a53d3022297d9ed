//! kube-scheduler's default profile (Kubernetes 1.36): filters, scores, sampling of nodes, and its queue.
//!
//! Pods (tasks) are scheduled one by one and each is bound by itself, so a job whose tasks do not all fit
//! ends up partly placed: this is the behaviour that gang schedulers were made to avoid.
//!
//! ```text
//!   JobAdded ──► quota, gates ──► activeQ ──┐
//!                                           ├──► filters ──► sample of feasible nodes ──► scores ──► bind
//!                        ┌──► backoffQ ─────┘       │ none feasible
//!                        │                          ▼
//!        event that may help ◄── unschedulable pool ◄── preemption: evict, nominate
//! ```
//!
//! What is left out: volumes, dynamic resource allocation, extenders, pod groups. `docs/policies.md` says what differs.
#![no_std]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod admission;
mod affinity;
mod backoff;
mod config;
mod domains;
mod filters;
mod hints;
mod node_order;
mod preemption;
mod queue;
mod rejecting;
mod sampling;
mod schedule;
mod scores;
mod spread;
#[cfg(test)]
mod test_support;

use alloc::boxed::Box;
use alloc::vec::Vec;

use foretell_framework::{Action, Filter};

pub use admission::QuotaGate;
pub use affinity::{InterPodAffinity, InterPodAffinityScore, PodAffinityConfig};
pub use backoff::Backoff;
pub use config::{DefaultConfig, KubePlugin, KubeScore, plugins};
pub use filters::{
    GpuModel, IgnoredResources, Insufficiency, NodeAffinity, NodeName, NodePorts, NodeResourcesFit,
    NodeUnschedulable, TaintToleration, insufficiencies, narrowed_nodes,
};
pub use hints::{Hint, HintEvent, Hints, PodView};
pub use preemption::{
    Candidate, DryRun, PreemptionConfig, is_eligible, preempt, select_candidate, split_by_budgets,
};
pub use queue::PrioritySort;
pub use sampling::{SampledNodes, host_order, nodes_to_find};
pub use schedule::SchedulePods;
pub use scores::{
    BalancedAllocation, FitScore, FitScoring, ImageLocality, NodeAffinityScore, ScoringStrategy,
    TaintTolerationScore, UtilizationShape, WeightedResource, normalise, normalise_reversed,
};
pub use spread::{PodTopologySpread, PodTopologySpreadScore, SpreadDefaults};

/// The filters of the default profile, in kube-scheduler's order: a node stops at its first failing filter, which gives
/// the reason.
pub fn filters() -> Vec<Box<dyn Filter>> {
    let config = DefaultConfig::default();
    config.filters.iter().flat_map(|&plugin| config.filter(plugin)).collect()
}

/// The action that takes pods from kube-scheduler's queue and binds them.
pub fn action(config: &DefaultConfig) -> Box<dyn Action> {
    Box::new(SchedulePods::new(config))
}
