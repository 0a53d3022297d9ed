//! Nodes that are held back for those that fail, and nodes that fail too often.

use std::collections::{BTreeMap, BTreeSet};

use foretell_framework::{ClusterState, NodeId, Time};

use super::{BlockRule, Broken, Fault, FaultKind, Place};

/// Nodes that are held back, and those that they stand in for.
#[derive(Default)]
pub(super) struct Spares {
    /// Held back, and sound; the last one goes first.
    held: Vec<NodeId>,
    /// Failed, and another serves instead; held back when they are repaired.
    replaced: BTreeSet<NodeId>,
    /// Failed when nothing was held back.
    missed: BTreeSet<NodeId>,
}

impl Spares {
    /// The last nodes of a cluster are held back.
    pub(super) fn new(count: u32, broken: &mut Broken, state: &mut ClusterState) -> Self {
        let first = state.nodes().len().saturating_sub(count as usize);
        // The first of them serves first.
        let held: Vec<NodeId> = state.node_ids().skip(first).collect::<Vec<_>>().into_iter().rev().collect();
        for &node in &held {
            broken.close(state, node);
        }
        Self { held, ..Self::default() }
    }

    /// A node has failed. Returns the one that serves instead.
    pub(super) fn replace(
        &mut self,
        node: NodeId,
        broken: &mut Broken,
        state: &mut ClusterState,
    ) -> Option<NodeId> {
        if self.replaced.contains(&node) || self.missed.contains(&node) {
            return None;
        }
        if let Some(place) = self.held.iter().position(|&held| held == node) {
            // It served nobody.
            self.held.remove(place);
            self.replaced.insert(node);
            return None;
        }
        let Some(spare) = self.held.pop() else {
            self.missed.insert(node);
            return None;
        };
        broken.close(state, node);
        self.replaced.insert(node);
        broken.open(state, spare);
        Some(spare)
    }

    /// Something of a node is repaired. Returns a node that serves again because of that, if it is another.
    pub(super) fn takes_back(
        &mut self,
        node: NodeId,
        broken: &mut Broken,
        state: &mut ClusterState,
    ) -> Option<NodeId> {
        if self.missed.contains(&node) && broken.reasons(node) == 0 {
            self.missed.remove(&node);
            return None;
        }
        // One reason is that it is held back.
        if !self.replaced.contains(&node) || broken.reasons(node) > 1 {
            return None;
        }
        self.replaced.remove(&node);
        let Some(missed) = self.missed.pop_first() else {
            self.held.push(node);
            return None;
        };
        broken.close(state, missed);
        self.replaced.insert(missed);
        broken.open(state, node);
        Some(node)
    }
}

/// When nodes failed lately, and which are blocked.
#[derive(Default)]
pub(super) struct BlockList {
    lately: BTreeMap<NodeId, Vec<Time>>,
    blocked: BTreeSet<NodeId>,
}

impl BlockList {
    /// Hardware of a node has failed: whether that was once too often. It is taken out for good then.
    pub(super) fn fails(
        &mut self,
        rule: BlockRule,
        now: Time,
        node: NodeId,
        broken: &mut Broken,
        state: &mut ClusterState,
    ) -> bool {
        if self.blocked.contains(&node) {
            return false;
        }
        let lately = self.lately.entry(node).or_default();
        lately.retain(|&at| now.since(at) < rule.window);
        lately.push(now);
        if lately.len() < rule.failures as usize {
            return false;
        }
        self.lately.remove(&node);
        self.blocked.insert(node);
        let fault =
            Fault { kind: FaultKind::Node, place: Place::Node(node), device: None, repair: Time::MAX };
        broken.breaks(state, node, &fault);
        true
    }
}

#[cfg(test)]
mod tests {
    use foretell_framework::NodeSpec;

    use super::*;

    fn cluster(nodes: usize) -> ClusterState {
        let mut state = ClusterState::new();
        for index in 0..nodes {
            state.add_node(NodeSpec::new(format!("n{index}"))).expect("the node is valid");
        }
        state
    }

    /// The nodes that take tasks.
    fn open(state: &ClusterState) -> Vec<usize> {
        let open = |&node: &NodeId| !state.node(node).spec.unschedulable;
        state.node_ids().filter(open).map(NodeId::index).collect()
    }

    #[test]
    fn as_many_serve_as_long_as_any_is_held_back() {
        let (mut state, mut broken) = (cluster(4), Broken::default());
        let mut spares = Spares::new(1, &mut broken, &mut state);
        let fault = |node| Fault {
            kind: FaultKind::Nic,
            place: Place::Node(NodeId::new(node)),
            device: None,
            repair: Time::ZERO,
        };
        let mut step = |node: usize, fails: bool| {
            if fails {
                broken.breaks(&mut state, NodeId::new(node), &fault(node));
                spares.replace(NodeId::new(node), &mut broken, &mut state);
            } else {
                broken.is_repaired(&mut state, NodeId::new(node), &fault(node));
                spares.takes_back(NodeId::new(node), &mut broken, &mut state);
            }
            open(&state)
        };
        assert_eq!(step(0, true), [1, 2, 3]);
        // Nothing is left to stand in.
        assert_eq!(step(1, true), [2, 3]);
        // What was repaired stands in for the second at once, which is held back when its turn comes.
        assert_eq!(step(0, false), [0, 2, 3]);
        assert_eq!(step(1, false), [0, 2, 3]);
        // One that is held back fails: nobody misses it.
        assert_eq!(step(1, true), [0, 2, 3]);
        assert_eq!(step(2, true), [0, 3]);
        assert_eq!(step(1, false), [0, 1, 3]);
        assert_eq!(step(2, false), [0, 1, 3]);
    }

    #[test]
    fn who_fails_too_often_is_out() {
        let (mut state, mut broken) = (cluster(2), Broken::default());
        let mut list = BlockList::default();
        let rule = BlockRule { failures: 3, window: Time::from_s(100.0) };
        let mut fails = |at_s: f64, node| {
            list.fails(rule, Time::from_s(at_s), NodeId::new(node), &mut broken, &mut state)
        };
        let found = [(0.0, 0), (50.0, 0), (50.0, 1), (120.0, 0), (130.0, 0), (131.0, 0)];
        let found = found.map(|(at_s, node)| fails(at_s, node));
        assert_eq!(found, [false, false, false, false, true, false]);
        assert_eq!(open(&state), [1]);
    }
}
