use foretell_framework::tier::points;
use foretell_framework::{ClusterState, NodeId, PerResource, Score, TaskSpec};

use crate::allocated::Preference;

/// Volcano's `resource-strategy-fit`: each resource is packed or spread as configured, and nodes with scarce resources
/// are kept for tasks that request them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ResourceStrategyFit {
    /// What is preferred of each resource, and its weight; resources that are not listed do not count.
    pub resources: PerResource<(Preference, u32)>,
    /// Weight of the strategies.
    pub weight: u32,
    /// Scarce resources, if they are looked after.
    pub scarce: Option<ScarceResources>,
}

/// Volcano's scarce resource avoidance (`sra`).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ScarceResources {
    /// Scarce resources and the weight of each.
    pub resources: PerResource<u32>,
    /// Weight of the whole.
    pub weight: u32,
}

impl ResourceStrategyFit {
    /// The score in points.
    pub fn node_score(&self, state: &ClusterState, task: &TaskSpec, node: NodeId) -> f64 {
        let strategies = self.strategies(state, task, node) * f64::from(self.weight);
        let avoidance = self.scarce.as_ref().map_or(0.0, |scarce| scarce.avoidance(state, task, node));
        (strategies + avoidance) * 100.0
    }

    /// The weighted mean over the resources that the task requests of how full (or how empty) each would be; 0 if one
    /// does not fit. A resource that the node does not have counts as 0.
    fn strategies(&self, state: &ClusterState, task: &TaskSpec, node: NodeId) -> f64 {
        let entry = state.node(node);
        let (mut sum, mut weights) = (0.0, 0.0);
        for (dimension, requested) in task.requested() {
            let Some((preference, weight)) = self.resources.get(state, dimension) else { continue };
            let weight = f64::from(weight);
            let (used, capacity) = (entry.used(dimension) + requested, entry.allocatable(dimension));
            if capacity > 0 && weight > 0.0 {
                if used > capacity {
                    return 0.0;
                }
                let counted = match preference {
                    Preference::Most => used,
                    Preference::Least => capacity - used,
                };
                sum += weight * counted as f64 / capacity as f64;
            }
            weights += weight;
        }
        if weights > 0.0 { sum / weights } else { 0.0 }
    }
}

impl ScarceResources {
    /// The weighted share of the scarce resources that the node does not have, times the weight; 0 for a node that is too
    /// small for the task even when empty.
    fn avoidance(&self, state: &ClusterState, task: &TaskSpec, node: NodeId) -> f64 {
        let entry = state.node(node);
        if task.requested().any(|(dimension, requested)| requested > entry.allocatable(dimension)) {
            return 0.0;
        }
        let (mut sum, mut weights) = (0.0, 0.0);
        for (dimension, weight) in self.resources.resolved(state) {
            weights += f64::from(weight);
            if dimension.is_none_or(|dimension| entry.allocatable(dimension) == 0) {
                sum += f64::from(weight);
            }
        }
        if weights > 0.0 { sum / weights * f64::from(self.weight) } else { 0.0 }
    }
}

impl Score for ResourceStrategyFit {
    fn name(&self) -> &'static str {
        "resource-strategy-fit"
    }

    /// In millionths of a point.
    fn score(&mut self, state: &ClusterState, task: &TaskSpec, node: NodeId) -> i64 {
        points(self.node_score(state, task, node))
    }
}
