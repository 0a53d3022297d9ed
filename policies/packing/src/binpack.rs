use foretell_framework::tier::points;
use foretell_framework::{ClusterState, Dimension, NodeId, PerResource, Score, TaskSpec};

/// Volcano's `binpack`: how full the node would be, over the resources that the task requests and that have a weight.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WeightedBinpack {
    /// Weight of each resource; resources without one do not count.
    pub resources: PerResource<u32>,
    /// Weight of the whole.
    pub weight: u32,
}

impl WeightedBinpack {
    /// The score in points: `100 weight sum(w (used + requested) / allocatable) / sum w`, and 0 if a resource that counts
    /// does not fit. A resource that the node does not have counts as empty.
    pub fn node_score(&self, state: &ClusterState, task: &TaskSpec, node: NodeId) -> f64 {
        let entry = state.node(node);
        let amounts = task.requested().map(|(dimension, requested)| {
            (dimension, requested, entry.used(dimension), entry.allocatable(dimension))
        });
        fullness(state, &self.resources, amounts) * 100.0 * f64::from(self.weight)
    }
}

/// The weighted mean of how full resources would be, from 0 to 1; 0 if one does not fit. Amounts are (resource,
/// requested, used, capacity).
fn fullness(
    state: &ClusterState,
    resources: &PerResource<u32>,
    amounts: impl Iterator<Item = (Dimension, u64, u64, u64)>,
) -> f64 {
    let (mut sum, mut weights) = (0.0, 0.0);
    for (dimension, requested, used, capacity) in amounts {
        let Some(weight) = resources.get(state, dimension).map(f64::from) else { continue };
        if capacity > 0 && weight > 0.0 {
            if used + requested > capacity {
                return 0.0;
            }
            sum += weight * (used + requested) as f64 / capacity as f64;
        }
        weights += weight;
    }
    if weights > 0.0 { sum / weights } else { 0.0 }
}

impl Score for WeightedBinpack {
    fn name(&self) -> &'static str {
        "binpack"
    }

    /// In millionths of a point.
    fn score(&mut self, state: &ClusterState, task: &TaskSpec, node: NodeId) -> i64 {
        points(self.node_score(state, task, node))
    }
}
