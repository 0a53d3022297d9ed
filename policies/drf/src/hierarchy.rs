//! Dominant shares in a tree of queues (hierarchical DRF: Bhattacharya et al. 2013; Volcano's `drf` with
//! `enableHierarchy`).

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::cmp::Ordering;

use foretell_framework::{ClusterState, JobId, QueueId};

use crate::amounts::{Amounts, Dimension};

/// The annotation of a queue with its path from the root, such as `root/sci/physics`.
const PATH: &str = "volcano.sh/hierarchy";
/// The annotation of a queue with the weights along that path, such as `100/50/20`.
const WEIGHTS: &str = "volcano.sh/hierarchy-weights";

/// The tree: the root, queues below it by their annotations, and jobs as leaves.
#[derive(Clone, Debug)]
pub(crate) struct Hierarchy {
    total: Amounts,
    allocated: Amounts,
    /// Resources of which something is left.
    demanded: BTreeSet<Dimension>,
    /// Parents before their children.
    nodes: Vec<Node>,
    jobs: BTreeMap<JobId, usize>,
    /// The node of each queue, and those that contain it, from the root down; by id.
    lines: Vec<Vec<usize>>,
}

#[derive(Clone, Debug)]
struct Node {
    parent: Option<usize>,
    children: Vec<usize>,
    weight: f64,
    /// Of a job what it holds; of a queue what its children hold, those that ask for more scaled to the least of them.
    allocated: Amounts,
    share: f64,
    /// Of a job, what all its tasks request.
    request: Option<Amounts>,
    /// It can get no more: it has all that it asks for, or a resource that it needs is gone.
    saturated: bool,
}

impl Node {
    fn new(parent: Option<usize>, weight: f64, request: Option<Amounts>) -> Self {
        let (children, allocated) = (Vec::new(), Amounts::default());
        Self { parent, children, weight, allocated, share: 0.0, request, saturated: false }
    }

    fn weighted_share(&self) -> f64 {
        self.share / self.weight
    }
}

impl Hierarchy {
    /// A tree of queues without jobs.
    pub(crate) fn of(state: &ClusterState, total: Amounts) -> Self {
        let mut tree = Self {
            total,
            allocated: Amounts::default(),
            demanded: BTreeSet::new(),
            nodes: Vec::from([Node::new(None, 1.0, None)]),
            jobs: BTreeMap::new(),
            lines: Vec::new(),
        };
        let mut named: BTreeMap<(usize, Box<str>), usize> = BTreeMap::new();
        for queue in state.queues() {
            let annotation = |key: &str| queue.spec.annotations.get(key).map_or("", |value| &**value);
            let (path, weights) = (annotation(PATH), annotation(WEIGHTS));
            let mut weights = weights.split('/').skip(1);
            let mut line = Vec::from([0]);
            for name in path.split('/').skip(1) {
                let parent = line[line.len() - 1];
                let weight = weights.next().and_then(|weight| weight.parse().ok()).unwrap_or(1.0);
                let node = *named
                    .entry((parent, name.into()))
                    .or_insert_with(|| tree.add(Node::new(Some(parent), f64::max(weight, 1.0), None)));
                line.push(node);
            }
            tree.lines.push(line);
        }
        tree
    }

    fn add(&mut self, node: Node) -> usize {
        let index = self.nodes.len();
        if let Some(parent) = node.parent {
            self.nodes[parent].children.push(index);
        }
        self.nodes.push(node);
        index
    }

    /// Adds a job: what it holds, and what all its tasks request.
    pub(crate) fn add_job(&mut self, queue: QueueId, job: JobId, allocated: &Amounts, request: Amounts) {
        let line = &self.lines[queue.index()];
        let parent = line[line.len() - 1];
        let index = self.add(Node::new(Some(parent), 1.0, Some(request)));
        self.jobs.insert(job, index);
        self.nodes[index].allocated = allocated.clone();
        self.allocated.add(allocated);
    }

    /// Computes everything anew.
    pub(crate) fn refresh(&mut self) {
        self.demanded = self.demanded();
        for node in (0..self.nodes.len()).rev() {
            self.update(node);
        }
    }

    fn demanded(&self) -> BTreeSet<Dimension> {
        let total = self.total.dimensions();
        let left = total.filter(|&(dimension, total)| self.allocated.get(dimension) < total);
        left.map(|(dimension, _)| dimension).collect()
    }

    /// Changes what a job holds, and what follows from it.
    pub(crate) fn change(&mut self, job: JobId, change: impl Fn(&mut Amounts)) {
        let Some(&leaf) = self.jobs.get(&job) else { return };
        change(&mut self.nodes[leaf].allocated);
        change(&mut self.allocated);
        if self.demanded() != self.demanded {
            self.refresh();
            return;
        }
        let mut next = Some(leaf);
        while let Some(node) = next {
            self.update(node);
            next = self.nodes[node].parent;
        }
    }

    /// Computes a node from its children.
    fn update(&mut self, index: usize) {
        let node = &self.nodes[index];
        if let Some(request) = &node.request {
            let saturated = node.allocated.dimensions().any(|(dimension, allocated)| {
                let requested = request.get(dimension);
                requested != 0.0
                    && (allocated != 0.0 && allocated >= requested || !self.demanded.contains(&dimension))
            });
            let share = node.allocated.dominant_share(&self.total);
            let node = &mut self.nodes[index];
            (node.share, node.saturated) = (share, saturated);
            return;
        }
        let children = || node.children.iter().map(|&child| &self.nodes[child]);
        let demanding = children().filter(|child| child.share != 0.0 && !child.saturated);
        let least = demanding.map(|child| child.share).fold(1.0, f64::min);
        let mut allocated = Amounts::default();
        for child in children().filter(|child| child.share != 0.0) {
            let factor = if child.saturated { 1.0 } else { least / child.share };
            allocated.add(&child.allocated.clone().times(factor));
        }
        let saturated = children().all(|child| child.saturated);
        let share = allocated.dominant_share(&self.total);
        let node = &mut self.nodes[index];
        (node.allocated, node.share, node.saturated) = (allocated, share, saturated);
    }

    /// Which of two queues goes first: along their paths, those that can get more first, then the lower share by weight.
    pub(crate) fn compare(&self, left: QueueId, right: QueueId) -> Ordering {
        let line = |queue: QueueId| self.lines[queue.index()].iter().map(|&node| &self.nodes[node]);
        line(left)
            .zip(line(right))
            .map(|(left, right)| {
                let by_share = || left.weighted_share().total_cmp(&right.weighted_share());
                left.saturated.cmp(&right.saturated).then_with(by_share)
            })
            .find(|order| order.is_ne())
            .unwrap_or(Ordering::Equal)
    }
}
