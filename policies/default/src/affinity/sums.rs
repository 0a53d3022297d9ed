//! What placed tasks mean to a newcomer, summed over topology domains, kept and repaired where nodes changed.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec;
use alloc::vec::Vec;

use foretell_framework::spec::{PodAffinity, PodAffinityTerm};
use foretell_framework::{ClusterState, Labels, NodeId, Rejection, Stamp, TaskSpec};

use crate::domains::Domains;

/// How many kinds of newcomers are kept; beyond, the one not asked for the longest is summed anew when it is.
const MAX_KINDS: usize = 64;

/// What is summed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Purpose {
    /// What filters need: required terms, of the newcomer and of placed tasks against it.
    Filter,
    /// What scores need: preferred terms of both, and with this weight the required affinity of placed tasks.
    Score {
        /// `hardPodAffinityWeight`.
        hard_weight: i64,
    },
}

impl Purpose {
    /// Whether terms of a placed task are looked at, whatever the newcomer.
    pub(super) const fn concerns(self, placed: &PodAffinity) -> bool {
        match self {
            Self::Filter => !placed.anti_required.is_empty(),
            Self::Score { hard_weight } => {
                !placed.preferred.is_empty()
                    || !placed.anti_preferred.is_empty()
                    || (hard_weight > 0 && !placed.required.is_empty())
            }
        }
    }

    /// Whether terms of the newcomer are looked at.
    pub(super) const fn concerns_newcomer(self, newcomer: &PodAffinity) -> bool {
        match self {
            Self::Filter => !newcomer.required.is_empty() || !newcomer.anti_required.is_empty(),
            Self::Score { .. } => !newcomer.preferred.is_empty() || !newcomer.anti_preferred.is_empty(),
        }
    }
}

/// The sums for the newcomers that were asked about last.
pub(super) struct Sums {
    purpose: Purpose,
    /// The kind asked for last comes first.
    kinds: Vec<Kind>,
    /// Classes that were looked at, and whether any of them has terms that concern others.
    classes: usize,
    any_class_concerns: bool,
    /// Namespaces as they were when terms were matched, and the version of the cluster's objects.
    namespaces: BTreeMap<Box<str>, Labels>,
    version: u64,
}

impl Sums {
    pub(super) const fn new(purpose: Purpose) -> Self {
        Self {
            purpose,
            kinds: Vec::new(),
            classes: 0,
            any_class_concerns: false,
            namespaces: BTreeMap::new(),
            version: 0,
        }
    }

    /// Brings the sums for a newcomer up to date; they are [`Self::latest`] then. Whether placed tasks can mean anything
    /// to it, or it to them.
    pub(super) fn refresh(&mut self, state: &ClusterState, task: &TaskSpec) -> bool {
        for (_, spec) in state.classes().skip(self.classes) {
            self.classes += 1;
            self.any_class_concerns |= self.purpose.concerns(&spec.pod_affinity);
        }
        if !self.any_class_concerns && !self.purpose.concerns_newcomer(&task.pod_affinity) {
            return false;
        }
        if self.version != state.objects_version() {
            self.version = state.objects_version();
            if self.namespaces != state.objects().namespaces {
                self.namespaces.clone_from(&state.objects().namespaces);
                self.kinds.clear();
            }
        }
        let position = self.kinds.iter().position(|kind| kind.is_for(task)).unwrap_or_else(|| {
            self.kinds.truncate(MAX_KINDS - 1);
            self.kinds.push(Kind::new(task, self.purpose));
            self.kinds.len() - 1
        });
        self.kinds[..=position].rotate_right(1);
        self.kinds[0].refresh(state, self.purpose);
        !self.kinds[0].channels.is_empty()
    }

    /// The sums that were asked for last.
    pub(super) fn latest(&self) -> Option<&Kind> {
        self.kinds.first()
    }
}

/// What a sum is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Role {
    /// Placed tasks that match all required affinity terms of the newcomer, in the domains of one of them.
    Affinity,
    /// Placed tasks that match a required anti-affinity term of the newcomer.
    AntiAffinity,
    /// Required anti-affinity terms of placed tasks that match the newcomer.
    Existing,
    /// Weights.
    Score,
}

/// One sum over the domains of one key.
struct Channel {
    role: Role,
    domains: Domains,
    /// What tasks on each node contribute.
    on_node: Vec<i64>,
    in_domain: Vec<i64>,
}

/// The sums for newcomers of one namespace with these labels and terms.
pub(super) struct Kind {
    namespace: Box<str>,
    labels: Labels,
    affinity: PodAffinity,
    /// Whether the newcomer matches all of its own required affinity terms; `None` where it has none.
    matches_itself: bool,
    channels: Vec<Channel>,
    /// What a task of a class contributes to which channels, by class.
    effects: Vec<Vec<(usize, i64)>>,
    seen: Stamp,
    nodes: usize,
}

impl Kind {
    fn new(task: &TaskSpec, purpose: Purpose) -> Self {
        let mut kind = Self {
            namespace: task.namespace.clone(),
            labels: task.labels.clone(),
            affinity: task.pod_affinity.clone(),
            matches_itself: false,
            channels: Vec::new(),
            effects: Vec::new(),
            seen: Stamp::ZERO,
            nodes: 0,
        };
        if purpose == Purpose::Filter {
            // A term that nothing matches yet counts too: its key must be on the node.
            let empty = ClusterState::new();
            for term in &task.pod_affinity.required {
                kind.channels.push(Channel::new(&empty, Role::Affinity, &term.topology_key));
            }
            for term in &task.pod_affinity.anti_required {
                kind.channels.push(Channel::new(&empty, Role::AntiAffinity, &term.topology_key));
            }
        }
        kind
    }

    fn is_for(&self, task: &TaskSpec) -> bool {
        self.namespace == task.namespace && self.labels == task.labels && self.affinity == task.pod_affinity
    }

    fn refresh(&mut self, state: &ClusterState, purpose: Purpose) {
        self.look_at_classes(state, purpose);
        if self.nodes != state.nodes().len() || self.seen < state.node_specs_changed() {
            self.nodes = state.nodes().len();
            for channel in &mut self.channels {
                *channel = Channel::new(state, channel.role, &channel.domains.key);
            }
            for node in state.node_ids() {
                self.sum_again(state, node);
            }
        } else if self.seen != state.stamp() && !self.channels.is_empty() {
            for node in state.changed_since(self.seen) {
                self.sum_again(state, node);
            }
        }
        self.seen = state.stamp();
    }

    fn look_at_classes(&mut self, state: &ClusterState, purpose: Purpose) {
        for (_, placed) in state.classes().skip(self.effects.len()) {
            let mut effects = Vec::new();
            match purpose {
                Purpose::Filter => self.filter_effects(state, placed, &mut effects),
                Purpose::Score { hard_weight } => {
                    self.score_effects(state, placed, hard_weight, &mut effects);
                }
            }
            self.effects.push(effects);
        }
        self.matches_itself = !self.affinity.required.is_empty() && {
            let newcomer = self.as_task();
            let namespaces = &state.objects().namespaces;
            self.affinity.required.iter().all(|term| term.selects(&newcomer, namespaces))
        };
    }

    /// The newcomer, as far as terms look at it.
    fn as_task(&self) -> TaskSpec {
        TaskSpec { namespace: self.namespace.clone(), labels: self.labels.clone(), ..TaskSpec::default() }
    }

    fn filter_effects(&mut self, state: &ClusterState, placed: &TaskSpec, effects: &mut Vec<(usize, i64)>) {
        let namespaces = &state.objects().namespaces;
        let required = &self.affinity.required;
        if !required.is_empty() && required.iter().all(|term| term.selects(placed, namespaces)) {
            effects.extend((0..required.len()).map(|channel| (channel, 1)));
        }
        for (index, term) in self.affinity.anti_required.iter().enumerate() {
            if term.selects(placed, namespaces) {
                effects.push((required.len() + index, 1));
            }
        }
        if !placed.pod_affinity.anti_required.is_empty() {
            let newcomer = self.as_task();
            for term in
                placed.pod_affinity.anti_required.iter().filter(|term| term.selects(&newcomer, namespaces))
            {
                effects.push((self.channel(state, Role::Existing, &term.topology_key), 1));
            }
        }
    }

    fn score_effects(
        &mut self,
        state: &ClusterState,
        placed: &TaskSpec,
        hard_weight: i64,
        effects: &mut Vec<(usize, i64)>,
    ) {
        let namespaces = &state.objects().namespaces;
        let weighted = |terms: &[(u32, PodAffinityTerm)], task: &TaskSpec, sign: i64, found: &mut Found| {
            let matching = terms.iter().filter(|(_, term)| term.selects(task, namespaces));
            found.extend(
                matching.map(|(weight, term)| (term.topology_key.clone(), i64::from(*weight) * sign)),
            );
        };
        let mut found = Found::new();
        weighted(&self.affinity.preferred, placed, 1, &mut found);
        weighted(&self.affinity.anti_preferred, placed, -1, &mut found);
        let terms = &placed.pod_affinity;
        if !terms.is_empty() {
            let newcomer = self.as_task();
            if hard_weight > 0 {
                let matching = terms.required.iter().filter(|term| term.selects(&newcomer, namespaces));
                found.extend(matching.map(|term| (term.topology_key.clone(), hard_weight)));
            }
            weighted(&terms.preferred, &newcomer, 1, &mut found);
            weighted(&terms.anti_preferred, &newcomer, -1, &mut found);
        }
        for (key, weight) in found {
            effects.push((self.channel(state, Role::Score, &key), weight));
        }
    }

    /// The channel of a role over a key, made on first sight. Nothing was summed for it yet: tasks of the class that asks
    /// for it came after the last look at the nodes.
    fn channel(&mut self, state: &ClusterState, role: Role, key: &str) -> usize {
        let is_it = |channel: &Channel| channel.role == role && *channel.domains.key == *key;
        self.channels.iter().position(is_it).unwrap_or_else(|| {
            self.channels.push(Channel::new(state, role, key));
            self.channels.len() - 1
        })
    }

    fn sum_again(&mut self, state: &ClusterState, node: NodeId) {
        let index = node.index();
        for channel in &mut self.channels {
            channel.add(node, -channel.on_node[index]);
            channel.on_node[index] = 0;
        }
        for task in state.node(node).tasks().iter().filter_map(|&task| state.task(task)) {
            for &(channel, amount) in &self.effects[task.class.index()] {
                self.channels[channel].on_node[index] += amount;
            }
        }
        for channel in &mut self.channels {
            channel.add(node, channel.on_node[index]);
        }
    }

    /// kube-scheduler's verdict on a node.
    pub(super) fn filter(&self, node: NodeId) -> Result<(), Rejection> {
        let of = |role: Role| self.channels.iter().filter(move |channel| channel.role == role);
        if of(Role::Affinity).any(|channel| channel.domains.of(node).is_none()) {
            return Err(Rejection::PodAffinity);
        }
        let all_there = of(Role::Affinity).all(|channel| channel.at(node) > 0);
        // The first of a group that wants to be together may go anywhere.
        let is_first = || {
            self.matches_itself
                && of(Role::Affinity).all(|channel| channel.in_domain.iter().all(|&sum| sum == 0))
        };
        if !all_there && !is_first() {
            return Err(Rejection::PodAffinity);
        }
        if of(Role::AntiAffinity).any(|channel| channel.at(node) > 0) {
            return Err(Rejection::PodAntiAffinity);
        }
        if of(Role::Existing).any(|channel| channel.at(node) > 0) {
            return Err(Rejection::ExistingPodAntiAffinity);
        }
        Ok(())
    }

    /// Whether any node would be preferred.
    pub(super) fn has_preference(&self) -> bool {
        self.channels.iter().any(|channel| channel.in_domain.iter().any(|&sum| sum != 0))
    }

    /// The sum of the weights at a node.
    pub(super) fn score(&self, node: NodeId) -> i64 {
        self.channels.iter().map(|channel| channel.at(node)).sum()
    }
}

/// Keys and weights.
type Found = Vec<(Box<str>, i64)>;

impl Channel {
    fn new(state: &ClusterState, role: Role, key: &str) -> Self {
        let domains = Domains::new(state, key);
        let in_domain = vec![0; domains.count()];
        Self { role, domains, on_node: vec![0; state.nodes().len()], in_domain }
    }

    fn add(&mut self, node: NodeId, amount: i64) {
        if let Some(domain) = self.domains.of(node) {
            self.in_domain[domain] += amount;
        }
    }

    fn at(&self, node: NodeId) -> i64 {
        self.domains.of(node).map_or(0, |domain| self.in_domain[domain])
    }
}
