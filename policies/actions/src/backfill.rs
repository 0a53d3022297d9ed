//! Places tasks that request nothing.

use alloc::vec::Vec;

use foretell_framework::{
    Action, ClusterEvent, ClusterState, JobId, JobPhase, Plugins, Reason, Session, Statement, TaskId,
    TaskStatus, Tiers,
};

use crate::node::{self, Site};
use crate::work::{WaitingTasks, Work};

/// Places waiting tasks that request nothing ("best effort"): no queue's share keeps them back, only nodes can.
#[derive(Default)]
pub struct Backfill;

/// The tasks that backfill places, job by job in the order of queues and jobs. Those that are nominated count as waiting.
pub fn pick_order(state: &ClusterState, tiers: &Tiers) -> Vec<(JobId, Vec<TaskId>)> {
    let mut work = Work::default();
    work.clear(state);
    for (id, job) in state.jobs() {
        let waits = job.spec.phase != JobPhase::Pending && job.count(TaskStatus::Waiting) > 0;
        let best_effort =
            || job.spec.tasks.iter().any(|&(class, _)| state.class_spec(class).is_best_effort());
        if waits && best_effort() && tiers.job_invalid(state, id).is_none() {
            work.add(state, tiers, job.spec.queue, id);
        }
    }
    let mut order = Vec::new();
    while let Some(queue) = work.next_queue(state, tiers) {
        while let Some(job) = work.next_job(state, tiers, queue) {
            let mut waiting = WaitingTasks::default();
            for &id in state.job(job).map_or(&[][..], |job| job.tasks()) {
                let Some(task) = state.task(id) else { continue };
                let best_effort = state.class_spec(task.class).is_best_effort();
                if task.status() == TaskStatus::Waiting && !task.details.gated && best_effort {
                    waiting.push(state, tiers, id);
                }
            }
            let tasks: Vec<_> = core::iter::from_fn(|| waiting.pop(state, tiers)).collect();
            order.push((job, tasks));
        }
    }
    order
}

impl Action for Backfill {
    fn name(&self) -> &'static str {
        "backfill"
    }

    fn notify(&mut self, _state: &ClusterState, _plugins: &mut Plugins, _event: ClusterEvent) {}

    fn run(&mut self, session: &mut Session<'_>, plugins: &mut Plugins) {
        for (job, tasks) in pick_order(session.state(), plugins.tiers()) {
            let mut statement = Statement::begin(session, plugins);
            for task in tasks {
                if let Some(Site::Idle(node)) = node::find(&mut statement, task, None) {
                    // A node that was found takes the task, or some plugin does not keep to the rules.
                    let _placed = statement.allocate(task, node);
                }
            }
            if statement.plugins().tiers().job_ready(statement.state(), job) {
                statement.commit();
            } else {
                statement.keep();
            }
        }
    }

    fn explain(&mut self, _: &mut Session<'_>, _: &mut Plugins, _: JobId) -> Option<Reason> {
        None
    }
}
