//! How far apart the tasks of a job may be.

use foretell_framework::state::{NetworkTopology, TopologyMode};
use foretell_framework::{ClusterState, DomainId, DomainTree};

/// The highest tier of a domain that may hold a job or a part of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Limit {
    /// It says nothing of topology.
    Unspoken,
    /// A wish for nearness, to be met as well as can be.
    Wish,
    /// A demand: this tier at most.
    Tier(u32),
    /// A demand for a tier whose name no domain has.
    UnknownTier,
}

impl Limit {
    /// What a network topology means in a cluster. A demand that names no tier is a wish.
    pub fn new(state: &ClusterState, topology: Option<&NetworkTopology>) -> Self {
        let Some(topology) = topology else { return Self::Unspoken };
        if topology.mode == TopologyMode::Soft {
            return Self::Wish;
        }
        if let Some(tier) = topology.highest_tier {
            return Self::Tier(tier);
        }
        let Some(name) = &topology.highest_tier_name else { return Self::Wish };
        let named = state.domains().iter().filter(|domain| domain.tier_name == *name);
        named.map(|domain| domain.tier).max().map_or(Self::UnknownTier, Self::Tier)
    }

    /// The highest tier, `None` if there is no such domain. A wish is met by the top too.
    pub fn highest_tier(self, tree: &DomainTree) -> Option<u32> {
        match self {
            Self::Unspoken | Self::Wish => Some(tree.tier(tree.top())),
            Self::Tier(tier) => Some(tier),
            Self::UnknownTier => None,
        }
    }

    /// The largest domain in which the rest of a job may be placed that already holds `allocated`. `None` if there is
    /// none.
    pub fn scope(self, tree: &DomainTree, allocated: Option<DomainId>) -> Option<DomainId> {
        let tier = self.highest_tier(tree)?;
        allocated.map_or(Some(tree.top()), |allocated| tree.highest_within(allocated, tier))
    }
}
