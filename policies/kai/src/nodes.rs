//! Where a task may and should go.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::cmp::Ordering;

use foretell_framework::spec::{PodAffinityTerm, TaintEffect};
use foretell_framework::{Labels, NodeSpec, TaskSpec};

use crate::config::Strategy;
use crate::cycle::Cycle;
use crate::keys;
use crate::model::{CPU, GPU, Task, WHOLE};
use crate::node::Node;

/// The label of nodes whose GPUs are split by MIG.
const MIG_ENABLED: &str = "node-role.kubernetes.io/mig-enabled";
/// The label that says how their parts are offered.
const MIG_STRATEGY: &str = "nvidia.com/mig.strategy";
/// The most that packing or spreading is worth.
const DENSITY: f64 = 9.0;
/// What the right type of node is worth.
const RESOURCE_TYPE: f64 = 10.0;
/// What free room is worth, as against room that is being made.
const AVAILABILITY: f64 = 100.0;
/// What a shared device is worth that takes one more.
const GPU_SHARING: f64 = 1_000.0;
/// The most that a preferred domain is worth.
pub(crate) const TOPOLOGY: f64 = 10_000.0;
/// What the node is worth where room was being made for the task.
const NOMINATED: f64 = 1_000_000.0;

/// Devices for a task that asks for parts of GPUs.
pub(crate) struct SharedGpus {
    pub(crate) groups: Vec<u32>,
    /// Whether some of it is being released still.
    pub(crate) is_releasing: bool,
}

/// Whether a node whose GPUs are split by MIG takes what a task asks of GPUs: no part by other means, and a whole one only
/// where all parts pass for GPUs (strategy `single`).
fn suits_mig(spec: &TaskSpec, labels: &Labels) -> bool {
    let is_split = labels.get(MIG_ENABLED).is_some_and(|value| **value == *"true");
    let asks_for_part = i64::from(spec.gpus.milli) < WHOLE || spec.annotations.contains_key(keys::GPU_MEMORY);
    let is_mixed = labels.get(MIG_STRATEGY).is_some_and(|value| **value == *"mixed");
    !is_split || spec.gpus.count == 0 || !(asks_for_part || is_mixed)
}

/// Whether a node can ever take a task, whatever it holds.
pub(crate) fn suits(spec: &TaskSpec, node: &NodeSpec) -> bool {
    let has_label = |(key, value)| node.labels.get(key) == Some(value);
    let repels = |effect| matches!(effect, TaintEffect::NoSchedule | TaintEffect::NoExecute);
    let tolerated = node
        .taints
        .iter()
        .filter(|taint| repels(taint.effect))
        .all(|taint| spec.tolerations.iter().any(|toleration| toleration.tolerates(taint)));
    !node.unschedulable
        && tolerated
        && suits_mig(spec, &node.labels)
        && spec.node_name.as_ref().is_none_or(|name| *name == node.name)
        && spec.node_selector.iter().all(has_label)
        && spec.node_affinity.matches(&node.name, &node.labels)
        && node.gpu_model.is_none_or(|model| spec.gpus.count == 0 || spec.gpus.models.allows(model))
}

impl Cycle<'_> {
    /// Whether a task may go to a node, with or without what is being released there.
    pub(crate) fn may_go(&self, task: usize, node: usize, later: bool) -> bool {
        let (entry, target) = (&self.model.tasks[task], &self.model.nodes[node]);
        let spec = self.state.class_spec(entry.class);
        target.fits(entry, later)
            && self.model.suits[entry.class.index()][node]
            && self.keeps_affinity(task, spec, node)
    }

    // ---- Affinity to other tasks

    /// Whether attraction to and repulsion from other tasks allow the node.
    fn keeps_affinity(&self, task: usize, spec: &TaskSpec, node: usize) -> bool {
        let affinity = &spec.pod_affinity;
        let attracted = affinity.required.iter().all(|term| {
            self.has_neighbour(task, node, |other| self.selects(term, other), &term.topology_key)
                // The first of a group that attracts itself may go anywhere.
                || (self.selects(term, spec)
                    && self.label(node, &term.topology_key).is_some()
                    && !self.exists(task, |other| self.selects(term, other)))
        });
        attracted
            && affinity.anti_required.iter().all(|term| {
                !self.has_neighbour(task, node, |other| self.selects(term, other), &term.topology_key)
            })
            && !self.is_repelled(task, spec, node)
    }

    fn selects(&self, term: &PodAffinityTerm, spec: &TaskSpec) -> bool {
        term.selects(spec, &self.state.objects().namespaces)
    }

    fn label(&self, node: usize, key: &str) -> Option<&str> {
        self.state.node(self.model.nodes[node].id).spec.labels.get(key).map(|value| &**value)
    }

    fn spec_of(&self, task: usize) -> &TaskSpec {
        self.state.class_spec(self.model.tasks[task].class)
    }

    /// Tasks that hold a node or are promised one, other than `task`, with their nodes.
    fn settled(&self, task: usize) -> impl Iterator<Item = (usize, usize)> {
        let on_node = self.model.on_node.iter().enumerate();
        on_node
            .flat_map(|(node, tasks)| tasks.iter().map(move |&other| (node, other)))
            .filter(move |&(_, other)| other != task && self.model.tasks[other].place.status.is_used())
    }

    fn exists(&self, task: usize, wanted: impl Fn(&TaskSpec) -> bool) -> bool {
        self.settled(task).any(|(_, other)| wanted(self.spec_of(other)))
    }

    fn has_neighbour(&self, task: usize, node: usize, wanted: impl Fn(&TaskSpec) -> bool, key: &str) -> bool {
        let Some(domain) = self.label(node, key) else { return false };
        self.settled(task).any(|(other_node, other)| {
            self.label(other_node, key) == Some(domain) && wanted(self.spec_of(other))
        })
    }

    /// Whether a task near the node wants nothing to do with this one.
    fn is_repelled(&self, task: usize, spec: &TaskSpec, node: usize) -> bool {
        self.model.has_repulsion
            && self.settled(task).any(|(other_node, other)| {
                self.spec_of(other).pod_affinity.anti_required.iter().any(|term| {
                    let domain = self.label(node, &term.topology_key);
                    domain.is_some()
                        && domain == self.label(other_node, &term.topology_key)
                        && self.selects(term, spec)
                })
            })
    }

    // ---- Order of nodes

    /// Nodes in the order in which a task would rather go there; `preferred` are scores by topology.
    pub(crate) fn ordered_nodes(
        &self,
        task: usize,
        nodes: &[usize],
        preferred: &BTreeMap<usize, f64>,
    ) -> Vec<usize> {
        let task = &self.model.tasks[task];
        let dimension = if task.wants_gpus() { GPU } else { CPU };
        let left = |&node: &usize| self.model.nodes[node].unallocated(dimension, &self.model.mig_gpus);
        let fitting: Vec<usize> =
            nodes.iter().copied().filter(|&node| self.model.nodes[node].fits(task, true)).collect();
        let least = fitting.iter().map(left).min().unwrap_or(0);
        let most = fitting.iter().map(left).max().unwrap_or(0);
        let mut scored: Vec<(f64, usize)> = fitting
            .into_iter()
            .map(|node| {
                let preferred = preferred.get(&node).copied().unwrap_or(0.0);
                (self.score(task, node, dimension, left(&node), (least, most)) + preferred, node)
            })
            .collect();
        scored.sort_by(|a, b| {
            let by_score = b.0.partial_cmp(&a.0).unwrap_or(Ordering::Equal);
            by_score.then_with(|| self.model.nodes[a.1].name.cmp(&self.model.nodes[b.1].name))
        });
        scored.into_iter().map(|(_, node)| node).collect()
    }

    fn score(
        &self,
        task: &Task,
        index: usize,
        dimension: usize,
        left: i64,
        (least, most): (i64, i64),
    ) -> f64 {
        let node = &self.model.nodes[index];
        let strategy = if dimension == GPU { self.config.gpu_placement } else { self.config.cpu_placement };
        let density = match strategy {
            Strategy::Binpack if most == least => 1.0,
            Strategy::Binpack => 1.0 - (left - least) as f64 / (most - least) as f64,
            Strategy::Spread if node.allocatable[dimension] == 0 => 0.0,
            Strategy::Spread => left as f64 / node.allocatable[dimension] as f64,
        };
        let mut score = DENSITY * density;
        if self.config.prefers.resource_type && !task.wants_gpus() && !node.has_gpus {
            score += RESOURCE_TYPE;
        }
        if self.config.prefers.available && node.fits(task, false) {
            score += AVAILABILITY;
        }
        if let Some((_, part)) = task.share
            && self.config.prefers.shared_gpus
        {
            let milli = node.part_milli(part);
            let takes =
                |group: &crate::node::Group| !group.is_whole(false) && group.free_milli(false) >= milli;
            score += if node.shared().any(takes) { GPU_SHARING } else { 0.0 };
        }
        if task.nominated == Some(index) {
            score += NOMINATED;
        }
        score
    }

    // ---- Devices

    /// Devices of a node for a task that asks for parts of GPUs.
    pub(crate) fn shared_gpus(&mut self, task: usize, node: usize) -> Option<SharedGpus> {
        let (_, part) = self.model.tasks[task].share?;
        let target = &self.model.nodes[node];
        let milli = target.part_milli(part);
        let chosen = target.devices_for(&self.model.tasks[task], self.config.gpu_sharing)?;
        let mut idle_whole = target.whole_gpus(false) as i64;
        let (mut groups, mut is_releasing) = (Vec::new(), false);
        for name in chosen {
            let target = &self.model.nodes[node];
            if let Some(name) = name
                && let Some((_, group)) = target.groups.iter().find(|&&(known, _)| known == name)
            {
                // A device that is only promised is taken from the idle ones.
                is_releasing |=
                    if group.is_whole(false) { idle_whole < 1 } else { group.free_milli(false) < milli };
                groups.push(name);
            } else {
                is_releasing |= idle_whole < 1;
                idle_whole -= 1;
                groups.push(self.model.new_group());
            }
        }
        Some(SharedGpus { groups, is_releasing })
    }
}

impl Node {
    /// Which devices a task that asks for parts of GPUs takes: shared ones by name, or untouched ones.
    pub(crate) fn devices_for(&self, task: &Task, strategy: Strategy) -> Option<Vec<Option<u32>>> {
        let (count, part) = task.share?;
        let milli = self.part_milli(part);
        // Full devices come first when packing, untouched ones when spreading.
        let mut candidates: Vec<(i64, Option<u32>)> = Vec::new();
        for &(name, ref group) in &self.groups {
            if !group.is_whole(true) && group.free_milli(true) >= milli {
                let used: i64 = group.milli.iter().sum();
                candidates.push((if strategy == Strategy::Binpack { -used } else { used }, Some(name)));
            }
        }
        candidates.extend(core::iter::repeat_n((0, None), self.whole_gpus(true)));
        candidates
            .sort_by_key(|&(score, name)| (score, (strategy == Strategy::Binpack) == name.is_none(), name));
        let chosen: Vec<Option<u32>> = candidates.into_iter().take(count).map(|(_, name)| name).collect();
        (chosen.len() == count).then_some(chosen)
    }
}
