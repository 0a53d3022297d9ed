//! Jobs of sub-jobs, and jobs that say how close together their tasks must be.
//!
//! Domains are tried tier by tier, as the plugins say. In each domain of a tier the job is placed on trial, sub-job by
//! sub-job, and each sub-job likewise in the domains inside; of those that work the one with the best score is
//! taken, and what was placed there is done once more to last.

use alloc::vec::Vec;

use foretell_framework::{
    ClusterState, Dimension, DomainId, DomainTotals, DomainTree, GpuSet, JobId, NodeId, QueueId, Reason,
    Statement, SubJob, TaskId, TaskStatus, Tiers,
};

use crate::allocate::{Confines, try_tasks};
use crate::work::WaitingTasks;

/// A sub-job and those of its tasks that wait.
#[derive(Clone)]
pub(crate) struct Part {
    sub_job: SubJob,
    tasks: WaitingTasks,
}

impl Part {
    /// The sub-jobs of a job that have waiting tasks.
    pub(crate) fn of(state: &ClusterState, tiers: &Tiers, job: JobId) -> Vec<Self> {
        let parts = SubJob::partition(state, job).into_iter().map(|sub_job| {
            let tasks = WaitingTasks::among(state, tiers, &sub_job.tasks, false);
            Self { sub_job, tasks }
        });
        parts.filter(|part| !part.tasks.is_empty()).collect()
    }

    /// Whether it may be anywhere in a domain where the job may be.
    fn is_unconfined(&self, state: &ClusterState) -> bool {
        state.job(self.sub_job.job).is_some_and(|job| self.sub_job.network_topology(&job.spec).is_none())
    }
}

/// Whether a job is placed sub-job by sub-job and domain by domain.
pub(crate) fn is_structured(state: &ClusterState, job: JobId) -> bool {
    let gang = state.job(job).and_then(|job| job.spec.gang.as_ref());
    gang.is_some_and(|gang| gang.network_topology.is_some() || !gang.sub_groups.is_empty())
}

/// What was done on trial, to be done again.
struct Solution {
    score: f64,
    steps: Vec<(TaskId, Step)>,
    /// What still waits then.
    left: Vec<Part>,
}

#[derive(Clone, Copy)]
enum Step {
    Allocate(NodeId, GpuSet),
    Pipeline(NodeId),
}

/// Places tasks of a job in the best domain of the lowest tier where it becomes ready, or will; parts that found no
/// place there are dropped. `false` if there is none.
pub(crate) fn place_structured(
    statement: &mut Statement<'_>,
    domains: &Domains,
    queue: QueueId,
    job: JobId,
    parts: &mut Vec<Part>,
) -> bool {
    let (state, tiers) = (statement.state(), statement.plugins().tiers());
    let needs = Needs::of(state, tiers, job, parts);
    let gradients = tiers.job_gradients(state, job, domains.tree.top());
    for mut candidates in gradients {
        candidates.retain(|&domain| needs.may_fit(domains, domain));
        // One part that may be anywhere in the domain: what the domain is worth is known before the trial.
        let one = match &**parts {
            [part] if part.is_unconfined(statement.state()) => Some(&part.sub_job),
            _ => None,
        };
        let is_sorted = one.is_some();
        if let Some(sub_job) = one {
            sort_by_score(statement, sub_job, &mut candidates);
        }
        let mut best: Option<Solution> = None;
        for domain in candidates {
            let before = statement.savepoint();
            let mut left = parts.clone();
            let score = try_domain(statement, domains, queue, job, &mut left, domain);
            let (state, tiers) = (statement.state(), statement.plugins().tiers());
            let is_enough = tiers.job_ready(state, job) || tiers.job_pipelined(state, job);
            if statement.savepoint() != before && is_enough {
                if is_sorted {
                    *parts = left;
                    return true;
                }
                if best.as_ref().is_none_or(|best| score > best.score) {
                    let waited = parts.iter().flat_map(|part| part.tasks.iter());
                    best = Some(Solution { score, steps: steps(state, waited), left });
                }
            }
            statement.rollback_to(before);
        }
        if let Some(Solution { steps, left, .. }) = best {
            *parts = left;
            return repeat(statement, &steps);
        }
    }
    false
}

/// Sorts domains by what they are worth to a sub-job, best first, in their order among equals.
fn sort_by_score(statement: &Statement<'_>, sub_job: &SubJob, domains: &mut Vec<DomainId>) -> Vec<f64> {
    let tiers = statement.plugins().tiers();
    let scores = tiers.score_domains(statement.state(), sub_job, domains);
    let mut ranked: Vec<(DomainId, f64)> = domains.iter().copied().zip(scores).collect();
    ranked.sort_by(|(_, left), (_, right)| right.total_cmp(left));
    domains.clear();
    domains.extend(ranked.iter().map(|&(domain, _)| domain));
    ranked.into_iter().map(|(_, score)| score).collect()
}

/// Domains, and what there is in them.
#[derive(Default)]
pub(crate) struct Domains {
    pub(crate) tree: DomainTree,
    totals: DomainTotals,
}

impl Domains {
    /// Brings them up to date.
    pub(crate) fn refresh(&mut self, state: &ClusterState) {
        self.tree.refresh(state);
        self.totals.refresh(state, &self.tree);
    }
}

/// What a job still needs at least, where all its waiting tasks are alike: domains with less than that need no trial.
struct Needs(Vec<(Dimension, u64)>);

impl Needs {
    fn of(state: &ClusterState, tiers: &Tiers, job: JobId, parts: &[Part]) -> Self {
        let nothing = Self(Vec::new());
        let Some(entry) = state.job(job).filter(|_| !tiers.job_ready(state, job)) else { return nothing };
        let missing = entry.spec.min_member.saturating_sub(entry.placed() + entry.nominated());
        let mut waiting = parts.iter().flat_map(|part| part.tasks.iter()).map(|task| state.task(task));
        let Some(class) = waiting.next().flatten().map(|task| task.class) else { return nothing };
        if !waiting.all(|task| task.is_some_and(|task| task.class == class)) {
            return nothing;
        }
        let spec = state.class_spec(class);
        Self(spec.requested().map(|(dimension, amount)| (dimension, amount * u64::from(missing))).collect())
    }

    fn may_fit(&self, domains: &Domains, domain: DomainId) -> bool {
        self.0.iter().all(|&(dimension, amount)| amount <= domains.totals.future_free(domain, dimension))
    }
}

/// Places sub-jobs in a domain, the first in order as far as it becomes ready, then again the first, until the job is
/// ready. A sub-job that finds no place is dropped. Says what the domains that they got are worth together.
fn try_domain(
    statement: &mut Statement<'_>,
    domains: &Domains,
    queue: QueueId,
    job: JobId,
    parts: &mut Vec<Part>,
    domain: DomainId,
) -> f64 {
    let mut total = 0.0;
    while let Some(first) = first(statement, parts) {
        let mut part = parts.swap_remove(first);
        let Some(score) = place_part(statement, domains, queue, job, &mut part, domain) else { continue };
        total += score;
        if !part.tasks.is_empty() {
            parts.push(part);
        }
        let (state, tiers) = (statement.state(), statement.plugins().tiers());
        if tiers.job_ready(state, job) {
            break;
        }
    }
    total
}

/// The position of the sub-job that goes first.
fn first(statement: &Statement<'_>, parts: &[Part]) -> Option<usize> {
    let (state, tiers) = (statement.state(), statement.plugins().tiers());
    let order = |&left: &usize, &right: &usize| {
        tiers.compare_sub_jobs(state, &parts[left].sub_job, &parts[right].sub_job)
    };
    (0..parts.len()).min_by(order)
}

/// Places tasks of a sub-job in the best domain of the lowest tier inside `domain` until it is ready. Says what that
/// domain is worth, `None` if no task found a place.
fn place_part(
    statement: &mut Statement<'_>,
    domains: &Domains,
    queue: QueueId,
    job: JobId,
    part: &mut Part,
    domain: DomainId,
) -> Option<f64> {
    let tiers = statement.plugins().tiers();
    let gradients = tiers.sub_job_gradients(statement.state(), &part.sub_job, domain);
    for mut candidates in gradients {
        // The best that works is the first that works, best first.
        let scores = sort_by_score(statement, &part.sub_job, &mut candidates);
        for (domain, score) in candidates.into_iter().zip(scores) {
            let before = statement.savepoint();
            let mut left = part.tasks.clone();
            let confines = Confines { nodes: Some(domains.tree.nodes(domain)), sub_job: Some(&part.sub_job) };
            try_tasks(statement, queue, job, &mut left, confines);
            let (state, tiers) = (statement.state(), statement.plugins().tiers());
            let is_enough =
                tiers.sub_job_ready(state, &part.sub_job) || tiers.sub_job_pipelined(state, &part.sub_job);
            if statement.savepoint() != before && is_enough {
                part.tasks = left;
                return Some(score);
            }
            statement.rollback_to(before);
        }
    }
    None
}

/// Why a job that has been placed anywhere finds no domain that holds it; `None` if it does. The statement is left as it
/// was at its beginning.
pub(crate) fn explain(statement: &mut Statement<'_>, queue: QueueId, job: JobId) -> Option<Reason> {
    let placed = |state: &ClusterState| state.job(job).map_or(0, |job| job.placed() + job.nominated());
    let cluster_room = placed(statement.state());
    statement.rollback_all();
    let (state, tiers) = (statement.state(), statement.plugins().tiers());
    let before = placed(state);
    let mut domains = Domains::default();
    domains.refresh(state);
    let tree = &domains.tree;
    let parts = Part::of(state, tiers, job);
    let gpus = parts
        .first()?
        .tasks
        .iter()
        .next()
        .and_then(|task| state.task_spec(task))
        .map(|spec| spec.gpus.count)?;
    let tasks = state.job(job)?.spec.min_member.saturating_sub(before);
    let gradients = tiers.job_gradients(state, job, tree.top());
    let mut roomiest: Option<(u32, DomainId)> = None;
    for &domain in gradients.iter().flatten() {
        let start = statement.savepoint();
        try_domain(statement, &domains, queue, job, &mut parts.clone(), domain);
        let (state, tiers) = (statement.state(), statement.plugins().tiers());
        let fits = tiers.job_ready(state, job);
        statement.rollback_to(start);
        if fits {
            return None;
        }
        // As many tasks as there is room for, ready or not.
        let (state, tiers) = (statement.state(), statement.plugins().tiers());
        let mut tasks = WaitingTasks::of(state, tiers, job, false);
        let confines = Confines { nodes: Some(tree.nodes(domain)), sub_job: None };
        try_tasks(statement, queue, job, &mut tasks, confines);
        let room = placed(statement.state()) - before;
        statement.rollback_to(start);
        if roomiest.is_none_or(|(most, _)| room > most) {
            roomiest = Some((room, domain));
        }
    }
    let name = |domain: DomainId| {
        let domain = statement.state().domains().get(domain.index());
        domain.map_or("the whole cluster", |domain| &domain.name).into()
    };
    let tier = gradients.last().and_then(|domains| domains.first()).map_or(0, |&domain| tree.tier(domain));
    Some(Reason::NoDomain {
        tasks,
        gpus,
        tier,
        roomiest: roomiest.map(|(_, domain)| name(domain)),
        room: roomiest.map_or(0, |(room, _)| room.into()),
        cluster_room: (cluster_room - before).into(),
    })
}

/// What became of tasks that waited.
fn steps(state: &ClusterState, waited: impl Iterator<Item = TaskId>) -> Vec<(TaskId, Step)> {
    let step = |task: TaskId| {
        let entry = state.task(task)?;
        let placement = entry.placement().filter(|_| entry.status() == TaskStatus::Bound);
        let placed = placement.map(|placement| Step::Allocate(placement.node, placement.gpus));
        Some((task, placed.or_else(|| entry.nominated().map(Step::Pipeline))?))
    };
    waited.filter_map(step).collect()
}

/// Does once more what was done on trial.
fn repeat(statement: &mut Statement<'_>, steps: &[(TaskId, Step)]) -> bool {
    // The state is as it was at the beginning of the trial, so what worked then works now.
    steps.iter().all(|&(task, step)| match step {
        Step::Allocate(node, gpus) => statement.allocate_on(task, node, gpus).is_ok(),
        Step::Pipeline(node) => statement.pipeline(task, node).is_ok(),
    })
}
