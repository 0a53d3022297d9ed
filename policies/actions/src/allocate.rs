//! Places jobs, queue by queue and job by job.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use foretell_framework::{
    Action, ClassId, ClusterEvent, ClusterState, JobId, JobPhase, NodeId, Plugins, QueueId, Reason, Session,
    Statement, SubJob, Task, TaskId, TaskStatus,
};
use slotmap::SecondaryMap;

use crate::allocate_topology::{Domains, Part, is_structured, place_structured};
use crate::explain;
use crate::node;
use crate::work::{WaitingTasks, Work};

/// Takes the first queue, its first job, and that job's tasks in order, until the job is ready; then the queue goes back
/// into line. So queues are served job by job, each by what it holds by then, and tasks beyond a job's minimum come one
/// at a time.
///
/// What a job got lasts if the job is ready. If it will be ready once others have left, it is kept for this session, so that
/// nobody else takes it. Otherwise it is taken back.
#[derive(Default)]
pub struct Allocate {
    /// Whether the enqueue action decides who is let in; without it everybody is.
    enqueue_decides: bool,
    work: Work,
    tasks: SecondaryMap<JobId, WaitingTasks>,
    /// Of jobs that say how close together their tasks are.
    parts: SecondaryMap<JobId, Vec<Part>>,
    domains: Domains,
    /// How many tasks of a class found places when a job of that class alone failed. Within the action room only
    /// shrinks, so no job that needs more needs to be tried.
    room: BTreeMap<ClassId, u32>,
}

/// What became of an attempt to place a job.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Outcome {
    /// It is ready: what it got lasts.
    Ready,
    /// It will be ready.
    Pipelined,
    /// It got nothing.
    Failed,
}

impl Allocate {
    /// The action, in a profile with or without the enqueue action.
    pub fn new(enqueue_decides: bool) -> Self {
        Self { enqueue_decides, ..Self::default() }
    }

    fn collect(&mut self, session: &mut Session<'_>, plugins: &Plugins) {
        if !self.enqueue_decides {
            let pending = session.state().jobs().filter(|(_, job)| job.spec.phase == JobPhase::Pending);
            for job in pending.map(|(id, _)| id).collect::<Vec<_>>() {
                session.set_job_phase(job, JobPhase::Inqueue);
            }
        }
        let (state, tiers) = (session.state(), plugins.tiers());
        self.work.clear(state);
        self.tasks.clear();
        self.parts.clear();
        self.room.clear();
        for (id, job) in state.jobs() {
            let waits = job.spec.phase != JobPhase::Pending && job.count(TaskStatus::Waiting) > 0;
            if waits && tiers.job_invalid(state, id).is_none() {
                self.work.add(state, tiers, job.spec.queue, id);
            }
        }
    }

    /// Serves the first job of a queue, and says whether the queue goes back into line.
    fn serve(&mut self, session: &mut Session<'_>, plugins: &mut Plugins, queue: QueueId) -> bool {
        let Some(job) = self.work.next_job(session.state(), plugins.tiers(), queue) else { return false };
        if is_structured(session.state(), job) {
            return self.serve_structured(session, plugins, queue, job);
        }
        if !self.tasks.contains_key(job) {
            let tasks = WaitingTasks::of(session.state(), plugins.tiers(), job, false);
            self.tasks.insert(job, tasks);
        }
        let tasks = &mut self.tasks[job];
        if tasks.is_empty() {
            return true;
        }
        let alike = alike(session.state(), plugins, job);
        if alike.is_some_and(|(class, tasks)| self.room.get(&class).is_some_and(|&room| tasks > room)) {
            return !session.state().queue(queue).spec.head_blocks;
        }
        let (outcome, found) = allocate_tasks(session, plugins, queue, job, tasks);
        let (state, tiers) = (session.state(), plugins.tiers());
        match (outcome, alike, found) {
            (Outcome::Ready, ..) if !tasks.is_empty() => self.work.put_back_job(state, tiers, queue, job),
            (Outcome::Failed, Some((class, _)), Some(found)) => {
                self.room.entry(class).and_modify(|room| *room = found.min(*room)).or_insert(found);
            }
            _ => {}
        }
        outcome == Outcome::Ready || !state.queue(queue).spec.head_blocks
    }

    /// Serves a job with sub-jobs or topology.
    fn serve_structured(
        &mut self,
        session: &mut Session<'_>,
        plugins: &mut Plugins,
        queue: QueueId,
        job: JobId,
    ) -> bool {
        if !self.parts.contains_key(job) {
            let parts = Part::of(session.state(), plugins.tiers(), job);
            self.parts.insert(job, parts);
        }
        self.domains.refresh(session.state());
        let parts = &mut self.parts[job];
        if parts.is_empty() {
            return true;
        }
        let outcome = allocate_structured(session, plugins, &self.domains, queue, job, parts);
        let (state, tiers) = (session.state(), plugins.tiers());
        if outcome == Outcome::Ready && !parts.is_empty() {
            self.work.put_back_job(state, tiers, queue, job);
        }
        outcome == Outcome::Ready || !state.queue(queue).spec.head_blocks
    }
}

/// The class of a job's tasks and how many of them it still needs, if they are all of one class and only the room on
/// nodes decides where they go.
fn alike(state: &ClusterState, plugins: &Plugins, job: JobId) -> Option<(ClassId, u32)> {
    let entry = state.job(job)?;
    let [(class, _)] = *entry.spec.tasks else { return None };
    let spec = state.class_spec(class);
    let by_room_alone = spec.topology_spread.is_empty()
        && spec.pod_affinity.is_empty()
        && spec.host_ports.is_empty()
        && !plugins.tiers().judges_nodes(state, *entry.tasks().first()?);
    let has = entry.placed() + entry.count(TaskStatus::Succeeded);
    by_room_alone.then(|| (class, entry.spec.min_member.saturating_sub(has)))
}

impl Action for Allocate {
    fn name(&self) -> &'static str {
        "allocate"
    }

    fn notify(&mut self, _state: &ClusterState, _plugins: &mut Plugins, _event: ClusterEvent) {}

    fn run(&mut self, session: &mut Session<'_>, plugins: &mut Plugins) {
        self.collect(session, plugins);
        while let Some(queue) = self.work.next_queue(session.state(), plugins.tiers()) {
            if plugins.tiers().overused(session.state(), queue) {
                continue;
            }
            if self.serve(session, plugins, queue) {
                self.work.put_back_queue(queue);
            }
        }
    }

    fn explain(&mut self, session: &mut Session<'_>, plugins: &mut Plugins, job: JobId) -> Option<Reason> {
        explain::waiting(session, plugins, job)
    }
}

/// Places tasks of a job until it is ready. Says also how many found a place, if it was room on nodes that they lacked.
fn allocate_tasks(
    session: &mut Session<'_>,
    plugins: &mut Plugins,
    queue: QueueId,
    job: JobId,
    tasks: &mut WaitingTasks,
) -> (Outcome, Option<u32>) {
    let mut statement = Statement::begin(session, plugins);
    let obstacle = try_tasks(&mut statement, queue, job, tasks, Confines::default());
    let found = matches!(obstacle, Some(Obstacle::Node(_))).then_some(statement.changes());
    (end(statement, job), found)
}

/// Places sub-jobs of a job in one domain until it is ready.
fn allocate_structured(
    session: &mut Session<'_>,
    plugins: &mut Plugins,
    domains: &Domains,
    queue: QueueId,
    job: JobId,
    parts: &mut Vec<Part>,
) -> Outcome {
    let mut statement = Statement::begin(session, plugins);
    if place_structured(&mut statement, domains, queue, job, parts) {
        end(statement, job)
    } else {
        Outcome::Failed
    }
}

/// Makes what a job got last as long as it deserves.
fn end(statement: Statement<'_>, job: JobId) -> Outcome {
    let (state, tiers) = (statement.state(), statement.plugins().tiers());
    if tiers.job_ready(state, job) {
        statement.commit();
        Outcome::Ready
    } else if tiers.job_pipelined(state, job) {
        statement.keep();
        Outcome::Pipelined
    } else {
        Outcome::Failed
    }
}

/// Why a task did not find a place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Obstacle {
    /// Its queue may not take it.
    Queue(TaskId),
    /// No node has room, or may take it.
    Node(TaskId),
}

/// To what an attempt to place tasks is confined.
#[derive(Clone, Copy, Default)]
pub(crate) struct Confines<'a> {
    /// The nodes that may be used; all of them if none are named.
    pub(crate) nodes: Option<&'a [NodeId]>,
    /// The sub-job that is to become ready, instead of the job.
    pub(crate) sub_job: Option<&'a SubJob>,
}

/// Places tasks of a job in order until it is ready, and says what stopped the first that was not placed.
pub(crate) fn try_tasks(
    statement: &mut Statement<'_>,
    queue: QueueId,
    job: JobId,
    tasks: &mut WaitingTasks,
    confines: Confines<'_>,
) -> Option<Obstacle> {
    let mut obstacle = None;
    let mut failed: Vec<ClassId> = Vec::new();
    while let Some(task) = tasks.pop(statement.state(), statement.plugins().tiers()) {
        let (state, tiers) = (statement.state(), statement.plugins().tiers());
        let Some(class) = state.task(task).map(|task| task.class) else { continue };
        if !tiers.allocatable(state, queue, task) {
            obstacle = obstacle.or(Some(Obstacle::Queue(task)));
            continue;
        }
        let role = &state.class_spec(class).role;
        let is_known =
            |&known: &ClassId| known == class || !role.is_empty() && state.class_spec(known).role == *role;
        if failed.iter().any(is_known) {
            continue;
        }
        // A node that was found takes the task, or some plugin does not keep to the rules.
        let placed = node::find(statement, task, confines.nodes)
            .is_some_and(|site| node::take(statement, task, site).is_ok());
        if !placed {
            obstacle = obstacle.or(Some(Obstacle::Node(task)));
            failed.push(class);
            if !may_still_be_ready(statement.state(), job, &failed) {
                break;
            }
            continue;
        }
        let (state, tiers) = (statement.state(), statement.plugins().tiers());
        let is_ready = match confines.sub_job {
            Some(sub_job) => tiers.sub_job_ready(state, sub_job),
            None => tiers.job_ready(state, job),
        };
        if is_ready && !tasks.is_empty() {
            break;
        }
    }
    obstacle
}

/// Whether the job can still become ready although tasks of some classes find no place (Volcano's
/// `NeedContinueAllocating`).
fn may_still_be_ready(state: &ClusterState, id: JobId, failed: &[ClassId]) -> bool {
    let Some(job) = state.job(id) else { return false };
    if job.spec.min_member as usize == job.tasks().len() {
        return false;
    }
    let minima = job.spec.gang.as_ref().map_or(&[][..], |gang| &gang.role_minima);
    let role_failed = |role: &str| failed.iter().any(|&class| *state.class_spec(class).role == *role);
    let role = |task: &Task| &*state.class_spec(task.class).role;
    let tasks = || job.tasks().iter().filter_map(|&task| state.task(task));
    let has = |task: &Task| task.status().is_placed() || task.status() == TaskStatus::Succeeded;
    if job.spec.min_member < minima.iter().map(|(_, minimum)| minimum).sum() {
        let ready = tasks().filter(|task| has(task)).count();
        let waits = |task: &Task| task.status() == TaskStatus::Waiting && task.nominated().is_none();
        let left = tasks().filter(|task| waits(task) && !role_failed(role(task))).count();
        return ready + left >= job.spec.min_member as usize;
    }
    minima.iter().filter(|(name, _)| role_failed(name)).all(|(name, minimum)| {
        tasks().filter(|task| has(task) && role(task) == &**name).count() >= *minimum as usize
    })
}
