//! The order in which kube-scheduler walks the nodes.

use alloc::boxed::Box;
use alloc::vec::Vec;

use foretell_framework::{ClusterState, NodeId, Stamp};

const REGION_LABEL: &str = "topology.kubernetes.io/region";
const ZONE_LABEL: &str = "topology.kubernetes.io/zone";

/// Region and zone of a node, so far as it has the labels.
type ZoneKey<'a> = [Option<&'a Box<str>>; 2];

/// One node of each zone in turn; zones in order of first appearance, within a zone in order of id.
#[derive(Default)]
pub(crate) struct NodeOrder {
    seen: Stamp,
    /// Empty where there is one zone at most: then it is the order of ids.
    nodes: Vec<NodeId>,
}

impl NodeOrder {
    /// Brings the order up to date.
    pub(crate) fn refresh(&mut self, state: &ClusterState) {
        if self.seen == state.node_specs_changed() {
            return;
        }
        self.seen = state.node_specs_changed();
        let mut zones: Vec<(ZoneKey<'_>, Vec<NodeId>)> = Vec::new();
        for id in state.node_ids() {
            let labels = &state.node(id).spec.labels;
            let key = [REGION_LABEL, ZONE_LABEL].map(|label| labels.get(label));
            match zones.iter_mut().find(|(zone, _)| *zone == key) {
                Some((_, nodes)) => nodes.push(id),
                None => zones.push((key, Vec::from([id]))),
            }
        }
        self.nodes.clear();
        if zones.len() > 1 {
            let longest = zones.iter().map(|(_, nodes)| nodes.len()).max().unwrap_or(0);
            let rounds =
                (0..longest).flat_map(|round| zones.iter().filter_map(move |(_, nodes)| nodes.get(round)));
            self.nodes.extend(rounds);
        }
    }

    /// The node at a position.
    pub(crate) fn node(&self, position: usize) -> NodeId {
        self.nodes.get(position).copied().unwrap_or(NodeId::new(position))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use foretell_framework::NodeSpec;

    #[test]
    fn zones_take_turns() {
        let check = |zones: &[&str], expected: &[usize]| {
            let mut state = ClusterState::new();
            for zone in zones {
                let mut spec = NodeSpec::new("n");
                for (key, value) in [REGION_LABEL, ZONE_LABEL].into_iter().zip(zone.split('/')) {
                    if !value.is_empty() {
                        spec.labels.insert(key.into(), value.into());
                    }
                }
                state.add_node(spec).expect("legal node");
            }
            let mut order = NodeOrder::default();
            order.refresh(&state);
            let order: Vec<_> = (0..zones.len()).map(|position| order.node(position).index()).collect();
            assert_eq!(order, expected, "{zones:?}");
        };
        check(&[], &[]);
        check(&["", "", ""], &[0, 1, 2]);
        check(&["r/a", "r/a", "r/b", "r/b", "r/b", ""], &[0, 2, 5, 1, 3, 4]);
        // The same zone name in two regions is two zones.
        check(&["r/a", "r/a", "s/a"], &[0, 2, 1]);
    }
}
