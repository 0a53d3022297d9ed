//! Domains of a topology: which nodes a group of tasks may share, and which it should.

use alloc::collections::BTreeMap;
use alloc::vec;
use alloc::vec::Vec;

use foretell_framework::state::LevelConstraint;

use crate::cycle::Cycle;
use crate::model::GPU;
use crate::nodes::TOPOLOGY;

/// Nodes that may take a group, and what each is worth to it.
pub(crate) struct NodeSet {
    pub(crate) nodes: Vec<usize>,
    pub(crate) preferred: BTreeMap<usize, f64>,
}

/// Nodes of a domain, and how many of the tasks they could take.
#[derive(Default)]
struct DomainNodes {
    nodes: Vec<usize>,
    tasks: i64,
    /// CPU, memory and so on that could be had.
    free: Vec<i64>,
}

impl Cycle<'_> {
    /// The sets of nodes within which a group of tasks may be placed, the one to try first in front. `placed` are the
    /// tasks of the group that have their place.
    pub(crate) fn node_sets(
        &self,
        constraint: Option<&LevelConstraint>,
        tasks: &[usize],
        group: &[usize],
        nodes: &[usize],
    ) -> Vec<NodeSet> {
        let whole = || vec![NodeSet { nodes: nodes.to_vec(), preferred: BTreeMap::new() }];
        let Some(constraint) =
            constraint.filter(|levels| levels.required.is_some() || levels.preferred.is_some())
        else {
            return whole();
        };
        let Some(labels) = self.state.objects().topologies.get(&constraint.topology) else {
            return Vec::new();
        };
        let position =
            |level: &Option<_>| level.as_ref().map(|level| labels.iter().position(|label| label == level));
        let (required, preferred) = match (position(&constraint.required), position(&constraint.preferred)) {
            (Some(None), _) | (_, Some(None)) => return Vec::new(),
            (required, preferred) => (required.flatten(), preferred.flatten()),
        };
        let path = |node: usize, level: usize| -> Option<Vec<&str>> {
            let spec = &self.state.node(self.model.nodes[node].id).spec;
            labels[..=level].iter().map(|label| spec.labels.get(label).map(|value| &**value)).collect()
        };
        // What has its place already binds the rest to its domain.
        let bound: Vec<Vec<&str>> = required.map_or_else(Vec::new, |level| {
            let placed = group.iter().map(|&task| &self.model.tasks[task].place);
            let active = placed.filter(|place| place.status.is_active()).filter_map(|place| place.node);
            active.filter_map(|node| path(node, level)).collect()
        });
        let counts: BTreeMap<usize, i64> =
            nodes.iter().map(|&node| (node, self.tasks_that_fit(tasks, node))).collect();
        let mut rooms = Rooms::default();
        for &node in nodes {
            for level in 0..labels.len() {
                if let Some(key) = path(node, level) {
                    *rooms.0.entry(key).or_default() += counts[&node];
                }
            }
        }
        // From the narrowest level that is asked for to the widest that is allowed; `None` is the whole cluster.
        let narrowest = preferred.or(required).unwrap_or(0);
        let mut levels: Vec<Option<usize>> = (required.unwrap_or(0)..=narrowest).rev().map(Some).collect();
        if required.is_none() {
            levels.push(None);
        }
        let mut sets = Vec::new();
        for level in levels {
            let mut domains: BTreeMap<Vec<&str>, DomainNodes> = BTreeMap::new();
            for &node in nodes {
                let key = match level {
                    Some(level) => path(node, level),
                    None => Some(Vec::new()),
                };
                let Some(key) = key else { continue };
                let allowed = bound.is_empty() || bound.iter().any(|bound| key.starts_with(bound));
                if allowed {
                    self.add_to_domain(domains.entry(key).or_default(), node, counts[&node]);
                }
            }
            let mut domains: Vec<_> =
                domains.into_iter().filter(|(_, domain)| self.domain_fits(domain, tasks)).collect();
            domains.sort_by_cached_key(|(key, _)| rooms.key(key));
            for (_, domain) in domains {
                let scores = preferred.map(|level| {
                    let mut parts: BTreeMap<Vec<&str>, DomainNodes> = BTreeMap::new();
                    for &node in &domain.nodes {
                        if let Some(key) = path(node, level) {
                            self.add_to_domain(parts.entry(key).or_default(), node, counts[&node]);
                        }
                    }
                    scores_of_parts(parts, &rooms)
                });
                sets.push(NodeSet { nodes: domain.nodes, preferred: scores.unwrap_or_default() });
            }
        }
        sets
    }

    fn add_to_domain(&self, domain: &mut DomainNodes, node: usize, tasks: i64) {
        domain.nodes.push(node);
        domain.tasks += tasks;
        let node = &self.model.nodes[node];
        domain.free.resize(node.idle.len(), 0);
        for (dimension, free) in domain.free.iter_mut().enumerate() {
            *free += if dimension == GPU { node.unallocated(GPU, &[]) } else { node.free(dimension, true) };
        }
    }

    /// Whether a domain could take some tasks: by number if they are alike, else by what they come to.
    fn domain_fits(&self, domain: &DomainNodes, tasks: &[usize]) -> bool {
        let request = |task: &usize| &self.model.tasks[*task];
        let Some(first) = tasks.first().map(request) else { return true };
        let alike = |task: &usize| {
            let task = request(task);
            task.request == first.request && task.share == first.share
        };
        if tasks.iter().all(alike) {
            return domain.tasks >= tasks.len() as i64;
        }
        (0..domain.free.len()).all(|dimension| {
            let asked: i64 = tasks.iter().map(|task| request(task).request[dimension]).sum();
            asked == 0 || asked <= domain.free[dimension]
        })
    }

    /// How many tasks like the largest of some a node could take, once what is being released there is free.
    fn tasks_that_fit(&self, tasks: &[usize], node: usize) -> i64 {
        let node = &self.model.nodes[node];
        let Some(&first) = tasks.first() else { return 0 };
        let mut largest = self.model.tasks[first].request.clone();
        for &task in tasks {
            for (largest, &asked) in largest.iter_mut().zip(&self.model.tasks[task].request) {
                *largest = asked.max(*largest);
            }
        }
        let shares = tasks.iter().filter_map(|&task| self.model.tasks[task].share);
        node.room(&largest, shares).unwrap_or(0)
    }
}

/// How many tasks each domain could take.
#[derive(Default)]
struct Rooms<'a>(BTreeMap<Vec<&'a str>, i64>);

impl<'a> Rooms<'a> {
    /// Domains in order of this key come with those of little room first, at the widest level first, then by name.
    fn key(&self, path: &[&'a str]) -> Vec<(i64, &'a str)> {
        let room = |length: usize| self.0.get(&path[..length]).copied().unwrap_or(0);
        path.iter().enumerate().map(|(level, &name)| (room(level + 1), name)).collect()
    }
}

/// The parts of a domain with the most room come first, then those of the last name: so few parts are touched.
fn scores_of_parts<'a>(
    parts: BTreeMap<Vec<&'a str>, DomainNodes>,
    rooms: &Rooms<'a>,
) -> BTreeMap<usize, f64> {
    let mut parts: Vec<_> = parts.into_iter().collect();
    parts.sort_by_cached_key(|(key, _)| rooms.key(key));
    let count = parts.len() as f64;
    let mut scores = BTreeMap::new();
    for (position, (_, part)) in parts.into_iter().enumerate() {
        let score = TOPOLOGY * (position + 1) as f64 / count;
        scores.extend(part.nodes.into_iter().map(|node| (node, score)));
    }
    scores
}
