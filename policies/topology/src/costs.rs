//! What it costs a job to be spread, by the rates of a network: a table that whoever knows the network hands in.

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;

use foretell_framework::{DomainId, DomainTree, NodeId};

use crate::slots::ClassSlots;

/// What ways cost: how many thousandths as long a byte takes on them as on a whole network card, if all nodes that share them send at
/// once. [`PlacementCosts::WHOLE`] is as fast as cards.
///
/// What a job pays is its most costly way, since a collective is as slow as its slowest link: each node that it uses costs what its cards
/// do, and each domain that holds a part of it, and not all, what leaving it does. A job on one node pays nothing.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct PlacementCosts {
    nodes: Box<[u32]>,
    domains: Box<[u32]>,
    /// All costs that there are, ascending.
    distinct: Box<[u32]>,
}

impl PlacementCosts {
    /// The cost of what is as fast as whole cards.
    pub const WHOLE: u32 = 1000;

    /// By node, what its cards cost; by domain, what leaving it costs.
    pub fn new(nodes: impl Into<Box<[u32]>>, domains: impl Into<Box<[u32]>>) -> Self {
        let (nodes, domains) = (nodes.into(), domains.into());
        let mut distinct: Vec<u32> = nodes.iter().chain(&*domains).copied().collect();
        distinct.sort_unstable();
        distinct.dedup();
        Self { nodes, domains, distinct: distinct.into() }
    }

    /// What the cards of a node cost.
    pub fn node(&self, node: NodeId) -> u32 {
        self.nodes.get(node.index()).copied().unwrap_or(Self::WHOLE)
    }

    /// What leaving a domain costs.
    pub fn leaving(&self, domain: DomainId) -> u32 {
        self.domains.get(domain.index()).copied().unwrap_or(Self::WHOLE)
    }

    /// What a job on these nodes pays.
    pub fn of(&self, tree: &DomainTree, nodes: &[NodeId]) -> u32 {
        let Some(common) = tree.common_of(nodes.iter().copied()) else { return 0 };
        if nodes.iter().all(|&node| node == nodes[0]) {
            return 0;
        }
        let left = |node: NodeId| tree.ancestors(tree.leaf(node)).take_while(|&domain| domain != common);
        let of_node =
            |&node: &NodeId| left(node).map(|domain| self.leaving(domain)).fold(self.node(node), u32::max);
        nodes.iter().map(of_node).max().unwrap_or(0)
    }

    /// The most that a job may pay, one after the other, if the least is to be found. Empty where the lowest tier that holds a job is
    /// the one that costs least: all nodes cost the same, and all domains of a tier do, which lie in domains of one tier.
    pub(crate) fn limits(&self, tree: &DomainTree) -> &[u32] {
        let same_nodes = self.nodes.iter().all(|cost| Some(cost) == self.nodes.first());
        let kind = |domain| (self.leaving(domain), tree.parent(domain).map(|parent| tree.tier(parent)));
        let same = |domains: &[DomainId]| domains.iter().all(|&one| kind(one) == kind(domains[0]));
        let is_even = |&one: &DomainId| tree.children(one).is_empty() || tree.own_nodes(one).is_empty();
        let even = tree.tiers().all(|(_, domains)| same(domains) && domains.iter().all(is_even));
        if same_nodes && even { &[] } else { &self.distinct }
    }

    /// What of the rooms can be had by a job that pays no more than `limit`.
    pub(crate) fn within(&self, tree: &DomainTree, slots: &ClassSlots, limit: u32) -> ClassSlots {
        let mut closed = vec![false; tree.len()];
        for (index, closed) in closed.iter_mut().enumerate() {
            *closed = self.leaving(DomainId::new(index)) > limit;
        }
        let nodes = tree.nodes(tree.top()).len();
        let room = |node: NodeId| if self.node(node) > limit { 0 } else { slots.on_node(node) };
        ClassSlots::from_parts(tree, (0..nodes).map(|index| room(NodeId::new(index))).collect(), closed)
    }
}
