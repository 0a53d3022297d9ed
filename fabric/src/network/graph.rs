//! The network as a graph, to look at and to draw. Routes do not need it.

use petgraph::graph::{DiGraph, NodeIndex};

use crate::network::{LinkId, LinkTier, Network, SwitchId, Tier};

/// Nodes and switches, joined by directed links.
pub type NetworkGraph = DiGraph<Vertex, LinkId>;

/// What a link begins or ends at.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Vertex {
    /// A node, by number.
    Node(u32),
    /// A switch.
    Switch(SwitchId),
}

impl Network {
    /// Nodes in order, then switches in order; one edge for each link, in order of links, failed ones too.
    pub fn graph(&self) -> NetworkGraph {
        let switches = self.all_switches();
        let mut graph =
            NetworkGraph::with_capacity((self.nodes() + switches) as usize, self.links() as usize);
        for node in 0..self.nodes() {
            graph.add_node(Vertex::Node(node));
        }
        for switch in 0..switches {
            graph.add_node(Vertex::Switch(SwitchId(switch)));
        }
        for link in (0..self.links()).map(LinkId) {
            let (from, to) = self.ends(link);
            graph.add_edge(self.vertex_index(from), self.vertex_index(to), link);
        }
        graph
    }

    /// Number of switches of all tiers.
    pub const fn all_switches(&self) -> u32 {
        self.switches(Tier::Leaf) + self.switches(Tier::Spine) + self.switches(Tier::Core)
    }

    /// Switch number `number` of a tier, if there are so many.
    pub const fn switch(&self, tier: Tier, number: u32) -> Option<SwitchId> {
        let leaves = self.switches(Tier::Leaf);
        let first = match tier {
            Tier::Leaf => 0,
            Tier::Spine => leaves,
            Tier::Core => leaves + self.switches(Tier::Spine),
        };
        if number < self.switches(tier) { Some(SwitchId(first + number)) } else { None }
    }

    /// The number of a switch among those of its tier.
    pub const fn number_in_tier(&self, switch: SwitchId) -> u32 {
        let leaves = self.switches(Tier::Leaf);
        match self.switch_tier(switch) {
            Tier::Leaf => switch.0,
            Tier::Spine => switch.0 - leaves,
            Tier::Core => switch.0 - leaves - self.switches(Tier::Spine),
        }
    }

    /// Number of cables of a tier: each is two links, one up and one down.
    pub const fn cables(&self, tier: LinkTier) -> u32 {
        let (leaves, spines) = (self.clos.first_leaf_link(), self.clos.first_spine_link());
        match tier {
            LinkTier::Nic => leaves / 2,
            LinkTier::Leaf => (spines - leaves) / 2,
            LinkTier::Spine => (self.links() - spines) / 2,
        }
    }

    /// The links up and down of cable number `number` of a tier, if there are so many.
    pub const fn cable(&self, tier: LinkTier, number: u32) -> Option<[LinkId; 2]> {
        let first = match tier {
            LinkTier::Nic => 0,
            LinkTier::Leaf => self.clos.first_leaf_link(),
            LinkTier::Spine => self.clos.first_spine_link(),
        };
        let up = first + 2 * number;
        if number < self.cables(tier) { Some([LinkId(up), LinkId(up + 1)]) } else { None }
    }

    /// Where a switch stands.
    pub const fn switch_tier(&self, switch: SwitchId) -> Tier {
        let leaves = self.switches(Tier::Leaf);
        if switch.0 < leaves {
            Tier::Leaf
        } else if switch.0 < leaves + self.switches(Tier::Spine) {
            Tier::Spine
        } else {
            Tier::Core
        }
    }

    /// The links that begin or end at a switch, in order: what fails with it.
    pub fn switch_links(&self, switch: SwitchId) -> impl Iterator<Item = LinkId> {
        let at = Vertex::Switch(switch);
        (0..self.links()).map(LinkId).filter(move |&link| {
            let (from, to) = self.ends(link);
            from == at || to == at
        })
    }

    /// Where a link begins and where it ends. Even ids lead up.
    pub const fn ends(&self, link: LinkId) -> (Vertex, Vertex) {
        let clos = &self.clos;
        let up = link.0 & !1;
        let (below, above) = match self.tier(link) {
            LinkTier::Nic => {
                let nic = up / 2;
                (Vertex::Node(nic / clos.nics_per_node), Vertex::Switch(SwitchId(clos.leaf_of_nic(nic))))
            }
            LinkTier::Leaf => {
                let cable = (up - clos.first_leaf_link()) / 2;
                let leaf = cable / clos.leaf_uplinks();
                let spine = cable % clos.leaf_uplinks() / clos.leaf_cables;
                let pod = leaf / clos.leaves_per_pod;
                let spine = clos.leaves + pod * clos.spines_per_pod + spine;
                (Vertex::Switch(SwitchId(leaf)), Vertex::Switch(SwitchId(spine)))
            }
            LinkTier::Spine => {
                let cable = (up - clos.first_spine_link()) / 2;
                let spine = cable / clos.spine_uplinks();
                let core = cable % clos.spine_uplinks() / clos.spine_cables;
                let first_core = clos.leaves + clos.pods * clos.spines_per_pod;
                let core = first_core + spine % clos.spines_per_pod * clos.cores_per_spine + core;
                (Vertex::Switch(SwitchId(clos.leaves + spine)), Vertex::Switch(SwitchId(core)))
            }
        };
        if link.0 == up { (below, above) } else { (above, below) }
    }

    /// Where a node or switch stands in [`Network::graph`].
    pub fn vertex_index(&self, vertex: Vertex) -> NodeIndex {
        match vertex {
            Vertex::Node(node) => NodeIndex::new(node as usize),
            Vertex::Switch(switch) => NodeIndex::new(self.nodes() as usize + switch.index()),
        }
    }
}
