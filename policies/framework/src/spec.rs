//! What is asked of a node: requests, selectors, affinity, tolerations, spread. Shapes and meaning follow the
//! Kubernetes pod API.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::cmp::Ordering;

use crate::gpu::GpuRequest;
use crate::resources::Resources;
use crate::selector::{LabelSelector, Labels};

pub use crate::selector::{LabelOperator, LabelRequirement};

/// Everything that decides where a task may and should go. Tasks with equal specs are one class and share one
/// filter-and-score pass; what tells tasks of a class apart (name, priority, start) is in
/// [`Task`](crate::state::Task).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct TaskSpec {
    // What tells most specs apart comes first: the order of fields is that in which specs are compared.
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
    /// Those annotations of the task itself that some policy reads.
    pub annotations: Labels,
    /// Spread over topology domains.
    pub topology_spread: Vec<TopologySpreadConstraint>,
    /// Attraction to and repulsion from other tasks.
    pub pod_affinity: PodAffinity,
    /// The only node that it may go to (`spec.nodeName` of a pod that is not placed).
    pub node_name: Option<Box<str>>,
    /// Ports of the node that it occupies.
    pub host_ports: Vec<HostPort>,
    /// Images of its containers.
    pub images: Images,
    /// CPU and memory as kube-scheduler's scores count them, where that differs from what they count for a task of one
    /// container ([`ScoringRequests::of`]).
    pub scoring_requests: Option<ScoringRequests>,
    /// Whether it must not displace others (`preemptionPolicy: Never`).
    pub never_preempts: bool,
    /// Its namespace; empty where there are none.
    pub namespace: Box<str>,
    /// Its role in its job (`master`, `worker`, `ps`); empty where all are alike.
    pub role: Box<str>,
}

impl TaskSpec {
    /// Whether it requests nothing at all (Volcano's "best effort").
    pub fn is_best_effort(&self) -> bool {
        self.gpus.count == 0 && self.requests == Resources::default()
    }
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
    /// Whether a node of this name and with these labels meets the required terms.
    pub fn matches(&self, name: &str, labels: &Labels) -> bool {
        self.required.is_empty() || self.required.iter().any(|term| term.matches(name, labels))
    }
}

/// Requirements that must all hold. A term without requirements matches nothing.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct NodeSelectorTerm {
    /// Requirements on the node's labels.
    pub requirements: Vec<LabelRequirement>,
    /// Requirements on the node's name (`matchFields` on `metadata.name`).
    pub names: Vec<LabelOperator>,
}

impl NodeSelectorTerm {
    /// A term on labels alone.
    pub const fn new(requirements: Vec<LabelRequirement>) -> Self {
        Self { requirements, names: Vec::new() }
    }

    /// Whether a node of this name and with these labels meets all requirements.
    pub fn matches(&self, name: &str, labels: &Labels) -> bool {
        !(self.requirements.is_empty() && self.names.is_empty())
            && self.requirements.iter().all(|requirement| requirement.matches(labels))
            && self.names.iter().all(|operator| operator.holds(Some(name)))
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
    /// Instead of an equal value, an integer that compares so with `value`: `Greater` is operator `Gt`, `Less` is `Lt`.
    pub compares: Option<Ordering>,
}

impl Toleration {
    /// Whether it tolerates the taint.
    pub fn tolerates(&self, taint: &Taint) -> bool {
        self.effect.is_none_or(|effect| effect == taint.effect)
            && self.key.as_ref().is_none_or(|key| *key == taint.key)
            && self.value.as_ref().is_none_or(|value| self.tolerates_value(value, &taint.value))
    }

    fn tolerates_value(&self, value: &str, taint_value: &str) -> bool {
        let Some(compares) = self.compares else { return value == taint_value };
        match (taint_value.parse::<i64>(), value.parse::<i64>()) {
            (Ok(taint_value), Ok(value)) => taint_value.cmp(&value) == compares,
            _ => false,
        }
    }
}

/// A wish or demand to spread tasks evenly over the values of a node label.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct TopologySpreadConstraint {
    /// The node label whose values are the domains.
    pub topology_key: Box<str>,
    /// The difference in numbers of matching tasks that is still fine, at least 1.
    pub max_skew: u32,
    /// Whether a node that would exceed the skew is out of the question, or only less welcome.
    pub when_unsatisfiable: WhenUnsatisfiable,
    /// The tasks that count, of the newcomer's namespace. `None` and an empty selector count none.
    pub selector: Option<LabelSelector>,
    /// Fewer domains than this count as one more with no task.
    pub min_domains: Option<u32>,
    /// Whether nodes outside the task's node selector and affinity are left out of the counts.
    pub honours_node_affinity: bool,
    /// Whether nodes with taints that the task does not tolerate are left out of the counts.
    pub honours_node_taints: bool,
}

/// What becomes of a node that would exceed the skew of a spread constraint.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub enum WhenUnsatisfiable {
    /// It is less welcome.
    #[default]
    ScheduleAnyway,
    /// It is out of the question.
    DoNotSchedule,
}

impl TopologySpreadConstraint {
    /// A constraint with Kubernetes' defaults for what is not given.
    pub fn new(
        topology_key: impl Into<Box<str>>,
        max_skew: u32,
        when_unsatisfiable: WhenUnsatisfiable,
        selector: Option<LabelSelector>,
    ) -> Self {
        Self {
            topology_key: topology_key.into(),
            max_skew,
            when_unsatisfiable,
            selector,
            min_domains: None,
            honours_node_affinity: true,
            honours_node_taints: false,
        }
    }

    /// Whether a task with these labels, of the newcomer's namespace, counts.
    pub fn counts(&self, labels: &Labels) -> bool {
        self.selector
            .as_ref()
            .is_some_and(|selector| !selector.requirements.is_empty() && selector.matches(labels))
    }
}

/// Affinity of a task to other tasks.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct PodAffinity {
    /// All must hold.
    pub required: Vec<PodAffinityTerm>,
    /// Weight 1..=100 and term.
    pub preferred: Vec<(u32, PodAffinityTerm)>,
    /// None may hold.
    pub anti_required: Vec<PodAffinityTerm>,
    /// Weight 1..=100 and term: those that hold make a node less welcome.
    pub anti_preferred: Vec<(u32, PodAffinityTerm)>,
}

impl PodAffinity {
    /// Whether it says nothing.
    pub const fn is_empty(&self) -> bool {
        self.required.is_empty()
            && self.preferred.is_empty()
            && self.anti_required.is_empty()
            && self.anti_preferred.is_empty()
    }
}

/// The tasks of some namespaces with some labels, in the domains of a topology key.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct PodAffinityTerm {
    /// The node label whose values are the domains.
    pub topology_key: Box<str>,
    /// The tasks; `None` matches none.
    pub selector: Option<LabelSelector>,
    /// Namespaces by name. If these and the selector are empty, the owner's own namespace, which conversion fills in.
    pub namespaces: Vec<Box<str>>,
    /// Namespaces by label; an empty selector is all of them.
    pub namespace_selector: Option<LabelSelector>,
}

impl PodAffinityTerm {
    /// Whether a task is one that the term speaks of. `namespaces` are those of the cluster, with their labels; one that
    /// is not among them has no labels.
    pub fn selects(&self, task: &TaskSpec, namespaces: &BTreeMap<Box<str>, Labels>) -> bool {
        let selected = |selector: &LabelSelector| {
            namespaces
                .get(&task.namespace)
                .map_or_else(|| selector.matches(&Labels::new()), |labels| selector.matches(labels))
        };
        self.selector.as_ref().is_some_and(|selector| selector.matches(&task.labels))
            && (self.namespaces.contains(&task.namespace)
                || self.namespace_selector.as_ref().is_some_and(selected)
                || (self.namespaces.is_empty()
                    && self.namespace_selector.is_none()
                    && task.namespace.is_empty()))
    }
}

/// A port of a node that a task occupies.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct HostPort {
    /// The address; `0.0.0.0` stands for all of them.
    pub ip: Box<str>,
    /// The protocol, such as `TCP`.
    pub protocol: Box<str>,
    /// The port.
    pub port: u16,
}

impl HostPort {
    /// The address that stands for all.
    pub const ANY_IP: &'static str = "0.0.0.0";

    /// Whether two tasks cannot have both.
    pub fn clashes(&self, other: &Self) -> bool {
        self.port == other.port
            && self.protocol == other.protocol
            && (self.ip == other.ip || *self.ip == *Self::ANY_IP || *other.ip == *Self::ANY_IP)
    }
}

/// Images that a task needs on its node.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Images {
    /// Names with tag, one per container, init container and image volume, repeats included.
    pub names: Vec<Box<str>>,
    /// Containers and init containers.
    pub containers: u32,
}

/// CPU and memory as kube-scheduler's scores count them: what a container does not request counts with a default.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct ScoringRequests {
    /// Thousandths of a CPU core.
    pub cpu_milli: u64,
    /// Bytes of memory.
    pub memory_bytes: u64,
}

impl ScoringRequests {
    /// What a container counts for that requests no CPU.
    pub const DEFAULT_CPU_MILLI: u64 = 100;

    /// What a container counts for that requests no memory.
    pub const DEFAULT_MEMORY_BYTES: u64 = 200 << 20;

    /// Those of a task of one container.
    pub const fn of(requests: &Resources) -> Self {
        const fn non_zero(requested: u64, default: u64) -> u64 {
            if requested == 0 { default } else { requested }
        }
        Self {
            cpu_milli: non_zero(requests.cpu_milli, Self::DEFAULT_CPU_MILLI),
            memory_bytes: non_zero(requests.memory_bytes, Self::DEFAULT_MEMORY_BYTES),
        }
    }
}
