//! Nodes of partitions.

use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::RefCell;

use foretell_framework::{ClusterState, Filter, NodeId, Rejection, Scope, TaskSpec};

/// Which nodes the job that is asked about may use; all if `None`.
pub type SharedNodes = Rc<RefCell<Option<Rc<Vec<bool>>>>>;

/// Keeps jobs on the nodes of their partition.
pub struct PartitionNodes {
    /// Written by the action before it asks.
    pub nodes: SharedNodes,
}

impl Filter for PartitionNodes {
    fn name(&self) -> &'static str {
        "PartitionNodes"
    }

    fn scope(&self) -> Scope {
        Scope::Cluster
    }

    fn prepare(&mut self, _state: &ClusterState, _task: &TaskSpec) -> bool {
        self.nodes.borrow().is_some()
    }

    fn filter(&mut self, _state: &ClusterState, _task: &TaskSpec, node: NodeId) -> Result<(), Rejection> {
        let nodes = self.nodes.borrow();
        let allowed = nodes.as_ref().is_none_or(|nodes| nodes.get(node.index()).copied().unwrap_or(false));
        if allowed { Ok(()) } else { Err(Rejection::NodeGroup) }
    }
}
