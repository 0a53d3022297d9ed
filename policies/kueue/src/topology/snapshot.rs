//! The nodes of a flavor under a topology, and what is used of them.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec;
use alloc::vec::Vec;
use core::ops::Range;

use foretell_framework::Labels;
use foretell_framework::spec::{Taint, Toleration};

use crate::ids::ResourceId;

use super::request::PodShape;

/// The label by which a node is a domain of its own. Taints, selectors and affinity count only under a topology whose
/// narrowest level it is: of wider leaves no single node is known.
pub const HOSTNAME_LABEL: &str = "kubernetes.io/hostname";

/// A domain of the narrowest level.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct LeafId(u32);

impl LeafId {
    pub(super) const fn new(index: usize) -> Self {
        Self(index as u32)
    }

    /// Its position among all leaves, in order of their labels' values.
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// A node that is ready and schedulable.
#[derive(Clone, Copy, Debug)]
pub struct TopologyNode<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its labels.
    pub labels: &'a Labels,
    /// Its taints.
    pub taints: &'a [Taint],
    /// What it has for pods.
    pub allocatable: &'a [(ResourceId, i64)],
    /// How many pods it takes.
    pub pods: i64,
}

/// Of a flavor, what bears on assignment.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct TopologyFlavor {
    /// Labels of its nodes.
    pub node_labels: Labels,
    /// Tolerations that its pods are given.
    pub tolerations: Vec<Toleration>,
}

/// The nodes of one flavor under one topology, and what is used of them.
#[derive(Clone, Debug)]
pub struct TopologySnapshot {
    levels: Vec<Box<str>>,
    tolerations: Vec<Toleration>,
    /// Level by level from the widest, each in order of values, so that children of a domain are consecutive and an
    /// index says the order.
    domains: Vec<Domain>,
    /// The domains of each level.
    ranges: Vec<Range<usize>>,
    /// Where each leaf is one node: the node.
    nodes: Vec<LeafNode>,
    leaf_of_node: BTreeMap<Box<str>, LeafId>,
    /// Leaves by the values that name them.
    names: BTreeMap<Box<[Box<str>]>, LeafId>,
    /// Amounts per leaf: pods, then resources by id.
    width: usize,
    /// What admitted workloads may use, by leaf: what nodes have, less what others hold.
    capacity: Vec<i64>,
    /// What admitted workloads use, by leaf.
    used: Vec<i64>,
}

#[derive(Clone, Debug)]
pub(super) struct Domain {
    /// Values of the labels of its level and those above.
    values: Box<[Box<str>]>,
    /// Empty for leaves.
    pub(super) children: Range<usize>,
}

/// The only node of a leaf.
#[derive(Clone, Debug)]
pub(super) struct LeafNode {
    pub(super) name: Box<str>,
    pub(super) labels: Labels,
    pub(super) taints: Vec<Taint>,
}

impl TopologySnapshot {
    /// The nodes of a flavor that carry the labels of all levels; `levels` are those labels' keys from the widest to the
    /// narrowest.
    pub fn new(levels: &[Box<str>], flavor: &TopologyFlavor, nodes: &[TopologyNode<'_>]) -> Self {
        let mut members: BTreeMap<Box<[Box<str>]>, Vec<&TopologyNode<'_>>> = BTreeMap::new();
        for node in nodes {
            let is_of_flavor =
                flavor.node_labels.iter().all(|(key, value)| node.labels.get(key) == Some(value));
            let values: Option<Box<[Box<str>]>> =
                levels.iter().map(|level| node.labels.get(level).cloned()).collect();
            if let Some(values) = values
                && is_of_flavor
                && !levels.is_empty()
            {
                members.entry(values).or_default().push(node);
            }
        }
        let amounts = nodes.iter().flat_map(|node| node.allocatable);
        let width = 1 + amounts.map(|(resource, _)| resource.index() + 1).max().unwrap_or(0);
        let mut snapshot = Self {
            levels: levels.to_vec(),
            tolerations: flavor.tolerations.clone(),
            domains: Vec::new(),
            ranges: Vec::new(),
            nodes: Vec::new(),
            leaf_of_node: BTreeMap::new(),
            names: BTreeMap::new(),
            width,
            capacity: vec![0; members.len() * width],
            used: vec![0; members.len() * width],
        };
        snapshot.add_domains(&members);
        let is_by_node = snapshot.is_by_node();
        for (index, nodes) in members.values().enumerate() {
            let leaf = LeafId::new(index);
            let name = snapshot.leaf_values(leaf).into();
            snapshot.names.entry(name).or_insert(leaf);
            for node in nodes {
                snapshot.leaf_of_node.insert(node.name.into(), leaf);
                let row = snapshot.row(leaf);
                add(&mut snapshot.capacity[row], node.allocatable, node.pods, 1);
            }
            // Of nodes that claim the same name the first stands for all.
            if let Some(node) = nodes.first().filter(|_| is_by_node) {
                let taints = node.taints.to_vec();
                snapshot.nodes.push(LeafNode { name: node.name.into(), labels: node.labels.clone(), taints });
            }
        }
        snapshot
    }

    /// Adds the domains of all levels, given those of the narrowest in order.
    fn add_domains<T>(&mut self, leaves: &BTreeMap<Box<[Box<str>]>, T>) {
        for level in 0..self.levels.len() {
            let first = self.domains.len();
            for values in leaves.keys() {
                let values = &values[..=level];
                // Leaves are in order, so that those of a domain follow each other.
                let is_new = self
                    .domains
                    .get(first..)
                    .and_then(<[_]>::last)
                    .is_none_or(|last| *last.values != *values);
                if is_new {
                    self.domains.push(Domain { values: values.into(), children: 0..0 });
                }
            }
            self.ranges.push(first..self.domains.len());
        }
        for level in 1..self.levels.len() {
            let mut parent = self.ranges[level - 1].start;
            for child in self.ranges[level].clone() {
                while !self.domains[child].values.starts_with(&self.domains[parent].values) {
                    parent += 1;
                }
                let children = &mut self.domains[parent].children;
                let is_first = children.start == children.end;
                *children = if is_first { child..child + 1 } else { children.start..child + 1 };
            }
        }
    }

    /// Keys of the levels' labels, from the widest to the narrowest.
    pub fn levels(&self) -> &[Box<str>] {
        &self.levels
    }

    /// The levels by whose values an assignment names a leaf: the host name alone tells it.
    pub fn naming_levels(&self) -> &[Box<str>] {
        &self.levels[self.first_naming_level()..]
    }

    /// The values that name a leaf, one for each of the naming levels.
    pub fn leaf_values(&self, leaf: LeafId) -> &[Box<str>] {
        &self.domains[self.first_leaf() + leaf.index()].values[self.first_naming_level()..]
    }

    /// The leaf of these values, one for each of the naming levels.
    pub fn leaf(&self, values: &[Box<str>]) -> Option<LeafId> {
        self.names.get(values).copied()
    }

    /// The leaf that a node belongs to.
    pub fn leaf_of_node(&self, node: &str) -> Option<LeafId> {
        self.leaf_of_node.get(node).copied()
    }

    /// All leaves, in order of their values.
    pub fn leaves(&self) -> impl Iterator<Item = LeafId> + use<> {
        (0..self.ranges.last().map_or(0, Range::len)).map(LeafId::new)
    }

    /// Takes what a bound pod holds that is not assigned by topology out of what its node has. A pod of no node of the
    /// flavor is no matter.
    pub fn hold(&mut self, node: &str, requests: &[(ResourceId, i64)], pods: i64) {
        if let Some(leaf) = self.leaf_of_node(node) {
            let row = self.row(leaf);
            add(&mut self.capacity[row], requests, 1, -pods);
        }
    }

    /// Pods that are assigned to a leaf.
    pub fn add_usage(&mut self, leaf: LeafId, shape: &PodShape, pods: u32) {
        let row = self.row(leaf);
        add(&mut self.used[row], &shape.requests, 1, i64::from(pods));
    }

    /// Pods that are no longer assigned to a leaf.
    pub fn remove_usage(&mut self, leaf: LeafId, shape: &PodShape, pods: u32) {
        let row = self.row(leaf);
        add(&mut self.used[row], &shape.requests, 1, -i64::from(pods));
    }

    /// Whether leaves have room for pods on top of what is used.
    pub fn has_room<'a>(&self, pods: impl IntoIterator<Item = (LeafId, &'a PodShape, u32)>) -> bool {
        let mut remaining = self.remaining(false);
        let mut taken = Vec::new();
        for (leaf, shape, pods) in pods {
            remaining.take(leaf, shape, pods);
            taken.push((leaf, shape));
        }
        taken.into_iter().all(|(leaf, shape)| {
            let left = remaining.of(leaf.index());
            let asked = shape.requests.iter().map(|(resource, _)| 1 + resource.index());
            core::iter::once(0).chain(asked).all(|column| left.get(column).is_none_or(|&left| left >= 0))
        })
    }

    /// What each leaf has left, row by row; of an empty topology if `assumes_empty`.
    pub(super) fn remaining(&self, assumes_empty: bool) -> Remaining {
        let left = if assumes_empty {
            self.capacity.clone()
        } else {
            self.capacity.iter().zip(&self.used).map(|(capacity, used)| capacity - used).collect()
        };
        Remaining { width: self.width, amounts: left }
    }

    /// Whether each leaf is a node.
    pub(super) fn is_by_node(&self) -> bool {
        self.levels.last().is_some_and(|level| **level == *HOSTNAME_LABEL)
    }

    pub(super) fn level(&self, label: &str) -> Option<usize> {
        self.levels.iter().position(|level| **level == *label)
    }

    pub(super) fn range(&self, level: usize) -> Range<usize> {
        self.ranges.get(level).cloned().unwrap_or(0..0)
    }

    pub(super) fn children(&self, domain: usize) -> Range<usize> {
        self.domains[domain].children.clone()
    }

    pub(super) const fn len(&self) -> usize {
        self.domains.len()
    }

    /// Index of the domain that is the first leaf.
    pub(super) fn first_leaf(&self) -> usize {
        self.ranges.last().map_or(0, |range| range.start)
    }

    pub(super) fn node(&self, leaf: usize) -> Option<&LeafNode> {
        self.nodes.get(leaf)
    }

    pub(super) fn tolerations(&self) -> &[Toleration] {
        &self.tolerations
    }

    fn first_naming_level(&self) -> usize {
        if self.is_by_node() { self.levels.len() - 1 } else { 0 }
    }

    fn row(&self, leaf: LeafId) -> Range<usize> {
        leaf.index() * self.width..(leaf.index() + 1) * self.width
    }
}

/// What leaves have left.
#[derive(Clone, Debug)]
pub(super) struct Remaining {
    width: usize,
    amounts: Vec<i64>,
}

impl Remaining {
    /// Pods, then resources by id.
    pub(super) fn of(&self, leaf: usize) -> &[i64] {
        &self.amounts[leaf * self.width..(leaf + 1) * self.width]
    }

    pub(super) fn take(&mut self, leaf: LeafId, shape: &PodShape, pods: u32) {
        let start = leaf.index() * self.width;
        add(&mut self.amounts[start..start + self.width], &shape.requests, 1, -i64::from(pods));
    }
}

/// Adds a multiple of amounts to a row. What the row has no place for no leaf has anything of.
fn add(row: &mut [i64], amounts: &[(ResourceId, i64)], pods: i64, times: i64) {
    row[0] += pods * times;
    for &(resource, amount) in amounts {
        if let Some(slot) = row.get_mut(1 + resource.index()) {
            *slot += amount * times;
        }
    }
}
