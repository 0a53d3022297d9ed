//! The tree of topology domains, with one virtual domain above all of them.

mod totals;

use alloc::vec;
use alloc::vec::Vec;
use core::ops::Range;

use crate::id::{DomainId, NodeId};
use crate::state::ClusterState;

pub use totals::DomainTotals;

/// The domains of a cluster as a tree. Above all roots is one more domain, [`DomainTree::top`], that holds every node,
/// those of no domain too; its tier is one above the highest (Volcano's cluster-top hypernode).
#[derive(Clone, Debug, Default)]
pub struct DomainTree {
    /// By domain; the top comes last.
    entries: Vec<Entry>,
    /// Every node once, so that the nodes of a domain are consecutive.
    nodes: Vec<NodeId>,
    /// The smallest domain of each node.
    leaves: Vec<DomainId>,
    /// Tiers in ascending order, each with its domains in order of id; the top has the last one to itself.
    tiers: Vec<(u32, Vec<DomainId>)>,
}

#[derive(Clone, Debug, Default)]
struct Entry {
    tier: u32,
    parent: Option<DomainId>,
    depth: u32,
    children: Vec<DomainId>,
    /// Range in [`DomainTree::nodes`]; nodes that belong to no child come first.
    nodes: Range<usize>,
    /// How many those are.
    own: usize,
}

impl DomainTree {
    /// The tree of a cluster.
    pub fn new(state: &ClusterState) -> Self {
        let domains = state.domains();
        let top = DomainId::new(domains.len());
        let top_tier = domains.iter().map(|domain| domain.tier + 1).max().unwrap_or(1);
        let mut entries: Vec<Entry> = domains
            .iter()
            .enumerate()
            .map(|(index, domain)| Entry {
                tier: domain.tier,
                parent: Some(parent_without_cycle(state, DomainId::new(index)).unwrap_or(top)),
                ..Entry::default()
            })
            .collect();
        entries.push(Entry { tier: top_tier, ..Entry::default() });
        for index in 0..domains.len() {
            let parent = entries[index].parent.unwrap_or(top);
            entries[parent.index()].children.push(DomainId::new(index));
        }
        let leaves: Vec<DomainId> =
            state.nodes().iter().map(|node| node.spec.domain.unwrap_or(top)).collect();
        let mut tree = Self { entries, nodes: Vec::with_capacity(leaves.len()), leaves, tiers: Vec::new() };
        tree.lay_out(top);
        for index in 0..tree.entries.len() {
            let (tier, domain) = (tree.entries[index].tier, DomainId::new(index));
            match tree.tiers.binary_search_by_key(&tier, |&(tier, _)| tier) {
                Ok(position) => tree.tiers[position].1.push(domain),
                Err(position) => tree.tiers.insert(position, (tier, vec![domain])),
            }
        }
        tree
    }

    /// Whether it is still the tree of this cluster: domains and nodes are only ever added.
    pub fn is_current(&self, state: &ClusterState) -> bool {
        self.entries.len() == state.domains().len() + 1 && self.leaves.len() == state.nodes().len()
    }

    /// Makes it the tree of this cluster again if it is not.
    pub fn refresh(&mut self, state: &ClusterState) {
        if !self.is_current(state) {
            *self = Self::new(state);
        }
    }

    /// Puts nodes in the order of a walk, and notes ranges and depths.
    fn lay_out(&mut self, top: DomainId) {
        let mut own = vec![Vec::new(); self.entries.len()];
        for (index, leaf) in self.leaves.iter().enumerate() {
            own[leaf.index()].push(NodeId::new(index));
        }
        let mut pending = vec![(top, 0, false)];
        while let Some((domain, depth, is_done)) = pending.pop() {
            let at = self.nodes.len();
            let entry = &mut self.entries[domain.index()];
            if is_done {
                entry.nodes.end = at;
                continue;
            }
            entry.depth = depth;
            entry.own = own[domain.index()].len();
            entry.nodes = at..at;
            self.nodes.append(&mut own[domain.index()]);
            pending.push((domain, depth, true));
            pending.extend(entry.children.iter().rev().map(|&child| (child, depth + 1, false)));
        }
    }

    /// The virtual domain that holds every node.
    pub const fn top(&self) -> DomainId {
        DomainId::new(self.entries.len() - 1)
    }

    /// Number of domains, the top included.
    pub const fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is no domain but the top.
    pub const fn is_empty(&self) -> bool {
        self.entries.len() <= 1
    }

    /// The tier of a domain.
    pub fn tier(&self, domain: DomainId) -> u32 {
        self.entries[domain.index()].tier
    }

    /// The domain that contains it; `None` for the top.
    pub fn parent(&self, domain: DomainId) -> Option<DomainId> {
        self.entries[domain.index()].parent
    }

    /// The domains directly in it, in order of id.
    pub fn children(&self, domain: DomainId) -> &[DomainId] {
        &self.entries[domain.index()].children
    }

    /// All nodes in it, in the order of a walk: those of a smaller domain are consecutive.
    pub fn nodes(&self, domain: DomainId) -> &[NodeId] {
        &self.nodes[self.entries[domain.index()].nodes.clone()]
    }

    /// The nodes in it that belong to no smaller domain.
    pub fn own_nodes(&self, domain: DomainId) -> &[NodeId] {
        let entry = &self.entries[domain.index()];
        &self.nodes[entry.nodes.start..entry.nodes.start + entry.own]
    }

    /// The smallest domain of a node.
    pub fn leaf(&self, node: NodeId) -> DomainId {
        self.leaves[node.index()]
    }

    /// The domain itself, then what contains it, up to the top.
    pub fn ancestors(&self, domain: DomainId) -> impl Iterator<Item = DomainId> {
        core::iter::successors(Some(domain), |&domain| self.parent(domain))
    }

    /// Tiers in ascending order, each with its domains; the top is the only one of the last.
    pub fn tiers(&self) -> impl DoubleEndedIterator<Item = (u32, &[DomainId])> {
        self.tiers.iter().map(|(tier, domains)| (*tier, &**domains))
    }

    /// The lowest tier and that of the top.
    pub fn tier_range(&self) -> (u32, u32) {
        let lowest = self.tiers.first().map_or(0, |&(tier, _)| tier);
        (lowest, self.tiers.last().map_or(0, |&(tier, _)| tier))
    }

    /// The smallest domain that contains both.
    pub fn lowest_common(&self, a: DomainId, b: DomainId) -> DomainId {
        let (mut a, mut b) = (a, b);
        let depth = |domain: DomainId| self.entries[domain.index()].depth;
        while a != b {
            // The deeper one climbs. The top is the only one of depth 0, so whoever climbs has a parent.
            let climber = if depth(a) >= depth(b) { &mut a } else { &mut b };
            match self.parent(*climber) {
                Some(parent) => *climber = parent,
                None => return self.top(),
            }
        }
        a
    }

    /// All domains, each after those that it contains.
    pub fn children_first(&self) -> impl Iterator<Item = DomainId> {
        let mut order: Vec<DomainId> = (0..self.entries.len()).map(DomainId::new).collect();
        order.sort_by_key(|domain| core::cmp::Reverse(self.entries[domain.index()].depth));
        order.into_iter()
    }

    /// Whether the first domain contains the second or is it.
    pub fn contains(&self, outer: DomainId, inner: DomainId) -> bool {
        self.lowest_common(outer, inner) == outer
    }

    /// The smallest domain that contains all these nodes; `None` without any.
    pub fn common_of(&self, nodes: impl IntoIterator<Item = NodeId>) -> Option<DomainId> {
        nodes.into_iter().map(|node| self.leaf(node)).reduce(|a, b| self.lowest_common(a, b))
    }

    /// The highest domain of at most this tier that contains the domain; `None` if the domain itself is above it.
    pub fn highest_within(&self, domain: DomainId, tier: u32) -> Option<DomainId> {
        self.ancestors(domain).take_while(|&ancestor| self.tier(ancestor) <= tier).last()
    }
}

/// The parent of a domain, `None` for a root and for a domain whose chain of parents does not end: what contains
/// itself has no place in a tree.
fn parent_without_cycle(state: &ClusterState, domain: DomainId) -> Option<DomainId> {
    let domains = state.domains();
    let parent =
        |domain: DomainId| domains[domain.index()].parent.filter(|parent| parent.index() < domains.len());
    let chain = core::iter::successors(Some(domain), |&domain| parent(domain));
    if chain.take(domains.len() + 1).count() > domains.len() { None } else { parent(domain) }
}
