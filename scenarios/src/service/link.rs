//! What joins the GPUs of a replica.

use foretell_fabric::collectives::{self, Collective, Environment, choose};
use foretell_fabric::hardware::{Machine, Ranks};
use foretell_serving::{Calibration, Link, LinkKind, Links, Parallelism};

/// Bytes of a collective of which the latency is taken, and of one of which the bandwidth is.
const SMALL_BYTES: u64 = 8 << 10;
const LARGE_BYTES: u64 = 256 << 20;

/// A link that nothing is known of: the slot of a GPU, half of what it is printed with, and a latency of the host's order.
const UNKNOWN: Link = Link::additive(LinkKind::Pcie, 16e9, 20e-6);

/// What joins the GPUs of a replica whose pods have so many each.
pub(super) fn links(
    machine: Option<&Machine>,
    calibration: &Calibration,
    parallelism: Parallelism,
    pod_gpus: u32,
) -> Links {
    let pod_gpus = pod_gpus.max(1);
    // Layers are split within a node as far as it goes.
    let per_node = parallelism.tensor.min(pod_gpus);
    let tensor = link(machine, calibration, per_node, parallelism.tensor.div_ceil(per_node.max(1)));
    let groups = parallelism.data * parallelism.pipeline;
    if groups < 2 {
        return Links { tensor, outer: tensor };
    }
    let groups_per_node = (pod_gpus / parallelism.tensor.max(1)).clamp(1, groups);
    Links { tensor, outer: link(machine, calibration, groups_per_node, groups.div_ceil(groups_per_node)) }
}

/// What a replica's collectives get on so many GPUs of each of so many nodes: what was measured on these GPUs, where
/// they are joined by `NVLink` in one node; else what NCCL gets there by the fabric's model.
fn link(machine: Option<&Machine>, calibration: &Calibration, per_node: u32, nodes: u32) -> Link {
    let Some(machine) = machine else { return UNKNOWN };
    let kind = if nodes > 1 {
        LinkKind::Network
    } else if machine.interconnect.is_nvlink() {
        LinkKind::NvLink
    } else {
        LinkKind::Pcie
    };
    if kind == LinkKind::NvLink
        && let Some(measured) = calibration.link(per_node)
    {
        return measured;
    }
    let of = |bytes: u64| {
        let ranks = Ranks { per_node, nodes };
        let choice = choose(machine, ranks, Collective::AllReduce, bytes, &Environment::default()).ok()?;
        Some(choice.queued(&collectives::Calibration::default(), f64::INFINITY))
    };
    let (Some(small), Some(large)) = (of(SMALL_BYTES), of(LARGE_BYTES)) else { return UNKNOWN };
    Link::additive(kind, large.bus_gb_per_s * 1e9, small.time_us * 1e-6)
}
