//! Nodes that take no new tasks because the configuration says so.

use alloc::boxed::Box;
use alloc::collections::BTreeSet;

use foretell_framework::{ClusterState, Filter, NodeId, Rejection, Scope, TaskSpec};

/// Keeps tasks off nodes by name. What runs there goes on.
pub struct BlockedNodes {
    /// Their names.
    pub names: BTreeSet<Box<str>>,
}

impl Filter for BlockedNodes {
    fn name(&self) -> &'static str {
        "BlockedNodes"
    }

    fn scope(&self) -> Scope {
        Scope::NodeSpec
    }

    fn filter(&mut self, state: &ClusterState, _task: &TaskSpec, node: NodeId) -> Result<(), Rejection> {
        if self.names.contains(&state.node(node).spec.name) { Err(Rejection::Blocked) } else { Ok(()) }
    }
}
