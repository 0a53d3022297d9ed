//! How many tasks the constraints of a newcomer count, kept and repaired where nodes changed.

use alloc::vec;
use alloc::vec::Vec;

use foretell_framework::spec::{Toleration, TopologySpreadConstraint};
use foretell_framework::{ClassId, ClusterState, Labels, NodeId, Rejection, Stamp, TaskSpec, TaskStatus};

use crate::domains::Domains;
use crate::filters::{node_matches, tolerates_taints};
use crate::scores::MAX_NODE_SCORE;

const HOSTNAME_LABEL: &str = "kubernetes.io/hostname";

/// How many sets of constraints are kept counted; beyond, the one not asked for the longest is counted anew when it is.
const MAX_SPREADS: usize = 64;

/// The counts for the newcomers that were asked about last.
#[derive(Default)]
pub(super) struct Spreads {
    /// The one asked for last comes first.
    spreads: Vec<Spread>,
}

impl Spreads {
    /// The counts for a newcomer with these constraints, brought up to date. They are the first until the next call.
    pub(super) fn refresh(
        &mut self,
        state: &ClusterState,
        task: &TaskSpec,
        constraints: &[&TopologySpreadConstraint],
        needs_all_keys: bool,
    ) -> &mut Spread {
        let is_for = |spread: &Spread| spread.is_for(task, constraints, needs_all_keys);
        let position = self.spreads.iter().position(is_for).unwrap_or_else(|| {
            self.spreads.truncate(MAX_SPREADS - 1);
            self.spreads.push(Spread::new(task, constraints, needs_all_keys));
            self.spreads.len() - 1
        });
        self.spreads[..=position].rotate_right(1);
        self.spreads[0].refresh(state, task);
        &mut self.spreads[0]
    }

    /// The counts that were asked for last.
    pub(super) fn latest(&self) -> Option<&Spread> {
        self.spreads.first()
    }
}

/// The tasks that some constraints count, for all newcomers of a namespace with these constraints, selector and affinity.
pub(super) struct Spread {
    namespace: alloc::boxed::Box<str>,
    node_selector: Labels,
    required: Vec<foretell_framework::spec::NodeSelectorTerm>,
    /// Of the newcomer; empty where no constraint asks for them.
    tolerations: Vec<Toleration>,
    constraints: Vec<Constraint>,
    /// Whether a node without one of the keys is out of it.
    needs_all_keys: bool,
    seen: Stamp,
    /// Whether a node has what keys it needs.
    has_keys: Vec<bool>,
}

struct Constraint {
    spec: TopologySpreadConstraint,
    domains: Domains,
    /// Whether tasks of a class count; `None` where nobody asked yet.
    counts_class: Vec<Option<bool>>,
    /// Whether tasks on a node count for its domain.
    eligible: Vec<bool>,
    /// Matching tasks on each node.
    on_node: Vec<u32>,
    /// Matching tasks on the eligible nodes of each domain.
    in_domain: Vec<u32>,
    /// Domains with an eligible node.
    seen_domains: Vec<u32>,
    /// The least count of these, kept while nothing changes.
    lowest: u32,
    /// The last search that met the domain.
    met: Vec<u64>,
    searches: u64,
}

impl Spread {
    fn new(task: &TaskSpec, constraints: &[&TopologySpreadConstraint], needs_all_keys: bool) -> Self {
        let honours_taints = constraints.iter().any(|constraint| constraint.honours_node_taints);
        let empty = ClusterState::new();
        let constraints = constraints.iter().map(|&spec| Constraint {
            spec: spec.clone(),
            domains: Domains::new(&empty, &spec.topology_key),
            counts_class: Vec::new(),
            eligible: Vec::new(),
            on_node: Vec::new(),
            in_domain: Vec::new(),
            seen_domains: Vec::new(),
            lowest: 0,
            met: Vec::new(),
            searches: 0,
        });
        Self {
            namespace: task.namespace.clone(),
            node_selector: task.node_selector.clone(),
            required: task.node_affinity.required.clone(),
            tolerations: if honours_taints { task.tolerations.clone() } else { Vec::new() },
            constraints: constraints.collect(),
            needs_all_keys,
            seen: Stamp::ZERO,
            has_keys: Vec::new(),
        }
    }

    fn is_for(
        &self,
        task: &TaskSpec,
        constraints: &[&TopologySpreadConstraint],
        needs_all_keys: bool,
    ) -> bool {
        let honours_taints = self.constraints.iter().any(|constraint| constraint.spec.honours_node_taints);
        self.needs_all_keys == needs_all_keys
            && self.namespace == task.namespace
            && self.constraints.iter().map(|constraint| &constraint.spec).eq(constraints.iter().copied())
            && self.node_selector == task.node_selector
            && self.required == task.node_affinity.required
            && (!honours_taints || self.tolerations == task.tolerations)
    }

    fn refresh(&mut self, state: &ClusterState, task: &TaskSpec) {
        if self.seen == state.stamp() {
            return;
        }
        if self.has_keys.len() != state.nodes().len() || self.seen < state.node_specs_changed() {
            self.count_all(state, task);
        } else {
            for node in state.changed_since(self.seen) {
                for constraint in &mut self.constraints {
                    constraint.count_again(state, &self.namespace, node);
                }
            }
        }
        self.seen = state.stamp();
        for constraint in &mut self.constraints {
            constraint.lowest = constraint.find_lowest();
        }
    }

    fn count_all(&mut self, state: &ClusterState, task: &TaskSpec) {
        for constraint in &mut self.constraints {
            constraint.domains = Domains::new(state, &constraint.spec.topology_key);
        }
        let has_keys = |node: NodeId| {
            !self.needs_all_keys
                || self.constraints.iter().all(|constraint| constraint.domains.of(node).is_some())
        };
        self.has_keys = state.node_ids().map(has_keys).collect();
        for constraint in &mut self.constraints {
            constraint.count_all(state, &self.namespace, task, &self.has_keys);
        }
    }

    /// kube-scheduler's verdict on a node for hard constraints. `task` is the newcomer.
    pub(super) fn filter(&self, task: &TaskSpec, node: NodeId) -> Result<(), Rejection> {
        for constraint in &self.constraints {
            let domain = constraint.domains.of(node).ok_or(Rejection::TopologyKeyMissing)?;
            let own =
                constraint.spec.selector.as_ref().is_some_and(|selector| selector.matches(&task.labels));
            let count = constraint.in_domain[domain] + u32::from(own);
            if count > constraint.lowest.saturating_add(constraint.spec.max_skew) {
                return Err(Rejection::TopologySpread);
            }
        }
        Ok(())
    }

    /// kube-scheduler's score and its normalisation: the most crowded candidates get the least.
    pub(super) fn score(&mut self, candidates: &[NodeId], scores: &mut Vec<i64>) {
        let rated = |node: NodeId| self.has_keys[node.index()];
        let count = candidates.iter().filter(|&&node| rated(node)).count();
        let weights: Vec<f64> = self
            .constraints
            .iter_mut()
            .map(|constraint| {
                let domains = if constraint.is_hostname() {
                    count
                } else {
                    constraint.domains_of(candidates.iter().copied().filter(|&node| rated(node)))
                };
                libm::log(domains as f64 + 2.0)
            })
            .collect();
        let raw = |node: NodeId| {
            let parts = self.constraints.iter().zip(&weights).filter_map(|(constraint, weight)| {
                let count = f64::from(constraint.count(node)?);
                Some(count * weight + f64::from(constraint.spec.max_skew.saturating_sub(1)))
            });
            libm::round(parts.sum()) as i64
        };
        scores.extend(candidates.iter().map(|&node| if rated(node) { raw(node) } else { 0 }));
        let of_rated =
            || candidates.iter().zip(scores.iter()).filter(|&(&node, _)| rated(node)).map(|(_, raw)| *raw);
        let (lowest, highest) = (of_rated().min().unwrap_or(0), of_rated().max().unwrap_or(0));
        for (score, &node) in scores.iter_mut().zip(candidates) {
            if rated(node) {
                *score = if highest == 0 {
                    MAX_NODE_SCORE
                } else {
                    MAX_NODE_SCORE * (highest + lowest - *score) / highest
                };
            }
        }
    }
}

impl Constraint {
    fn is_hostname(&self) -> bool {
        *self.spec.topology_key == *HOSTNAME_LABEL
    }

    fn count_all(&mut self, state: &ClusterState, namespace: &str, task: &TaskSpec, has_keys: &[bool]) {
        let spec = &self.spec;
        let eligible = state.nodes().iter().zip(has_keys).map(|(node, &has_keys)| {
            has_keys
                && (!spec.honours_node_affinity || node_matches(&node.spec, task))
                && (!spec.honours_node_taints || tolerates_taints(&task.tolerations, &node.spec.taints))
        });
        self.eligible = eligible.collect();
        self.in_domain = vec![0; self.domains.count()];
        self.met = vec![0; self.domains.count()];
        self.on_node = vec![0; has_keys.len()];
        let eligible_nodes = state.node_ids().filter(|node| self.eligible[node.index()]);
        self.seen_domains =
            eligible_nodes.filter_map(|node| self.domains.of(node)).map(|domain| domain as u32).collect();
        self.seen_domains.sort_unstable();
        self.seen_domains.dedup();
        for node in state.node_ids() {
            self.count_again(state, namespace, node);
        }
    }

    fn count_again(&mut self, state: &ClusterState, namespace: &str, node: NodeId) {
        let tasks = state.node(node).tasks().iter().filter_map(|&task| state.task(task));
        // Tasks that were told to stop no longer count.
        let tasks = tasks.filter(|task| task.status() != TaskStatus::Releasing);
        let count = tasks.filter(|task| self.counts(state, namespace, task.class)).count() as u32;
        let before = core::mem::replace(&mut self.on_node[node.index()], count);
        if self.eligible[node.index()]
            && let Some(domain) = self.domains.of(node)
        {
            let total = &mut self.in_domain[domain];
            *total = *total - before + count;
        }
    }

    fn counts(&mut self, state: &ClusterState, namespace: &str, class: ClassId) -> bool {
        if self.counts_class.len() <= class.index() {
            self.counts_class.resize(class.index() + 1, None);
        }
        let constraint = &self.spec;
        *self.counts_class[class.index()].get_or_insert_with(|| {
            let spec = state.class_spec(class);
            *spec.namespace == *namespace && constraint.counts(&spec.labels)
        })
    }

    /// The count of the emptiest domain; 0 if there are fewer domains than there should be.
    fn find_lowest(&self) -> u32 {
        if self.seen_domains.len() < self.spec.min_domains.unwrap_or(1) as usize {
            return 0;
        }
        self.seen_domains.iter().map(|&domain| self.in_domain[domain as usize]).min().unwrap_or(0)
    }

    /// Number of distinct domains of nodes that have the label.
    fn domains_of(&mut self, nodes: impl Iterator<Item = NodeId>) -> usize {
        self.searches += 1;
        let mut domains = 0;
        for domain in nodes.filter_map(|node| self.domains.of(node)) {
            let met = &mut self.met[domain];
            domains += usize::from(*met != self.searches);
            *met = self.searches;
        }
        domains
    }

    /// What counts against a node, `None` if it lacks the label.
    fn count(&self, node: NodeId) -> Option<u32> {
        let domain = self.domains.of(node)?;
        Some(if self.is_hostname() { self.on_node[node.index()] } else { self.in_domain[domain] })
    }
}
