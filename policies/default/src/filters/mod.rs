//! The filters of kube-scheduler's default profile that look at one node.

mod fit;

use alloc::collections::BTreeSet;

use foretell_framework::spec::{LabelOperator, NodeSelectorTerm, Taint, TaintEffect, Toleration};
use foretell_framework::{ClusterState, Filter, NodeId, NodeSpec, Rejection, Scope, TaskSpec};

pub(crate) use fit::GPU_RESOURCE;
pub use fit::{IgnoredResources, Insufficiency, NodeResourcesFit, insufficiencies};

/// Cordoned nodes take no new tasks, except those that tolerate the taint that stands for a cordon.
pub struct NodeUnschedulable;

/// The taint that Kubernetes puts on cordoned nodes.
const CORDON_TAINT: &str = "node.kubernetes.io/unschedulable";

/// Whether tolerations cover the taint that stands for a cordon.
pub(crate) fn tolerates_cordon(tolerations: &[Toleration]) -> bool {
    let taint = Taint { key: CORDON_TAINT.into(), value: "".into(), effect: TaintEffect::NoSchedule };
    tolerations.iter().any(|toleration| toleration.tolerates(&taint))
}

impl Filter for NodeUnschedulable {
    fn name(&self) -> &'static str {
        "NodeUnschedulable"
    }

    fn scope(&self) -> Scope {
        Scope::NodeSpec
    }

    fn filter(&mut self, state: &ClusterState, task: &TaskSpec, node: NodeId) -> Result<(), Rejection> {
        if !state.node(node).spec.unschedulable || tolerates_cordon(&task.tolerations) {
            Ok(())
        } else {
            Err(Rejection::Unschedulable)
        }
    }
}

/// A task that asks for a node by name goes nowhere else.
pub struct NodeName;

impl Filter for NodeName {
    fn name(&self) -> &'static str {
        "NodeName"
    }

    fn scope(&self) -> Scope {
        Scope::NodeSpec
    }

    fn filter(&mut self, state: &ClusterState, task: &TaskSpec, node: NodeId) -> Result<(), Rejection> {
        let fits = task.node_name.as_ref().is_none_or(|name| *name == state.node(node).spec.name);
        if fits { Ok(()) } else { Err(Rejection::NodeName) }
    }
}

/// Taints with effect `NoSchedule` or `NoExecute` keep off tasks that do not tolerate them.
pub struct TaintToleration;

/// Whether all taints that keep tasks off are tolerated.
pub(crate) fn tolerates_taints(tolerations: &[Toleration], taints: &[Taint]) -> bool {
    taints.iter().all(|taint| {
        taint.effect == TaintEffect::PreferNoSchedule
            || tolerations.iter().any(|toleration| toleration.tolerates(taint))
    })
}

impl Filter for TaintToleration {
    fn name(&self) -> &'static str {
        "TaintToleration"
    }

    fn scope(&self) -> Scope {
        Scope::NodeSpec
    }

    fn filter(&mut self, state: &ClusterState, task: &TaskSpec, node: NodeId) -> Result<(), Rejection> {
        let tolerated = tolerates_taints(&task.tolerations, &state.node(node).spec.taints);
        if tolerated { Ok(()) } else { Err(Rejection::UntoleratedTaint) }
    }
}

/// The node's name and labels must meet the affinity that the profile adds to every task, then the task's node selector
/// and required node affinity.
#[derive(Default)]
pub struct NodeAffinity {
    /// `addedAffinity` of the plugin's arguments.
    pub added: foretell_framework::spec::NodeAffinity,
}

impl Filter for NodeAffinity {
    fn name(&self) -> &'static str {
        "NodeAffinity"
    }

    fn scope(&self) -> Scope {
        Scope::NodeSpec
    }

    fn filter(&mut self, state: &ClusterState, task: &TaskSpec, node: NodeId) -> Result<(), Rejection> {
        let node = &state.node(node).spec;
        if !self.added.matches(&node.name, &node.labels) {
            Err(Rejection::EnforcedNodeAffinity)
        } else if node_matches(node, task) {
            Ok(())
        } else {
            Err(Rejection::NodeAffinity)
        }
    }
}

/// Whether a node meets a task's node selector and required node affinity.
pub(crate) fn node_matches(node: &NodeSpec, task: &TaskSpec) -> bool {
    task.node_selector.iter().all(|(key, value)| node.labels.get(key) == Some(value))
        && task.node_affinity.matches(&node.name, &node.labels)
}

/// The names to which required terms narrow the nodes down, if each of them names nodes: of every term the names that all
/// its requirements on the name list, of all terms together.
pub fn narrowed_nodes(required: &[NodeSelectorTerm]) -> Option<BTreeSet<&str>> {
    if required.is_empty() {
        return None;
    }
    let mut narrowed = BTreeSet::new();
    for term in required {
        let lists = term.names.iter().filter_map(|operator| match operator {
            LabelOperator::In(names) => Some(names.iter().map(AsRef::as_ref).collect::<BTreeSet<&str>>()),
            _ => None,
        });
        narrowed.extend(lists.reduce(|one, other| &one & &other)?);
    }
    Some(narrowed)
}

/// A GPU task needs a node with enough devices of a model that it accepts.
pub struct GpuModel;

impl Filter for GpuModel {
    fn name(&self) -> &'static str {
        "GpuModel"
    }

    fn scope(&self) -> Scope {
        Scope::NodeSpec
    }

    fn filter(&mut self, state: &ClusterState, task: &TaskSpec, node: NodeId) -> Result<(), Rejection> {
        if task.gpus.count == 0 {
            return Ok(());
        }
        let spec = &state.node(node).spec;
        let model = spec.gpu_model.ok_or(Rejection::NoGpu)?;
        if !task.gpus.models.allows(model) {
            Err(Rejection::GpuModel)
        } else if spec.gpus < task.gpus.count {
            Err(Rejection::TooFewGpus)
        } else {
            Ok(())
        }
    }
}

/// The ports of the node that the task asks for must be free.
pub struct NodePorts;

/// Whether two tasks cannot be on one node because of the ports that they ask for.
pub(crate) fn ports_clash(task: &TaskSpec, other: &TaskSpec) -> bool {
    task.host_ports.iter().any(|port| other.host_ports.iter().any(|taken| port.clashes(taken)))
}

impl Filter for NodePorts {
    fn name(&self) -> &'static str {
        "NodePorts"
    }

    fn scope(&self) -> Scope {
        Scope::NodeState
    }

    fn filter(&mut self, state: &ClusterState, task: &TaskSpec, node: NodeId) -> Result<(), Rejection> {
        if task.host_ports.is_empty() {
            return Ok(());
        }
        let mut placed = state.node(node).tasks().iter().filter_map(|&placed| state.task_spec(placed));
        if placed.any(|placed| ports_clash(task, placed)) { Err(Rejection::HostPort) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests;
