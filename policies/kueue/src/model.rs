//! What quotas are given to and what asks for them.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use foretell_framework::spec::{NodeSelectorTerm, Taint, TaintEffect, Toleration};
use foretell_framework::{LabelSelector, Labels, Time};

use crate::ids::{FlavorId, QueueId, ResourceId};
use crate::topology::{LeafId, LevelRequest, PodShape, TopologyGates, TopologyRequest, TopologySnapshot};
use crate::tree::{Amounts, Tree};

/// Flavors, queues, and the tree of their quotas.
#[derive(Clone, Debug)]
pub struct Model {
    /// The flavors, by id.
    pub flavors: Vec<Flavor>,
    /// The cluster queues, by id.
    pub queues: Vec<Queue>,
    /// Their quotas, without usage.
    pub tree: Tree,
    /// Labels of namespaces, for the selectors of queues.
    pub namespaces: BTreeMap<Box<str>, Labels>,
    /// The resource of which every pod uses one, if some queue has a quota of it.
    pub pods: Option<ResourceId>,
    /// The nodes of flavors that have a topology, without usage of workloads.
    pub topologies: BTreeMap<FlavorId, TopologySnapshot>,
    /// Feature gates of topology-aware assignment.
    pub topology_gates: TopologyGates,
}

/// A kind of nodes.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Flavor {
    /// Labels of its nodes.
    pub node_labels: Labels,
    /// Taints of its nodes.
    pub taints: Vec<Taint>,
    /// Tolerations that its pods are given.
    pub tolerations: Vec<Toleration>,
    /// The levels of its topology, widest first, if pods are assigned by one.
    pub topology: Option<Vec<Box<str>>>,
}

/// A cluster queue. Its quotas are in the tree.
#[derive(Clone, PartialEq, Debug)]
pub struct Queue {
    /// Its resources and flavors.
    pub groups: Vec<ResourceGroup>,
    /// Whether a head that does not fit blocks the rest (`StrictFIFO`).
    pub strict: bool,
    /// Whether it takes part: not stopped, all flavors known.
    pub active: bool,
    /// The namespaces that it takes; none if absent.
    pub namespaces: Option<LabelSelector>,
    /// When the next flavor is tried.
    pub fungibility: Fungibility,
    /// Whom its workloads displace.
    pub preemption: Preemption,
}

/// Resources that share flavors.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ResourceGroup {
    /// The resources.
    pub resources: Vec<ResourceId>,
    /// The flavors, in order of preference.
    pub flavors: Vec<FlavorId>,
}

/// What to do at a flavor that would serve, but not at best.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Search {
    /// Take it.
    MayStop,
    /// See what the next one offers.
    TryNext,
}

/// When the next flavor is tried, and which is preferred.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fungibility {
    /// At a flavor that needs borrowing.
    pub when_can_borrow: Search,
    /// At a flavor that needs preemption.
    pub when_can_preempt: Search,
    /// Whether preempting is better than borrowing.
    pub prefers_preemption: bool,
}

impl Default for Fungibility {
    fn default() -> Self {
        Self {
            when_can_borrow: Search::MayStop,
            when_can_preempt: Search::TryNext,
            prefers_preemption: false,
        }
    }
}

/// Which workloads a workload may displace.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Victims {
    /// None.
    #[default]
    Never,
    /// Those of lower priority.
    LowerPriority,
    /// Those of lower priority, and of the same those that are newer.
    LowerOrNewerEqualPriority,
    /// All.
    Any,
}

/// Whom the workloads of a queue displace.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Preemption {
    /// In the queue itself.
    pub within_queue: Victims,
    /// In queues that borrow.
    pub reclaim: Victims,
    /// In queues that borrow, while borrowing oneself; never if absent.
    pub while_borrowing: Option<WhileBorrowing>,
}

/// Displacing others while borrowing. Only workloads of lower priority are displaced.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct WhileBorrowing {
    /// And only those of at most this priority.
    pub threshold: Option<i32>,
}

/// What is admitted as a whole.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Workload {
    /// Its cluster queue, if there is one.
    pub queue: Option<QueueId>,
    /// Its namespace.
    pub namespace: Box<str>,
    /// Decides what nothing else decides.
    pub uid: Box<str>,
    /// Larger goes first.
    pub priority: i32,
    /// Since when it waits: its creation, or a later eviction after which it is to queue anew.
    pub queued: Time,
    /// Its pods.
    pub pod_sets: Vec<PodSet>,
    /// The quota that it holds.
    pub admission: Option<Admission>,
    /// Whether it is on its way out. It holds its quota until it is gone.
    pub evicted: bool,
}

/// Pods alike.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct PodSet {
    /// How many.
    pub count: u32,
    /// How few will do; all if absent.
    pub min_count: Option<u32>,
    /// What one pod requests, zeros too, and which nodes it may go to.
    pub shape: PodShape,
    /// Where they want to be. Sets of one group get the same flavor.
    pub topology: TopologyRequest,
}

/// The quota that a workload holds.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Admission {
    /// Since when.
    pub reserved: Time,
    /// What it uses.
    pub usage: Amounts,
    /// Where its pods are, of sets that are assigned by topology.
    pub leaves: Vec<LeafUse>,
}

/// Pods on a leaf of a topology.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LeafUse {
    /// The flavor whose topology it is.
    pub flavor: FlavorId,
    /// The leaf.
    pub leaf: LeafId,
    /// What decides what a pod uses.
    pub shape: PodShape,
    /// How many.
    pub pods: u32,
}

impl Queue {
    /// The first group that has a resource.
    pub fn group_of(&self, resource: ResourceId) -> Option<&ResourceGroup> {
        self.groups.iter().find(|group| group.resources.contains(&resource))
    }

    /// Whether it can always take back what others borrow of it.
    pub fn can_always_reclaim(&self) -> bool {
        self.preemption.reclaim == Victims::Any
    }
}

impl Model {
    /// Whether all flavors of a queue have a topology, so that its pods need not ask for one.
    pub fn is_topology_only(&self, queue: QueueId) -> bool {
        let mut flavors =
            self.queues[queue.index()].groups.iter().flat_map(|group| &group.flavors).peekable();
        flavors.peek().is_some() && flavors.all(|flavor| self.flavors[flavor.index()].topology.is_some())
    }

    /// Whether a queue takes workloads of a namespace.
    pub fn takes(&self, queue: QueueId, namespace: &str) -> bool {
        let labels = self.namespaces.get(namespace);
        let selector = self.queues[queue.index()].namespaces.as_ref();
        selector.is_some_and(|selector| match labels {
            Some(labels) => selector.matches(labels),
            None => selector.matches(&Labels::new()),
        })
    }

    /// Whether pods of a set of a queue can go to nodes of a flavor.
    pub fn admits(&self, queue: QueueId, flavor: FlavorId, pods: &PodSet) -> bool {
        let flavor = &self.flavors[flavor.index()];
        let wants_topology = pods.asks_for_topology() || self.is_topology_only(queue);
        let topology = match (&flavor.topology, wants_topology) {
            (Some(levels), true) => pods.levels().all(|level| levels.contains(level)),
            (topology, wants) => topology.is_some() == wants,
        };
        topology && flavor.is_tolerated_by(pods) && flavor.is_selected_by(pods)
    }
}

impl Flavor {
    fn is_tolerated_by(&self, pods: &PodSet) -> bool {
        let binding = self.taints.iter().filter(|taint| taint.effect != TaintEffect::PreferNoSchedule);
        let tolerations = pods.shape.tolerations.iter().chain(&self.tolerations);
        binding.into_iter().all(|taint| tolerations.clone().any(|toleration| toleration.tolerates(taint)))
    }

    /// Only the labels that the flavor has are looked at: others may be told by the nodes themselves.
    fn is_selected_by(&self, pods: &PodSet) -> bool {
        let labels = &self.node_labels;
        let selected = &pods.shape.node_selector;
        if labels.iter().any(|(key, own)| selected.get(key).is_some_and(|value| value != own)) {
            return false;
        }
        let known = |term: &NodeSelectorTerm| {
            let requirements = term.requirements.iter();
            requirements.filter(|requirement| labels.contains_key(&requirement.key)).cloned().collect()
        };
        let terms: Vec<Vec<_>> = pods.shape.node_affinity.required.iter().map(known).collect();
        // A term about other labels only may hold on any node, and one term is enough.
        terms.is_empty()
            || terms.iter().any(Vec::is_empty)
            || terms.iter().any(|term| term.iter().all(|requirement| requirement.matches(labels)))
    }
}

impl PodSet {
    /// Whether it asks to be assigned by topology.
    pub fn asks_for_topology(&self) -> bool {
        self.topology.level.is_some() || !self.topology.slices.is_empty()
    }

    /// The levels that it asks for.
    fn levels(&self) -> impl Iterator<Item = &Box<str>> {
        let level = match &self.topology.level {
            Some(LevelRequest::Required(level) | LevelRequest::Preferred(level)) => Some(level),
            Some(LevelRequest::Unconstrained) | None => None,
        };
        level.into_iter().chain(self.topology.slices.iter().map(|slice| &slice.level))
    }

    /// What one pod requests of a resource.
    pub fn request(&self, resource: ResourceId) -> i64 {
        let known = self.shape.requests.iter().find(|&&(known, _)| known == resource);
        known.map_or(0, |&(_, amount)| amount)
    }
}

impl Workload {
    /// Whether it uses some of the cells.
    pub fn uses(&self, cells: &[crate::ids::Cell]) -> bool {
        self.admission
            .as_ref()
            .is_some_and(|admission| cells.iter().any(|cell| admission.usage.contains_key(cell)))
    }

    /// Whether fewer pods than all would do.
    pub fn can_shrink(&self) -> bool {
        self.pod_sets.iter().any(|pods| pods.min_count.is_some_and(|least| least < pods.count))
    }
}
