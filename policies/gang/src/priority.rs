use alloc::vec::Vec;
use core::cmp::Ordering;

use foretell_framework::{ClusterState, JobId, SessionPlugin, Task, TaskId, TaskStatus};

/// Higher priority goes first, and may displace lower priority: between jobs the job's, within a job the task's.
pub struct Priority;

impl SessionPlugin for Priority {
    fn name(&self) -> &'static str {
        "priority"
    }

    fn compare_jobs(&self, state: &ClusterState, left: JobId, right: JobId) -> Ordering {
        let priority = |job| state.job(job).map(|job| job.spec.priority);
        priority(right).cmp(&priority(left))
    }

    fn compare_tasks(&self, state: &ClusterState, left: TaskId, right: TaskId) -> Ordering {
        let priority = |task| state.task(task).map(|task| task.details.priority);
        priority(right).cmp(&priority(left))
    }

    /// A job starves while any of its tasks waits that is not nominated.
    fn job_starving(&self, state: &ClusterState, job: JobId) -> Option<bool> {
        let job = state.job(job)?;
        let served = job.placed() + job.count(TaskStatus::Succeeded) + job.nominated();
        Some((served as usize) < job.tasks().len())
    }

    fn preemptable(
        &self,
        state: &ClusterState,
        preemptor: TaskId,
        candidates: &[TaskId],
    ) -> Option<Vec<TaskId>> {
        let preemptor = state.task(preemptor)?;
        let of_job = |task: &Task| state.job(task.job).map_or(0, |job| job.spec.priority);
        // A task that stands above its job is not given up for one that does not stand above it.
        let own = |task: &Task| task.details.priority.max(of_job(task));
        let is_lower = |candidate: &TaskId| {
            state.task(*candidate).is_some_and(|candidate| {
                if candidate.job == preemptor.job {
                    candidate.details.priority < preemptor.details.priority
                } else {
                    of_job(candidate) < of_job(preemptor) && own(candidate) < own(preemptor)
                }
            })
        };
        Some(candidates.iter().copied().filter(is_lower).collect())
    }
}
