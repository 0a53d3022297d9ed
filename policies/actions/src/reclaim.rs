//! Takes back from other queues what they hold beyond what they deserve.

use foretell_framework::{
    Action, ClusterEvent, ClusterState, EvictionReason, JobId, NodeId, Plugins, QueueId, Reason, Session,
    Statement, TaskId, TaskStatus,
};
use slotmap::SecondaryMap;

use crate::candidates;
use crate::work::{WaitingTasks, Work};

/// For each queue that is entitled to more, its starving jobs in order: node by node, running tasks of other reclaimable
/// queues are evicted, as far as the plugins offer them, until the job's task has room. What was evicted for a job stays
/// so only if the job can then start.
#[derive(Default)]
pub struct Reclaim {
    work: Work,
    tasks: SecondaryMap<JobId, WaitingTasks>,
}

impl Reclaim {
    fn serve(&mut self, session: &mut Session<'_>, plugins: &mut Plugins, queue: QueueId) -> bool {
        let Some(job) = self.work.next_job(session.state(), plugins.tiers(), queue) else { return false };
        let mut statement = Statement::begin(session, plugins);
        let tasks = &mut self.tasks[job];
        while statement.plugins().tiers().job_starving(statement.state(), job) {
            let Some(task) = tasks.pop(statement.state(), statement.plugins().tiers()) else { break };
            reclaim(&mut statement, queue, task);
        }
        if statement.plugins().tiers().job_pipelined(statement.state(), job) {
            statement.commit();
        }
        true
    }
}

impl Action for Reclaim {
    fn name(&self) -> &'static str {
        "reclaim"
    }

    fn notify(&mut self, _state: &ClusterState, _plugins: &mut Plugins, _event: ClusterEvent) {}

    fn run(&mut self, session: &mut Session<'_>, plugins: &mut Plugins) {
        let (state, tiers) = (session.state(), plugins.tiers());
        self.work.clear(state);
        self.tasks.clear();
        for (queue, job) in candidates::starving(state, tiers) {
            self.work.add(state, tiers, queue, job);
            self.tasks.insert(job, WaitingTasks::of(state, tiers, job, true));
        }
        while let Some(queue) = self.work.next_queue(session.state(), plugins.tiers()) {
            if plugins.tiers().overused(session.state(), queue) {
                continue;
            }
            if self.serve(session, plugins, queue) {
                self.work.put_back_queue(session.state(), plugins.tiers(), queue);
            }
        }
    }

    fn explain(&mut self, _: &mut Session<'_>, _: &mut Plugins, _: JobId) -> Option<Reason> {
        None
    }
}

/// Makes room for a task on the first node where that is possible, and nominates it there.
fn reclaim(statement: &mut Statement<'_>, queue: QueueId, task: TaskId) -> bool {
    let (state, tiers) = (statement.state(), statement.plugins().tiers());
    let may = state.task_spec(task).is_some_and(|spec| !spec.never_preempts);
    if !may || !tiers.preemptive(state, queue, task) {
        return false;
    }
    let nodes = candidates::clearable_nodes(statement, task);
    nodes.into_iter().any(|node| reclaim_on(statement, queue, task, node))
}

fn reclaim_on(statement: &mut Statement<'_>, queue: QueueId, task: TaskId, node: NodeId) -> bool {
    let candidates = candidates::tasks_of(statement, node, task, |state, candidate| {
        let Some(entry) = state.task(candidate) else { return false };
        entry.status() == TaskStatus::Running
            && candidates::may_be_evicted(state, candidate)
            && state
                .job(entry.job)
                .map(|job| job.spec.queue)
                .is_some_and(|other| other != queue && state.queue(other).spec.reclaimable)
    });
    if candidates.is_empty() {
        return false;
    }
    let state = statement.state();
    let victims = statement.plugins().tiers().reclaimable(state, task, &candidates);
    if !candidates::would_fit(state, task, node, &victims) {
        return false;
    }
    let mut victims = candidates::in_order(statement, &victims, task).into_iter();
    while !statement.fits_future(task, node) {
        let Some(victim) = victims.next() else { return false };
        // A victim is placed, so this cannot fail.
        let _evicted = statement.evict(victim, EvictionReason::Reclaimed, Some(task));
    }
    statement.pipeline(task, node).is_ok()
}
