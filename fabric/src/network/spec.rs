//! What a network is described by, and the one structure that every description comes down to.

use thiserror::Error;

/// A network between nodes, as a person describes it.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct NetworkSpec {
    /// Number of nodes.
    pub nodes: u32,
    /// NICs of each node. One NIC may stand for all of a node's NICs when jobs use them all alike.
    pub nics_per_node: u32,
    /// What a NIC sends and, at the same time, receives.
    pub nic_gb_per_s: f64,
    /// How the switches are arranged.
    pub shape: Shape,
}

impl NetworkSpec {
    /// How many directed links the network would have; building it takes memory for each.
    pub fn links(&self) -> Result<u32, SpecError> {
        Clos::new(self).map(|clos| clos.links())
    }
}

/// How the switches are arranged.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Shape {
    /// The `k`-ary fat tree: `k` pods of `k/2` leaves and `k/2` spines, `(k/2)^2` cores, `k^3/4` ports, all links as fast
    /// as a NIC (Al-Fares et al. 2008). NICs take the ports in order.
    FatTree {
        /// Ports of a switch; even.
        k: u32,
    },
    /// Two tiers: every leaf has links to every spine.
    LeafSpine {
        /// Which NICs hang on a leaf.
        attachment: Attachment,
        /// From a leaf up.
        spines: Uplinks,
    },
    /// Three tiers: leaves and spines make pods; the spines of one number in all pods meet in cores of their own.
    ThreeTier {
        /// Which NICs hang on a leaf.
        attachment: Attachment,
        /// From a leaf up, to the spines of its pod.
        spines: Uplinks,
        /// Leaves of a pod. With rails a multiple of the NICs of a node: a unit is in one pod.
        leaves_per_pod: u32,
        /// From a spine up; `switches` counts the cores above each spine.
        cores: Uplinks,
    },
}

/// Which NICs hang on a leaf.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Attachment {
    /// All NICs of a node on one leaf.
    ByNode {
        /// Nodes on a leaf.
        nodes_per_leaf: u32,
    },
    /// Rail-optimised: NIC i of each node of a unit on leaf i of that unit (`DGX SuperPOD`: units of 20 nodes, 8 rails).
    ByRail {
        /// Nodes of a unit.
        nodes_per_unit: u32,
    },
}

/// The links from one switch to the tier above it.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Uplinks {
    /// Switches above, each reached by links of the same width.
    pub switches: u32,
    /// How wide they are.
    pub width: Width,
}

/// How wide the links to each switch above are.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Width {
    /// What comes from below over what goes up, 1 for a non-blocking tier. The cables to one switch are bundled into one link, whose
    /// flows do not collide.
    Oversubscription(f64),
    /// Cables to each switch, each a link of its own, on which flows may collide.
    Cables {
        /// Cables from one switch to one above.
        parallel: u32,
        /// What one carries, each way.
        gb_per_s: f64,
    },
}

/// What makes a description impossible.
#[derive(Clone, PartialEq, Debug, Error)]
pub enum SpecError {
    /// A number of things that must be at least one.
    #[error("{what} must be at least 1")]
    Zero {
        /// Its name.
        what: &'static str,
    },
    /// A quantity that must be a positive number.
    #[error("{what} must be positive and finite, not {value}")]
    NotPositive {
        /// Its name.
        what: &'static str,
        /// What was given.
        value: f64,
    },
    /// A fat tree is made of switches with an even number of ports.
    #[error("the arity of a fat tree must be even, not {k}")]
    OddArity {
        /// What was given.
        k: u32,
    },
    /// More NICs than ports.
    #[error("{nics} NICs do not fit the {ports} ports of a fat tree of arity {k}")]
    TooFewPorts {
        /// NICs of all nodes.
        nics: u64,
        /// Ports there are.
        ports: u64,
        /// The arity given.
        k: u32,
    },
    /// A unit of a rail-optimised network would lie in two pods.
    #[error(
        "leaves_per_pod ({leaves_per_pod}) must be a multiple of the {rails} rails, so that a unit is in one pod"
    )]
    SplitUnit {
        /// What was given.
        leaves_per_pod: u32,
        /// NICs of a node.
        rails: u32,
    },
    /// More links than dense 32-bit ids can name.
    #[error("the network has {links} links; at most {max} can be named")]
    TooManyLinks {
        /// How many there would be.
        links: u64,
        /// How many may be.
        max: u64,
    },
}

/// A folded Clos network: what all shapes come down to. Two tiers are one pod without cores.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Clos {
    pub(super) nodes: u32,
    pub(super) nics_per_node: u32,
    pub(super) ports: Ports,
    pub(super) leaves: u32,
    pub(super) leaves_per_pod: u32,
    pub(super) pods: u32,
    pub(super) spines_per_pod: u32,
    pub(super) leaf_cables: u32,
    /// Cores above each spine; 0 in two tiers.
    pub(super) cores_per_spine: u32,
    pub(super) spine_cables: u32,
    pub(super) nic_gb_per_s: f64,
    pub(super) leaf_gb_per_s: f64,
    pub(super) spine_gb_per_s: f64,
}

/// How NICs find their leaf.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Ports {
    /// In order of NICs: so many to a leaf.
    InOrder { per_leaf: u32 },
    /// By rail.
    Rails { nodes_per_unit: u32 },
}

fn at_least_one(what: &'static str, count: u32) -> Result<(), SpecError> {
    if count == 0 { Err(SpecError::Zero { what }) } else { Ok(()) }
}

fn positive(what: &'static str, value: f64) -> Result<(), SpecError> {
    if value.is_finite() && value > 0.0 { Ok(()) } else { Err(SpecError::NotPositive { what, value }) }
}

impl Uplinks {
    /// Cables to each switch above and what one carries, when `below_gb_per_s` come from below.
    fn resolve(self, names: [&'static str; 4], below_gb_per_s: f64) -> Result<(u32, f64), SpecError> {
        at_least_one(names[0], self.switches)?;
        match self.width {
            Width::Oversubscription(ratio) => {
                positive(names[1], ratio)?;
                Ok((1, below_gb_per_s / ratio / f64::from(self.switches)))
            }
            Width::Cables { parallel, gb_per_s } => {
                at_least_one(names[2], parallel)?;
                positive(names[3], gb_per_s)?;
                Ok((parallel, gb_per_s))
            }
        }
    }
}

const SPINE_NAMES: [&str; 4] =
    ["spines", "the leaves' oversubscription", "cables from leaf to spine", "a cable from leaf to spine"];
const CORE_NAMES: [&str; 4] = [
    "cores above a spine",
    "the spines' oversubscription",
    "cables from spine to core",
    "a cable from spine to core",
];

impl Clos {
    pub(super) fn new(spec: &NetworkSpec) -> Result<Self, SpecError> {
        at_least_one("nodes", spec.nodes)?;
        at_least_one("nics_per_node", spec.nics_per_node)?;
        positive("nic_gb_per_s", spec.nic_gb_per_s)?;
        let clos = match spec.shape {
            Shape::FatTree { k } => Self::fat_tree(spec, k)?,
            Shape::LeafSpine { attachment, spines } => Self::tiers(spec, attachment, spines, None)?,
            Shape::ThreeTier { attachment, spines, leaves_per_pod, cores } => {
                at_least_one("leaves_per_pod", leaves_per_pod)?;
                Self::tiers(spec, attachment, spines, Some((leaves_per_pod, cores)))?
            }
        };
        let links = clos.count_links();
        debug_assert!(
            links > u64::from(u32::MAX) || links == u64::from(clos.links()),
            "links are counted in two ways"
        );
        let max = u64::from(u32::MAX);
        if links > max { Err(SpecError::TooManyLinks { links, max }) } else { Ok(clos) }
    }

    fn fat_tree(spec: &NetworkSpec, k: u32) -> Result<Self, SpecError> {
        at_least_one("the arity of a fat tree", k)?;
        if !k.is_multiple_of(2) {
            return Err(SpecError::OddArity { k });
        }
        let half = k / 2;
        let leaves = k
            .checked_mul(half)
            .ok_or(SpecError::TooManyLinks { links: u64::MAX, max: u64::from(u32::MAX) })?;
        let nics = u64::from(spec.nodes) * u64::from(spec.nics_per_node);
        // Of no more leaves than fit 32 bits: the product fits 64.
        let ports = u64::from(leaves) * u64::from(half);
        if nics > ports {
            return Err(SpecError::TooFewPorts { nics, ports, k });
        }
        Ok(Self {
            nodes: spec.nodes,
            nics_per_node: spec.nics_per_node,
            ports: Ports::InOrder { per_leaf: half },
            leaves,
            leaves_per_pod: half,
            pods: k,
            spines_per_pod: half,
            leaf_cables: 1,
            cores_per_spine: half,
            spine_cables: 1,
            nic_gb_per_s: spec.nic_gb_per_s,
            leaf_gb_per_s: spec.nic_gb_per_s,
            spine_gb_per_s: spec.nic_gb_per_s,
        })
    }

    fn tiers(
        spec: &NetworkSpec,
        attachment: Attachment,
        spines: Uplinks,
        pod: Option<(u32, Uplinks)>,
    ) -> Result<Self, SpecError> {
        let overflow = SpecError::TooManyLinks { links: u64::MAX, max: u64::from(u32::MAX) };
        let (ports, ports_per_leaf, leaves) = match attachment {
            Attachment::ByNode { nodes_per_leaf } => {
                at_least_one("nodes_per_leaf", nodes_per_leaf)?;
                let per_leaf = nodes_per_leaf.checked_mul(spec.nics_per_node).ok_or(overflow)?;
                (Ports::InOrder { per_leaf }, per_leaf, spec.nodes.div_ceil(nodes_per_leaf))
            }
            Attachment::ByRail { nodes_per_unit } => {
                at_least_one("nodes_per_unit", nodes_per_unit)?;
                let units = spec.nodes.div_ceil(nodes_per_unit);
                let leaves = units.checked_mul(spec.nics_per_node).ok_or(overflow)?;
                (Ports::Rails { nodes_per_unit }, nodes_per_unit, leaves)
            }
        };
        let below_leaf = f64::from(ports_per_leaf) * spec.nic_gb_per_s;
        let (leaf_cables, leaf_gb_per_s) = spines.resolve(SPINE_NAMES, below_leaf)?;
        let (leaves_per_pod, cores_per_spine, spine_cables, spine_gb_per_s) = match pod {
            None => (leaves, 0, 0, 0.0),
            Some((leaves_per_pod, cores)) => {
                let rails = spec.nics_per_node;
                if matches!(ports, Ports::Rails { .. }) && !leaves_per_pod.is_multiple_of(rails) {
                    return Err(SpecError::SplitUnit { leaves_per_pod, rails });
                }
                let below_spine = f64::from(leaves_per_pod) * f64::from(leaf_cables) * leaf_gb_per_s;
                let (spine_cables, spine_gb_per_s) = cores.resolve(CORE_NAMES, below_spine)?;
                (leaves_per_pod, cores.switches, spine_cables, spine_gb_per_s)
            }
        };
        Ok(Self {
            nodes: spec.nodes,
            nics_per_node: spec.nics_per_node,
            ports,
            leaves,
            leaves_per_pod,
            pods: leaves.div_ceil(leaves_per_pod),
            spines_per_pod: spines.switches,
            leaf_cables,
            cores_per_spine,
            spine_cables,
            nic_gb_per_s: spec.nic_gb_per_s,
            leaf_gb_per_s,
            spine_gb_per_s,
        })
    }

    /// Directed links; saturates where there are far too many.
    fn count_links(&self) -> u64 {
        let product = |factors: &[u32]| {
            factors.iter().fold(1_u64, |all, &factor| all.saturating_mul(u64::from(factor)))
        };
        let nics = product(&[self.nodes, self.nics_per_node]);
        let leaf = product(&[self.leaves, self.spines_per_pod, self.leaf_cables]);
        let spine = product(&[self.pods, self.spines_per_pod, self.cores_per_spine, self.spine_cables]);
        nics.saturating_add(leaf).saturating_add(spine).saturating_mul(2)
    }

    pub(super) const fn nics(&self) -> u32 {
        self.nodes * self.nics_per_node
    }

    /// Cables from a leaf up.
    pub(super) const fn leaf_uplinks(&self) -> u32 {
        self.spines_per_pod * self.leaf_cables
    }

    /// Cables from a spine up.
    pub(super) const fn spine_uplinks(&self) -> u32 {
        self.cores_per_spine * self.spine_cables
    }

    pub(super) const fn leaf_of_nic(&self, nic: u32) -> u32 {
        match self.ports {
            Ports::InOrder { per_leaf } => nic / per_leaf,
            Ports::Rails { nodes_per_unit } => {
                let (node, rail) = (nic / self.nics_per_node, nic % self.nics_per_node);
                node / nodes_per_unit * self.nics_per_node + rail
            }
        }
    }

    pub(super) const fn first_leaf_link(&self) -> u32 {
        2 * self.nics()
    }

    pub(super) const fn first_spine_link(&self) -> u32 {
        self.first_leaf_link() + 2 * self.leaves * self.leaf_uplinks()
    }

    pub(super) const fn links(&self) -> u32 {
        self.first_spine_link() + 2 * self.pods * self.spines_per_pod * self.spine_uplinks()
    }

    /// The link from a leaf up by one of its cables; the next id is the way down.
    pub(super) const fn leaf_link(&self, leaf: u32, cable: u32) -> u32 {
        self.first_leaf_link() + 2 * (leaf * self.leaf_uplinks() + cable)
    }

    /// The link up from the spine of that number in a pod, by one of its cables; the next id is the way down.
    pub(super) const fn spine_link(&self, pod: u32, spine: u32, cable: u32) -> u32 {
        self.first_spine_link() + 2 * ((pod * self.spines_per_pod + spine) * self.spine_uplinks() + cable)
    }
}
