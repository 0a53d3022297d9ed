//! What is asked of a node: requests, selectors, affinity, tolerations, spread. Shapes and meaning follow the
//! Kubernetes pod API.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use crate::gpu::GpuRequest;
use crate::resources::Resources;

/// Labels of a node or a task.
pub type Labels = BTreeMap<Box<str>, Box<str>>;

/// Everything that decides where a task may and should go. Tasks with equal specs are one class and share one
/// filter-and-score pass.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct TaskSpec {
    /// CPU, memory, extended resources.
    pub requests: Resources,
    /// GPU devices.
    pub gpus: GpuRequest,
    /// Labels that the node must carry.
    pub node_selector: Labels,
    /// Required and preferred node affinity.
    pub node_affinity: NodeAffinity,
    /// Taints that the task puts up with.
    pub tolerations: Vec<Toleration>,
    /// Labels of the task itself, for others' selectors.
    pub labels: Labels,
    /// Spread over topology domains.
    pub topology_spread: Vec<TopologySpreadConstraint>,
}

/// Node affinity of a task.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct NodeAffinity {
    /// At least one term must match; no terms at all ask for nothing.
    pub required: Vec<NodeSelectorTerm>,
    /// Weight 1..=100 and term: matching terms add their weight to the node's score.
    pub preferred: Vec<(u32, NodeSelectorTerm)>,
}

impl NodeAffinity {
    /// Whether a node with these labels meets the required terms.
    pub fn matches(&self, labels: &Labels) -> bool {
        self.required.is_empty() || self.required.iter().any(|term| term.matches(labels))
    }
}

/// Requirements that must all hold. A term without requirements matches nothing.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct NodeSelectorTerm {
    /// The requirements.
    pub requirements: Vec<LabelRequirement>,
}

impl NodeSelectorTerm {
    /// Whether labels meet all requirements.
    pub fn matches(&self, labels: &Labels) -> bool {
        !self.requirements.is_empty()
            && self.requirements.iter().all(|requirement| requirement.matches(labels))
    }
}

/// One requirement on a label.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct LabelRequirement {
    /// The label's key.
    pub key: Box<str>,
    /// What must hold of its value.
    pub operator: LabelOperator,
}

/// What must hold of a label's value.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum LabelOperator {
    /// Present with one of the values.
    In(Vec<Box<str>>),
    /// Absent, or with none of the values.
    NotIn(Vec<Box<str>>),
    /// Present.
    Exists,
    /// Absent.
    DoesNotExist,
    /// An integer greater than this.
    Gt(i64),
    /// An integer less than this.
    Lt(i64),
}

impl LabelRequirement {
    /// Whether labels meet it.
    pub fn matches(&self, labels: &Labels) -> bool {
        let value = labels.get(&self.key);
        let integer = || value.and_then(|value| value.parse::<i64>().ok());
        match &self.operator {
            LabelOperator::In(values) => value.is_some_and(|value| values.contains(value)),
            LabelOperator::NotIn(values) => value.is_none_or(|value| !values.contains(value)),
            LabelOperator::Exists => value.is_some(),
            LabelOperator::DoesNotExist => value.is_none(),
            LabelOperator::Gt(bound) => integer().is_some_and(|value| value > *bound),
            LabelOperator::Lt(bound) => integer().is_some_and(|value| value < *bound),
        }
    }
}

/// What a taint does to tasks that do not tolerate it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum TaintEffect {
    /// Keeps them off.
    NoSchedule,
    /// Makes the node less welcome.
    PreferNoSchedule,
    /// Keeps them off and evicts those already there.
    NoExecute,
}

/// A taint of a node.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Taint {
    /// Key.
    pub key: Box<str>,
    /// Value, often empty.
    pub value: Box<str>,
    /// Effect.
    pub effect: TaintEffect,
}

/// A toleration of a task.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Toleration {
    /// Key; `None` tolerates every key.
    pub key: Option<Box<str>>,
    /// Value that must be equal; `None` tolerates every value (operator `Exists`).
    pub value: Option<Box<str>>,
    /// Effect; `None` tolerates every effect.
    pub effect: Option<TaintEffect>,
}

impl Toleration {
    /// Whether it tolerates the taint.
    pub fn tolerates(&self, taint: &Taint) -> bool {
        self.effect.is_none_or(|effect| effect == taint.effect)
            && self.key.as_ref().is_none_or(|key| *key == taint.key)
            && self.value.as_ref().is_none_or(|value| *value == taint.value)
    }
}

/// A wish to spread tasks evenly over the values of a node label (`ScheduleAnyway`).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct TopologySpreadConstraint {
    /// The node label whose values are the domains.
    pub topology_key: Box<str>,
    /// The difference in numbers of matching tasks that is still fine, at least 1.
    pub max_skew: u32,
    /// The tasks that count: those carrying all of these labels. An empty selector counts none.
    pub selector: Labels,
}

impl TopologySpreadConstraint {
    /// Whether a task with these labels counts.
    pub fn counts(&self, labels: &Labels) -> bool {
        !self.selector.is_empty() && self.selector.iter().all(|(key, value)| labels.get(key) == Some(value))
    }
}
