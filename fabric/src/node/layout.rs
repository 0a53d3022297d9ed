//! From what hangs where to the graph.

use std::collections::BTreeMap;

use petgraph::graph::{NodeIndex, UnGraph};
use thiserror::Error;

use super::{Link, LinkKind, NodeGraph, Vertex};
use crate::hardware::{Architecture, Gpu, UnknownName, find};

/// Where a device hangs in the PCIe tree, from the root: its NUMA node, a host bridge of that, a root port of the bridge, a switch
/// below it. Numbers of groups; what they are matters only for whether two devices share them.
pub type Place = [u32; 4];

/// CPUs, by what joins their sockets.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Cpu {
    /// Intel's Xeon up to Broadwell: QPI.
    Broadwell,
    /// Skylake to Ice Lake: UPI.
    Skylake,
    /// Sapphire Rapids.
    SapphireRapids,
    /// Emerald Rapids.
    EmeraldRapids,
    /// AMD's.
    Amd,
    /// POWER9.
    Power9,
    /// Arm's: NVIDIA's Grace and others.
    Arm,
}

impl Cpu {
    /// Every kind, with its name.
    pub const ALL: [(&'static str, Self); 7] = [
        ("broadwell", Self::Broadwell),
        ("skylake", Self::Skylake),
        ("sapphire_rapids", Self::SapphireRapids),
        ("emerald_rapids", Self::EmeraldRapids),
        ("amd", Self::Amd),
        ("power9", Self::Power9),
        ("arm", Self::Arm),
    ];

    /// Those that are usual beside GPUs of a generation.
    pub const fn of_time(architecture: Architecture) -> Self {
        match architecture {
            Architecture::Pascal => Self::Broadwell,
            Architecture::Volta => Self::Skylake,
            Architecture::Ampere => Self::Amd,
            Architecture::Hopper => Self::SapphireRapids,
            Architecture::Blackwell => Self::EmeraldRapids,
        }
    }

    /// What NCCL takes a transfer between GPUs through its host bridges to cost, as a multiple.
    pub const fn bridge_overhead(self) -> f64 {
        match self {
            Self::Broadwell | Self::Skylake | Self::SapphireRapids | Self::EmeraldRapids => 1.2,
            Self::Amd | Self::Power9 | Self::Arm => 1.0,
        }
    }

    /// What NCCL reckons a link between two sockets to carry in each direction, GB/s (2.30.7, `topo.h`).
    pub const fn socket_gb_per_s(self) -> f64 {
        match self {
            Self::Broadwell | Self::Arm => 6.0,
            Self::Skylake => 10.0,
            Self::SapphireRapids => 22.0,
            Self::EmeraldRapids => 40.0,
            Self::Amd => 16.0,
            Self::Power9 => 32.0,
        }
    }
}

impl std::str::FromStr for Cpu {
    type Err = UnknownName;

    fn from_str(name: &str) -> Result<Self, UnknownName> {
        find(&Self::ALL, "CPU", name)
    }
}

/// NVLinks of a node.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum NvLinks {
    /// So many from each GPU to switches.
    Switched(u32),
    /// Between pairs of GPUs: so many. Empty without NVLink.
    Pairs(Vec<(u32, u32, u32)>),
}

/// What a node is made of and where it hangs.
#[derive(Clone, PartialEq, Debug)]
pub struct Layout {
    /// Its GPUs, all alike.
    pub gpu: Gpu,
    /// Where each GPU hangs.
    pub gpus: Vec<Place>,
    /// Where each network card hangs. Its slot is taken to be as fast as that of a GPU.
    pub nics: Vec<Place>,
    /// What each card sends and, at the same time, receives, GB/s.
    pub nic_gb_per_s: f64,
    /// NVLinks between the GPUs.
    pub nvlinks: NvLinks,
    /// The CPUs; those that are usual beside its GPUs if they are not known.
    pub cpu: Option<Cpu>,
    /// NVLink between each GPU and its CPU in place of PCIe, GB/s.
    pub chip_to_chip_gb_per_s: Option<f64>,
}

/// Why a layout is no node.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum LayoutError {
    /// An NVLink to a GPU that is not there, or from one to itself.
    #[error("no NVLink can join GPU {0} and GPU {1} of {2}")]
    NvLink(u32, u32, u32),
    /// NVLinks of a GPU that has none.
    #[error("{0} has no NVLink")]
    NoNvLink(String),
}

/// A device in the tree.
struct Device {
    place: Place,
    vertex: NodeIndex,
    link: Link,
}

impl NodeGraph {
    /// The graph of a layout. Devices that share all of their place are on one PCIe switch; those that share all but the last
    /// part, on switches below one another; others meet in a CPU. A device alone on its root port hangs on the CPU.
    pub fn new(layout: &Layout) -> Result<Self, LayoutError> {
        let mut graph = UnGraph::new_undirected();
        let slot = Link { kind: LinkKind::Pcie, gb_per_s: layout.gpu.pcie_gb_per_s };
        let gpus: Vec<NodeIndex> =
            (0..layout.gpus.len()).map(|gpu| graph.add_node(Vertex::Gpu(gpu as u32))).collect();
        let nics: Vec<NodeIndex> =
            (0..layout.nics.len()).map(|nic| graph.add_node(Vertex::Nic(nic as u32))).collect();
        let card = Link { gb_per_s: slot.gb_per_s.min(layout.nic_gb_per_s), ..slot };
        let gpu_link = match layout.chip_to_chip_gb_per_s {
            Some(gb_per_s) => Link { kind: LinkKind::ChipToChip, gb_per_s },
            None => slot,
        };
        let devices =
            layout.gpus.iter().zip(&gpus).map(|(&place, &vertex)| Device { place, vertex, link: gpu_link });
        let cards =
            layout.nics.iter().zip(&nics).map(|(&place, &vertex)| Device { place, vertex, link: card });
        let devices: Vec<Device> = devices.chain(cards).collect();
        let cpus = {
            let cpu = layout.cpu.unwrap_or_else(|| Cpu::of_time(layout.gpu.architecture));
            add_cpus(&mut graph, &devices, cpu)
        };
        let mut by_port: BTreeMap<[u32; 3], Vec<&Device>> = BTreeMap::new();
        for device in &devices {
            let [numa, bridge, port, _] = device.place;
            by_port.entry([numa, bridge, port]).or_default().push(device);
        }
        let mut switches = 0;
        for ([numa, ..], devices) in by_port {
            let Some(&cpu) = cpus.get(&numa) else { continue };
            add_port(&mut graph, cpu, &devices, slot, &mut switches);
        }
        add_nvlinks(&mut graph, &gpus, layout)?;
        Ok(Self { graph, gpus, nics, cpu: layout.cpu })
    }
}

/// A vertex for each NUMA node, each joined to each.
fn add_cpus(graph: &mut UnGraph<Vertex, Link>, devices: &[Device], cpu: Cpu) -> BTreeMap<u32, NodeIndex> {
    let mut cpus: BTreeMap<u32, NodeIndex> = BTreeMap::new();
    for device in devices {
        let numa = device.place[0];
        cpus.entry(numa).or_insert_with(|| graph.add_node(Vertex::Cpu(numa)));
    }
    let gb_per_s = cpu.socket_gb_per_s();
    let all: Vec<NodeIndex> = cpus.values().copied().collect();
    for (position, &one) in all.iter().enumerate() {
        for &other in &all[position + 1..] {
            graph.add_edge(one, other, Link { kind: LinkKind::Socket, gb_per_s });
        }
    }
    cpus
}

/// What hangs on one root port.
fn add_port(
    graph: &mut UnGraph<Vertex, Link>,
    cpu: NodeIndex,
    devices: &[&Device],
    slot: Link,
    switches: &mut u32,
) {
    let mut by_switch: BTreeMap<u32, Vec<&Device>> = BTreeMap::new();
    for &device in devices {
        // What has links of its own to the CPU needs no PCIe.
        if device.link.kind == LinkKind::ChipToChip {
            graph.add_edge(cpu, device.vertex, device.link);
        } else {
            by_switch.entry(device.place[3]).or_default().push(device);
        }
    }
    let mut add_switch = |graph: &mut UnGraph<Vertex, Link>, above: NodeIndex| {
        let switch = graph.add_node(Vertex::PcieSwitch(*switches));
        *switches += 1;
        graph.add_edge(above, switch, slot);
        switch
    };
    let several = by_switch.len() > 1;
    let top = if several { add_switch(graph, cpu) } else { cpu };
    for devices in by_switch.into_values() {
        let above = if several || devices.len() > 1 { add_switch(graph, top) } else { top };
        for device in devices {
            graph.add_edge(above, device.vertex, device.link);
        }
    }
}

fn add_nvlinks(
    graph: &mut UnGraph<Vertex, Link>,
    gpus: &[NodeIndex],
    layout: &Layout,
) -> Result<(), LayoutError> {
    let each = layout.gpu.nvlink_each_gb_per_s;
    let none = match &layout.nvlinks {
        NvLinks::Switched(count) => *count == 0,
        NvLinks::Pairs(pairs) => pairs.is_empty(),
    };
    if none {
        return Ok(());
    }
    if each <= 0.0 {
        return Err(LayoutError::NoNvLink(layout.gpu.name.clone()));
    }
    let link = |count: u32| Link { kind: LinkKind::NvLink, gb_per_s: f64::from(count) * each };
    match &layout.nvlinks {
        NvLinks::Switched(count) => {
            let switch = graph.add_node(Vertex::NvSwitch);
            for &gpu in gpus {
                graph.add_edge(gpu, switch, link(*count));
            }
        }
        NvLinks::Pairs(pairs) => {
            for &(one, other, count) in pairs {
                let ends = gpus.get(one as usize).zip(gpus.get(other as usize)).filter(|_| one != other);
                let Some((&from, &to)) = ends else {
                    return Err(LayoutError::NvLink(one, other, gpus.len() as u32));
                };
                graph.add_edge(from, to, link(count));
            }
        }
    }
    Ok(())
}
