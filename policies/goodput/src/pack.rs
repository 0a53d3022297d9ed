//! From shapes to nodes.

use alloc::vec;
use alloc::vec::Vec;

use crate::{NodeType, Placement, Shape, node_types, shape_of};

/// What a job is to have, and where it runs.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Wanted<'a> {
    /// The shape that it is given; nothing if it is to wait.
    pub shape: Option<Shape>,
    /// Where it runs; empty where it waits.
    pub current: &'a [(usize, u32)],
}

/// A job to place on nodes of one type.
struct Member<'a> {
    job: usize,
    shape: Shape,
    current: &'a [(usize, u32)],
    /// It has this shape already.
    is_kept: bool,
}

/// Finds nodes for shapes that are whole nodes or parts of one node, as Sia does (section 3.4): whole nodes for whole nodes, parts of a
/// node never over two. A job that keeps its shape keeps its nodes, unless others then would not fit: then parts are packed
/// anew, the largest first, and a job moves only if its node is taken. That always succeeds where parts of a node are powers of
/// two that divide the node. A job that does not fit is left without.
pub fn pack(cluster: &[NodeType], jobs: &[Wanted<'_>]) -> Vec<Placement> {
    let types = node_types(cluster);
    let mut placements = vec![Placement::new(); jobs.len()];
    let mut first_node = 0;
    for (gpu_type, nodes) in cluster.iter().enumerate() {
        let mut members: Vec<Member<'_>> = Vec::new();
        for (job, &Wanted { shape, current }) in jobs.iter().enumerate() {
            if let Some(shape) = shape.filter(|shape| shape.gpu_type == gpu_type) {
                members.push(Member {
                    job,
                    shape,
                    current,
                    is_kept: shape_of(current, &types) == Some(shape),
                });
            }
        }
        // Stable: among equals the earlier job chooses first.
        members.sort_by_key(|member| (!member.is_kept, core::cmp::Reverse(member.shape.gpus)));
        let range = first_node..first_node + nodes.nodes as usize;
        let found = place(&members, nodes.gpus_per_node, range.clone(), true).unwrap_or_else(|| {
            members.sort_by_key(|member| core::cmp::Reverse(member.shape.gpus));
            place(&members, nodes.gpus_per_node, range, false).unwrap_or_default()
        });
        for (job, placement) in found {
            placements[job] = placement;
        }
        first_node += nodes.nodes as usize;
    }
    placements
}

/// Places members in order; `None` if one does not fit and all have to.
fn place(
    members: &[Member<'_>],
    size: u32,
    range: core::ops::Range<usize>,
    needs_all: bool,
) -> Option<Vec<(usize, Placement)>> {
    let mut free = vec![size; range.len()];
    let mut placed = Vec::with_capacity(members.len());
    for member in members {
        let Shape { gpus, nodes: wanted, .. } = member.shape;
        let each = if wanted == 1 { gpus } else { size };
        let has = |node: usize| member.current.iter().any(|&(current, _)| current == node);
        // Where it runs, then where it leaves least, then the first.
        let mut candidates: Vec<usize> = (0..free.len()).filter(|&node| free[node] >= each).collect();
        candidates.sort_by_key(|&node| (!has(range.start + node), free[node]));
        if candidates.len() < wanted as usize {
            if needs_all {
                return None;
            }
            continue;
        }
        candidates.truncate(wanted as usize);
        candidates.sort_unstable();
        let mut rest = gpus;
        let mut placement = Placement::with_capacity(candidates.len());
        for node in candidates {
            let taken = rest.min(each);
            free[node] -= taken;
            rest -= taken;
            placement.push((range.start + node, taken));
        }
        placed.push((member.job, placement));
    }
    Some(placed)
}
