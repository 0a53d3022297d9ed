//! The scores of kube-scheduler's default profile, each 0..=100 before its weight.
//!
//! A score that looks at one node and is not normalised is a [`Score`](foretell_framework::Score), kept between cycles.
//! One that is scaled by the best candidate depends on which nodes the search happened to find, so it is a
//! [`ScoreCandidates`], computed in each cycle; but only for tasks that have such a preference, which few have.

mod balanced;
mod fit;
mod image;
mod resource;

use alloc::vec::Vec;

use foretell_framework::spec::TaintEffect;
use foretell_framework::{ClusterState, NodeId, ScoreCandidates, Stamp, TaskSpec};

pub use balanced::BalancedAllocation;
pub use fit::{FitScore, FitScoring, ScoringStrategy, UtilizationShape};
pub use image::ImageLocality;
pub use resource::WeightedResource;

/// The highest score of a plugin.
pub(crate) const MAX_NODE_SCORE: i64 = 100;

/// Scales scores so that the highest is 100 (kube-scheduler's default normalisation).
pub fn normalise(scores: &mut [i64]) {
    let highest = scores.iter().copied().max().unwrap_or(0);
    if highest > 0 {
        for score in scores {
            *score = MAX_NODE_SCORE * *score / highest;
        }
    }
}

/// Scales scores so that 0 becomes 100 and the highest 0.
pub fn normalise_reversed(scores: &mut [i64]) {
    normalise(scores);
    for score in scores {
        *score = MAX_NODE_SCORE - *score;
    }
}

/// `NodeAffinity`: sum of the weights of the preferred terms that the node matches, those of the task and of the affinity
/// that the profile adds.
#[derive(Default)]
pub struct NodeAffinityScore {
    /// `addedAffinity` of the plugin's arguments.
    pub added: foretell_framework::spec::NodeAffinity,
}

impl ScoreCandidates for NodeAffinityScore {
    fn name(&self) -> &'static str {
        "NodeAffinity"
    }

    fn applies(&mut self, _state: &ClusterState, task: &TaskSpec) -> bool {
        !task.node_affinity.preferred.is_empty() || !self.added.preferred.is_empty()
    }

    fn score(&mut self, state: &ClusterState, task: &TaskSpec, candidates: &[NodeId], scores: &mut Vec<i64>) {
        scores.extend(candidates.iter().map(|&node| {
            let node = &state.node(node).spec;
            let preferred = self.added.preferred.iter().chain(&task.node_affinity.preferred);
            let matching = preferred.filter(|(_, term)| term.matches(&node.name, &node.labels));
            matching.map(|&(weight, _)| i64::from(weight)).sum::<i64>()
        }));
        normalise(scores);
    }
}

/// `TaintToleration`: the fewer `PreferNoSchedule` taints that the task does not tolerate, the better.
#[derive(Default)]
pub struct TaintTolerationScore {
    /// Whether any node has such a taint, as of a change of the nodes. Without any, all nodes score alike.
    any: (Stamp, bool),
}

impl ScoreCandidates for TaintTolerationScore {
    fn name(&self) -> &'static str {
        "TaintToleration"
    }

    fn applies(&mut self, state: &ClusterState, _task: &TaskSpec) -> bool {
        let (seen, any) = self.any;
        if seen == state.node_specs_changed() {
            return any;
        }
        let mut taints = state.nodes().iter().flat_map(|node| &node.spec.taints);
        let any = taints.any(|taint| taint.effect == TaintEffect::PreferNoSchedule);
        self.any = (state.node_specs_changed(), any);
        any
    }

    fn score(&mut self, state: &ClusterState, task: &TaskSpec, candidates: &[NodeId], scores: &mut Vec<i64>) {
        scores.extend(candidates.iter().map(|&node| {
            let taints = state.node(node).spec.taints.iter();
            let soft = taints.filter(|taint| taint.effect == TaintEffect::PreferNoSchedule);
            soft.filter(|taint| !task.tolerations.iter().any(|toleration| toleration.tolerates(taint)))
                .count() as i64
        }));
        normalise_reversed(scores);
    }
}

#[cfg(test)]
mod tests;
