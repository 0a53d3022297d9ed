//! Why a job waits.

use foretell_framework::{JobId, JobPhase, Plugins, Reason, Session, Statement, TaskStatus};

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
    let queue = entry.spec.queue;
    let mut tasks = WaitingTasks::of(state, tiers, job, false);
    let mut statement = Statement::begin(session, plugins);
    let is_structured = allocate_topology::is_structured(statement.state(), job);
    let obstacle = try_tasks(&mut statement, queue, job, &mut tasks, Confines::default());
    if is_structured && statement.plugins().tiers().job_ready(statement.state(), job) {
        // There is room, but not where the job's parts may go.
        return allocate_topology::explain(&mut statement, queue, job);
    }
    let obstacle = obstacle?;
    let (state, plugins, _) = statement.parts();
    match obstacle {
        Obstacle::Queue(task) => plugins.tiers().why_not_allocatable(state, queue, task),
        Obstacle::Node(task) => {
            let class = state.task(task)?.class;
            let entry = state.job(job)?;
            let (placed, min_member) = (entry.placed(), entry.spec.min_member);
            Some(Reason::NoNode { placed, min_member, rejections: plugins.rejections(state, class) })
        }
    }
}
