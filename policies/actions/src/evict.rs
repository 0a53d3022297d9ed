//! What leaves together with a victim.

use alloc::vec::Vec;

use foretell_framework::{
    ClusterState, EvictionReason, Job, JobId, QueueId, Quota, Statement, Task, TaskId, TaskSpec, TaskStatus,
};

use crate::candidates::may_be_evicted;

/// Evicts a victim for `beneficiary`, and says whether it leaves. With `whole_gangs`, a job that could not run without it
/// leaves as a whole, unless some task of it must stay or its queue would be left with less than what is kept for it.
pub(crate) fn evict(
    statement: &mut Statement<'_>,
    victim: TaskId,
    reason: EvictionReason,
    beneficiary: TaskId,
    whole_gangs: bool,
) -> bool {
    let state = statement.state();
    let broken = state.task(victim).map(|task| task.job).filter(|_| whole_gangs);
    let broken = broken.and_then(|id| Some((id, state.job(id).filter(|job| breaks(state, job, victim))?)));
    let Some((id, job)) = broken else {
        return statement.evict(victim, reason, Some(beneficiary)).is_ok();
    };
    let is_placed = |&task: &TaskId| state.task(task).is_some_and(|task| task.status().is_placed());
    let gang: Vec<TaskId> = job.tasks().iter().copied().filter(is_placed).collect();
    let may_go =
        |&task: &TaskId| may_be_evicted(state, task) && !statement.plugins().tiers().placed_in_session(task);
    if !gang.iter().all(may_go) || !leaves_guarantees(state, id, job) {
        return false;
    }
    for task in gang {
        // Each is placed, so this cannot fail.
        let _evicted = statement.evict(task, reason, Some(beneficiary));
    }
    true
}

/// Whether the job runs and could not without the task.
fn breaks(state: &ClusterState, job: &Job, victim: TaskId) -> bool {
    let Some(role) = state.task_spec(victim).map(|spec| &*spec.role) else { return false };
    let has = |task: &Task| task.status().is_placed() || task.status() == TaskStatus::Succeeded;
    let minima = job.spec.gang.as_ref().map_or(&[][..], |gang| &gang.role_minima);
    let of_role = |task: &Task| has(task) && *state.class_spec(task.class).role == *role;
    let count = |is_counted: &dyn Fn(&Task) -> bool| {
        job.tasks().iter().filter_map(|&task| state.task(task)).filter(|task| is_counted(task)).count() as u32
    };
    count(&has) <= job.spec.min_member
        || minima.iter().any(|(name, minimum)| **name == *role && count(&of_role) <= *minimum)
}

/// Whether the job's queue, and those that contain it, still hold what is kept for them when the job has left.
fn leaves_guarantees(state: &ClusterState, id: JobId, job: &Job) -> bool {
    let mut next = Some(job.spec.queue);
    while let Some(queue) = next {
        let spec = &state.queue(queue).spec;
        if !spec.guarantee.is_open() && !covers(state, queue, id, &spec.guarantee) {
            return false;
        }
        next = spec.parent;
    }
    true
}

/// Whether the jobs of a queue other than `leaving` hold an amount.
fn covers(state: &ClusterState, queue: QueueId, leaving: JobId, amount: &Quota) -> bool {
    let is_inside = |mut job_queue: QueueId| loop {
        if job_queue == queue {
            return true;
        }
        match state.queue(job_queue).spec.parent {
            Some(parent) => job_queue = parent,
            None => return false,
        }
    };
    let jobs = state.jobs().filter(|&(id, job)| id != leaving && is_inside(job.spec.queue));
    let tasks = jobs.flat_map(|(_, job)| job.tasks()).filter_map(|&task| state.task(task));
    let held: Vec<&TaskSpec> =
        tasks.filter(|task| task.status().is_placed()).map(|task| state.class_spec(task.class)).collect();
    let holds = |wanted: Option<u64>, of: &dyn Fn(&TaskSpec) -> u64| {
        wanted.is_none_or(|wanted| held.iter().map(|spec| of(spec)).sum::<u64>() >= wanted)
    };
    holds(amount.cpu_milli, &|spec| spec.requests.cpu_milli)
        && holds(amount.memory_bytes, &|spec| spec.requests.memory_bytes)
        && holds(amount.gpu_milli, &|spec| spec.gpus.total_milli())
        && amount
            .extended
            .iter()
            .all(|&(resource, wanted)| holds(Some(wanted), &|spec| spec.requests.extended(resource)))
}
