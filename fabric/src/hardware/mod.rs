//! What a node is made of, as far as collectives go: its GPUs, what joins them, and its way out.

mod gpu;

use std::str::FromStr;

pub use gpu::{Architecture, Gpu};

use crate::node::Cpu;

/// What joins the GPUs of a node.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Interconnect {
    /// All links of each GPU go to switches.
    NvSwitch,
    /// Links go from GPU to GPU.
    NvLinkMesh,
    /// A bridge joins two cards.
    NvLinkBridge,
    /// A rack of trays whose GPUs are one NVLink domain of 72.
    Nvl72,
    /// PCIe switches, over which GPUs reach each other directly.
    PcieSwitch,
    /// The host bridge, through which GPUs reach each other by host memory.
    PcieHost,
    /// The host bridge, through which GPUs reach each other directly.
    PcieHostPeer,
    /// Two sockets, through which GPUs reach each other by host memory.
    PcieCrossSocket,
    /// Nothing: what goes from GPU to GPU goes by the NICs of the node.
    Nics,
}

impl Interconnect {
    /// Every kind, with its name.
    pub const ALL: [(&'static str, Self); 9] = [
        ("nvswitch", Self::NvSwitch),
        ("nvlink-mesh", Self::NvLinkMesh),
        ("nvlink-bridge", Self::NvLinkBridge),
        ("nvl72", Self::Nvl72),
        ("pcie-switch", Self::PcieSwitch),
        ("pcie-host", Self::PcieHost),
        ("pcie-host-p2p", Self::PcieHostPeer),
        ("pcie-cross-socket", Self::PcieCrossSocket),
        ("nics", Self::Nics),
    ];

    /// Its name.
    pub fn name(self) -> &'static str {
        name_of(&Self::ALL, self)
    }

    /// Whether GPUs are joined by NVLink.
    pub const fn is_nvlink(self) -> bool {
        matches!(self, Self::NvSwitch | Self::NvLinkMesh | Self::NvLinkBridge | Self::Nvl72)
    }

    /// Whether switches between the GPUs can reduce (NVLink SHARP), given an architecture that can.
    pub const fn has_switches(self) -> bool {
        matches!(self, Self::NvSwitch | Self::Nvl72)
    }
}

impl FromStr for Interconnect {
    type Err = UnknownName;

    fn from_str(name: &str) -> Result<Self, UnknownName> {
        find(&Self::ALL, "interconnect", name)
    }
}

/// What joins the nodes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Network {
    /// InfiniBand.
    InfiniBand,
    /// InfiniBand whose switches reduce (SHARP).
    InfiniBandSharp,
    /// RDMA over converged Ethernet.
    Roce,
    /// AWS' Elastic Fabric Adapter.
    Efa,
    /// TCP sockets.
    Tcp,
    /// TCP with GPU memory as source and sink (GPUDirect-TCPX), paced by CPUs.
    TcpX,
    /// The same with offload (GPUDirect-TCPXO).
    TcpXo,
    /// HPE Slingshot.
    Slingshot,
}

impl Network {
    /// Every kind, with its name.
    pub const ALL: [(&'static str, Self); 8] = [
        ("infiniband", Self::InfiniBand),
        ("infiniband-sharp", Self::InfiniBandSharp),
        ("roce", Self::Roce),
        ("efa", Self::Efa),
        ("tcp", Self::Tcp),
        ("tcpx", Self::TcpX),
        ("tcpxo", Self::TcpXo),
        ("slingshot", Self::Slingshot),
    ];

    /// Its name.
    pub fn name(self) -> &'static str {
        name_of(&Self::ALL, self)
    }
}

impl FromStr for Network {
    type Err = UnknownName;

    fn from_str(name: &str) -> Result<Self, UnknownName> {
        find(&Self::ALL, "network", name)
    }
}

/// A name that means nothing here.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("unknown {what} `{name}`: expected {expected}")]
pub struct UnknownName {
    /// What was named.
    pub what: &'static str,
    /// The name.
    pub name: String,
    /// What would be known.
    pub expected: String,
}

/// The value of a name in a table.
pub(crate) fn find<T: Copy>(all: &[(&str, T)], what: &'static str, name: &str) -> Result<T, UnknownName> {
    all.iter().find(|(known, _)| *known == name).map(|&(_, value)| value).ok_or_else(|| UnknownName {
        what,
        name: name.to_owned(),
        expected: all.iter().map(|(known, _)| *known).collect::<Vec<_>>().join(", "),
    })
}

/// The name of a value in a table that has all.
pub(crate) fn name_of<T: Copy + PartialEq>(all: &[(&'static str, T)], value: T) -> &'static str {
    all.iter().find(|&&(_, known)| known == value).map_or("", |&(name, _)| name)
}

/// A node as NCCL sees it.
#[derive(Clone, PartialEq, Debug)]
pub struct Machine {
    /// Its GPUs.
    pub gpu: Gpu,
    /// How many of them.
    pub gpus: u32,
    /// What joins them.
    pub interconnect: Interconnect,
    /// Number of NICs for collectives.
    pub nics: u32,
    /// Rate of each NIC, GB/s.
    pub nic_gb_per_s: f64,
    /// What the NICs are on; `None` if there are none.
    pub network: Option<Network>,
    /// The CPUs, by whose links sockets reach each other; `None` for those that are usual beside the GPUs.
    pub cpu: Option<Cpu>,
}

/// GPUs in one NVLink domain of a rack.
const NVL72_GPUS: u32 = 72;

/// Where the ranks of a job are: as many on each node, in order of nodes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Ranks {
    /// GPUs on each node.
    pub per_node: u32,
    /// Nodes.
    pub nodes: u32,
}

impl Ranks {
    /// All of them.
    pub const fn count(self) -> u32 {
        self.per_node * self.nodes
    }

    /// The same by NVLink domain in place of node: trays of a rack are one node to NCCL.
    #[must_use]
    pub fn by_domain(self, interconnect: Interconnect) -> Self {
        if interconnect != Interconnect::Nvl72 {
            return self;
        }
        let domains = self.count().div_ceil(NVL72_GPUS).max(1);
        Self { per_node: self.count() / domains, nodes: domains }
    }
}
