//! Takes back from other queues what they hold beyond what they deserve.

use alloc::collections::BTreeMap;

use foretell_framework::{
    Action, ClassId, ClusterEvent, ClusterState, EvictionReason, JobId, NodeId, Plugins, QueueId, Reason,
    Session, Statement, TaskId, TaskStatus,
};
use slotmap::SecondaryMap;

use crate::candidates;
use crate::evict::evict;
use crate::work::{WaitingTasks, Work};

/// For each queue that is entitled to more, its starving jobs in order: node by node, running tasks of other reclaimable
/// queues are evicted, as far as the plugins offer them, until the job's task has room. What was evicted for a job stays
/// so only if the job can then start.
///
/// Within the action everything only gets scarcer, so what failed once for a task is not tried again for others of its
/// class, queue and priority: neither nodes nor whole jobs.
#[derive(Default)]
pub struct Reclaim {
    /// Whether a gang that cannot spare a task may be taken as a whole.
    whole_gangs: bool,
    work: Work,
    tasks: SecondaryMap<JobId, WaitingTasks>,
    /// The first node that may still yield room, by what may be taken from whom.
    next_node: BTreeMap<Claim, usize>,
    /// Fewest tasks for which a job did not get room, since the last that did.
    too_many: BTreeMap<Claim, u32>,
}

/// What decides whether a task gets room on a node.
type Claim = (ClassId, QueueId, i32);

impl Reclaim {
    /// The action; with `whole_gangs` a gang that loses a task that it needs leaves as a whole.
    pub fn new(whole_gangs: bool) -> Self {
        Self { whole_gangs, ..Self::default() }
    }

    /// What the tasks of a job claim, if they are all alike, and how many of them need it.
    fn claim(state: &ClusterState, queue: QueueId, job: JobId) -> Option<(Claim, u32)> {
        let entry = state.job(job)?;
        let [(class, _)] = *entry.spec.tasks else { return None };
        let has = entry.placed() + entry.count(TaskStatus::Succeeded) + entry.nominated();
        Some(((class, queue, entry.spec.priority), entry.spec.min_member.saturating_sub(has)))
    }

    fn serve(&mut self, session: &mut Session<'_>, plugins: &mut Plugins, queue: QueueId) -> bool {
        let Some(job) = self.work.next_job(session.state(), plugins.tiers(), queue) else { return false };
        let claim = Self::claim(session.state(), queue, job);
        if claim.is_some_and(|(claim, tasks)| self.too_many.get(&claim).is_some_and(|&many| tasks >= many)) {
            return true;
        }
        let mut statement = Statement::begin(session, plugins);
        let tasks = &mut self.tasks[job];
        let before = self.next_node.clone();
        while statement.plugins().tiers().job_starving(statement.state(), job) {
            let Some(task) = tasks.pop(statement.state(), statement.plugins().tiers()) else { break };
            reclaim(&mut statement, queue, task, &mut self.next_node, self.whole_gangs);
        }
        if statement.plugins().tiers().job_pipelined(statement.state(), job) {
            // A victim may leave more room than its beneficiary takes.
            let state = statement.state();
            let node = |task| state.task(task)?.placement().map(|placement| placement.node.index());
            if let Some(first) = statement.evicted().filter_map(node).min() {
                self.too_many.clear();
                self.next_node.values_mut().for_each(|next| *next = first.min(*next));
            }
            statement.commit();
        } else {
            self.next_node = before;
            if let Some((claim, tasks)) = claim {
                self.too_many.entry(claim).and_modify(|many| *many = tasks.min(*many)).or_insert(tasks);
            }
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
        self.next_node.clear();
        self.too_many.clear();
        for (queue, job) in candidates::starving(state, tiers) {
            self.work.add(state, tiers, queue, job);
            self.tasks.insert(job, WaitingTasks::of(state, tiers, job, true));
        }
        while let Some(queue) = self.work.next_queue(session.state(), plugins.tiers()) {
            if plugins.tiers().overused(session.state(), queue) {
                continue;
            }
            if self.serve(session, plugins, queue) {
                self.work.put_back_queue(queue);
            }
        }
    }

    fn explain(&mut self, _: &mut Session<'_>, _: &mut Plugins, _: JobId) -> Option<Reason> {
        None
    }
}

/// Makes room for a task on the first node where that is possible, and nominates it there.
fn reclaim(
    statement: &mut Statement<'_>,
    queue: QueueId,
    task: TaskId,
    next_node: &mut BTreeMap<Claim, usize>,
    whole_gangs: bool,
) {
    let (state, tiers) = (statement.state(), statement.plugins().tiers());
    let Some(entry) = state.task(task) else { return };
    if state.class_spec(entry.class).never_preempts || !tiers.preemptive(state, queue, task) {
        return;
    }
    let (class, nodes) = (entry.class, state.nodes().len());
    let priority = state.job(entry.job).map_or(0, |job| job.spec.priority);
    let next = next_node.entry((class, queue, priority)).or_default();
    while *next < nodes && !reclaim_on(statement, queue, task, NodeId::new(*next), whole_gangs) {
        *next += 1;
    }
    if whole_gangs {
        // A gang leaves room on nodes that were passed over before.
        let state = statement.state();
        let node = |task| state.task(task)?.placement().map(|placement| placement.node.index());
        *next = statement.evicted().filter_map(node).min().map_or(*next, |first| first.min(*next));
    }
}

fn reclaim_on(
    statement: &mut Statement<'_>,
    queue: QueueId,
    task: TaskId,
    node: NodeId,
    whole_gangs: bool,
) -> bool {
    // Room that a gang left beyond what it was taken for.
    if whole_gangs
        && statement.state().node(node).releasing_tasks() > 0
        && statement.fits_future(task, node)
        && candidates::is_clearable(statement, task, node)
    {
        return statement.pipeline(task, node).is_ok();
    }
    let candidates = candidates::tasks_of(statement, node, task, |state, candidate| {
        let Some(entry) = state.task(candidate) else { return false };
        entry.status() == TaskStatus::Running
            && candidates::may_be_evicted(state, candidate)
            && state
                .job(entry.job)
                .map(|job| job.spec.queue)
                .is_some_and(|other| other != queue && state.queue(other).spec.reclaimable)
    });
    if candidates.is_empty() || !candidates::is_clearable(statement, task, node) {
        return false;
    }
    let state = statement.state();
    let victims = statement.plugins().tiers().reclaimable(state, task, &candidates);
    if !candidates::would_fit(state, task, node, &victims) {
        return false;
    }
    let mut victims = candidates::in_order(statement, &victims, task).into_iter();
    let start = statement.savepoint();
    while !statement.fits_future(task, node) {
        let Some(victim) = victims.next() else {
            // In Volcano what was evicted in vain stays so until the statement ends. Whole gangs are too dear for that.
            if whole_gangs {
                statement.rollback_to(start);
            }
            return false;
        };
        evict(statement, victim, EvictionReason::Reclaimed, task, whole_gangs);
    }
    statement.pipeline(task, node).is_ok()
}
