//! Queues.

use alloc::boxed::Box;
use alloc::vec::Vec;

use crate::id::QueueId;
use crate::quota::Quota;
use crate::resources::Resources;
use crate::selector::Labels;

/// What a queue is entitled to. Fields follow Volcano's `Queue`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct QueueSpec {
    /// The queue that contains it.
    pub parent: Option<QueueId>,
    /// Its share relative to its siblings.
    pub weight: u32,
    /// Larger goes first.
    pub priority: i32,
    /// The most that it may hold.
    pub capability: Quota,
    /// What it should have when all ask for theirs; beyond is borrowed.
    pub deserved: Quota,
    /// What is kept for it even if it does not ask.
    pub guarantee: Quota,
    /// Whether others may take back what it borrowed.
    pub reclaimable: bool,
    /// Whether it takes in jobs.
    pub open: bool,
    /// Whether its head blocks those behind it (`dequeueStrategy: fifo`).
    pub head_blocks: bool,
    /// Where its tasks may go.
    pub node_groups: NodeGroupAffinity,
    /// The most that its tasks may hold in a group of nodes.
    pub node_group_limits: NodeGroupLimits,
    /// Those annotations that some policy reads.
    pub annotations: Labels,
}

impl Default for QueueSpec {
    fn default() -> Self {
        Self {
            parent: None,
            weight: 1,
            priority: 0,
            capability: Quota::default(),
            deserved: Quota::default(),
            guarantee: Quota::default(),
            reclaimable: true,
            open: true,
            head_blocks: false,
            node_groups: NodeGroupAffinity::default(),
            node_group_limits: NodeGroupLimits::default(),
            annotations: Labels::new(),
        }
    }
}

/// Groups of nodes (label `volcano.sh/nodegroup-name`) where a queue's tasks must, should, should not and must not go.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct NodeGroupAffinity {
    /// Must.
    pub required: Vec<Box<str>>,
    /// Should, the most welcome first.
    pub preferred: Vec<Box<str>>,
    /// Must not.
    pub anti_required: Vec<Box<str>>,
    /// Should not.
    pub anti_preferred: Vec<Box<str>>,
}

/// The most that the tasks of a queue may hold in a group of nodes (annotation `volcano.sh/nodegroup-resource-limits`).
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum NodeGroupLimits {
    /// Per group; groups that are not listed and dimensions that are open have no limit.
    Known(Vec<(Box<str>, Quota)>),
    /// The driver could not read them: no task of the queue goes anywhere until they are mended.
    Unreadable,
}

impl Default for NodeGroupLimits {
    fn default() -> Self {
        Self::Known(Vec::new())
    }
}

/// A queue (virtual cluster, team) and what its tasks hold.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Queue {
    /// Its name.
    pub name: Box<str>,
    /// What it is entitled to.
    pub spec: QueueSpec,
    /// CPU, memory and extended resources held by its tasks, those being released too.
    pub allocated: Resources,
    /// Thousandths of GPUs held by its tasks.
    pub gpu_allocated_milli: u64,
}

impl Queue {
    pub(super) fn new(name: &str) -> Self {
        Self {
            name: name.into(),
            spec: QueueSpec::default(),
            allocated: Resources::default(),
            gpu_allocated_milli: 0,
        }
    }
}
