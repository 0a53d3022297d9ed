//! What joins the GPUs of a replica.

use foretell_fabric::collectives::{self, Collective, Environment, choose};
use foretell_fabric::hardware::{Machine, Ranks};
use foretell_serving::{Calibration, Link, LinkKind};

/// Bytes of a collective of which the latency is taken, and of one of which the bandwidth is.
const SMALL_BYTES: u64 = 8 << 10;
const LARGE_BYTES: u64 = 256 << 20;

/// A link that nothing is known of: the slot of a GPU, half of what it is printed with, and a latency of the host's order.
const UNKNOWN: Link = Link::additive(LinkKind::Pcie, 16e9, 20e-6);

/// What a replica's collectives get on so many GPUs of each of so many nodes: what was measured on these GPUs, where
/// they are joined by `NVLink` in one node; else what NCCL gets there by the fabric's model.
pub(super) fn link(machine: Option<&Machine>, calibration: &Calibration, per_node: u32, nodes: u32) -> Link {
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
