//! Links and switches of the fabric fail.
//!
//! What fails carries nothing until it is repaired, and flows go by what is left of its tier. A leaf that is down cuts off
//! the nodes on it: for their jobs that is as if their network cards had failed. Jobs that no way is left for stand still.

use std::collections::{BTreeMap, BTreeSet};

use foretell_fabric::network::{LinkId, LinkTier, Network, Tier, Vertex};
use foretell_framework::{ClusterEvent, NodeId, Time};

use super::{Fault, FaultKind, Place};
use crate::engine::EventQueue;
use crate::event::{Event, FaultEvent};
use crate::log::Record;
use crate::platform::Submission;
use crate::platform::simulation::Simulation;

/// What of the fabric is down.
#[derive(Default)]
pub(super) struct Cut {
    parts: BTreeSet<(FaultKind, u32)>,
    /// For how many reasons a link is down, and what was left of its capacity before.
    links: BTreeMap<LinkId, (u32, f64)>,
}

impl Cut {
    /// Links fail. Those that carried something until now.
    fn fail(&mut self, links: &[LinkId], network: &Network) -> Vec<(LinkId, f64)> {
        let mut failed = Vec::new();
        for &link in links {
            let health = network.capacity_gb_per_s(link) / network.nominal_gb_per_s(link);
            let (reasons, _) = self.links.entry(link).or_insert((0, health));
            *reasons += 1;
            if *reasons == 1 {
                failed.push((link, 0.0));
            }
        }
        failed
    }

    /// One reason less for links to be down. Those that carry something again, and how much of their capacity.
    fn repair(&mut self, links: &[LinkId]) -> Vec<(LinkId, f64)> {
        let mut repaired = Vec::new();
        for &link in links {
            let Some((reasons, health)) = self.links.get_mut(&link) else { continue };
            *reasons -= 1;
            if *reasons == 0 {
                repaired.push((link, *health));
                self.links.remove(&link);
            }
        }
        repaired
    }
}

/// What a kind of part is.
enum Part {
    Cable(LinkTier),
    Switch(Tier),
}

/// `None` for parts of nodes.
const fn part(kind: FaultKind) -> Option<Part> {
    match kind {
        FaultKind::LeafLink => Some(Part::Cable(LinkTier::Leaf)),
        FaultKind::SpineLink => Some(Part::Cable(LinkTier::Spine)),
        FaultKind::LeafSwitch => Some(Part::Switch(Tier::Leaf)),
        FaultKind::SpineSwitch => Some(Part::Switch(Tier::Spine)),
        FaultKind::CoreSwitch => Some(Part::Switch(Tier::Core)),
        FaultKind::Node | FaultKind::Gpu | FaultKind::Nic | FaultKind::Link | FaultKind::Software => None,
    }
}

impl FaultKind {
    /// How many parts of the kind a network has; none if it is a part of nodes.
    pub const fn parts(self, network: &Network) -> u32 {
        match part(self) {
            Some(Part::Cable(tier)) => network.cables(tier),
            Some(Part::Switch(tier)) => network.switches(tier),
            None => 0,
        }
    }

    /// Where the part of that number is.
    pub fn place(self, network: &Network, number: u32) -> Place {
        let Some(Part::Cable(tier)) = part(self) else { return Place::Switch(number) };
        let ends = network.cable(tier, number).map(|[up, _]| network.ends(up));
        match ends {
            Some((Vertex::Switch(below), Vertex::Switch(above))) => {
                let [below, above] = [below, above].map(|switch| network.number_in_tier(switch));
                Place::Cable { number, below, above }
            }
            _ => Place::Switch(number),
        }
    }
}

/// The links that fail with a part, in both directions; none if there is no such part.
fn links(network: &Network, kind: FaultKind, number: u32) -> Vec<LinkId> {
    match part(kind) {
        Some(Part::Cable(tier)) => network.cable(tier, number).into_iter().flatten().collect(),
        Some(Part::Switch(tier)) => {
            let switch = network.switch(tier, number);
            switch.into_iter().flat_map(|switch| network.switch_links(switch)).collect()
        }
        None => Vec::new(),
    }
}

/// The nodes that a part cuts off: those with a network card on a leaf.
fn cut_off(network: &Network, kind: FaultKind, number: u32) -> Vec<NodeId> {
    if kind != FaultKind::LeafSwitch {
        return Vec::new();
    }
    let leaf = network.switch(Tier::Leaf, number);
    let hangs = |&node: &u32| {
        let mut nics = (0..network.nics_per_node()).filter_map(|rail| network.nic(node, rail));
        nics.any(|nic| Some(network.leaf(nic)) == leaf)
    };
    (0..network.nodes()).filter(hangs).map(|node| NodeId::new(node as usize)).collect()
}

impl<W, E> Simulation<'_, W, E>
where
    W: Iterator<Item = Result<Submission, E>>,
{
    /// A part of the fabric fails.
    pub(super) fn strike_fabric(
        &mut self,
        kind: FaultKind,
        number: u32,
        repair: Time,
        queue: &mut EventQueue<Event>,
    ) {
        let (Some(faults), Some(traffic)) = (&mut self.faults, &self.traffic) else { return };
        let network = traffic.network();
        // What is down does not fail again.
        if number >= kind.parts(network) || !faults.cut.parts.insert((kind, number)) {
            return;
        }
        let failed = faults.cut.fail(&links(network, kind, number), network);
        let nodes = cut_off(network, kind, number);
        let fault = Fault { kind, place: kind.place(network, number), device: None, repair };
        let index = faults.faults.len() as u32;
        faults.faults.push(fault);
        queue.schedule(self.now + repair, Event::Fault(FaultEvent::Repaired(index)));
        let mut hits: Vec<_> = nodes.iter().flat_map(|&node| self.hits(node, &fault)).collect();
        hits.sort_unstable();
        for &node in &nodes {
            if let Some(faults) = &mut self.faults {
                faults.broken.breaks(&mut self.state, node, &fault);
            }
            self.scheduler.profile.notify(&self.state, ClusterEvent::NodeChanged(node));
            self.stand_in(node, queue);
        }
        self.record(&Record::PartFailed { fault: &fault });
        // Jobs that are cut off hang before others find their new ways.
        self.jobs_hit(&hits, fault, queue);
        self.change_links(&failed, queue);
    }

    /// A part of the fabric works again.
    pub(super) fn fabric_repaired(&mut self, fault: &Fault, queue: &mut EventQueue<Event>) {
        let (Some(faults), Some(traffic)) = (&mut self.faults, &self.traffic) else { return };
        let network = traffic.network();
        let (Place::Switch(number) | Place::Cable { number, .. }) = fault.place else { return };
        faults.cut.parts.remove(&(fault.kind, number));
        let repaired = faults.cut.repair(&links(network, fault.kind, number));
        let nodes = cut_off(network, fault.kind, number);
        faults.last_repair = self.now;
        self.change_links(&repaired, queue);
        for node in nodes {
            self.node_serves_again(node, fault, queue);
        }
        self.record(&Record::PartRepaired { fault });
    }
}
