//! `InterPodAffinity`: tasks that want to be, or must not be, in one topology domain with others.

mod sums;

use alloc::vec::Vec;

use foretell_framework::{ClusterState, Filter, NodeId, Rejection, Scope, ScoreCandidates, TaskSpec};

use crate::scores::MAX_NODE_SCORE;
use sums::{Purpose, Sums};

/// The filter: required terms of the newcomer, and required anti-affinity of placed tasks against it.
pub struct InterPodAffinity {
    sums: Sums,
}

impl Default for InterPodAffinity {
    fn default() -> Self {
        Self { sums: Sums::new(Purpose::Filter) }
    }
}

impl Filter for InterPodAffinity {
    fn name(&self) -> &'static str {
        "InterPodAffinity"
    }

    fn scope(&self) -> Scope {
        Scope::Cluster
    }

    fn prepare(&mut self, state: &ClusterState, task: &TaskSpec) -> bool {
        self.sums.refresh(state, task)
    }

    fn filter(&mut self, _state: &ClusterState, _task: &TaskSpec, node: NodeId) -> Result<(), Rejection> {
        self.sums.latest().map_or(Ok(()), |kind| kind.filter(node))
    }
}

/// Arguments of `InterPodAffinity`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PodAffinityConfig {
    /// What a required affinity term of a placed task that matches the newcomer counts; 0 leaves them out.
    pub hard_weight: u32,
    /// Whether placed tasks' terms are left out for newcomers without preferred terms of their own.
    pub ignores_preferred_terms_of_placed: bool,
}

impl Default for PodAffinityConfig {
    fn default() -> Self {
        Self { hard_weight: 1, ignores_preferred_terms_of_placed: false }
    }
}

/// The score: preferred terms of the newcomer about placed tasks, and terms of placed tasks about the newcomer.
pub struct InterPodAffinityScore {
    config: PodAffinityConfig,
    sums: Sums,
}

impl InterPodAffinityScore {
    /// With these arguments.
    pub fn new(config: PodAffinityConfig) -> Self {
        let sums = Sums::new(Purpose::Score { hard_weight: i64::from(config.hard_weight) });
        Self { config, sums }
    }
}

impl ScoreCandidates for InterPodAffinityScore {
    fn name(&self) -> &'static str {
        "InterPodAffinity"
    }

    fn applies(&mut self, state: &ClusterState, task: &TaskSpec) -> bool {
        let own = !task.pod_affinity.preferred.is_empty() || !task.pod_affinity.anti_preferred.is_empty();
        (own || !self.config.ignores_preferred_terms_of_placed)
            && self.sums.refresh(state, task)
            && self.sums.latest().is_some_and(sums::Kind::has_preference)
    }

    fn score(&mut self, state: &ClusterState, task: &TaskSpec, candidates: &[NodeId], scores: &mut Vec<i64>) {
        let concerned = self.sums.refresh(state, task);
        let kind = self.sums.latest().filter(|_| concerned);
        scores.extend(candidates.iter().map(|&node| kind.map_or(0, |kind| kind.score(node))));
        let (Some(&lowest), Some(&highest)) = (scores.iter().min(), scores.iter().max()) else { return };
        let range = (highest - lowest) as f64;
        for score in scores {
            let share = if range > 0.0 { (*score - lowest) as f64 / range } else { 0.0 };
            *score = (MAX_NODE_SCORE as f64 * share) as i64;
        }
    }
}

#[cfg(test)]
mod tests;
