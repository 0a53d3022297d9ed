//! Links of rails that carry the same, of which one stands for all.
//!
//! A job that uses all network cards of its nodes alike puts the same on the links of each rail. While all flows over the links of a group (one for
//! each rail, between one leaf of a unit and a spine) do so and all of these have the same capacity, they are full together or none is, so
//! that max-min fair rates follow from one of them.

use foretell_fabric::network::{LinkId, LinkWeight, Network};

/// The groups of links of a network.
pub(super) struct Rails {
    groups: Vec<Group>,
    /// Groups that the flow at hand crosses.
    touched: Vec<u32>,
    /// Whether every link counts for itself, whatever is on it.
    pub(super) are_apart: bool,
}

#[derive(Clone, Default)]
struct Group {
    flows: u32,
    /// Whether every link counts for itself.
    is_apart: bool,
    /// What the flow at hand puts on it: links, the weight of the first, whether that of all.
    links: u32,
    weight: f64,
    is_even: bool,
}

impl Rails {
    pub(super) fn new(network: &Network) -> Self {
        Self {
            groups: vec![Group::default(); network.rail_groups() as usize],
            touched: Vec::new(),
            are_apart: false,
        }
    }

    /// A flow comes. Returns the groups whose links have to be told apart for it, and were not until now.
    pub(super) fn enter(&mut self, network: &Network, weights: &[LinkWeight]) -> Vec<u32> {
        self.touch(network, weights);
        let mut parted = Vec::new();
        for &number in &self.touched {
            let group = &mut self.groups[number as usize];
            if group.flows == 0 {
                group.is_apart = self.are_apart || !is_whole(network, number);
            }
            let is_odd = !group.is_even || group.links != network.nics_per_node();
            if is_odd && !group.is_apart {
                group.is_apart = true;
                if group.flows > 0 {
                    parted.push(number);
                }
            }
            group.flows += 1;
        }
        parted
    }

    /// A flow goes.
    pub(super) fn leave(&mut self, network: &Network, weights: &[LinkWeight]) {
        self.touch(network, weights);
        for &number in &self.touched {
            self.groups[number as usize].flows -= 1;
        }
    }

    /// A link has another capacity than it had. Returns its group, if its links have to be told apart for that and were not until now.
    pub(super) fn changed(&mut self, network: &Network, link: LinkId) -> Option<u32> {
        let (number, _) = network.rail_group(link)?;
        let group = &mut self.groups[number as usize];
        (group.flows > 0 && !std::mem::replace(&mut group.is_apart, true)).then_some(number)
    }

    /// Whether rates follow from a link: of those that stand for each other, only from the first.
    pub(super) fn counts(&self, network: &Network, link: LinkId) -> bool {
        let Some((number, rail)) = network.rail_group(link) else { return true };
        rail == 0 || self.groups[number as usize].is_apart
    }

    /// Sums up what a flow puts on groups.
    fn touch(&mut self, network: &Network, weights: &[LinkWeight]) {
        self.touched.clear();
        let grouped = || weights.iter().filter_map(|hop| Some((network.rail_group(hop.link)?.0, hop.weight)));
        grouped().for_each(|(number, _)| self.groups[number as usize].links = 0);
        for (number, weight) in grouped() {
            let group = &mut self.groups[number as usize];
            if group.links == 0 {
                self.touched.push(number);
                (group.weight, group.is_even) = (weight, true);
            }
            group.is_even &= group.weight.to_bits() == weight.to_bits();
            group.links += 1;
        }
    }
}

/// Whether all links of a group have the same capacity.
fn is_whole(network: &Network, group: u32) -> bool {
    let mut capacities = network.rail_links(group).map(|link| network.capacity_gb_per_s(link));
    let first = capacities.next();
    capacities.all(|capacity| Some(capacity) == first)
}
