//! Why a job waits.

use alloc::vec::Vec;

use foretell_framework::{
    ClassId, ClusterState, Job, JobId, JobPhase, Plugins, Reason, Session, Statement, TaskStatus,
};

use crate::allocate::{Confines, Obstacle, try_tasks};
use crate::allocate_topology;
use crate::work::WaitingTasks;

/// Why a job waits for allocation. Everything is tried in a statement that is dropped.
pub(crate) fn waiting(session: &mut Session<'_>, plugins: &mut Plugins, job: JobId) -> Option<Reason> {
    let (state, tiers) = (session.state(), plugins.tiers());
    let entry = state.job(job).filter(|job| job.spec.phase != JobPhase::Pending)?;
    if entry.count(TaskStatus::Waiting) == 0 {
        return None;
    }
    if let Some(reason) = tiers.job_invalid(state, job) {
        return Some(reason);
    }
    if let Some(reason) = awaits_room(state, entry).or_else(|| behind_head(state, plugins, job)) {
        return Some(reason);
    }
    let (queue, missing) = (entry.spec.queue, missing(entry));
    let mut tasks = WaitingTasks::of(state, tiers, job, false);
    let wanted: Vec<_> = tasks.iter().take(missing).collect();
    // What the queue may not hold, no node can give.
    if let Some(reason) = tiers.why_not_allocatable(state, queue, &wanted) {
        return Some(reason);
    }
    let mut statement = Statement::begin(session, plugins);
    let before = statement.savepoint();
    let is_structured = allocate_topology::is_structured(statement.state(), job);
    let obstacle = try_tasks(&mut statement, queue, job, &mut tasks, Confines::default());
    if is_structured && statement.plugins().tiers().job_ready(statement.state(), job) {
        // There is room, but not where the job's parts may go.
        return allocate_topology::explain(&mut statement, queue, job);
    }
    let (Obstacle::Queue(task) | Obstacle::Node(task)) = obstacle?;
    let (state, plugins, _) = statement.parts();
    let class = state.task(task)?.class;
    let placed = state.job(job)?.placed();
    let rejections = plugins.rejections(state, class);
    // What is free is told as it is, not as it was after the attempt.
    statement.rollback_to(before);
    let state = statement.state();
    let min_member = state.job(job)?.spec.min_member;
    let gpus = state.class_spec(class).gpus.count;
    if min_member < 2 || gpus == 0 {
        return Some(Reason::NoNode { placed, min_member, rejections });
    }
    let (free_gpu_milli, roomy_nodes) = free_gpus(state, class);
    Some(Reason::NoRoomForGang { placed, min_member, gpus, free_gpu_milli, roomy_nodes, rejections })
}

/// Tasks that the job still needs.
fn missing(job: &Job) -> usize {
    let has = job.placed() + job.count(TaskStatus::Succeeded);
    (job.spec.min_member.saturating_sub(has) as usize).max(1)
}

/// If room is being made for the job: where, and how many have yet to leave.
fn awaits_room(state: &ClusterState, job: &Job) -> Option<Reason> {
    let nominated = |&task| state.task(task)?.nominated();
    let node = state.node(job.tasks().iter().find_map(nominated)?);
    Some(Reason::AwaitsRoom { node: node.spec.name.clone(), leaving: node.releasing_tasks() })
}

/// If the head of the queue blocks those behind it and the job is not the head: which job is.
fn behind_head(state: &ClusterState, plugins: &Plugins, job: JobId) -> Option<Reason> {
    let queue = state.job(job)?.spec.queue;
    if !state.queue(queue).spec.head_blocks {
        return None;
    }
    let waits = |&(_, other): &(JobId, &Job)| {
        other.spec.queue == queue
            && other.spec.phase != JobPhase::Pending
            && other.count(TaskStatus::Waiting) > 0
    };
    let jobs = state.jobs().filter(waits).map(|(id, _)| id);
    let head = jobs.min_by(|&left, &right| plugins.tiers().compare_jobs(state, left, right))?;
    (head != job).then(|| state.job(head).map(|head| Reason::BehindHead { head: head.spec.sequence }))?
}

/// Thousandths of GPUs that are free in the cluster, and nodes with as many free devices as a task of a class needs.
fn free_gpus(state: &ClusterState, class: ClassId) -> (u64, u32) {
    let request = &state.class_spec(class).gpus;
    let (mut free_gpu_milli, mut roomy_nodes) = (0, 0);
    for node in state.node_ids() {
        free_gpu_milli += state.node(node).gpu_free_milli();
        roomy_nodes += u32::from(request.fits(state.gpu_free_milli(node)));
    }
    (free_gpu_milli, roomy_nodes)
}
