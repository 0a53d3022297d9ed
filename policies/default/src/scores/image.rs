//! `ImageLocality`.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;

use foretell_framework::{ClusterState, NodeId, Score, Stamp, TaskSpec};

use super::MAX_NODE_SCORE;

/// Images of less than this make no difference.
const LOWEST_BYTES: i64 = 23 << 20;

/// Images of more than this per container make no further difference.
const HIGHEST_BYTES_PER_CONTAINER: i64 = 1000 << 20;

/// Prefers nodes that have the task's images. An image counts for less the fewer nodes have it, so that tasks do not
/// crowd on one node.
#[derive(Default)]
pub struct ImageLocality {
    /// Number of nodes with an image, as of a change of the nodes.
    nodes_with: BTreeMap<Box<str>, u32>,
    seen: Stamp,
}

impl Score for ImageLocality {
    fn name(&self) -> &'static str {
        "ImageLocality"
    }

    fn score(&mut self, state: &ClusterState, task: &TaskSpec, node: NodeId) -> i64 {
        if task.images.names.is_empty() {
            return 0;
        }
        if self.seen != state.node_specs_changed() {
            self.seen = state.node_specs_changed();
            self.nodes_with.clear();
            for image in state.nodes().iter().flat_map(|node| node.spec.images.keys()) {
                *self.nodes_with.entry(image.clone()).or_default() += 1;
            }
        }
        let (here, nodes) = (&state.node(node).spec.images, state.nodes().len() as f64);
        let scaled = task.images.names.iter().filter_map(|image| {
            let (size, nodes_with) = (*here.get(image)?, *self.nodes_with.get(image)?);
            Some((size as f64 * (f64::from(nodes_with) / nodes)) as i64)
        });
        let highest = HIGHEST_BYTES_PER_CONTAINER * i64::from(task.images.containers.max(1));
        let sum = scaled.sum::<i64>().clamp(LOWEST_BYTES, highest);
        MAX_NODE_SCORE * (sum - LOWEST_BYTES) / (highest - LOWEST_BYTES)
    }
}
