//! The network between nodes: links, switches, routes.
//!
//! Every [`Shape`] is a folded Clos network, so that links and routes follow from arithmetic on ids: nothing is searched. A
//! pair of NICs under one leaf meets there; in one pod it meets in any spine; else in any core above any spine. What
//! differs is which NICs hang on which leaf ([`Attachment`]), and how wide the tiers are ([`Uplinks`]).
//!
//! Sources: the k-ary fat tree of Al-Fares, Loukissas and Vahdat (SIGCOMM 2008): `k^3/4` hosts, `5k^2/4` switches;
//! rail-optimised units after NVIDIA's `DGX SuperPOD`. Hashed routes ([`Routing::Ecmp`]) collide as balls thrown into
//! bins: of m uplinks n flows use the fraction `1 - (1 - 1/m)^n`.
//!
//! The inside of a node is not part of it: a NIC's link is where the network begins.

mod graph;
mod loads;
mod route;
mod spec;
mod ways;

use thiserror::Error;

pub use graph::{NetworkGraph, Vertex};
pub use loads::{AllToAllRails, LoadBuffers, Loads, Member};
pub use route::{RouteError, Routing};
pub use spec::{Attachment, NetworkSpec, Shape, SpecError, Uplinks, Width};

use spec::{Clos, Ports};

/// A directed link; dense from 0.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct LinkId(u32);

/// A switch; dense from 0: leaves, then spines, then cores.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct SwitchId(u32);

/// A NIC of a node; dense from 0: those of node 0 first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct NicId(u32);

macro_rules! dense_id {
    ($($id:ident),*) => {$(
        impl $id {
            /// The id of that number.
            pub const fn new(index: u32) -> Self {
                Self(index)
            }

            /// Its number.
            pub const fn index(self) -> usize {
                self.0 as usize
            }
        }
    )*};
}
dense_id!(LinkId, SwitchId, NicId);

/// What a flow puts on one link: bytes on the link per byte of the flow.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct LinkWeight {
    /// The link.
    pub link: LinkId,
    /// Bytes on the link per byte of the flow: the share of the flow that takes it, times how often.
    pub weight: f64,
}

impl LinkWeight {
    /// So many bytes on that link per byte of the flow.
    pub const fn new(link: LinkId, weight: f64) -> Self {
        Self { link, weight }
    }
}

/// Where a switch stands.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Tier {
    /// NICs hang on it.
    Leaf,
    /// Joins the leaves of a pod; of all of them in two tiers.
    Spine,
    /// Joins pods.
    Core,
}

/// What a link joins: below and above.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum LinkTier {
    /// A NIC and its leaf.
    Nic,
    /// A leaf and a spine.
    Leaf,
    /// A spine and a core.
    Spine,
}

impl LinkTier {
    /// In words.
    pub const fn describe(self) -> &'static str {
        match self {
            Self::Nic => "NICs",
            Self::Leaf => "leaf to spine",
            Self::Spine => "spine to core",
        }
    }
}

/// A link that does not exist, or a factor that means nothing.
#[derive(Clone, PartialEq, Debug, Error)]
pub enum HealthError {
    /// The network has no such link.
    #[error("link {} is not one of the network's {links}", .link.0)]
    UnknownLink {
        /// What was asked for.
        link: LinkId,
        /// How many there are.
        links: u32,
    },
    /// A degraded link keeps a part of its capacity.
    #[error("a link can be degraded to a factor above 0 and up to 1, not {factor}")]
    Factor {
        /// What was given.
        factor: f64,
    },
}

/// The network: what its links carry, which of them are healthy, and who hangs where.
#[derive(Clone, Debug)]
pub struct Network {
    clos: Clos,
    /// By link, what is left of its capacity; 0 where it failed.
    factor: Vec<f64>,
    failed: u32,
}

impl Network {
    /// The network of a description, all healthy.
    pub fn new(spec: &NetworkSpec) -> Result<Self, SpecError> {
        let clos = Clos::new(spec)?;
        Ok(Self { clos, factor: vec![1.0; clos.links() as usize], failed: 0 })
    }

    /// Number of nodes.
    pub const fn nodes(&self) -> u32 {
        self.clos.nodes
    }

    /// NICs of each node: of rails, where it has rails.
    pub const fn nics_per_node(&self) -> u32 {
        self.clos.nics_per_node
    }

    /// Number of directed links; their ids count from 0.
    pub const fn links(&self) -> u32 {
        self.clos.links()
    }

    /// Number of switches of a tier.
    pub const fn switches(&self, tier: Tier) -> u32 {
        let clos = &self.clos;
        match tier {
            Tier::Leaf => clos.leaves,
            Tier::Spine => clos.pods * clos.spines_per_pod,
            Tier::Core => clos.spines_per_pod * clos.cores_per_spine,
        }
    }

    /// NIC number `rail` of a node, if there are both.
    pub fn nic(&self, node: u32, rail: u32) -> Option<NicId> {
        let clos = &self.clos;
        (node < clos.nodes && rail < clos.nics_per_node).then(|| NicId(node * clos.nics_per_node + rail))
    }

    /// The leaf on which a NIC hangs.
    pub const fn leaf(&self, nic: NicId) -> SwitchId {
        SwitchId(self.clos.leaf_of_nic(nic.0))
    }

    /// The link by which a NIC sends.
    pub const fn nic_up(&self, nic: NicId) -> LinkId {
        LinkId(2 * nic.0)
    }

    /// The link by which a NIC receives.
    pub const fn nic_down(&self, nic: NicId) -> LinkId {
        LinkId(2 * nic.0 + 1)
    }

    /// What a link joins.
    pub const fn tier(&self, link: LinkId) -> LinkTier {
        if link.0 < self.clos.first_leaf_link() {
            LinkTier::Nic
        } else if link.0 < self.clos.first_spine_link() {
            LinkTier::Leaf
        } else {
            LinkTier::Spine
        }
    }

    /// Where rails are wired alike, a link between a leaf and a spine has its like on each rail of the unit: the number of their group, and the
    /// link's rail.
    pub const fn rail_group(&self, link: LinkId) -> Option<(u32, u32)> {
        let clos = &self.clos;
        if !matches!(clos.ports, Ports::Rails { .. }) || !matches!(self.tier(link), LinkTier::Leaf) {
            return None;
        }
        let (number, of_leaf) = (link.0 - clos.first_leaf_link(), 2 * clos.leaf_uplinks());
        let (leaf, way) = (number / of_leaf, number % of_leaf);
        Some((leaf / clos.nics_per_node * of_leaf + way, leaf % clos.nics_per_node))
    }

    /// How many such groups there are.
    pub const fn rail_groups(&self) -> u32 {
        match self.clos.ports {
            Ports::Rails { .. } => self.clos.leaves / self.clos.nics_per_node * 2 * self.clos.leaf_uplinks(),
            Ports::InOrder { .. } => 0,
        }
    }

    /// The links of a group, by rail.
    pub fn rail_links(&self, group: u32) -> impl Iterator<Item = LinkId> {
        let (rails, of_leaf) = (self.clos.nics_per_node, 2 * self.clos.leaf_uplinks());
        let first = self.clos.first_leaf_link() + group / of_leaf * rails * of_leaf + group % of_leaf;
        (0..rails).map(move |rail| LinkId(first + rail * of_leaf))
    }

    /// What a link carries now; 0 where it failed.
    pub fn capacity_gb_per_s(&self, link: LinkId) -> f64 {
        self.nominal_gb_per_s(link) * self.factor.get(link.index()).copied().unwrap_or(0.0)
    }

    /// What a link carries when it is healthy.
    pub const fn nominal_gb_per_s(&self, link: LinkId) -> f64 {
        match self.tier(link) {
            LinkTier::Nic => self.clos.nic_gb_per_s,
            LinkTier::Leaf => self.clos.leaf_gb_per_s,
            LinkTier::Spine => self.clos.spine_gb_per_s,
        }
    }

    /// What every link carries now, by id.
    pub fn capacities_gb_per_s(&self) -> Vec<f64> {
        (0..self.links()).map(|link| self.capacity_gb_per_s(LinkId(link))).collect()
    }

    /// Takes a link, in this direction, out of all routes that are asked for from now on.
    pub fn fail(&mut self, link: LinkId) -> Result<(), HealthError> {
        self.set_factor(link, 0.0)
    }

    /// Leaves a link, in this direction, a part of its capacity; routes still use it as before.
    pub fn degrade(&mut self, link: LinkId, factor: f64) -> Result<(), HealthError> {
        if factor > 0.0 && factor <= 1.0 {
            self.set_factor(link, factor)
        } else {
            Err(HealthError::Factor { factor })
        }
    }

    /// Makes a link whole again.
    pub fn restore(&mut self, link: LinkId) -> Result<(), HealthError> {
        self.set_factor(link, 1.0)
    }

    fn set_factor(&mut self, link: LinkId, factor: f64) -> Result<(), HealthError> {
        let links = self.links();
        let Some(held) = self.factor.get_mut(link.index()) else {
            return Err(HealthError::UnknownLink { link, links });
        };
        self.failed -= u32::from(*held <= 0.0);
        self.failed += u32::from(factor <= 0.0);
        *held = factor;
        Ok(())
    }

    /// Whether a link carries anything.
    fn healthy(&self, link: u32) -> bool {
        self.factor[link as usize] > 0.0
    }
}
