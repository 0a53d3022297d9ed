//! Volcano's `nodegroup`: queues and groups of nodes.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;

use foretell_framework::state::{NodeGroupAffinity, NodeGroupLimits};
use foretell_framework::{ClusterState, Dimension, NodeId, QueueId, Rejection, SessionPlugin, TaskId, Time};

/// The label that puts a node into a group.
const GROUP_LABEL: &str = "volcano.sh/nodegroup-name";

/// The score of a group that the queue must use, in points.
const BASE_SCORE: f64 = 100.0;

/// Arguments of the plugin.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NodeGroupConfig {
    /// Whether tasks of a queue that names no groups are kept off nodes in no group too.
    pub strict: bool,
    /// Whether preferred groups are worth the less the later they are listed.
    pub prefers_in_order: bool,
    /// Whether a queue that names no groups takes those of the queue above it.
    pub inherits: bool,
}

impl Default for NodeGroupConfig {
    fn default() -> Self {
        Self { strict: true, prefers_in_order: false, inherits: false }
    }
}

/// Sends the tasks of a queue to the groups of nodes that it names.
#[derive(Default)]
pub struct NodeGroup {
    config: NodeGroupConfig,
    /// What each queue with limits holds in each group.
    held: BTreeMap<(QueueId, Box<str>), BTreeMap<Dimension, u64>>,
}

impl NodeGroup {
    /// With these arguments.
    pub fn new(config: NodeGroupConfig) -> Self {
        Self { config, ..Self::default() }
    }

    /// The groups that a queue goes by: its own, or those of the nearest queue above that names any.
    fn affinity<'a>(&self, state: &'a ClusterState, queue: QueueId) -> Option<&'a NodeGroupAffinity> {
        let mut queue = queue;
        // A chain of parents longer than there are queues goes in a circle.
        for _ in state.queues() {
            let spec = &state.queue(queue).spec;
            if spec.node_groups != NodeGroupAffinity::default() {
                return Some(&spec.node_groups);
            }
            queue = spec.parent.filter(|_| self.config.inherits)?;
        }
        None
    }

    fn allows(&self, state: &ClusterState, queue: QueueId, group: Option<&str>) -> bool {
        let Some(affinity) = self.affinity(state, queue) else {
            return !self.config.strict && group.is_none();
        };
        let Some(group) = group else { return false };
        let is_in = |groups: &[Box<str>]| groups.iter().any(|name| **name == *group);
        // What the queue should avoid is still allowed; that is what tells it from what it must avoid.
        is_in(&affinity.anti_preferred)
            || !is_in(&affinity.anti_required) && (is_in(&affinity.required) || is_in(&affinity.preferred))
    }

    fn score(&self, state: &ClusterState, queue: QueueId, group: &str) -> f64 {
        let Some(affinity) = self.affinity(state, queue) else { return 0.0 };
        let position = |groups: &[Box<str>]| groups.iter().position(|name| **name == *group);
        if position(&affinity.anti_preferred).is_some() {
            return -1.0;
        }
        if position(&affinity.anti_required).is_some() {
            return 0.0;
        }
        let required = position(&affinity.required).map_or(0.0, |_| BASE_SCORE);
        let preferred = position(&affinity.preferred).map_or(0.0, |position| {
            let listed = affinity.preferred.len();
            let later = if self.config.prefers_in_order { position as f64 / listed as f64 } else { 0.0 };
            0.5 * BASE_SCORE * (1.0 - later)
        });
        required + preferred
    }

    /// Whether a queue may hold a task's requests in a group beside what it holds there.
    fn is_within_limit(&self, state: &ClusterState, queue: QueueId, group: &str, task: TaskId) -> bool {
        let limits = match &state.queue(queue).spec.node_group_limits {
            NodeGroupLimits::Unreadable => return false,
            NodeGroupLimits::Known(limits) => limits,
        };
        let Some((_, limit)) = limits.iter().find(|(name, _)| **name == *group) else { return true };
        let Some(spec) = state.task_spec(task) else { return true };
        let held = self.held.get(&(queue, group.into()));
        limit.named().all(|(dimension, limit)| {
            let requested = spec.requested().find(|&(requested, _)| requested == dimension);
            let held = held.and_then(|held| held.get(&dimension)).copied().unwrap_or(0);
            requested.is_none_or(|(_, amount)| held.saturating_add(amount) <= limit)
        })
    }

    fn count(&mut self, state: &ClusterState) {
        self.held.clear();
        let has_limits =
            |queue: QueueId| state.queue(queue).spec.node_group_limits != NodeGroupLimits::default();
        if !(0..state.queues().len()).any(|index| has_limits(QueueId::new(index))) {
            return;
        }
        for (_, task) in state.tasks() {
            let place =
                task.placement().filter(|_| task.status().is_placed()).map(|placement| placement.node);
            let Some(node) = place.or_else(|| task.nominated()) else { continue };
            let Some(queue) = state.job(task.job).map(|job| job.spec.queue) else { continue };
            let Some(group) = group(state, node).filter(|_| has_limits(queue)) else { continue };
            let held = self.held.entry((queue, group.into())).or_default();
            for (dimension, amount) in state.class_spec(task.class).requested() {
                *held.entry(dimension).or_default() += amount;
            }
        }
    }
}

fn group(state: &ClusterState, node: NodeId) -> Option<&str> {
    let label = state.node(node).spec.labels.get(GROUP_LABEL)?;
    (!label.is_empty()).then_some(label)
}

fn queue_of(state: &ClusterState, task: TaskId) -> Option<QueueId> {
    state.job(state.task(task)?.job).map(|job| job.spec.queue)
}

impl SessionPlugin for NodeGroup {
    fn name(&self) -> &'static str {
        "nodegroup"
    }

    fn open(&mut self, state: &ClusterState, _now: Time) {
        self.count(state);
    }

    fn on_allocate(&mut self, state: &ClusterState, _task: TaskId) {
        self.count(state);
    }

    fn on_deallocate(&mut self, state: &ClusterState, _task: TaskId) {
        self.count(state);
    }

    fn judges_nodes(&self, _state: &ClusterState, _task: TaskId) -> bool {
        true
    }

    fn filter_node(&self, state: &ClusterState, task: TaskId, node: NodeId) -> Result<(), Rejection> {
        let Some(queue) = queue_of(state, task) else { return Ok(()) };
        let group = group(state, node);
        if state.queue(queue).spec.node_group_limits == NodeGroupLimits::Unreadable {
            return Err(Rejection::NodeGroupLimit);
        }
        if !self.allows(state, queue, group) {
            return Err(Rejection::NodeGroup);
        }
        match group {
            Some(group) if !self.is_within_limit(state, queue, group, task) => Err(Rejection::NodeGroupLimit),
            _ => Ok(()),
        }
    }

    fn score_nodes(&self, state: &ClusterState, task: TaskId, nodes: &[NodeId], scores: &mut [f64]) {
        let Some(queue) = queue_of(state, task) else { return };
        for (score, &node) in scores.iter_mut().zip(nodes) {
            *score += group(state, node).map_or(0.0, |group| self.score(state, queue, group));
        }
    }
}
