//! Jobs notice that pods of them have failed, and do something about it.

use std::sync::Arc;

use foretell_framework::{JobId, NodeId, TaskId, TaskStatus, Time};

use super::{Failure, FailureOutcome, FailurePolicy, Fault, OnFailure, RolePolicy, WORKER};
use crate::engine::EventQueue;
use crate::event::Event;
use crate::log::{JobStatus, Record};
use crate::platform::Submission;
use crate::platform::simulation::Simulation;

/// What the platform knows of a job's failures.
#[derive(Default)]
pub(in crate::platform) struct JobFaults {
    /// What it does about them, if it says so.
    policy: Option<Arc<FailurePolicy>>,
    /// Pods that have failed, which it has not noticed yet.
    pub(super) failed: Vec<TaskId>,
    /// When the first of these failed, why, and the work that this lost.
    first: Option<(Time, Fault, u128)>,
    /// How many failures it has noticed.
    count: u32,
    /// In how many of these pods of a role failed, of roles that have a bound.
    by_role: Vec<(Box<str>, u32)>,
}

impl JobFaults {
    /// Of a job with a policy of its own, or without.
    pub(in crate::platform) fn new(policy: Option<Arc<FailurePolicy>>) -> Self {
        Self { policy, ..Self::default() }
    }

    /// Whether no pod has failed.
    pub(super) const fn is_fine(&self) -> bool {
        self.failed.is_empty()
    }

    pub(super) const fn begin(&mut self, now: Time, fault: Fault, lost: u128) {
        self.first = Some((now, fault, lost));
    }

    /// The job is stopped: what has failed is gone.
    pub(in crate::platform) fn forget(&mut self) {
        self.failed.clear();
        self.first = None;
    }
}

impl FailurePolicy {
    fn of_role(&self, role: &str) -> Option<&RolePolicy> {
        let role = if role.is_empty() { WORKER } else { role };
        self.roles.iter().find(|own| *own.role == *role)
    }
}

impl JobFaults {
    /// Counts a failure in which pods of these roles failed. Whether that is more than a policy lets the job survive.
    fn is_one_too_many(&mut self, policy: &FailurePolicy, roles: &[Box<str>]) -> bool {
        self.count += 1;
        let mut is_over = policy.max_retries.is_some_and(|retries| self.count > retries);
        for own in &policy.roles {
            let Some(retries) = own.max_retries else { continue };
            if !roles.iter().any(|role| policy.of_role(role) == Some(own)) {
                continue;
            }
            let at = self.by_role.iter().position(|(name, _)| *name == own.role).unwrap_or_else(|| {
                self.by_role.push((own.role.clone(), 0));
                self.by_role.len() - 1
            });
            self.by_role[at].1 += 1;
            is_over |= self.by_role[at].1 > retries;
        }
        is_over
    }
}

impl<W, E> Simulation<'_, W, E>
where
    W: Iterator<Item = Result<Submission, E>>,
{
    /// Whether the run says of every job what it lost to what: where parts fail or checkpoints take time.
    pub(in crate::platform) fn reports_losses(&self) -> bool {
        let cost = &self.config.preemption.checkpoint_cost;
        self.config.faults.is_some() || self.storage.is_some() || !cost.is_free()
    }

    /// A running job notices that pods of it have failed.
    pub(in crate::platform) fn failure_noticed(
        &mut self,
        id: JobId,
        attempt: u32,
        queue: &mut EventQueue<Event>,
    ) {
        let Some(sequence) = self.state.job(id).map(|job| job.spec.sequence) else { return };
        let Some(live) = self.jobs.get_mut(id).filter(|live| live.running && live.attempt == attempt) else {
            return;
        };
        let Some((struck, fault, lost)) = live.faults.first.take() else { return };
        let failed = std::mem::take(&mut live.faults.failed);
        let mut failure =
            Failure { struck, fault, pods: failed.len() as u32, lost, outcome: FailureOutcome::Restarts };
        match self.action(id, &failed) {
            OnFailure::Fail => {
                failure.outcome = FailureOutcome::GivesUp;
                self.record(&Record::JobFailed { job: sequence, failure: &failure });
                self.jobs[id].end = JobStatus::Failed;
                self.finished(id, queue);
                return;
            }
            OnFailure::RestartJob => {
                self.stop(id, queue);
            }
            OnFailure::RestartPod => {
                for &task in &failed {
                    self.state.release_task(task);
                }
                if self.is_whole(id) {
                    failure.outcome = FailureOutcome::GoesOn { pods: self.running_tasks(id) };
                    self.go_on_without(id, sequence, &failed, queue);
                } else {
                    self.stop(id, queue);
                }
            }
        }
        self.record(&Record::JobFailed { job: sequence, failure: &failure });
    }

    /// How often a job fails on average, where its pods are: see [`super::Faults::of_job`].
    pub(in crate::platform) fn failures_per_s(&self, id: JobId) -> f64 {
        let (Some(faults), Some(job)) = (&self.config.faults, self.state.job(id)) else { return 0.0 };
        let placement = |&task: &TaskId| {
            let entry = self.state.task(task)?;
            let gpus = self.state.class_spec(entry.class).gpus.total_milli();
            entry.placement().map(|placement| (placement.node, gpus))
        };
        let mut placements: Vec<_> = job.tasks().iter().filter_map(placement).collect();
        let share = |&(node, gpu_milli): &(NodeId, u64)| {
            let gpus = self.state.node(node).spec.gpus;
            // Pods without GPUs fail with all of their node.
            if gpus == 0 { 1.0 } else { gpu_milli as f64 / 1000.0 / f64::from(gpus) }
        };
        let shares = placements.iter().map(share).sum();
        placements.sort_unstable();
        placements.dedup_by_key(|&mut (node, _)| node);
        faults.of_job(placements.len(), shares)
    }

    /// What a job does when these pods have failed.
    fn action(&mut self, id: JobId, failed: &[TaskId]) -> OnFailure {
        let role = |&task: &TaskId| self.state.task_spec(task).map(|spec| spec.role.clone());
        let roles: Vec<Box<str>> = failed.iter().filter_map(role).collect();
        let faults = &mut self.jobs[id].faults;
        let own = faults.policy.clone();
        let default = self.config.faults.as_ref().map(|faults| &faults.policy);
        let Some(policy) = own.as_deref().or(default) else { return OnFailure::default() };
        if faults.is_one_too_many(policy, &roles) {
            return OnFailure::Fail;
        }
        let of_role = |role: &str| policy.of_role(role).map_or(policy.on_failure, |own| own.on_failure);
        let drastic = |action: &OnFailure| match action {
            OnFailure::RestartPod => 0,
            OnFailure::RestartJob => 1,
            OnFailure::Fail => 2,
        };
        roles.iter().map(|role| of_role(role)).max_by_key(drastic).unwrap_or(policy.on_failure)
    }

    /// The job goes on from its last checkpoint with the pods that are left.
    fn go_on_without(&mut self, id: JobId, job: u64, failed: &[TaskId], queue: &mut EventQueue<Event>) {
        let live = &mut self.jobs[id];
        let from_gpu_milli = live.started_gpu_milli();
        for &task in failed {
            // One that the policy has evicted meanwhile is counted already.
            if self.state.task(task).is_some_and(|task| task.status() == TaskStatus::Releasing)
                && !self.leaving.contains_key(task)
            {
                let gpu_milli = self.state.task_spec(task).map_or(0, |spec| spec.gpus.total_milli());
                live.pod_stopped(task, gpu_milli);
            }
        }
        let to_gpu_milli = live.started_gpu_milli();
        self.record(&Record::JobResized { job, from_gpu_milli, to_gpu_milli });
        let reads = self.jobs[id].work.has_checkpoint();
        let (preparation, schedule) = (self.preparation(id), self.checkpoint_schedule(id, reads));
        let speed = self.speed_on_nodes(id);
        self.neighbours_change(id, queue);
        self.place_steps(id, queue);
        let live = &mut self.jobs[id];
        live.speed = speed;
        let pace = live.pace(&live.work);
        live.work.go_on(self.now, pace, preparation, schedule);
        live.plan(id, queue);
        self.move_checkpoint(id, queue);
        self.tell_pace(id);
        for &task in failed {
            self.leaves(task, queue);
        }
    }
}
