//! The inside of a node as a graph: GPUs, switches, CPUs and network cards, joined by links with the rates that NCCL reckons with.
//!
//! What a placement on particular GPUs gets follows from it: which paths join them, whether they reach each other and the network
//! cards directly, and what rings there are between them.
//!
//! Paths are NCCL's: the best type, then the most bandwidth, then the fewest hops; GPUs are not routed through but for one hop
//! of NVLink. Rates per link: NCCL 2.30.7, `topo.h`. A socket is a NUMA node here as there.

mod layout;
mod path;
mod ring;

use petgraph::graph::{NodeIndex, UnGraph};

pub use layout::{Cpu, Layout, LayoutError, NvLinks, Place};
pub use path::{Path, PathType};
pub use ring::Rings;

use crate::hardware::Interconnect;

/// A part of a node.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Vertex {
    /// A GPU, by number.
    Gpu(u32),
    /// The NVLink switches, which are one to NCCL.
    NvSwitch,
    /// A PCIe switch.
    PcieSwitch(u32),
    /// A CPU with its host bridges: a NUMA node.
    Cpu(u32),
    /// A network card, by number.
    Nic(u32),
}

/// What a link is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum LinkKind {
    /// NVLink between GPUs, or to a switch.
    NvLink,
    /// NVLink between a GPU and its CPU (C2C).
    ChipToChip,
    /// PCIe.
    Pcie,
    /// From socket to socket.
    Socket,
}

/// A link of a node.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Link {
    /// What it is.
    pub kind: LinkKind,
    /// What it carries in each direction, GB/s.
    pub gb_per_s: f64,
}

/// Whether two GPUs reach each other's memory, as NCCL decides without being told.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum PeerAccess {
    /// They do.
    Direct,
    /// Data go through host memory.
    HostMemory,
}

/// The inside of a node.
#[derive(Clone, Debug)]
pub struct NodeGraph {
    graph: UnGraph<Vertex, Link>,
    gpus: Vec<NodeIndex>,
    nics: Vec<NodeIndex>,
    cpu: Option<Cpu>,
}

impl NodeGraph {
    /// The graph, to look at and to draw.
    pub const fn graph(&self) -> &UnGraph<Vertex, Link> {
        &self.graph
    }

    /// Number of GPUs.
    pub const fn gpus(&self) -> u32 {
        self.gpus.len() as u32
    }

    /// Number of network cards.
    pub const fn nics(&self) -> u32 {
        self.nics.len() as u32
    }

    /// The path between two GPUs; `None` if there are not both, or if nothing joins them.
    pub fn gpu_path(&self, from: u32, to: u32) -> Option<Path> {
        let (from, to) = (self.gpus.get(from as usize)?, self.gpus.get(to as usize)?);
        self.path(*from, *to)
    }

    /// The path between a GPU and a network card. With `proxies`, data may first go by NVLink to a GPU that is closer to the
    /// card (PXN).
    pub fn nic_path(&self, gpu: u32, nic: u32, proxies: bool) -> Option<Path> {
        let (from, to) = (*self.gpus.get(gpu as usize)?, *self.nics.get(nic as usize)?);
        let own = self.path(from, to)?;
        if !proxies || own.kind <= PathType::Pxn {
            return Some(own);
        }
        let others = self.gpus.iter().filter(|&&other| other != from);
        let through = others.filter_map(|&other| {
            let to_proxy = self.path(from, other).filter(|path| path.kind == PathType::Nvl)?;
            let out = self.path(other, to).filter(|path| path.kind <= PathType::Pxb)?;
            Some(to_proxy.then(&out))
        });
        // The first of equals.
        Some(through.fold(own, |best, path| if path.is_better(&best) { path } else { best }))
    }

    /// Whether two GPUs reach each other's memory: over no more than PCIe switches; two GPUs in all also through AMD's CPUs.
    pub fn peer_access(&self, from: u32, to: u32) -> Option<PeerAccess> {
        let path = self.gpu_path(from, to)?;
        let farthest =
            if self.cpu == Some(Cpu::Amd) && self.gpus() <= 2 { PathType::Sys } else { PathType::Pxb };
        Some(if path.kind <= farthest { PeerAccess::Direct } else { PeerAccess::HostMemory })
    }

    /// Whether a network card reads and writes a GPU's memory (`GPUDirect` RDMA).
    pub fn has_gpu_direct(&self, gpu: u32, nic: u32) -> Option<bool> {
        Some(self.nic_path(gpu, nic, false)?.kind <= PathType::P2c)
    }

    /// The cards to which a GPU has paths of the best type and rate, in order.
    pub fn nearest_nics(&self, gpu: u32) -> Vec<u32> {
        let paths: Vec<(u32, Path)> =
            (0..self.nics()).filter_map(|nic| Some((nic, self.nic_path(gpu, nic, false)?))).collect();
        let best = paths.iter().map(|(_, path)| path.kind).min();
        paths.iter().filter(|(_, path)| Some(path.kind) == best).map(|&(nic, _)| nic).collect()
    }

    /// The worst path between any two of these GPUs: of the worst type, then of the least rate; the first of equals. `None`
    /// for fewer than two.
    pub fn worst_path(&self, gpus: &[u32]) -> Option<Path> {
        let pairs = gpus
            .iter()
            .enumerate()
            .flat_map(|(i, &one)| gpus[i + 1..].iter().map(move |&other| (one, other)));
        let paths = pairs.filter_map(|(one, other)| self.gpu_path(one, other));
        paths.reduce(|worst, path| {
            let is_worse =
                path.kind > worst.kind || path.kind == worst.kind && path.gb_per_s < worst.gb_per_s;
            if is_worse { path } else { worst }
        })
    }

    /// What joins these GPUs, by the worst of their paths; for one GPU what it hangs on.
    pub fn interconnect(&self, gpus: &[u32]) -> Interconnect {
        let Some(worst) = self.worst_path(gpus) else {
            let links = || {
                gpus.iter()
                    .filter_map(|&gpu| self.gpus.get(gpu as usize))
                    .flat_map(|&gpu| self.graph.edges(gpu))
            };
            return if !links().any(|link| link.weight().kind == LinkKind::NvLink) {
                Interconnect::PcieSwitch
            } else if self.has_nvswitch() {
                Interconnect::NvSwitch
            } else {
                Interconnect::NvLinkMesh
            };
        };
        match worst.kind {
            PathType::Loc | PathType::Nvl | PathType::Nvb if self.has_nvswitch() => Interconnect::NvSwitch,
            PathType::Loc | PathType::Nvl | PathType::Nvb => Interconnect::NvLinkMesh,
            PathType::C2c | PathType::Pix | PathType::Pxb => Interconnect::PcieSwitch,
            PathType::P2c | PathType::Pxn | PathType::Phb => Interconnect::PcieHost,
            PathType::Sys => Interconnect::PcieCrossSocket,
        }
    }

    fn has_nvswitch(&self) -> bool {
        self.graph.node_weights().any(|&vertex| vertex == Vertex::NvSwitch)
    }
}
