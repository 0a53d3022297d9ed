//! Volcano's `network-topology-aware` plugin.

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;

use foretell_framework::tier::Gradients;
use foretell_framework::{
    ClusterState, Dimension, DomainId, DomainTotals, DomainTree, GPU_RESOURCE, JobId, NodeId, PerResource,
    SessionPlugin, SubJob, TaskId, TaskSpec, Time,
};

use crate::limit::Limit;

/// The annotation by which Volcano remembers the domain that a job was placed in.
const ALLOCATED_DOMAIN: &str = "volcano.sh/job-allocated-hypernode";

/// The score of a perfect fit, in points.
const BASE_SCORE: f64 = 100.0;

/// Arguments of the plugin.
#[derive(Clone, PartialEq, Debug)]
pub struct NetworkTopologyConfig {
    /// Weight of all its scores.
    pub weight: u32,
    /// Weight of each resource in the fullness of domains.
    pub resources: PerResource<u32>,
    /// Whether domains are packed by tasks of jobs that say nothing of topology too.
    pub packs_ordinary_tasks: bool,
    /// What the fullness of a domain counts for such tasks, relative to that of a domain one tier below.
    pub fading: f64,
}

impl Default for NetworkTopologyConfig {
    fn default() -> Self {
        let weights = ["cpu", "memory"].map(|name| (Box::from(name), 1));
        Self {
            weight: 1,
            resources: PerResource::new(weights, GPU_RESOURCE),
            packs_ordinary_tasks: true,
            fading: 0.8,
        }
    }
}

/// Which domains a job may be placed in, tier by tier, and what domains and nodes are worth to it.
#[derive(Default)]
pub struct NetworkTopologyAware {
    config: NetworkTopologyConfig,
    tree: DomainTree,
    totals: DomainTotals,
}

impl NetworkTopologyAware {
    /// With these arguments.
    pub fn new(config: NetworkTopologyConfig) -> Self {
        Self { config, ..Self::default() }
    }

    /// The smallest domain that holds the tasks that have a place or are nominated to one, and the one that the job's
    /// annotation names, if there is one.
    fn allocated(
        &self,
        state: &ClusterState,
        tasks: &[TaskId],
        annotated: Option<DomainId>,
    ) -> Option<DomainId> {
        let nodes = tasks.iter().filter_map(|&task| place(state, task));
        let placed = self.tree.common_of(nodes);
        [placed, annotated].into_iter().flatten().reduce(|a, b| self.tree.lowest_common(a, b))
    }

    /// Domains inside `domain` to try, those of the lowest tier first.
    fn gradients(
        &self,
        limit: Limit,
        allocated: Option<DomainId>,
        domain: DomainId,
        holds: impl Fn(DomainId) -> bool,
    ) -> Gradients {
        let Some(root) = self.search_root(limit, allocated, domain) else { return Vec::new() };
        let Some(highest) = limit.highest_tier(&self.tree) else { return Vec::new() };
        let tiers = self.tree.tiers().take_while(|&(tier, _)| tier <= highest);
        let inside = |&domain: &DomainId| self.tree.contains(root, domain) && holds(domain);
        let gradients = tiers.map(|(_, domains)| domains.iter().copied().filter(inside).collect::<Vec<_>>());
        gradients.filter(|domains| !domains.is_empty()).collect()
    }

    /// The part of `domain` that what is placed already leaves open.
    fn search_root(&self, limit: Limit, allocated: Option<DomainId>, domain: DomainId) -> Option<DomainId> {
        let scope = limit.scope(&self.tree, allocated)?;
        let common = self.tree.lowest_common(domain, scope);
        if common == domain { Some(scope) } else { (common == scope).then_some(domain) }
    }

    /// How full a domain would be, from 0 to 1; 0 if a resource that counts does not fit.
    fn fullness(&self, state: &ClusterState, domain: DomainId, requested: &[(Dimension, u64)]) -> f64 {
        let (mut sum, mut weights) = (0.0, 0.0);
        for &(dimension, amount) in requested {
            let Some(weight) = self.config.resources.get(state, dimension).map(f64::from) else { continue };
            let (used, capacity) =
                (self.totals.used(domain, dimension) + amount, self.totals.capacity(domain, dimension));
            if used > capacity {
                return 0.0;
            }
            if capacity > 0 {
                sum += weight * used as f64 / capacity as f64;
            }
            weights += weight;
        }
        if weights > 0.0 { sum / weights } else { 0.0 }
    }

    fn score_near(&self, job: &Placed<'_>, nodes: &[NodeId], scores: &mut [f64]) {
        let (lowest, highest) = self.tree.tier_range();
        // Nodes of one leaf are worth the same, and mostly come one after the other.
        let mut known = None;
        let mut per_leaf: Vec<(DomainId, f64, u32)> = Vec::new();
        for &node in nodes {
            let leaf = self.tree.leaf(node);
            if known == Some(leaf) {
                per_leaf.last_mut().expect("the known leaf is the last").2 += 1;
                continue;
            }
            known = Some(leaf);
            let tier = self.tree.tier(self.tree.lowest_common(leaf, job.domain));
            let near =
                if highest > lowest { f64::from(highest - tier) / f64::from(highest - lowest) } else { 0.0 };
            per_leaf.push((leaf, near, 1));
        }
        let best = per_leaf.iter().map(|&(_, near, _)| near).fold(0.0, f64::max);
        let tied =
            per_leaf.iter().filter(|&&(_, near, _)| near >= best).map(|&(.., count)| count).sum::<u32>() > 1;
        let mut scores = scores.iter_mut();
        for (leaf, near, count) in per_leaf {
            let share = if tied && near >= best { job.share_in(&self.tree, leaf) } else { 0.0 };
            let own = (near + share) * BASE_SCORE * f64::from(self.config.weight);
            scores.by_ref().take(count as usize).for_each(|score| *score += own);
        }
    }

    fn score_ordinary(&self, state: &ClusterState, task: TaskId, nodes: &[NodeId], scores: &mut [f64]) {
        let Some(spec) = state.task_spec(task) else { return };
        let requested: Vec<_> = spec.requested().collect();
        let mut known: Vec<Option<f64>> = vec![None; self.tree.len()];
        for (score, &node) in scores.iter_mut().zip(nodes) {
            let (mut sum, mut weights) = (0.0, 0.0);
            for domain in self.tree.ancestors(self.tree.leaf(node)) {
                let weight = power(self.config.fading, self.tree.tier(domain).saturating_sub(1));
                let fullness = &mut known[domain.index()];
                sum += weight * *fullness.get_or_insert_with(|| self.fullness(state, domain, &requested));
                weights += weight;
            }
            if weights > 0.0 {
                *score += sum / weights * BASE_SCORE * f64::from(self.config.weight);
            }
        }
    }

    /// Whether some task of the job has a place to be near to, or an annotation names one.
    fn may_be_near(&self, state: &ClusterState, task: TaskId) -> bool {
        let Some(job) = state.task(task).map(|task| task.job) else { return false };
        let placed = state.job(job).is_some_and(|job| job.placed() + job.nominated() > 0);
        !self.tree.is_empty() && (placed || annotated(state, job).is_some())
    }

    /// Tasks that share the task's topology, and where they are; `None` where none is placed.
    fn placed<'a>(&self, state: &'a ClusterState, task: TaskId) -> Option<Placed<'a>> {
        let job = state.task(task)?.job;
        let entry = state.job(job)?;
        let tasks = if entry.spec.gang.as_ref().is_some_and(|gang| !gang.sub_groups.is_empty()) {
            SubJob::partition(state, job).into_iter().find(|sub_job| sub_job.tasks.contains(&task))?.tasks
        } else {
            entry.tasks().to_vec()
        };
        let annotated = if tasks.len() == entry.tasks().len() { annotated(state, job) } else { None };
        let domain = self.allocated(state, &tasks, annotated)?;
        Some(Placed { state, tasks, domain })
    }
}

/// Tasks that belong together, and the smallest domain that holds those that are placed.
struct Placed<'a> {
    state: &'a ClusterState,
    tasks: Vec<TaskId>,
    domain: DomainId,
}

impl Placed<'_> {
    /// The share of the tasks that is placed in a domain.
    fn share_in(&self, tree: &DomainTree, domain: DomainId) -> f64 {
        share_in(self.state, tree, &self.tasks, domain)
    }
}

fn share_in(state: &ClusterState, tree: &DomainTree, tasks: &[TaskId], domain: DomainId) -> f64 {
    let nodes = tasks.iter().filter_map(|&task| place(state, task));
    let inside = nodes.filter(|&node| tree.contains(domain, tree.leaf(node))).count();
    inside as f64 / tasks.len().max(1) as f64
}

/// The node on which a task is and stays, or to which it is nominated.
fn place(state: &ClusterState, task: TaskId) -> Option<NodeId> {
    let task = state.task(task)?;
    let placement = task.placement().filter(|_| task.status().is_placed());
    placement.map(|placement| placement.node).or_else(|| task.nominated())
}

fn annotated(state: &ClusterState, job: JobId) -> Option<DomainId> {
    let name = state.job(job)?.spec.annotations.get(ALLOCATED_DOMAIN)?;
    let position = state.domains().iter().position(|domain| domain.name == *name);
    position.map(DomainId::new)
}

/// Whether a job, or a sub-group of it, says how close together its tasks are.
pub fn has_topology(state: &ClusterState, job: JobId) -> bool {
    let gang = state.job(job).and_then(|job| job.spec.gang.as_ref());
    gang.is_some_and(|gang| {
        gang.network_topology.is_some()
            || gang.sub_groups.iter().any(|policy| policy.network_topology.is_some())
    })
}

fn power(base: f64, exponent: u32) -> f64 {
    (0..exponent).fold(1.0, |power, _| power * base)
}

impl SessionPlugin for NetworkTopologyAware {
    fn name(&self) -> &'static str {
        "network-topology-aware"
    }

    fn open(&mut self, state: &ClusterState, _now: Time) {
        self.tree.refresh(state);
        self.totals.refresh(state, &self.tree);
    }

    fn on_allocate(&mut self, state: &ClusterState, _task: TaskId) {
        self.totals.refresh(state, &self.tree);
    }

    fn on_deallocate(&mut self, state: &ClusterState, _task: TaskId) {
        self.totals.refresh(state, &self.tree);
    }

    fn judges_nodes(&self, state: &ClusterState, task: TaskId) -> bool {
        let job = state.task(task).map(|task| task.job);
        if job.is_some_and(|job| has_topology(state, job)) {
            self.may_be_near(state, task)
        } else {
            self.config.packs_ordinary_tasks && !self.tree.is_empty()
        }
    }

    fn score_nodes(&self, state: &ClusterState, task: TaskId, nodes: &[NodeId], scores: &mut [f64]) {
        let Some(job) = state.task(task).map(|task| task.job) else { return };
        if !has_topology(state, job) {
            if self.config.packs_ordinary_tasks && !self.tree.is_empty() {
                self.score_ordinary(state, task, nodes, scores);
            }
        } else if let Some(placed) = self.placed(state, task) {
            self.score_near(&placed, nodes, scores);
        }
    }

    fn job_gradients(&self, state: &ClusterState, job: JobId, domain: DomainId) -> Option<Gradients> {
        let entry = state.job(job)?;
        let gang = entry.spec.gang.as_ref()?;
        let limit = Limit::new(state, Some(gang.network_topology.as_ref()?));
        let allocated = self.allocated(state, entry.tasks(), annotated(state, job));
        // What part of the minimum is placed already is not asked for again.
        let minimum = gang.min_resources.as_ref().filter(|_| allocated.is_none());
        let holds = |domain| {
            minimum.is_none_or(|minimum| {
                minimum
                    .named()
                    .all(|(dimension, amount)| amount <= self.totals.future_free(domain, dimension))
            })
        };
        Some(self.gradients(limit, allocated, domain, holds))
    }

    fn sub_job_gradients(
        &self,
        state: &ClusterState,
        sub_job: &SubJob,
        domain: DomainId,
    ) -> Option<Gradients> {
        let topology = sub_job.network_topology(&state.job(sub_job.job)?.spec)?;
        let limit = Limit::new(state, Some(topology));
        let allocated = self.allocated(state, &sub_job.tasks, None);
        Some(self.gradients(limit, allocated, domain, |_| true))
    }

    fn score_domains(
        &self,
        state: &ClusterState,
        sub_job: &SubJob,
        domains: &[DomainId],
        scores: &mut [f64],
    ) {
        let requested = waiting_requests(state, &sub_job.tasks);
        let fullness: Vec<f64> =
            domains.iter().map(|&domain| self.fullness(state, domain, &requested)).collect();
        let best = fullness.iter().copied().fold(0.0, f64::max);
        let tied = fullness.iter().filter(|&&score| score >= best).count() > 1;
        for ((score, &full), &domain) in scores.iter_mut().zip(&fullness).zip(domains) {
            let mut own = full;
            if tied && full >= best {
                own += share_in(state, &self.tree, &sub_job.tasks, domain);
            }
            *score += own * BASE_SCORE * f64::from(self.config.weight);
        }
    }
}

/// What those of some tasks that have no place request together.
fn waiting_requests(state: &ClusterState, tasks: &[TaskId]) -> Vec<(Dimension, u64)> {
    let mut sums: Vec<(Dimension, u64)> = Vec::new();
    for &task in tasks.iter().filter(|&&task| place(state, task).is_none()) {
        for (dimension, amount) in state.task_spec(task).into_iter().flat_map(TaskSpec::requested) {
            match sums.iter_mut().find(|(known, _)| *known == dimension) {
                Some((_, sum)) => *sum += amount,
                None => sums.push((dimension, amount)),
            }
        }
    }
    sums
}
