//! Node types as NCCL sees them.

use foretell_fabric::hardware::{self, Machine};
use foretell_fabric::node::{Layout, NodeGraph, NvLinks, Place};
use foretell_sim::framework;
use foretell_sim::framework::interconnect::PciePath;

use super::{Interconnect, NodeType};

/// Why particular GPUs of a node type are no machine.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MachineError {
    /// It has none, or some that NCCL's model does not know.
    #[error("node type `{0}` has no GPUs that NCCL's model knows")]
    UnknownGpus(String),
    /// Its links are not in the catalogue.
    #[error("where the GPUs of node type `{0}` hang is not known")]
    UnknownLinks(String),
    /// A GPU that it does not have.
    #[error("node type `{name}` has GPUs 0 to {last}, not {gpu}")]
    NoSuchGpu {
        /// The type.
        name: String,
        /// The last of its GPUs.
        last: u32,
        /// What was asked for.
        gpu: u32,
    },
    /// The same GPU twice, or none.
    #[error("expected GPUs that differ, at least one")]
    NotASet,
}

/// NVLink-C2C of each of two GPUs to their Grace CPU in each direction, GB/s: half of 450 (NVIDIA's data sheet of GB200: 900 in both).
const GRACE_GB_PER_S: f64 = 225.0;

impl NodeType {
    /// The node as NCCL sees it; `None` without GPUs, or with some that NCCL's model does not know.
    pub fn machine(&self) -> Option<Machine> {
        let gpus = self.gpus.as_ref()?;
        let all: Vec<u32> = (0..gpus.count).collect();
        let interconnect = match (self.graph(), self.interconnect) {
            (_, Some(Interconnect::Nvl72)) => hardware::Interconnect::Nvl72,
            (Some(graph), _) => graph.interconnect(&all),
            (None, Some(Interconnect::Nvswitch)) => hardware::Interconnect::NvSwitch,
            (None, Some(Interconnect::NvlinkMesh)) => hardware::Interconnect::NvLinkMesh,
            (None, Some(Interconnect::Pcie) | None) => hardware::Interconnect::PcieHost,
        };
        Some(Machine {
            gpu: hardware::Gpu::named(&gpus.model)?,
            gpus: gpus.count,
            interconnect,
            nics: self.network.map_or(0, |network| network.nics),
            nic_gb_per_s: self.network.map_or(0.0, |network| network.nic_bytes_per_s / 1e9),
            network: self.network.and_then(|network| network.kind),
            cpu: self.cpu,
        })
    }

    /// What particular GPUs of the node have, as if there were no others: what joins them, the NVLink that their rings find, and the
    /// network cards nearest to them. All GPUs of a node have all its cards.
    ///
    /// In a mesh of NVLink, rings have the links between these GPUs alone, and those of at most one hop through another.
    pub fn machine_of(&self, gpus: &[u32]) -> Result<Machine, MachineError> {
        let unknown = || MachineError::UnknownGpus(self.name.clone());
        let mut machine = self.machine().ok_or_else(unknown)?;
        let graph = self.graph().ok_or_else(|| MachineError::UnknownLinks(self.name.clone()))?;
        if let Some(&gpu) = gpus.iter().find(|&&gpu| gpu >= machine.gpus) {
            let last = machine.gpus - 1;
            return Err(MachineError::NoSuchGpu { name: self.name.clone(), last, gpu });
        }
        let mut set = gpus.to_vec();
        set.sort_unstable();
        set.dedup();
        if set.len() != gpus.len() || gpus.is_empty() {
            return Err(MachineError::NotASet);
        }
        if set.len() < machine.gpus as usize {
            let mut nics: Vec<u32> = set.iter().flat_map(|&gpu| graph.nearest_nics(gpu)).collect();
            nics.sort_unstable();
            nics.dedup();
            machine.nics = nics.len() as u32;
        }
        machine.gpus = set.len() as u32;
        if machine.interconnect != hardware::Interconnect::Nvl72 {
            machine.interconnect = graph.interconnect(&set);
        }
        if machine.interconnect == hardware::Interconnect::NvLinkMesh && set.len() > 1 {
            let rings = graph.rings(&set, machine.gpu.nvlink_each_gb_per_s);
            let one_ring = || graph.worst_path(&set).map_or(0.0, |path| path.gb_per_s);
            machine.gpu.nvlink_gb_per_s =
                rings.map_or_else(one_ring, |rings| f64::from(rings.count) * rings.gb_per_s);
        }
        Ok(machine)
    }

    /// The inside of the node, where it is known; `None` for GPUs that NCCL's model does not know.
    pub fn graph(&self) -> Option<NodeGraph> {
        let (links, gpus) = (self.links.as_deref()?, self.gpus.as_ref()?);
        let gpu = hardware::Gpu::named(&gpus.model)?;
        let (places, nics) = places(links);
        let layout = Layout {
            nvlinks: nvlinks(links, &gpu, self.interconnect),
            gpu,
            gpus: places,
            nics,
            nic_gb_per_s: self.network.map_or(f64::INFINITY, |network| network.nic_bytes_per_s / 1e9),
            cpu: self.cpu,
            chip_to_chip_gb_per_s: (self.interconnect == Some(Interconnect::Nvl72)).then_some(GRACE_GB_PER_S),
        };
        NodeGraph::new(&layout).ok()
    }
}

/// Paths that two devices must be closer than to share the groups of a place, from its NUMA node down.
const APART: [PciePath; 4] = [PciePath::System, PciePath::Node, PciePath::HostBridge, PciePath::MultiSwitch];

/// Where GPUs and network cards hang, from how far apart they are. A group is called by the least of its GPUs, or of its cards.
fn places(links: &framework::Interconnect) -> (Vec<Place>, Vec<Place>) {
    let gpus = links.gpus();
    let gpu = |one: usize| {
        let group = |apart: PciePath| {
            let with = |&other: &usize| other == one || links.link(one, other).path > apart;
            (0..gpus).find(with).unwrap_or(one) as u32
        };
        let mut place = APART.map(group);
        place[0] = u32::from(links.numa_node(one));
        place
    };
    let places: Vec<Place> = (0..gpus).map(gpu).collect();
    let nic = |nic: usize| {
        let own = (gpus + nic) as u32;
        let near = |apart: PciePath| (0..gpus).find(|&gpu| links.nic_path(gpu, nic) > apart);
        [0, 1, 2, 3].map(|level: usize| near(APART[level]).map_or(own, |gpu| places[gpu][level]))
    };
    let nics = (0..links.nics()).map(nic).collect();
    (places, nics)
}

/// Through switches where the catalogue says so, or where a GPU would need more links than it has.
fn nvlinks(links: &framework::Interconnect, gpu: &hardware::Gpu, kind: Option<Interconnect>) -> NvLinks {
    let gpus = links.gpus();
    let between = |one: usize, other: usize| u32::from(links.link(one, other).nvlinks);
    let pairs = (0..gpus).flat_map(|one| (one + 1..gpus).map(move |other| (one, other)));
    let pairs: Vec<(u32, u32, u32)> = pairs
        .map(|(one, other)| (one as u32, other as u32, between(one, other)))
        .filter(|&(.., count)| count > 0)
        .collect();
    let most = pairs.iter().map(|&(.., count)| count).max().unwrap_or(0);
    let of_first: u32 = (1..gpus).map(|other| between(0, other)).sum();
    let is_switched = match kind {
        Some(Interconnect::Nvswitch | Interconnect::Nvl72) => true,
        Some(Interconnect::NvlinkMesh | Interconnect::Pcie) => false,
        None => f64::from(of_first) * gpu.nvlink_each_gb_per_s > gpu.nvlink_gb_per_s + 1e-9,
    };
    if is_switched { NvLinks::Switched(most) } else { NvLinks::Pairs(pairs) }
}
