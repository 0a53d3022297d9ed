//! What is broken now.

use std::collections::BTreeMap;

use foretell_framework::{ClusterState, NodeId};

use super::{Fault, FaultKind};

/// What is broken, as far as anything is. One part may be broken for several reasons at once, and works again when the last
/// is gone.
#[derive(Default)]
pub(in crate::platform) struct Broken {
    /// Faults that keep a node from taking tasks, and whether it took none anyway.
    closed: BTreeMap<NodeId, (u32, bool)>,
    /// Faults of a whole node.
    down: BTreeMap<NodeId, u32>,
    /// Faults of a device: its own and its node's.
    devices: BTreeMap<(NodeId, u32), u32>,
}

impl Broken {
    /// Whether a fault finds something that works.
    pub(in crate::platform) fn finds(&self, node: NodeId, fault: &Fault) -> bool {
        let Fault { kind, device, .. } = *fault;
        match kind {
            FaultKind::Gpu => device.is_some_and(|device| !self.devices.contains_key(&(node, device))),
            _ => !self.down.contains_key(&node),
        }
    }

    /// Something of a node breaks, or what joins it to the others.
    pub(in crate::platform) fn breaks(&mut self, state: &mut ClusterState, node: NodeId, fault: &Fault) {
        match fault.kind {
            FaultKind::Software => {}
            FaultKind::Gpu => self.device_breaks(state, node, fault.device.unwrap_or(0)),
            kind if kind.spares_single_nodes() => self.close(state, node),
            _ => {
                self.close(state, node);
                *self.down.entry(node).or_default() += 1;
                (0..state.node(node).spec.gpus).for_each(|device| self.device_breaks(state, node, device));
            }
        }
    }

    /// Something is repaired.
    pub(in crate::platform) fn is_repaired(&mut self, state: &mut ClusterState, node: NodeId, fault: &Fault) {
        match fault.kind {
            FaultKind::Software => {}
            FaultKind::Gpu => self.device_works(state, node, fault.device.unwrap_or(0)),
            kind if kind.spares_single_nodes() => self.open(state, node),
            _ => {
                self.open(state, node);
                one_less(&mut self.down, node);
                (0..state.node(node).spec.gpus).for_each(|device| self.device_works(state, node, device));
            }
        }
    }

    /// A node takes no more tasks.
    pub(in crate::platform) fn close(&mut self, state: &mut ClusterState, node: NodeId) {
        let (count, _) = self.closed.entry(node).or_insert_with(|| (0, state.node(node).spec.unschedulable));
        *count += 1;
        if *count == 1 && !state.node(node).spec.unschedulable {
            state.set_unschedulable(node, true);
        }
    }

    /// One reason less for a node to take no tasks.
    pub(in crate::platform) fn open(&mut self, state: &mut ClusterState, node: NodeId) {
        let Some((count, was_closed)) = self.closed.get_mut(&node) else { return };
        *count -= 1;
        if *count == 0 {
            if !*was_closed {
                state.set_unschedulable(node, false);
            }
            self.closed.remove(&node);
        }
    }

    /// For how many reasons a node takes no tasks or has a device that does not work.
    pub(super) fn reasons(&self, node: NodeId) -> u32 {
        let closed = self.closed.get(&node).map_or(0, |&(count, _)| count);
        let devices = self.devices.range((node, 0)..=(node, u32::MAX));
        closed + devices.map(|(_, count)| count).sum::<u32>()
    }

    fn device_breaks(&mut self, state: &mut ClusterState, node: NodeId, device: u32) {
        *self.devices.entry((node, device)).or_default() += 1;
        state.set_gpu_healthy(node, device as usize, false);
    }

    fn device_works(&mut self, state: &mut ClusterState, node: NodeId, device: u32) {
        if one_less(&mut self.devices, (node, device)) {
            state.set_gpu_healthy(node, device as usize, true);
        }
    }
}

/// One less of a key; whether that was the last.
fn one_less<K: Ord + Copy>(counts: &mut BTreeMap<K, u32>, key: K) -> bool {
    let Some(count) = counts.get_mut(&key) else { return false };
    *count -= 1;
    let is_last = *count == 0;
    if is_last {
        counts.remove(&key);
    }
    is_last
}

#[cfg(test)]
mod tests {
    use foretell_framework::{NodeSpec, Time};

    use super::super::Place;
    use super::*;

    #[test]
    fn a_part_works_when_the_last_reason_is_gone() {
        let mut state = ClusterState::new();
        let gpu_model = state.gpu_model("H100").ok();
        let spec = NodeSpec { gpus: 2, gpu_model, ..NodeSpec::new("n") };
        let node = state.add_node(spec).expect("the node is valid");
        let mut broken = Broken::default();
        let fault = |kind, device| Fault { kind, place: Place::Node(node), device, repair: Time::ZERO };
        let (gpu, whole, nic) =
            (fault(FaultKind::Gpu, Some(1)), fault(FaultKind::Node, None), fault(FaultKind::Nic, None));
        let mut seen = |fault: &Fault, breaks: bool| {
            let finds = broken.finds(node, fault);
            if breaks {
                broken.breaks(&mut state, node, fault);
            } else {
                broken.is_repaired(&mut state, node, fault);
            }
            (finds, state.gpu_capacity_milli() / 1000, state.node(node).spec.unschedulable)
        };
        assert_eq!(seen(&gpu, true), (true, 1, false));
        assert_eq!(seen(&whole, true), (true, 0, true));
        assert_eq!(seen(&nic, true), (false, 0, true));
        assert_eq!(seen(&gpu, false), (false, 0, true));
        assert_eq!(seen(&whole, false), (false, 2, true));
        assert_eq!(seen(&nic, false), (true, 2, false));
    }
}
