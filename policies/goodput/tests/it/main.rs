//! Goodput and the policies that maximise it.

mod model;
mod pollux;
mod select;
mod sia;

use foretell_goodput::{GoodputTable, NodeType, Shape};

/// A table by GPUs alone: what `goodput` says for every shape of the cluster.
fn table(cluster: &[NodeType], goodput: impl Fn(Shape) -> f64) -> GoodputTable {
    let mut table = GoodputTable::default();
    for (gpu_type, nodes) in cluster.iter().enumerate() {
        for count in 1..=nodes.nodes {
            for gpus in count..=count * nodes.gpus_per_node {
                let shape = Shape { gpu_type, gpus, nodes: count };
                table.insert(shape, goodput(shape));
            }
        }
    }
    table
}

/// Random numbers for tests: a linear congruential generator's upper half.
fn draws(mut state: u64) -> impl FnMut(usize) -> usize {
    move |below| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((state >> 33) as usize) % below
    }
}
