//! What was decided about pods of a job that have to go.

use foretell_framework::{EvictionReason, NodeId, Time};

/// Pods of one job that one cycle evicted (or several cycles, before the first took effect).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Eviction {
    /// When it was decided.
    pub decided: Time,
    /// The node of the first of them.
    pub node: NodeId,
    /// How many.
    pub pods: u32,
    /// Why the first of them.
    pub reason: EvictionReason,
    /// The sequence number of the job for which room is made, if it is for one.
    pub beneficiary: Option<u64>,
}
