//! How much slower than their cards nodes get out of where they are: what a policy needs to know of the rates of a network.

use crate::network::{LinkId, LinkTier, LinkWeight, Network, NicId, RouteError, Routing};

impl Network {
    /// How many times as long a byte takes on the slowest card of a node, either way, as on a whole one: 1 if all are whole, infinite if one
    /// has failed.
    pub fn card_slowdown(&self, node: u32) -> f64 {
        let cards = (0..self.nics_per_node()).filter_map(|rail| self.nic(node, rail));
        let links = cards.flat_map(|card| [self.nic_up(card), self.nic_down(card)]);
        links.map(|link| self.nominal_gb_per_s(link) / self.capacity_gb_per_s(link)).fold(1.0, f64::max)
    }

    /// How many times as long bytes take between these nodes, in ascending order, and the others as whole cards take for them, if all of
    /// these send and receive at once: 1 where nothing on their side is narrower than their cards, infinite if there is no way.
    ///
    /// Links of switches count, those of cards do not. Flows are spread evenly, as by [`Routing::Adaptive`]; what hashes add by
    /// collisions is the same for all. The others' side does not count: it is theirs.
    pub fn way_out_slowdown(&self, nodes: &[u32]) -> f64 {
        let is_inside = |node: &u32| nodes.binary_search(node).is_ok();
        // Neighbours first, so that no tier is crossed that need not be.
        let last = nodes.last().map_or(0, |&last| last + 1);
        let outside: Vec<u32> = (last..self.nodes()).chain(0..last).filter(|node| !is_inside(node)).collect();
        if outside.is_empty() {
            return 1.0;
        }
        let mut load = vec![0.0; self.links() as usize];
        let mut route = Vec::new();
        for (&node, &other) in nodes.iter().zip(outside.iter().cycle()) {
            for rail in 0..self.nics_per_node() {
                let (Some(own), Some(theirs)) = (self.nic(node, rail), self.nic(other, rail)) else {
                    continue;
                };
                let ways = [(own, theirs, 0), (theirs, own, 1)];
                if ways.into_iter().any(|way| self.add_own_side(way, &mut route, &mut load).is_err()) {
                    return f64::INFINITY;
                }
            }
        }
        let card_gb_per_s = self.nominal_gb_per_s(LinkId(0));
        let slowdown =
            |(link, &load): (u32, &f64)| card_gb_per_s * load / self.capacity_gb_per_s(LinkId(link));
        (0..).zip(&load).filter(|(_, load)| **load > 0.0).map(slowdown).fold(1.0, f64::max)
    }

    /// Adds the links of switches on one side of a route: even links lead up, odd ones down.
    fn add_own_side(
        &self,
        (from, to, side): (NicId, NicId, u32),
        route: &mut Vec<LinkWeight>,
        load: &mut [f64],
    ) -> Result<(), RouteError> {
        route.clear();
        self.route(from, to, Routing::Adaptive, route)?;
        let own = route.iter().filter(|hop| hop.link.0 % 2 == side && self.tier(hop.link) != LinkTier::Nic);
        own.for_each(|hop| load[hop.link.index()] += hop.weight);
        Ok(())
    }
}
