//! Moves running jobs together so that a waiting job fits (what KAI calls consolidation, and what a descheduler does).

use alloc::vec::Vec;
use core::cmp::Reverse;

use foretell_framework::{
    Action, ClusterEvent, ClusterState, EvictionReason, JobId, JobPhase, NodeId, Plugins, Reason, Session,
    Stamp, TaskId, TaskStatus, Time, Transaction, WHOLE_GPU_MILLI,
};
use rand::Rng;

/// Bounds on what is moved.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ConsolidationConfig {
    /// The most tasks that one plan moves.
    pub max_moves: usize,
    /// Time from one plan, or one search in vain, to the next search.
    pub period: Time,
    /// A job that has run for less is left alone.
    pub min_runtime: Time,
}

impl Default for ConsolidationConfig {
    fn default() -> Self {
        Self { max_moves: 8, period: Time::from_s(60.0), min_runtime: Time::from_s(60.0) }
    }
}

/// Waiting jobs for which one search plans, in their order.
const JOBS_TRIED: usize = 4;

/// Nodes that are tried for a task, those with the least to move first.
const NODES_TRIED: usize = 8;

/// Lets a waiting job in by moving others, if every task that is moved has a place to go.
///
/// A plan is made in a trial: the job's tasks are placed, nodes are cleared of running jobs where a task fits nowhere, and
/// then the cleared jobs are placed again. Only if all of them find places the plan is carried out: they are
/// evicted and the job is nominated to its nodes; as they return they are nominated to theirs. Jobs move whole, so no
/// gang loses a part. Jobs that must not be displaced, of higher priority, or young are left alone. A search in vain is not
/// repeated until something changed.
///
/// It must come before the action that places jobs, and nominations must be honoured.
pub struct Consolidation {
    config: ConsolidationConfig,
    /// Tasks that are on their way, and where to.
    moving: Vec<(TaskId, NodeId)>,
    /// Tasks for which they move.
    beneficiaries: Vec<TaskId>,
    /// All that moved is back, so that in this cycle the beneficiaries should have found their places.
    settled: bool,
    next_search: Time,
    /// For whom the latest search was in vain, and what had been released by then.
    in_vain: Option<(Stamp, Vec<JobId>)>,
}

impl Consolidation {
    /// With these bounds.
    pub const fn new(config: ConsolidationConfig) -> Self {
        Self {
            config,
            moving: Vec::new(),
            beneficiaries: Vec::new(),
            settled: true,
            next_search: Time::ZERO,
            in_vain: None,
        }
    }

    /// Nominates those that are back to where they were to go, and forgets what is done. Returns whether a plan is still being
    /// carried out.
    fn continues(&mut self, session: &mut Session<'_>) -> bool {
        let (mut transaction, _) = session.begin();
        self.moving.retain(|&(task, node)| {
            let status = transaction.state().task(task).map(foretell_framework::Task::status);
            if status == Some(TaskStatus::Waiting) {
                // It waits, so it can be nominated.
                let _nominated = transaction.nominate(task, Some(node));
                self.beneficiaries.push(task);
            }
            status == Some(TaskStatus::Releasing)
        });
        if !self.moving.is_empty() {
            transaction.commit();
            return true;
        }
        // Everybody has had a cycle to take the place that was kept.
        if self.settled {
            for task in self.beneficiaries.drain(..) {
                if transaction.state().task(task).is_some_and(|task| task.nominated().is_some()) {
                    let _cleared = transaction.nominate(task, None);
                }
            }
        }
        let continues = !self.settled;
        self.settled = true;
        transaction.commit();
        continues
    }

    /// Finds a plan for one of the waiting jobs and decides it. Returns whether there is one.
    fn search(&mut self, session: &mut Session<'_>, plugins: &mut Plugins) -> bool {
        let now = session.now;
        for job in waiting_jobs(session.state()) {
            let (mut transaction, random) = session.begin();
            let savepoint = transaction.savepoint();
            let plan = Plan::make(&self.config, &mut transaction, plugins, random, job, now);
            transaction.rollback_to(savepoint);
            let Some(plan) = plan else { continue };
            let Some(&(first, _)) = plan.placed.first() else { continue };
            for &(task, _) in &plan.moves {
                // It runs, so it can be evicted.
                let _evicted = transaction.evict(task, EvictionReason::Consolidated, Some(first));
            }
            for &(task, node) in &plan.placed {
                let _nominated = transaction.nominate(task, Some(node));
            }
            transaction.commit();
            self.beneficiaries = plan.placed.into_iter().map(|(task, _)| task).collect();
            self.moving = plan.moves;
            self.settled = false;
            return true;
        }
        false
    }
}

/// Admitted jobs that lack tasks to run, the most important first.
fn waiting_jobs(state: &ClusterState) -> Vec<JobId> {
    let waiting = state.jobs().filter(|(_, job)| !job.is_ready() && job.spec.phase != JobPhase::Pending);
    let mut waiting: Vec<_> =
        waiting.map(|(id, job)| (Reverse(job.spec.priority), job.spec.sequence, id)).collect();
    waiting.sort_unstable();
    waiting.into_iter().take(JOBS_TRIED).map(|(.., id)| id).collect()
}

/// Who goes where.
#[derive(Default)]
struct Plan {
    /// Tasks of the waiting job, and their nodes.
    placed: Vec<(TaskId, NodeId)>,
    /// Tasks that move, and their new nodes.
    moves: Vec<(TaskId, NodeId)>,
}

impl Plan {
    /// A plan for a job, `None` if there is none or if the job needs none. Leaves a trial behind in the transaction.
    fn make(
        config: &ConsolidationConfig,
        transaction: &mut Transaction<'_>,
        plugins: &mut Plugins,
        random: &mut dyn Rng,
        job: JobId,
        now: Time,
    ) -> Option<Self> {
        let entry = transaction.state().job(job)?;
        let (tasks, priority) = (entry.tasks().to_vec(), entry.spec.priority);
        let mut plan = Self::default();
        let mut cleared: Vec<TaskId> = Vec::new();
        for task in tasks {
            if transaction.state().job(job)?.is_ready() {
                break;
            }
            if transaction.state().task(task)?.status() != TaskStatus::Waiting {
                continue;
            }
            let node = if let Ok(node) = plugins.place(transaction, task, random) {
                node
            } else {
                let (found, taken) =
                    clear_a_node(config, transaction, plugins, random, task, (priority, now), cleared.len())?;
                cleared.extend(taken);
                found
            };
            plan.placed.push((task, node));
        }
        if cleared.is_empty() {
            return None;
        }
        // The largest first, as in every packing.
        let size = |&task: &TaskId| {
            let spec = transaction.state().task_spec(task);
            Reverse(spec.map(|spec| (spec.gpus.total_milli(), spec.requests.cpu_milli)))
        };
        cleared.sort_by_key(size);
        for task in cleared {
            plan.moves.push((task, plugins.place(transaction, task, random).ok()?));
        }
        Some(plan)
    }
}

/// Takes jobs off a node until a task fits there, and puts it there. Returns the node and the tasks that were taken off, of
/// other nodes too.
fn clear_a_node(
    config: &ConsolidationConfig,
    transaction: &mut Transaction<'_>,
    plugins: &mut Plugins,
    random: &mut dyn Rng,
    task: TaskId,
    (priority, now): (i32, Time),
    moved: usize,
) -> Option<(NodeId, Vec<TaskId>)> {
    let state = transaction.state();
    let class = state.task(task)?.class;
    let wanted = state.class_spec(class).gpus;
    let mut nodes = Vec::new();
    for node in state.node_ids() {
        let free =
            state.gpu_free_milli(node).iter().filter(|&&free| free >= wanted.milli.max(1)).count() as u32;
        let busy = !state.node(node).tasks().is_empty() && state.node(node).spec.gpus >= wanted.count;
        if busy && plugins.filter_apart_from_resources(state, class, node).is_ok() {
            nodes.push((wanted.count.saturating_sub(free), state.node(node).tasks().len(), node));
        }
    }
    nodes.sort_unstable();
    for (.., node) in nodes.into_iter().take(NODES_TRIED) {
        let savepoint = transaction.savepoint();
        let mut jobs = movable_jobs(config, transaction.state(), node, priority, now);
        let mut taken = Vec::new();
        loop {
            let state = transaction.state();
            let spec = state.class_spec(class).clone();
            if plugins.filter_node(state, &spec, node).is_ok() {
                let gpus = plugins.pick_gpus(state, class, node, random);
                if transaction.place(task, node, gpus).is_ok() {
                    return Some((node, taken));
                }
                break;
            }
            let Some(job) = jobs.pop() else { break };
            let tasks = transaction.state().job(job).map(|job| job.tasks().to_vec()).unwrap_or_default();
            for task in tasks {
                if transaction.state().task(task).is_some_and(|task| task.status().is_placed()) {
                    // It is placed, so it can be taken off.
                    let _removed = transaction.remove(task);
                    taken.push(task);
                }
            }
            if moved + taken.len() > config.max_moves {
                break;
            }
        }
        transaction.rollback_to(savepoint);
    }
    None
}

/// Jobs with tasks on a node that may be moved; the last is the first to go: the one with the fewest tasks, of those the
/// smallest that makes a difference, of those the one that started last.
fn movable_jobs(
    config: &ConsolidationConfig,
    state: &ClusterState,
    node: NodeId,
    priority: i32,
    now: Time,
) -> Vec<JobId> {
    let mut jobs: Vec<_> =
        state.node(node).tasks().iter().filter_map(|&task| Some(state.task(task)?.job)).collect();
    jobs.sort_unstable();
    jobs.dedup();
    let mut movable: Vec<_> = jobs
        .into_iter()
        .filter_map(|id| {
            let job = state.job(id)?;
            let placed = job.tasks().iter().filter_map(|&task| state.task(task));
            let placed = placed.filter(|task| task.placement().is_some());
            let (mut count, mut gpu_milli, mut started) = (0_u32, 0_u64, Time::ZERO);
            for task in placed {
                // What leaves already, or has not started, is not moved.
                if task.status() != TaskStatus::Running {
                    return None;
                }
                count += 1;
                gpu_milli += state.class_spec(task.class).gpus.total_milli();
                started = started.max(task.details.started.unwrap_or(Time::ZERO));
            }
            let old_enough = started + config.min_runtime <= now;
            let may_move =
                job.spec.preemptable != Some(false) && job.spec.priority <= priority && job.is_ready();
            let uses_gpus = gpu_milli.min(u64::from(WHOLE_GPU_MILLI));
            (may_move && old_enough).then_some(((Reverse(count), uses_gpus, Reverse(gpu_milli), started), id))
        })
        .collect();
    movable.sort_unstable();
    movable.into_iter().map(|(_, id)| id).collect()
}

impl Action for Consolidation {
    fn name(&self) -> &'static str {
        "consolidation"
    }

    fn notify(&mut self, _state: &ClusterState, _plugins: &mut Plugins, _event: ClusterEvent) {}

    fn run(&mut self, session: &mut Session<'_>, plugins: &mut Plugins) {
        if self.continues(session) {
            return;
        }
        let waiting = waiting_jobs(session.state());
        let seen = (session.state().released(), waiting);
        if seen.1.is_empty() || self.in_vain.as_ref() == Some(&seen) {
            return;
        }
        if session.now < self.next_search {
            session.wake_by(self.next_search);
            return;
        }
        let now = session.now;
        self.next_search = now + self.config.period;
        self.in_vain = None;
        if !self.search(session, plugins) {
            let is_young = |task: &foretell_framework::Task| {
                let since = task.details.started.unwrap_or(Time::ZERO);
                task.status().is_placed() && since + self.config.min_runtime > now
            };
            let some_are_young = session.state().tasks().any(|(_, task)| is_young(task));
            if some_are_young {
                // Who is young now may be moved later, without any event.
                session.wake_by(self.next_search);
            } else {
                self.in_vain = Some(seen);
            }
        }
    }

    fn explain(&mut self, _session: &mut Session<'_>, _plugins: &mut Plugins, _job: JobId) -> Option<Reason> {
        None
    }
}
