//! Evicts tasks of lower standing for starving jobs of the same queue.

use foretell_framework::{
    Action, ClusterEvent, ClusterState, EvictionReason, JobId, NodeId, Plugins, QueueId, Reason, Session,
    Statement, TaskId, TaskStatus,
};
use slotmap::SecondaryMap;

use crate::candidates;
use crate::dry_run;
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
    work: Work,
    tasks: SecondaryMap<JobId, WaitingTasks>,
}

/// Whose tasks may be victims.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Scope {
    /// Those of other jobs of the queue.
    Queue(QueueId),
    /// Those of the same job.
    Job,
}

impl Preempt {
    /// The action; with `dry_run` it tries every node before it chooses one.
    pub fn new(dry_run: bool) -> Self {
        Self { dry_run, ..Self::default() }
    }

    /// Serves the first starving job of a queue, and says whether there was one.
    fn serve(&mut self, session: &mut Session<'_>, plugins: &mut Plugins, queue: QueueId) -> bool {
        let Some(job) = self.work.next_job(session.state(), plugins.tiers(), queue) else { return false };
        let mut statement = Statement::begin(session, plugins);
        let mut assigned = false;
        let tasks = &mut self.tasks[job];
        while statement.plugins().tiers().job_starving(statement.state(), job) {
            let Some(task) = tasks.pop(statement.state(), statement.plugins().tiers()) else { break };
            assigned = preempt(&mut statement, task, Scope::Queue(queue), self.dry_run);
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
                if !preempt(&mut statement, task, Scope::Job, self.dry_run) {
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
    scope: Scope,
    candidate: TaskId,
) -> bool {
    let (Some(task), Some(other)) = (state.task(preemptor), state.task(candidate)) else { return false };
    let in_scope = match scope {
        Scope::Job => task.job == other.job,
        Scope::Queue(queue) => {
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
fn preempt(statement: &mut Statement<'_>, task: TaskId, scope: Scope, dry_run: bool) -> bool {
    if !is_eligible(statement, task) {
        return false;
    }
    let nodes = candidates::clearable_nodes(statement, task);
    if dry_run {
        return dry_run::preempt(statement, task, scope, &nodes);
    }
    let nodes = node::by_score(statement, task, &nodes);
    nodes.into_iter().any(|node| preempt_on(statement, task, scope, node))
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

fn preempt_on(statement: &mut Statement<'_>, task: TaskId, scope: Scope, node: NodeId) -> bool {
    let candidates = candidates::tasks_of(statement, node, task, |state, candidate| {
        is_candidate(statement, state, task, scope, candidate)
    });
    let state = statement.state();
    let victims = statement.plugins().tiers().preemptable(state, task, &candidates);
    if !candidates::would_fit(state, task, node, &victims) {
        return false;
    }
    let mut victims = candidates::in_order(statement, &victims, task).into_iter();
    while !fits(statement, task, node) {
        let Some(victim) = victims.next() else { return false };
        // A victim is placed, so this cannot fail.
        let _evicted = statement.evict(victim, EvictionReason::Preempted, Some(task));
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
