//! What one plugin may say in a session of gangs and queues. Names follow Volcano's `Session`.

use alloc::vec::Vec;
use core::cmp::Ordering;

use super::sub_job::SubJob;
use crate::id::{DomainId, JobId, NodeId, QueueId, TaskId};
use crate::reason::{Reason, Rejection};
use crate::state::ClusterState;
use crate::time::Time;

/// A voice in questions where one plugin may let a job in, hold it up, or leave it to the others.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Vote {
    /// Yes, unless another plugin of the tier says no.
    Permit,
    /// No opinion.
    Abstain,
    /// No.
    Reject,
}

/// Topology domains to try, tier by tier; those of one list are alternatives (Volcano's hypernode gradients).
pub type Gradients = Vec<Vec<DomainId>>;

/// The extension points of a session, all of them optional: a plugin implements those that it has something to say on.
///
/// Where Volcano tells "no function registered" from "an answer", the default answers `None`.
///
/// Within a session the state is the one at hand, with everything done so far. Plugins that keep sums over queues or jobs
/// take them in [`Self::open`] and move them in [`Self::on_allocate`] and [`Self::on_deallocate`], which are also
/// called when an action takes back what it did.
pub trait SessionPlugin {
    /// Its name in `volcano-scheduler.conf`.
    fn name(&self) -> &'static str;

    /// A session begins (Volcano's `OnSessionOpen`). No task is nominated then.
    fn open(&mut self, _state: &ClusterState, _now: Time) {}

    /// A task was given a place, or nominated to one; or an eviction was taken back. The state has changed already.
    fn on_allocate(&mut self, _state: &ClusterState, _task: TaskId) {}

    /// A task was evicted; or a place or nomination was taken back. The state has changed already.
    fn on_deallocate(&mut self, _state: &ClusterState, _task: TaskId) {}

    // ---- Orders. `Less` goes first.

    /// Which queue goes first.
    fn compare_queues(&self, _state: &ClusterState, _left: QueueId, _right: QueueId) -> Ordering {
        Ordering::Equal
    }

    /// Which job goes first.
    fn compare_jobs(&self, _state: &ClusterState, _left: JobId, _right: JobId) -> Ordering {
        Ordering::Equal
    }

    /// Which task of a job goes first.
    fn compare_tasks(&self, _state: &ClusterState, _left: TaskId, _right: TaskId) -> Ordering {
        Ordering::Equal
    }

    /// Which of two queues gives up victims first to a job of the queue `claimant`. It has no switch.
    fn compare_victim_queues(
        &self,
        _state: &ClusterState,
        _left: QueueId,
        _right: QueueId,
        _claimant: QueueId,
    ) -> Ordering {
        Ordering::Equal
    }

    // ---- Jobs

    /// Why the job cannot run at all as it is, if so. It has no switch.
    fn job_invalid(&self, _state: &ClusterState, _job: JobId) -> Option<Reason> {
        None
    }

    /// Whether what the job has lets it start; `None` if the plugin does not judge.
    fn job_ready(&self, _state: &ClusterState, _job: JobId) -> Option<bool> {
        None
    }

    /// Whether the job will be able to start when what is being released for it is free.
    fn job_pipelined(&self, _state: &ClusterState, _job: JobId) -> Vote {
        Vote::Abstain
    }

    /// Whether the job is short of what it needs, so that others may be displaced; `None` if the plugin does not judge.
    fn job_starving(&self, _state: &ClusterState, _job: JobId) -> Option<bool> {
        None
    }

    /// Whether a pending job may enter its queue.
    fn job_enqueueable(&self, _state: &ClusterState, _job: JobId) -> Vote {
        Vote::Abstain
    }

    /// Why [`Self::job_enqueueable`] rejects it.
    fn why_not_enqueueable(&self, _state: &ClusterState, _job: JobId) -> Option<Reason> {
        None
    }

    /// A pending job has entered its queue.
    fn job_enqueued(&mut self, _state: &ClusterState, _job: JobId) {}

    // ---- Queues

    /// Whether the queue has all it is entitled to, so that allocation passes it over.
    fn overused(&self, _state: &ClusterState, _queue: QueueId) -> bool {
        false
    }

    /// Whether the queue may take the task in addition to what it has.
    fn allocatable(&self, _state: &ClusterState, _queue: QueueId, _task: TaskId) -> bool {
        true
    }

    /// Why the queue is overused, or may not take tasks together.
    fn why_not_allocatable(
        &self,
        _state: &ClusterState,
        _queue: QueueId,
        _tasks: &[TaskId],
    ) -> Option<Reason> {
        None
    }

    /// Whether the queue may take back from others what the task needs.
    fn preemptive(&self, _state: &ClusterState, _queue: QueueId, _task: TaskId) -> bool {
        true
    }

    // ---- Victims

    /// Of the candidates of the task's own queue, those that may be evicted for the task, in the candidates' order.
    /// `None` if the plugin does not judge.
    fn preemptable(
        &self,
        _state: &ClusterState,
        _preemptor: TaskId,
        _candidates: &[TaskId],
    ) -> Option<Vec<TaskId>> {
        None
    }

    /// Of the candidates of other queues, those that may be evicted for the task, in the candidates' order.
    /// `None` if the plugin does not judge.
    fn reclaimable(
        &self,
        _state: &ClusterState,
        _reclaimer: TaskId,
        _candidates: &[TaskId],
    ) -> Option<Vec<TaskId>> {
        None
    }

    /// Tasks to evict for no other task's sake (Volcano's `victims`, of the shuffle action).
    fn victims(&self, _state: &ClusterState, _candidates: &[TaskId]) -> Option<Vec<TaskId>> {
        None
    }

    // ---- Nodes

    /// Whether the plugin has a say on nodes for this task that its class alone does not decide: its job, its queue, the
    /// time of day. Only then are [`Self::filter_node`] and [`Self::score_nodes`] asked.
    fn judges_nodes(&self, _state: &ClusterState, _task: TaskId) -> bool {
        false
    }

    /// Whether a node may take a task (`Predicate`).
    fn filter_node(&self, _state: &ClusterState, _task: TaskId, _node: NodeId) -> Result<(), Rejection> {
        Ok(())
    }

    /// Adds to the scores of nodes for a task, in points (`NodeOrder` and `BatchNodeOrder`).
    fn score_nodes(&self, _state: &ClusterState, _task: TaskId, _nodes: &[NodeId], _scores: &mut [f64]) {}

    // ---- Sub-jobs and topology domains

    /// Which sub-job of a job goes first.
    fn compare_sub_jobs(&self, _state: &ClusterState, _left: &SubJob, _right: &SubJob) -> Ordering {
        Ordering::Equal
    }

    /// Whether what the sub-job has is enough; `None` if the plugin does not judge.
    fn sub_job_ready(&self, _state: &ClusterState, _sub_job: &SubJob) -> Option<bool> {
        None
    }

    /// Whether the sub-job will have enough when what is being released for it is free.
    fn sub_job_pipelined(&self, _state: &ClusterState, _sub_job: &SubJob) -> Vote {
        Vote::Abstain
    }

    /// Domains inside `domain` to try for a job, those of the lowest tier first; `None` if the plugin does not judge.
    fn job_gradients(&self, _state: &ClusterState, _job: JobId, _domain: DomainId) -> Option<Gradients> {
        None
    }

    /// The same for a sub-job.
    fn sub_job_gradients(
        &self,
        _state: &ClusterState,
        _sub_job: &SubJob,
        _domain: DomainId,
    ) -> Option<Gradients> {
        None
    }

    /// Adds to the scores of domains for a sub-job, in points (`HyperNodeOrder`).
    fn score_domains(
        &self,
        _state: &ClusterState,
        _sub_job: &SubJob,
        _domains: &[DomainId],
        _scores: &mut [f64],
    ) {
    }
}
