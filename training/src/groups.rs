//! Which ranks talk to each other, and how long that takes.
//!
//! Ranks are numbered as Megatron does: tensor parallelism first, then context and data parallelism, then the stages of the pipeline; the GPUs
//! of a node have numbers in a row.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

use foretell_fabric::collectives::{Collective, EstimateError, choose};
use foretell_fabric::contention::sent;
use foretell_fabric::hardware::{Machine, Ranks};

use crate::step::Setup;

/// Ranks that talk to each other.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Group {
    /// Of them on one node.
    pub(crate) per_node: u32,
    /// Nodes.
    pub(crate) nodes: u32,
    /// Such groups that use the NICs of a node at the same time.
    pub(crate) beside: u32,
}

impl Group {
    /// So many ranks at a distance from each other, on nodes of which each has so many GPUs of the job.
    pub(crate) fn new(size: u32, stride: u32, gpus_per_node: u32) -> Self {
        let per_node = (gpus_per_node / stride).clamp(1, size);
        Self { per_node, nodes: size.div_ceil(per_node), beside: (gpus_per_node / per_node).max(1) }
    }

    const fn size(self) -> u32 {
        self.per_node * self.nodes
    }
}

/// What a collective does with the network between nodes.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Bus {
    /// The bandwidth of its bus on idle links.
    pub(crate) limit_gb_per_s: f64,
    /// Bytes over all NICs of a node for each byte of the bus, by all groups that run it at the same time.
    pub(crate) sent: f64,
    /// Whether each node sends to each.
    pub(crate) is_all_to_all: bool,
}

/// Times of collectives between the ranks of a job; each is reckoned once.
pub(crate) struct Communication<'a> {
    setup: &'a Setup<'a>,
    known: RefCell<BTreeMap<(Group, Collective, u64), f64>>,
    /// The collective between nodes that takes longest: its seconds, and what it does with the network.
    longest: Cell<(f64, Option<Bus>)>,
}

impl<'a> Communication<'a> {
    pub(crate) const fn new(setup: &'a Setup<'a>) -> Self {
        Self { setup, known: RefCell::new(BTreeMap::new()), longest: Cell::new((0.0, None)) }
    }

    /// GPUs of the job on each node.
    pub(crate) const fn gpus_per_node(&self) -> u32 {
        self.setup.ranks.per_node
    }

    /// Seconds of a collective of so many bytes (the size of nccl-tests).
    pub(crate) fn time_s(
        &self,
        group: Group,
        collective: Collective,
        bytes: f64,
    ) -> Result<f64, EstimateError> {
        let bytes = bytes.round() as u64;
        if group.size() < 2 || bytes == 0 {
            return Ok(0.0);
        }
        let key = (group, collective, bytes);
        if let Some(&known) = self.known.borrow().get(&key) {
            return Ok(known);
        }
        let machine = self.machine(group);
        let ranks = Ranks { per_node: group.per_node, nodes: group.nodes };
        let choice = choose(&machine, ranks, collective, bytes, self.setup.environment)?;
        let alone = choice.queued(self.setup.collectives, f64::INFINITY);
        let estimate = if group.nodes > 1 && self.setup.network_share < 1.0 {
            choice.queued(self.setup.collectives, alone.limit_gb_per_s * self.setup.network_share)
        } else {
            alone
        };
        let time_s = estimate.time_us * 1e-6;
        if group.nodes > 1 && time_s > self.longest.get().0 {
            let bus = Bus {
                limit_gb_per_s: alone.limit_gb_per_s,
                sent: sent(&choice, alone.algorithm) * f64::from(group.beside),
                is_all_to_all: collective == Collective::AllToAll,
            };
            self.longest.set((time_s, Some(bus)));
        }
        self.known.borrow_mut().insert(key, time_s);
        Ok(time_s)
    }

    /// What the longest collective between nodes does with the network.
    pub(crate) fn bus(&self) -> Option<Bus> {
        self.longest.get().1
    }

    /// Seconds of sending so many bytes to the next of so many ranks at a distance: as a broadcast between two. What nccl-tests measured of sendrecv between nodes
    /// is of an untuned system, far below what pipelines get.
    pub(crate) fn send_s(&self, size: u32, stride: u32, bytes: f64) -> Result<f64, EstimateError> {
        let gpus = self.gpus_per_node();
        // Some send from the end of a node: those are the slowest.
        let group = if u64::from(stride) * u64::from(size) > u64::from(gpus) {
            Group { per_node: 1, nodes: 2, beside: stride.min(gpus) }
        } else {
            Group { per_node: 2, nodes: 1, beside: 1 }
        };
        self.time_s(group, Collective::Broadcast, bytes)
    }

    /// A node as one of several groups on it sees it: with its part of the NICs.
    fn machine(&self, group: Group) -> Machine {
        let mut machine = self.setup.machine.clone();
        if group.nodes > 1 && group.beside > 1 {
            let nics = f64::from(machine.nics) / f64::from(group.beside);
            machine.nics = (nics as u32).max(1);
            if nics < 1.0 {
                machine.nic_gb_per_s *= nics;
            }
        }
        machine
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_where_their_ranks_are() {
        for (size, stride, gpus, expected) in [
            // All GPUs of two nodes.
            (16, 1, 8, (8, 2, 1)),
            // One of eight on each of four nodes: eight such groups.
            (4, 8, 8, (1, 4, 8)),
            // Pairs inside a node.
            (2, 1, 8, (2, 1, 4)),
            // Every second GPU of two nodes.
            (8, 2, 8, (4, 2, 2)),
            (1, 1, 8, (1, 1, 8)),
        ] {
            let group = Group::new(size, stride, gpus);
            assert_eq!(
                (group.per_node, group.nodes, group.beside),
                expected,
                "{size} at a distance of {stride} on {gpus}"
            );
        }
    }
}
