//! Sums over tasks and jobs that plugins take when a session begins.

use alloc::vec::Vec;

use foretell_framework::{ClusterState, Job, JobPhase, TaskId, TaskStatus};

use crate::amounts::Amounts;

/// What a task of each class requests.
#[derive(Default)]
pub(crate) struct Requests(Vec<Amounts>);

impl Requests {
    pub(crate) fn of(state: &ClusterState) -> Self {
        Self(state.classes().map(|(_, spec)| Amounts::of_task(spec)).collect())
    }

    /// What a task requests; `None` if it is gone.
    pub(crate) fn task(&self, state: &ClusterState, task: TaskId) -> Option<&Amounts> {
        Some(&self.0[state.task(task)?.class.index()])
    }

    /// What tasks request together.
    pub(crate) fn tasks(&self, state: &ClusterState, tasks: &[TaskId]) -> Amounts {
        let mut sum = Amounts::default();
        tasks.iter().filter_map(|&task| self.task(state, task)).for_each(|request| sum.add(request));
        sum
    }

    /// What the tasks of a job hold, those being released apart, and what those request that wait.
    pub(crate) fn job(&self, state: &ClusterState, job: &Job) -> (Amounts, Amounts) {
        let (mut held, mut wanted) = (Amounts::default(), Amounts::default());
        if let [(class, _)] = *job.spec.tasks {
            let request = &self.0[class.index()];
            for (sum, tasks) in [(&mut held, job.placed()), (&mut wanted, job.count(TaskStatus::Waiting))] {
                if tasks > 0 {
                    *sum = request.clone().times(f64::from(tasks));
                }
            }
            return (held, wanted);
        }
        for task in job.tasks().iter().filter_map(|&task| state.task(task)) {
            let request = &self.0[task.class.index()];
            match task.status() {
                TaskStatus::Bound | TaskStatus::Running => held.add(request),
                TaskStatus::Waiting => wanted.add(request),
                TaskStatus::Releasing | TaskStatus::Succeeded | TaskStatus::Failed => {}
            }
        }
        (held, wanted)
    }

    /// What the job's minimum requests, without tasks that are gated; `None` if nobody said.
    pub(crate) fn minimum(&self, state: &ClusterState, job: &Job) -> Option<Amounts> {
        let mut minimum = Amounts::of_quota(job.spec.gang.as_ref()?.min_resources.as_ref()?);
        for task in job.tasks().iter().filter_map(|&task| state.task(task)) {
            if task.details.gated && task.status() == TaskStatus::Waiting {
                minimum = minimum.beyond(&self.0[task.class.index()]);
            }
        }
        Some(minimum)
    }

    /// What is reserved for a job that was let into its queue: its minimum until it runs, then what it lacks of it.
    pub(crate) fn reserved(&self, state: &ClusterState, job: &Job, held: &Amounts) -> Option<Amounts> {
        match job.spec.phase {
            JobPhase::Inqueue => self.minimum(state, job),
            JobPhase::Running if job.placed() >= job.spec.min_member => {
                Some(self.minimum(state, job)?.beyond(held))
            }
            _ => None,
        }
    }
}

/// What a job holds beyond its minimum: it can do without.
pub(crate) fn elastic(job: &Job, held: &Amounts) -> Amounts {
    let gang = job.spec.gang.as_ref();
    let minimum = gang.and_then(|gang| gang.min_resources.as_ref()).map(Amounts::of_quota);
    held.clone().beyond(&minimum.unwrap_or_default())
}
