//! Evicts tasks of lower standing for starving jobs of the same queue.

use alloc::vec;
use alloc::vec::Vec;

use foretell_framework::{
    Action, ClassId, ClusterEvent, ClusterState, EvictionReason, JobId, NodeId, Plugins, QueueId, Reason,
    Session, Statement, TaskId, TaskStatus,
};
use slotmap::SecondaryMap;

use crate::candidates;
use crate::dry_run;
use crate::evict::evict;
use crate::node;
use crate::work::{WaitingTasks, Work};

/// First between jobs of a queue: for each starving job in order, what its tasks need is evicted from other jobs, and kept
/// only if the job can then start. Then within starving jobs, between their tasks.
///
/// Node by node from the best score down, the victims that the plugins offer are evicted one at a time until the task has
/// room and its queue may take it.
#[derive(Default)]
pub struct Preempt {
    /// Whether every node is tried before one is chosen, as kube-scheduler does
    /// (`enableTopologyAwarePreemption`).
    dry_run: bool,
    /// Whether a gang that cannot spare a task may be taken as a whole.
    whole_gangs: bool,
    work: Work,
    tasks: SecondaryMap<JobId, WaitingTasks>,
    /// Jobs of each queue that held something when the action began: only they have tasks to give.
    holders: Vec<Vec<JobId>>,
}

/// Whose tasks may be victims.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Scope<'a> {
    /// Those of other jobs of the queue; the jobs that hold something.
    Queue(QueueId, &'a [JobId]),
    /// Those of the same job.
    Job,
}

impl Preempt {
    /// The action; with `dry_run` it tries every node before it chooses one, with `whole_gangs` a gang that loses a task
    /// that it needs leaves as a whole (not in dry runs).
    pub fn new(dry_run: bool, whole_gangs: bool) -> Self {
        Self { dry_run, whole_gangs, ..Self::default() }
    }

    /// Serves the first starving job of a queue, and says whether there was one.
    fn serve(&mut self, session: &mut Session<'_>, plugins: &mut Plugins, queue: QueueId) -> bool {
        let Some(job) = self.work.next_job(session.state(), plugins.tiers(), queue) else { return false };
        let mut statement = Statement::begin(session, plugins);
        let mut assigned = false;
        let tasks = &mut self.tasks[job];
        // A task that found nothing without evicting anything leaves nothing to the next of its class.
        let mut hopeless: Option<(ClassId, u32)> = None;
        while statement.plugins().tiers().job_starving(statement.state(), job) {
            let Some(task) = tasks.pop(statement.state(), statement.plugins().tiers()) else { break };
            let Some(class) = statement.state().task(task).map(|task| task.class) else { continue };
            if hopeless == Some((class, statement.changes())) {
                continue;
            }
            let scope = Scope::Queue(queue, &self.holders[queue.index()]);
            let changes = statement.changes();
            assigned = preempt(&mut statement, task, scope, self.dry_run, self.whole_gangs);
            hopeless = (statement.changes() == changes).then_some((class, changes));
        }
        if statement.plugins().tiers().job_pipelined(statement.state(), job) {
            statement.commit();
            if assigned {
                self.work.put_back_job(session.state(), plugins.tiers(), queue, job);
            }
        }
        true
    }
}

impl Action for Preempt {
    fn name(&self) -> &'static str {
        "preempt"
    }

    fn notify(&mut self, _state: &ClusterState, _plugins: &mut Plugins, _event: ClusterEvent) {}

    fn run(&mut self, session: &mut Session<'_>, plugins: &mut Plugins) {
        let (state, tiers) = (session.state(), plugins.tiers());
        let starving = candidates::starving(state, tiers);
        if starving.is_empty() {
            return;
        }
        self.holders.clear();
        self.holders.resize(state.queues().len(), Vec::new());
        for (id, job) in state.jobs().filter(|(_, job)| job.placed() > 0) {
            let may_give = |&task: &TaskId| !tiers.placed_in_session(task);
            if job.tasks().iter().any(may_give) {
                self.holders[job.spec.queue.index()].push(id);
            }
        }
        self.work.clear(state);
        self.tasks.clear();
        for &(queue, job) in &starving {
            self.work.add(state, tiers, queue, job);
            self.tasks.insert(job, WaitingTasks::of(state, tiers, job, true));
        }
        while let Some(queue) = self.work.next_queue(session.state(), plugins.tiers()) {
            while self.serve(session, plugins, queue) {}
        }
        for (_, job) in starving {
            let mut tasks = WaitingTasks::of(session.state(), plugins.tiers(), job, true);
            while let Some(task) = tasks.pop(session.state(), plugins.tiers()) {
                let mut statement = Statement::begin(session, plugins);
                if !preempt(&mut statement, task, Scope::Job, self.dry_run, false) {
                    break;
                }
                statement.commit();
            }
        }
    }

    fn explain(&mut self, _: &mut Session<'_>, _: &mut Plugins, _: JobId) -> Option<Reason> {
        None
    }
}

/// Whether a task may be a victim for `preemptor`, as far as the action is concerned.
pub(crate) fn is_candidate(
    statement: &Statement<'_>,
    state: &ClusterState,
    preemptor: TaskId,
    scope: Scope<'_>,
    candidate: TaskId,
) -> bool {
    let (Some(task), Some(other)) = (state.task(preemptor), state.task(candidate)) else { return false };
    let in_scope = match scope {
        Scope::Job => task.job == other.job,
        Scope::Queue(queue, _) => {
            task.job != other.job && state.job(other.job).is_some_and(|job| job.spec.queue == queue)
        }
    };
    let is_best_effort = |class| state.class_spec(class).is_best_effort();
    in_scope
        && other.status().is_placed()
        && !statement.plugins().tiers().placed_in_session(candidate)
        && (is_best_effort(other.class) || !is_best_effort(task.class))
        && (scope == Scope::Job || candidates::may_be_evicted(state, candidate))
}

/// Makes room for a task and nominates it there. Says whether that was possible; if not, what was evicted stays evicted
/// until the statement ends, as in Volcano.
fn preempt(
    statement: &mut Statement<'_>,
    task: TaskId,
    scope: Scope<'_>,
    dry_run: bool,
    whole_gangs: bool,
) -> bool {
    if !is_eligible(statement, task) {
        return false;
    }
    let mut nodes = promising_nodes(statement, task, scope);
    nodes.retain(|&node| candidates::is_clearable(statement, task, node));
    if dry_run {
        return dry_run::preempt(statement, task, scope, &nodes);
    }
    let nodes = node::by_score(statement, task, &nodes);
    nodes.into_iter().any(|node| preempt_on(statement, task, scope, node, whole_gangs))
}

/// Nodes with a candidate, and if the task's queue may take it as things are also those where it may have room.
fn promising_nodes(statement: &mut Statement<'_>, task: TaskId, scope: Scope<'_>) -> Vec<NodeId> {
    let state = statement.state();
    let Some(entry) = state.task(task) else { return Vec::new() };
    let (class, job) = (entry.class, entry.job);
    let Some(queue) = state.job(job).map(|job| job.spec.queue) else { return Vec::new() };
    let may_take = statement.plugins().tiers().allocatable(state, queue, task);
    let mut promising = vec![false; state.nodes().len()];
    let own = [job];
    let holders = match scope {
        Scope::Job => &own[..],
        Scope::Queue(_, holders) => holders,
    };
    for other in holders.iter().filter_map(|&job| state.job(job)).filter(|job| job.placed() > 0) {
        for &candidate in other.tasks() {
            if let Some(placement) = state.task(candidate).and_then(|task| task.placement())
                && is_candidate(statement, state, task, scope, candidate)
            {
                promising[placement.node.index()] = true;
            }
        }
    }
    let (state, plugins, _) = statement.parts();
    if may_take {
        let ranking = plugins.ranking(state, class);
        let free = ranking.feasible() > 0;
        for (node, promising) in state.node_ids().zip(&mut promising) {
            *promising |= free && ranking.score(node).is_some() || state.node(node).releasing_tasks() > 0;
        }
    }
    let nodes = state.node_ids().zip(promising);
    nodes.filter(|&(_, promising)| promising).map(|(node, _)| node).collect()
}

/// Whether the task may preempt: its class does not forbid it, and it does not wait already for a victim to leave.
fn is_eligible(statement: &mut Statement<'_>, task: TaskId) -> bool {
    let state = statement.state();
    let Some(entry) = state.task(task) else { return false };
    if state.class_spec(entry.class).never_preempts {
        return false;
    }
    let Some(nominated) = statement.former_nomination(task) else { return true };
    let (class, priority) = (entry.class, entry.details.priority);
    let (state, plugins, _) = statement.parts();
    match plugins.filter_node(state, state.class_spec(class), nominated) {
        Ok(()) => false,
        Err(rejection) if rejection.is_unresolvable() => true,
        Err(_) => !state.node(nominated).tasks().iter().any(|&other| {
            state.task(other).is_some_and(|other| {
                other.status() == TaskStatus::Releasing && other.details.priority < priority
            })
        }),
    }
}

fn preempt_on(
    statement: &mut Statement<'_>,
    task: TaskId,
    scope: Scope<'_>,
    node: NodeId,
    whole_gangs: bool,
) -> bool {
    let candidates = candidates::tasks_of(statement, node, task, |state, candidate| {
        is_candidate(statement, state, task, scope, candidate)
    });
    let state = statement.state();
    let victims = statement.plugins().tiers().preemptable(state, task, &candidates);
    if !candidates::would_fit(state, task, node, &victims) {
        return false;
    }
    let mut victims = candidates::in_order(statement, &victims, task).into_iter();
    let start = statement.savepoint();
    while !fits(statement, task, node) {
        let Some(victim) = victims.next() else {
            // In Volcano what was evicted in vain stays so until the statement ends. Whole gangs are too dear for that.
            if whole_gangs {
                statement.rollback_to(start);
            }
            return false;
        };
        evict(statement, victim, EvictionReason::Preempted, task, whole_gangs);
    }
    statement.pipeline(task, node).is_ok()
}

/// Whether the task's queue may take it, and the node will.
pub(crate) fn fits(statement: &mut Statement<'_>, task: TaskId, node: NodeId) -> bool {
    let state = statement.state();
    let queue = state.task(task).and_then(|task| state.job(task.job)).map(|job| job.spec.queue);
    queue.is_some_and(|queue| statement.plugins().tiers().allocatable(state, queue, task))
        && statement.fits_future(task, node)
}
