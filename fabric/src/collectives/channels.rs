//! The channels that NCCL's search finds between the ranks of a job: how many, and how fast each is.
//!
//! The search itself is not repeated. Its outcome follows from what binds: the links of a GPU, the slot of a GPU or of a NIC,
//! the NICs. The speed of a channel is one of NCCL's list; of all speeds the one that makes most of what binds is taken.

use super::constants::{speeds_between_nodes, speeds_in_node};
use crate::hardware::{Interconnect, Machine, Ranks};
use crate::node::Cpu;

/// What binds a collective.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Bound {
    /// NVLink of each GPU.
    NvLink,
    /// Reduction in the switches of NVLink.
    NvLinkSharp,
    /// The PCIe slot of each GPU.
    Pcie,
    /// The way through host memory.
    HostMemory,
    /// The link between sockets.
    SocketLink,
    /// What threads of the host send over sockets.
    Sockets,
    /// The NICs of each node.
    Nic,
    /// What a channel of this algorithm carries at most.
    Channel,
    /// How many channels the environment allows.
    ChannelCount,
}

impl Bound {
    /// In words.
    pub const fn describe(self) -> &'static str {
        match self {
            Self::NvLink => "NVLink of each GPU",
            Self::NvLinkSharp => "reduction in the NVLink switches",
            Self::Pcie => "the PCIe slot of each GPU",
            Self::HostMemory => "the way through host memory, by the PCIe slot of each GPU",
            Self::SocketLink => "the link between sockets, through host memory",
            Self::Sockets => "what threads of the host send over TCP",
            Self::Nic => "the NICs of each node",
            Self::Channel => "what one channel of the algorithm carries",
            Self::ChannelCount => "the number of channels that the environment allows",
        }
    }
}

/// Channels between the ranks of a job.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Channels {
    /// How many.
    pub count: u32,
    /// GB/s of each inside a node.
    pub in_node_gb_per_s: f64,
    /// GB/s of each between nodes.
    pub between_nodes_gb_per_s: f64,
    /// GB/s of each inside a node for trees, whose traffic inside may be twice that between nodes.
    pub tree_in_node_gb_per_s: f64,
    /// What binds rings.
    pub bound: Bound,
}

/// The most channels before NCCL doubles them.
const MAX_CHANNELS: u32 = 32;

/// NICs that channels of a node are spread over where a rack is one node to NCCL: those of two trays.
const NVL72_CHANNELS: u32 = 8;

/// What NCCL takes a transfer between GPUs through an Intel host bridge to cost.
const HOST_BRIDGE_OVERHEAD: f64 = 1.2;

/// The count and speed of channels that make most of a total: no more than so many, each no faster than it can be. Where all speeds
/// of the list are too fast, channels have what they can.
fn most(speeds: &[f64], each: f64, total: f64, limit: u32) -> (u32, f64) {
    let limit = limit.min(MAX_CHANNELS);
    let count = |speed: f64| ((total / speed + 1e-9) as u32).min(limit);
    let mut best = (0, 0.0);
    for &speed in speeds.iter().filter(|&&speed| speed <= each + 1e-9) {
        if f64::from(count(speed)) * speed > f64::from(best.0) * best.1 + 1e-9 {
            best = (count(speed), speed);
        }
    }
    if best.0 > 0 {
        return best;
    }
    let speed = each.min(total);
    (count(speed).max(1), speed)
}

/// What the link between the sockets of a machine carries in each direction, GB/s.
pub(super) fn socket_gb_per_s(machine: &Machine) -> f64 {
    let cpu = machine.cpu.unwrap_or_else(|| Cpu::of_time(machine.gpu.architecture));
    cpu.socket_gb_per_s() / cpu.bridge_overhead()
}

/// What each of so many GPUs can exchange with the others of its node, GB/s, and what binds it.
pub(super) fn in_node(machine: &Machine, per_node: u32) -> (f64, Bound) {
    let pcie = machine.gpu.pcie_gb_per_s;
    // Into host memory and out of it.
    let host = pcie / HOST_BRIDGE_OVERHEAD / 2.0;
    match machine.interconnect {
        kind if kind.is_nvlink() => (machine.gpu.nvlink_gb_per_s, Bound::NvLink),
        Interconnect::PcieCrossSocket => {
            // A ring crosses the link between the sockets once in each direction.
            let link = socket_gb_per_s(machine);
            if link < host { (link, Bound::SocketLink) } else { (host, Bound::HostMemory) }
        }
        Interconnect::PcieHost => (host, Bound::HostMemory),
        Interconnect::Nics => {
            let nics = f64::from(machine.nics) * machine.nic_gb_per_s / f64::from(per_node.max(1));
            if nics < pcie { (nics, Bound::Nic) } else { (pcie, Bound::Pcie) }
        }
        _ => (pcie, Bound::Pcie),
    }
}

impl Channels {
    /// The channels of a job, at most `max_channels`.
    pub fn of(machine: &Machine, ranks: Ranks, max_channels: u32) -> Self {
        let architecture = machine.gpu.architecture;
        let (total, bound) = in_node(machine, ranks.per_node);
        if ranks.nodes <= 1 {
            let (count, speed) = most(speeds_in_node(architecture), total, total, max_channels);
            return Self {
                count,
                in_node_gb_per_s: speed,
                between_nodes_gb_per_s: speed,
                tree_in_node_gb_per_s: speed,
                bound,
            };
        }
        let is_rack = machine.interconnect == Interconnect::Nvl72;
        let nics = if is_rack { NVL72_CHANNELS } else { machine.nics };
        // On a rack NICs hang on the CPUs beside the GPUs, not on their slots.
        let slot = if is_rack { f64::INFINITY } else { machine.gpu.pcie_gb_per_s };
        let per_nic = machine.nic_gb_per_s.min(slot);
        // A ring comes in at one GPU and leaves at another: by the slots of those in use, and by what joins them.
        let slots = f64::from(ranks.per_node) * slot;
        let links = total;
        let (total, bound) =
            if ranks.per_node == 1 || slots < links { (slots, Bound::Pcie) } else { (links, bound) };
        let speeds = speeds_between_nodes(architecture);
        let (count, speed) = most(speeds, per_nic, total, nics.min(max_channels));
        let twice = |candidate: f64| candidate <= 2.0 * speed && candidate * f64::from(count) <= links + 1e-9;
        let in_tree = speeds.iter().copied().find(|&candidate| twice(candidate));
        let tree = in_tree.filter(|_| machine.interconnect.is_nvlink()).unwrap_or(speed);
        let nic_bound = if slot < machine.nic_gb_per_s && per_nic < 0.9 * machine.nic_gb_per_s {
            Bound::Pcie
        } else {
            Bound::Nic
        };
        let is_full = f64::from(count + 1) * speed > total && count < nics
            || speed < 0.95 * per_nic && total < per_nic * f64::from(nics);
        Self {
            count,
            in_node_gb_per_s: speed,
            between_nodes_gb_per_s: speed,
            tree_in_node_gb_per_s: tree.max(speed),
            bound: if is_full {
                bound
            } else if count == max_channels && count < nics.min(MAX_CHANNELS) {
                Bound::ChannelCount
            } else {
                nic_bound
            },
        }
    }
}
