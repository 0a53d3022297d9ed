use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::cmp::Ordering;

use foretell_framework::{
    ClusterState, Job, JobId, Reason, SessionPlugin, SubJob, Task, TaskId, TaskStatus, Vote,
};

/// A job starts with its minimum of tasks or not at all, and does not lose tasks that it needs for its minimum.
///
/// Minima of roles count only if together they do not exceed the job's own minimum.
pub struct Gang;

/// Tasks that wait, request nothing, and have no place yet: they will always find one.
fn waits_for_nothing(state: &ClusterState, job: &Job) -> u32 {
    let is_best_effort = |class| state.class_spec(class).is_best_effort();
    if job.spec.tasks.iter().all(|&(class, _)| !is_best_effort(class)) {
        return 0;
    }
    count(state, job, |task| waits(task) && is_best_effort(task.class))
}

fn waits(task: &Task) -> bool {
    task.status() == TaskStatus::Waiting && task.nominated().is_none()
}

fn count(state: &ClusterState, job: &Job, is_counted: impl Fn(&Task) -> bool) -> u32 {
    job.tasks().iter().filter_map(|&task| state.task(task)).filter(|task| is_counted(task)).count() as u32
}

/// Tasks that have what they asked for (Volcano's `ReadyTaskNum`).
fn ready(job: &Job) -> u32 {
    job.placed() + job.count(TaskStatus::Succeeded)
}

/// Whether enough tasks are counted of each role, if minima of roles count.
fn meets_role_minima(state: &ClusterState, job: &Job, is_counted: impl Fn(&Task) -> bool) -> bool {
    let minima = job.spec.gang.as_ref().map_or(&[][..], |gang| &gang.role_minima);
    job.spec.min_member < minima.iter().map(|(_, minimum)| minimum).sum()
        || minima.iter().all(|(role, minimum)| {
            let of_role = |task: &Task| *state.class_spec(task.class).role == **role && is_counted(task);
            *minimum == 0 || count(state, job, of_role) >= *minimum
        })
}

impl Gang {
    fn is_ready(state: &ClusterState, job: &Job) -> bool {
        ready(job) + waits_for_nothing(state, job) >= job.spec.min_member
    }

    /// Those tasks of each job that it can lose and still keep its minimum, in the candidates' order.
    fn spare(state: &ClusterState, candidates: &[TaskId]) -> Vec<TaskId> {
        let mut left: BTreeMap<JobId, u32> = BTreeMap::new();
        let mut spare = Vec::new();
        for &candidate in candidates {
            let Some(job) = state.task(candidate).map(|task| task.job) else { continue };
            let Some(entry) = state.job(job) else { continue };
            let left = left.entry(job).or_insert_with(|| ready(entry));
            if *left > entry.spec.min_member {
                *left -= 1;
                spare.push(candidate);
            }
        }
        spare
    }
}

impl SessionPlugin for Gang {
    fn name(&self) -> &'static str {
        "gang"
    }

    /// Jobs that are not ready go first.
    fn compare_jobs(&self, state: &ClusterState, left: JobId, right: JobId) -> Ordering {
        let is_ready = |job| state.job(job).is_some_and(|job| Self::is_ready(state, job));
        is_ready(left).cmp(&is_ready(right))
    }

    fn job_invalid(&self, state: &ClusterState, job: JobId) -> Option<Reason> {
        let job = state.job(job)?;
        let is_valid = |task: &Task| {
            matches!(task.status(), TaskStatus::Waiting | TaskStatus::Bound | TaskStatus::Running)
                || task.status() == TaskStatus::Succeeded
        };
        let valid = count(state, job, is_valid);
        (valid < job.spec.min_member || !meets_role_minima(state, job, is_valid))
            .then_some(Reason::TooFewTasks { tasks: valid, min_member: job.spec.min_member })
    }

    fn job_ready(&self, state: &ClusterState, id: JobId) -> Option<bool> {
        let job = state.job(id)?;
        let is_ready = |task: &Task| {
            task.status().is_placed()
                || task.status() == TaskStatus::Succeeded
                || waits(task) && state.class_spec(task.class).is_best_effort()
        };
        Some(
            Self::is_ready(state, job)
                && meets_role_minima(state, job, is_ready)
                && SubJob::minimum_is_met(state, id, |sub_job| sub_job.is_ready(state)),
        )
    }

    fn job_pipelined(&self, state: &ClusterState, id: JobId) -> Vote {
        let Some(job) = state.job(id) else { return Vote::Abstain };
        let enough = ready(job) + job.nominated() + waits_for_nothing(state, job) >= job.spec.min_member;
        let is_counted = |task: &Task| {
            task.status().is_placed()
                || task.status() == TaskStatus::Succeeded
                || task.nominated().is_some()
                || waits(task) && state.class_spec(task.class).is_best_effort()
        };
        let sub_jobs = || SubJob::minimum_is_met(state, id, |sub_job| sub_job.is_pipelined(state));
        if enough && meets_role_minima(state, job, is_counted) && sub_jobs() {
            Vote::Permit
        } else {
            Vote::Reject
        }
    }

    /// Sub-jobs of policies that are short of sub-jobs go first, then those that are not ready.
    fn compare_sub_jobs(&self, state: &ClusterState, left: &SubJob, right: &SubJob) -> Ordering {
        let key = |sub_job: &SubJob| (sub_job.policy_is_met(state), sub_job.is_ready(state));
        key(left).cmp(&key(right))
    }

    fn sub_job_ready(&self, state: &ClusterState, sub_job: &SubJob) -> Option<bool> {
        Some(sub_job.is_ready(state))
    }

    fn sub_job_pipelined(&self, state: &ClusterState, sub_job: &SubJob) -> Vote {
        if sub_job.is_pipelined(state) { Vote::Permit } else { Vote::Reject }
    }

    /// Minima of roles do not count here.
    fn job_starving(&self, state: &ClusterState, job: JobId) -> Option<bool> {
        let job = state.job(job)?;
        Some(ready(job) + job.nominated() < job.spec.min_member)
    }

    fn preemptable(&self, state: &ClusterState, _: TaskId, candidates: &[TaskId]) -> Option<Vec<TaskId>> {
        Some(Self::spare(state, candidates))
    }

    fn reclaimable(&self, state: &ClusterState, _: TaskId, candidates: &[TaskId]) -> Option<Vec<TaskId>> {
        Some(Self::spare(state, candidates))
    }
}
