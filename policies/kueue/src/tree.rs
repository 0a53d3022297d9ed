//! The tree of quotas: cluster queues are its leaves, cohorts what is above them.
//!
//! A node keeps to itself what it does not lend (its *local* quota) and offers the rest of its subtree's quota to its
//! parent. Usage fills the local quota first; what goes beyond is usage of the parent too.

use alloc::collections::BTreeMap;
use alloc::vec;
use alloc::vec::Vec;

use crate::ids::{Cell, FlavorId, NodeId, QueueId, ResourceId};

/// Amounts by resource of a flavor.
pub type Amounts = BTreeMap<Cell, i64>;

/// What a queue or cohort may hold of one resource of one flavor.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Quota {
    /// What it has.
    pub nominal: i64,
    /// The most that it may borrow; no limit if absent.
    pub borrowing_limit: Option<i64>,
    /// The most that it lends; all if absent.
    pub lending_limit: Option<i64>,
}

/// A cluster queue or cohort to build a tree from.
#[derive(Clone, PartialEq, Debug)]
pub struct NodeSpec {
    /// The cohort that contains it.
    pub parent: Option<NodeId>,
    /// Its weight among its siblings.
    pub weight: f64,
    /// Its own quotas.
    pub quotas: BTreeMap<Cell, Quota>,
}

/// Cohorts that contain themselves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CycleError {
    /// One of them.
    pub node: NodeId,
}

impl core::fmt::Display for CycleError {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(formatter, "cohort {} contains itself", self.node.index())
    }
}

impl core::error::Error for CycleError {}

/// One resource of one flavor at one node.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Entry {
    quota: Quota,
    /// Whether the node, or one below it, names it.
    declared: bool,
    /// Its quota and what the nodes below offer it.
    subtree: i64,
    usage: i64,
}

impl Entry {
    /// What it does not lend.
    fn local(&self) -> i64 {
        self.quota.lending_limit.map_or(0, |limit| self.subtree.saturating_sub(limit).max(0))
    }

    fn local_available(&self) -> i64 {
        self.local().saturating_sub(self.usage).max(0)
    }
}

#[derive(Clone, PartialEq, Debug)]
struct Node {
    parent: Option<NodeId>,
    weight: f64,
    /// Edges to the farthest queue below; 0 of a queue.
    height: u32,
    queues: Vec<QueueId>,
    cohorts: Vec<NodeId>,
    entries: Vec<Entry>,
}

/// Quotas and usage of all queues and cohorts.
#[derive(Clone, PartialEq, Debug)]
pub struct Tree {
    nodes: Vec<Node>,
    queue_count: usize,
    resource_count: usize,
}

impl Tree {
    /// A tree without usage, of `flavors` × `resources` amounts per node. The first `queues` nodes are the cluster queues.
    pub fn new(
        specs: &[NodeSpec],
        queues: usize,
        flavors: usize,
        resources: usize,
    ) -> Result<Self, CycleError> {
        let mut nodes = Vec::with_capacity(specs.len());
        for spec in specs {
            let mut entries = vec![Entry::default(); flavors * resources];
            for (cell, &quota) in &spec.quotas {
                let subtree = quota.nominal;
                entries[cell.index()] = Entry { quota, declared: true, subtree, usage: 0 };
            }
            nodes.push(Node {
                parent: spec.parent,
                weight: spec.weight,
                height: 0,
                queues: Vec::new(),
                cohorts: Vec::new(),
                entries,
            });
        }
        let mut tree = Self { nodes, queue_count: queues, resource_count: resources };
        let order = tree.bottom_up()?;
        for node in order {
            let Some(parent) = tree.nodes[node.index()].parent else { continue };
            tree.accumulate(node, parent);
        }
        for index in 0..tree.nodes.len() {
            let Some(parent) = tree.nodes[index].parent else { continue };
            let parent = &mut tree.nodes[parent.index()];
            if index < queues {
                parent.queues.push(QueueId::new(index));
            } else {
                parent.cohorts.push(NodeId::new(index));
            }
        }
        Ok(tree)
    }

    /// Nodes, each before its parent.
    fn bottom_up(&self) -> Result<Vec<NodeId>, CycleError> {
        let count = self.nodes.len();
        let mut by_depth = Vec::with_capacity(count);
        for index in 0..count {
            let node = NodeId::new(index);
            let depth = self.ancestors(node).take(count + 1).count();
            if depth > count {
                return Err(CycleError { node });
            }
            by_depth.push((depth, node));
        }
        by_depth.sort_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(&b.1)));
        Ok(by_depth.into_iter().map(|(_, node)| node).collect())
    }

    fn accumulate(&mut self, child: NodeId, parent: NodeId) {
        let height = self.nodes[child.index()].height + 1;
        let offered: Vec<_> = self.nodes[child.index()].entries.clone();
        let parent = &mut self.nodes[parent.index()];
        parent.height = parent.height.max(height);
        for (own, below) in parent.entries.iter_mut().zip(offered) {
            own.declared |= below.declared;
            own.subtree = own.subtree.saturating_add(below.subtree.saturating_sub(below.local()));
        }
    }

    // ---- Shape

    /// The cluster queues.
    pub fn queue_ids(&self) -> impl Iterator<Item = QueueId> + use<> {
        (0..self.queue_count).map(QueueId::new)
    }

    /// The cohorts.
    pub fn cohort_ids(&self) -> impl Iterator<Item = NodeId> + use<> {
        (self.queue_count..self.nodes.len()).map(NodeId::new)
    }

    /// The number of resources.
    pub fn resource_count(&self) -> usize {
        self.resource_count
    }

    /// A resource of a flavor.
    pub fn cell(&self, flavor: FlavorId, resource: ResourceId) -> Cell {
        Cell::new(flavor.index() * self.resource_count + resource.index())
    }

    /// The flavor of a cell.
    pub fn flavor(&self, cell: Cell) -> FlavorId {
        FlavorId::new(cell.index() / self.resource_count)
    }

    /// The resource of a cell.
    pub fn resource(&self, cell: Cell) -> ResourceId {
        ResourceId::new(cell.index() % self.resource_count)
    }

    /// The cohort that contains a node.
    pub fn parent(&self, node: NodeId) -> Option<NodeId> {
        self.nodes[node.index()].parent
    }

    /// The cohorts that contain a node, from its parent to the root.
    pub fn ancestors(&self, node: NodeId) -> impl Iterator<Item = NodeId> {
        core::iter::successors(self.parent(node), |&node| self.parent(node))
    }

    /// The root above a node, or the node itself.
    pub fn root(&self, node: NodeId) -> NodeId {
        self.ancestors(node).last().unwrap_or(node)
    }

    /// The cluster queues that are children of a cohort.
    pub fn queues(&self, cohort: NodeId) -> &[QueueId] {
        &self.nodes[cohort.index()].queues
    }

    /// The cohorts that are children of a cohort.
    pub fn cohorts(&self, cohort: NodeId) -> &[NodeId] {
        &self.nodes[cohort.index()].cohorts
    }

    /// Edges from a node to the farthest queue below it.
    pub fn height(&self, node: NodeId) -> u32 {
        self.nodes[node.index()].height
    }

    /// The weight of a node among its siblings.
    pub fn weight(&self, node: NodeId) -> f64 {
        self.nodes[node.index()].weight
    }

    // ---- Amounts

    fn entry(&self, node: NodeId, cell: Cell) -> &Entry {
        &self.nodes[node.index()].entries[cell.index()]
    }

    /// The cells that a node, or one below it, has a quota of.
    pub fn declared(&self, node: NodeId) -> impl Iterator<Item = Cell> {
        let entries = self.nodes[node.index()].entries.iter().enumerate();
        entries.filter(|(_, entry)| entry.declared).map(|(index, _)| Cell::new(index))
    }

    /// The quota of a node itself.
    pub fn quota(&self, node: NodeId, cell: Cell) -> Quota {
        self.entry(node, cell).quota
    }

    /// The quota of a node and what the nodes below offer it.
    pub fn subtree_quota(&self, node: NodeId, cell: Cell) -> i64 {
        self.entry(node, cell).subtree
    }

    /// What is used of a node: by itself, and by the nodes below beyond what they keep to themselves.
    pub fn usage(&self, node: NodeId, cell: Cell) -> i64 {
        self.entry(node, cell).usage
    }

    /// What is free of what a node keeps to itself.
    pub fn local_available(&self, node: NodeId, cell: Cell) -> i64 {
        self.entry(node, cell).local_available()
    }

    /// What a node can still use, borrowing included. Negative where there is overuse.
    pub fn available(&self, node: NodeId, cell: Cell) -> i64 {
        let entry = self.entry(node, cell);
        let Some(parent) = self.parent(node) else { return entry.subtree.saturating_sub(entry.usage) };
        let mut from_parent = self.available(parent, cell);
        if let Some(limit) = entry.quota.borrowing_limit {
            let stored = entry.subtree.saturating_sub(entry.local());
            let used = entry.usage.saturating_sub(entry.local()).max(0);
            from_parent = from_parent.min(stored.saturating_sub(used).saturating_add(limit));
        }
        entry.local_available().saturating_add(from_parent)
    }

    /// What a node could use if nothing were used.
    pub fn potentially_available(&self, node: NodeId, cell: Cell) -> i64 {
        let entry = self.entry(node, cell);
        let Some(parent) = self.parent(node) else { return entry.subtree };
        let available = entry.local().saturating_add(self.potentially_available(parent, cell));
        entry
            .quota
            .borrowing_limit
            .map_or(available, |limit| available.min(entry.subtree.saturating_add(limit)))
    }

    /// Whether a node would use more than its subtree has.
    pub fn borrows_with(&self, node: NodeId, cell: Cell, amount: i64) -> bool {
        let entry = self.entry(node, cell);
        entry.usage.saturating_add(amount) > entry.subtree
    }

    /// Whether a node uses more than its subtree has of some of the cells.
    pub fn borrows(&self, node: NodeId, cells: impl IntoIterator<Item = Cell>) -> bool {
        cells.into_iter().any(|cell| self.borrows_with(node, cell, 0))
    }

    /// The height of the lowest subtree around a queue that has an amount free, or of the whole tree if none has; and
    /// whether there is more around that subtree, from which others might have to give back.
    pub fn height_of_fit(&self, queue: QueueId, cell: Cell, amount: i64) -> (u32, bool) {
        let node = queue.node();
        if !self.borrows_with(node, cell, amount) || self.parent(node).is_none() {
            return (0, self.parent(node).is_some());
        }
        let mut remaining = amount.saturating_sub(self.local_available(node, cell));
        for cohort in self.ancestors(node) {
            if !self.borrows_with(cohort, cell, remaining) {
                return (self.height(cohort), self.parent(cohort).is_some());
            }
            remaining = remaining.saturating_sub(self.local_available(cohort, cell));
        }
        (self.height(self.root(node)), false)
    }

    /// Whether amounts fit in what the subtree of a node has, and what of them its parent would have to give.
    pub fn fit_in_subtree(&self, node: NodeId, amounts: &Amounts) -> (bool, Amounts) {
        let fits = amounts.iter().all(|(&cell, &amount)| !self.borrows_with(node, cell, amount));
        let rest = |(&cell, &amount): (&Cell, &i64)| {
            (cell, amount.saturating_sub(self.local_available(node, cell)).max(0))
        };
        (fits, amounts.iter().map(rest).collect())
    }

    /// Adds usage of a queue.
    pub fn add(&mut self, queue: QueueId, amounts: &Amounts) {
        for (&cell, &amount) in amounts {
            let mut amount = amount;
            let mut node = Some(queue.node());
            while let Some(current) = node {
                let entry = &mut self.nodes[current.index()].entries[cell.index()];
                let local_available = entry.local_available();
                entry.usage = entry.usage.saturating_add(amount);
                if amount <= local_available {
                    break;
                }
                amount -= local_available;
                node = self.parent(current);
            }
        }
    }

    /// Takes usage of a queue away.
    pub fn remove(&mut self, queue: QueueId, amounts: &Amounts) {
        for (&cell, &amount) in amounts {
            let mut amount = amount;
            let mut node = Some(queue.node());
            while let Some(current) = node {
                let entry = &mut self.nodes[current.index()].entries[cell.index()];
                let in_parent = entry.usage.saturating_sub(entry.local());
                entry.usage = entry.usage.saturating_sub(amount);
                if in_parent <= 0 {
                    break;
                }
                amount = amount.min(in_parent);
                node = self.parent(current);
            }
        }
    }
}
