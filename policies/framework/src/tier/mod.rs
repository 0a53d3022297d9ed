//! Plugins in tiers, as Volcano's sessions have them, and how their answers become one.
//!
//! Orders: the first plugin that tells two apart decides. Victims: inside a tier, the tasks that all plugins offer; the
//! first tier that offers any decides. Votes: a rejection ends it; a permission ends it at the end of its tier.

mod heap;
mod plugin;
mod room;
mod statement;
mod sub_job;

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::cmp::Ordering;

use slotmap::SecondaryMap;

use crate::id::{JobId, NodeId, QueueId, TaskId};
use crate::reason::{Reason, Rejection};
use crate::state::ClusterState;
use crate::time::Time;

pub use heap::PriorityQueue;
pub use plugin::{Gradients, SessionPlugin, Vote};
pub use room::FutureRoom;
pub use statement::{Statement, StatementSavepoint};
pub use sub_job::SubJob;

/// Which extension points of a plugin are switched on (`enableJobOrder` and so on in `volcano-scheduler.conf`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "one per switch of the configuration file")]
pub struct Switches {
    /// Order of jobs.
    pub job_order: bool,
    /// Order of tasks.
    pub task_order: bool,
    /// Order of queues.
    pub queue_order: bool,
    /// Order of sub-jobs.
    pub sub_job_order: bool,
    /// Whether a job is ready.
    pub job_ready: bool,
    /// Whether a job is pipelined.
    pub job_pipelined: bool,
    /// Whether a job starves.
    pub job_starving: bool,
    /// Whether a sub-job is ready.
    pub sub_job_ready: bool,
    /// Whether a sub-job is pipelined.
    pub sub_job_pipelined: bool,
    /// Whether a job may enter its queue, and being told that it has.
    pub job_enqueued: bool,
    /// Whether a queue is overused.
    pub overused: bool,
    /// Whether a queue may take a task.
    pub allocatable: bool,
    /// Whether a queue may take back from others.
    pub preemptive: bool,
    /// Victims of the same queue.
    pub preemptable: bool,
    /// Victims of other queues.
    pub reclaimable: bool,
    /// Victims of shuffling.
    pub victim: bool,
    /// Filters of nodes.
    pub predicate: bool,
    /// Scores of nodes.
    pub node_order: bool,
    /// Choice of the best node.
    pub best_node: bool,
    /// Order of topology domains.
    pub hyper_node_order: bool,
    /// Tiers of topology domains to try.
    pub hyper_node_gradient: bool,
    /// Queues as a tree.
    pub hierarchy: bool,
}

impl Default for Switches {
    /// All on, as what a configuration file does not mention is; only the tree of queues must be asked for.
    fn default() -> Self {
        Self { hierarchy: false, ..Self::all(true) }
    }
}

impl Switches {
    /// All on, or all off.
    pub const fn all(on: bool) -> Self {
        Self {
            job_order: on,
            task_order: on,
            queue_order: on,
            sub_job_order: on,
            job_ready: on,
            job_pipelined: on,
            job_starving: on,
            sub_job_ready: on,
            sub_job_pipelined: on,
            job_enqueued: on,
            overused: on,
            allocatable: on,
            preemptive: on,
            preemptable: on,
            reclaimable: on,
            victim: on,
            predicate: on,
            node_order: on,
            best_node: on,
            hyper_node_order: on,
            hyper_node_gradient: on,
            hierarchy: on,
        }
    }
}

/// A plugin of a tier.
pub struct EnabledPlugin {
    /// The plugin.
    pub plugin: Box<dyn SessionPlugin>,
    /// On what it is asked.
    pub switches: Switches,
}

/// Plugins in tiers, most important first.
#[derive(Default)]
pub struct Tiers {
    by_tier: Vec<Vec<EnabledPlugin>>,
    /// Tasks placed in this session: they are on their way to their nodes and cannot be victims yet.
    placed: SecondaryMap<TaskId, ()>,
    /// Tasks evicted in this session: filters look past them, as if they were gone.
    evicted: SecondaryMap<TaskId, ()>,
}

impl Tiers {
    /// These plugins.
    pub fn new(by_tier: Vec<Vec<EnabledPlugin>>) -> Self {
        Self { by_tier, ..Self::default() }
    }

    /// Whether there is no plugin.
    pub fn is_empty(&self) -> bool {
        self.by_tier.iter().all(Vec::is_empty)
    }

    /// The plugins that are asked on something, tier by tier.
    fn enabled(&self, asked: impl Fn(&Switches) -> bool + Copy) -> impl Iterator<Item = &dyn SessionPlugin> {
        self.by_tier.iter().flat_map(move |tier| in_tier(tier, asked))
    }

    /// Starts a session: plugins take their sums.
    pub fn open(&mut self, state: &ClusterState, now: Time) {
        self.placed.clear();
        self.evicted.clear();
        for entry in self.by_tier.iter_mut().flatten() {
            entry.plugin.open(state, now);
        }
    }

    /// Whether a task got its place in this session.
    pub fn placed_in_session(&self, task: TaskId) -> bool {
        self.placed.contains_key(task)
    }

    /// Whether a task was evicted in this session.
    pub fn evicted_in_session(&self, task: TaskId) -> bool {
        self.evicted.contains_key(task)
    }

    fn on_allocate(&mut self, state: &ClusterState, task: TaskId) {
        for entry in self.by_tier.iter_mut().flatten() {
            entry.plugin.on_allocate(state, task);
        }
    }

    fn on_deallocate(&mut self, state: &ClusterState, task: TaskId) {
        for entry in self.by_tier.iter_mut().flatten() {
            entry.plugin.on_deallocate(state, task);
        }
    }

    // ---- Orders

    /// Which queue goes first; never equal for two queues.
    pub fn compare_queues(&self, state: &ClusterState, left: QueueId, right: QueueId) -> Ordering {
        self.enabled(|switches| switches.queue_order)
            .map(|plugin| plugin.compare_queues(state, left, right))
            .find(|order| order.is_ne())
            .unwrap_or_else(|| state.queue(left).name.cmp(&state.queue(right).name))
    }

    /// Which job goes first: by the plugins, then by submission, then by name, then by sequence number.
    pub fn compare_jobs(&self, state: &ClusterState, left: JobId, right: JobId) -> Ordering {
        self.enabled(|switches| switches.job_order)
            .map(|plugin| plugin.compare_jobs(state, left, right))
            .find(|order| order.is_ne())
            .unwrap_or_else(|| {
                let key = |job| {
                    state.job(job).map(|job| {
                        let spec = &job.spec;
                        (spec.submitted, &spec.namespace, &spec.name, spec.sequence)
                    })
                };
                key(left).cmp(&key(right))
            })
    }

    /// Which task of a job goes first: by the plugins, then by the index that its job gave it (label
    /// `volcano.sh/task-index`), then by creation, then by name, then by rank.
    pub fn compare_tasks(&self, state: &ClusterState, left: TaskId, right: TaskId) -> Ordering {
        self.enabled(|switches| switches.task_order)
            .map(|plugin| plugin.compare_tasks(state, left, right))
            .find(|order| order.is_ne())
            .unwrap_or_else(|| compare_tasks_alike(state, left, right))
    }

    /// Which of two candidates is evicted first for `claimant`: within a job the task that would be placed last, within
    /// a queue that of the job that would be placed last, and between queues as the plugins say, else that of the
    /// queue that would be served last.
    pub fn compare_victims(
        &self,
        state: &ClusterState,
        left: TaskId,
        right: TaskId,
        claimant: TaskId,
    ) -> Ordering {
        let job = |task| state.task(task).map(|task| task.job);
        let (Some(left_job), Some(right_job)) = (job(left), job(right)) else { return Ordering::Equal };
        if left_job == right_job {
            return self.compare_tasks(state, right, left);
        }
        let queue = |job| state.job(job).map(|job| job.spec.queue);
        if let (Some(left_queue), Some(right_queue), Some(claimant)) =
            (queue(left_job), queue(right_job), job(claimant).and_then(queue))
            && left_queue != right_queue
        {
            return self
                .enabled(|_| true)
                .map(|plugin| plugin.compare_victim_queues(state, left_queue, right_queue, claimant))
                .find(|order| order.is_ne())
                .unwrap_or_else(|| self.compare_queues(state, right_queue, left_queue));
        }
        self.compare_jobs(state, right_job, left_job)
    }

    // ---- Jobs

    /// Why the job cannot run at all as it is, if so.
    pub fn job_invalid(&self, state: &ClusterState, job: JobId) -> Option<Reason> {
        self.enabled(|_| true).find_map(|plugin| plugin.job_invalid(state, job))
    }

    /// Whether no plugin holds that what the job has is too little.
    pub fn job_ready(&self, state: &ClusterState, job: JobId) -> bool {
        self.enabled(|switches| switches.job_ready).all(|plugin| plugin.job_ready(state, job) != Some(false))
    }

    /// Whether the job will be able to start when what is being released for it is free.
    pub fn job_pipelined(&self, state: &ClusterState, job: JobId) -> bool {
        self.vote(|switches| switches.job_pipelined, |plugin| plugin.job_pipelined(state, job))
    }

    /// Whether a pending job may enter its queue.
    pub fn job_enqueueable(&self, state: &ClusterState, job: JobId) -> bool {
        self.vote(|switches| switches.job_enqueued, |plugin| plugin.job_enqueueable(state, job))
    }

    /// Why a pending job may not enter its queue, from the plugin whose rejection counts.
    pub fn why_not_enqueueable(&self, state: &ClusterState, job: JobId) -> Option<Reason> {
        self.enabled(|switches| switches.job_enqueued)
            .filter(|plugin| plugin.job_enqueueable(state, job) == Vote::Reject)
            .find_map(|plugin| plugin.why_not_enqueueable(state, job))
    }

    /// Tells the plugins that a pending job has entered its queue.
    pub fn job_enqueued(&mut self, state: &ClusterState, job: JobId) {
        let enabled = self.by_tier.iter_mut().flatten().filter(|entry| entry.switches.job_enqueued);
        enabled.for_each(|entry| entry.plugin.job_enqueued(state, job));
    }

    /// Whether the job is short of what it needs: all plugins of the first tier that judges say so.
    pub fn job_starving(&self, state: &ClusterState, job: JobId) -> bool {
        for tier in &self.by_tier {
            let mut judged = false;
            for plugin in in_tier(tier, |switches| switches.job_starving) {
                match plugin.job_starving(state, job) {
                    Some(true) => judged = true,
                    Some(false) => return false,
                    None => {}
                }
            }
            if judged {
                return true;
            }
        }
        false
    }

    fn vote(
        &self,
        asked: impl Fn(&Switches) -> bool + Copy,
        vote: impl Fn(&dyn SessionPlugin) -> Vote,
    ) -> bool {
        for tier in &self.by_tier {
            let mut permitted = false;
            for plugin in in_tier(tier, asked) {
                match vote(plugin) {
                    Vote::Permit => permitted = true,
                    Vote::Abstain => {}
                    Vote::Reject => return false,
                }
            }
            if permitted {
                return true;
            }
        }
        true
    }

    // ---- Queues

    /// Whether any plugin holds that the queue has all it is entitled to.
    pub fn overused(&self, state: &ClusterState, queue: QueueId) -> bool {
        self.enabled(|switches| switches.overused).any(|plugin| plugin.overused(state, queue))
    }

    /// Whether all plugins let the queue take the task.
    pub fn allocatable(&self, state: &ClusterState, queue: QueueId, task: TaskId) -> bool {
        self.enabled(|switches| switches.allocatable).all(|plugin| plugin.allocatable(state, queue, task))
    }

    /// Why the queue is passed over, or may not take tasks together, from the first plugin that has a reason.
    pub fn why_not_allocatable(
        &self,
        state: &ClusterState,
        queue: QueueId,
        tasks: &[TaskId],
    ) -> Option<Reason> {
        self.enabled(|switches| switches.overused || switches.allocatable)
            .find_map(|plugin| plugin.why_not_allocatable(state, queue, tasks))
    }

    /// Whether all plugins let the queue take back from others what the task needs.
    pub fn preemptive(&self, state: &ClusterState, queue: QueueId, task: TaskId) -> bool {
        self.enabled(|switches| switches.preemptive).all(|plugin| plugin.preemptive(state, queue, task))
    }

    // ---- Victims

    /// Of the candidates of the task's own queue, those that may be evicted for it.
    pub fn preemptable(&self, state: &ClusterState, preemptor: TaskId, candidates: &[TaskId]) -> Vec<TaskId> {
        self.victims_of(
            |switches| switches.preemptable,
            |plugin| plugin.preemptable(state, preemptor, candidates),
        )
    }

    /// Of the candidates of other queues, those that may be evicted for the task.
    pub fn reclaimable(&self, state: &ClusterState, reclaimer: TaskId, candidates: &[TaskId]) -> Vec<TaskId> {
        self.victims_of(
            |switches| switches.reclaimable,
            |plugin| plugin.reclaimable(state, reclaimer, candidates),
        )
    }

    /// The tasks that the plugins want evicted for no other task's sake: all that any of them names.
    pub fn victims(&self, state: &ClusterState, candidates: &[TaskId]) -> Vec<TaskId> {
        let mut victims: Vec<TaskId> = Vec::new();
        for plugin in self.enabled(|switches| switches.victim) {
            for task in plugin.victims(state, candidates).unwrap_or_default() {
                if !victims.contains(&task) {
                    victims.push(task);
                }
            }
        }
        victims
    }

    /// The tasks that all plugins of a tier offer, from the first tier where there are any.
    fn victims_of(
        &self,
        asked: impl Fn(&Switches) -> bool + Copy,
        offered: impl Fn(&dyn SessionPlugin) -> Option<Vec<TaskId>>,
    ) -> Vec<TaskId> {
        let mut victims: Option<Vec<TaskId>> = None;
        for tier in &self.by_tier {
            for offer in in_tier(tier, asked).filter_map(&offered) {
                if offer.is_empty() {
                    // A later tier starts from what is left: nothing, if it is to be intersected.
                    victims = victims.map(|_| Vec::new());
                    break;
                }
                victims = Some(match victims {
                    None => offer,
                    Some(mut victims) => {
                        victims.retain(|task| offer.contains(task));
                        victims
                    }
                });
            }
            if victims.as_ref().is_some_and(|victims| !victims.is_empty()) {
                break;
            }
        }
        victims.unwrap_or_default()
    }

    // ---- Nodes

    /// Whether any plugin has a say on nodes for this task that its class alone does not decide.
    pub fn judges_nodes(&self, state: &ClusterState, task: TaskId) -> bool {
        let asked = |switches: &Switches| switches.predicate || switches.node_order;
        self.enabled(asked).any(|plugin| plugin.judges_nodes(state, task))
    }

    /// Whether all plugins let a node take a task.
    pub fn filter_node(&self, state: &ClusterState, task: TaskId, node: NodeId) -> Result<(), Rejection> {
        self.enabled(|switches| switches.predicate)
            .try_for_each(|plugin| plugin.filter_node(state, task, node))
    }

    /// Adds what the plugins give each node to its total, in [`POINT`]s.
    pub fn score_nodes(&self, state: &ClusterState, task: TaskId, nodes: &[NodeId], totals: &mut [i64]) {
        let mut scores = Vec::new();
        for plugin in self.enabled(|switches| switches.node_order) {
            if plugin.judges_nodes(state, task) {
                scores.clear();
                scores.resize(nodes.len(), 0.0);
                plugin.score_nodes(state, task, nodes, &mut scores);
                let in_points = totals.iter_mut().zip(&scores);
                in_points.for_each(|(total, &score)| *total = total.saturating_add(points(score)));
            }
        }
    }
}

/// One point of a node's score. Volcano's scores are fractions; totals are whole, so profiles with tiers count in
/// millionths, and give the weights of scores in whole points this factor.
pub const POINT: i64 = 1_000_000;

/// A score in points as part of a total.
pub fn points(score: f64) -> i64 {
    libm::round(score * POINT as f64) as i64
}

/// The plugins of a tier that are asked on something.
fn in_tier(
    tier: &[EnabledPlugin],
    asked: impl Fn(&Switches) -> bool + Copy,
) -> impl Iterator<Item = &dyn SessionPlugin> {
    tier.iter().filter(move |entry| asked(&entry.switches)).map(|entry| &*entry.plugin)
}

/// The order of tasks between which no plugin tells (Volcano's `CompareTask`).
fn compare_tasks_alike(state: &ClusterState, left: TaskId, right: TaskId) -> Ordering {
    const INDEX: &str = "volcano.sh/task-index";
    let (Some(left), Some(right)) = (state.task(left), state.task(right)) else { return Ordering::Equal };
    if left.class != right.class {
        let index = |class| state.class_spec(class).labels.get(INDEX)?.parse::<u32>().ok();
        if let (Some(left), Some(right)) = (index(left.class), index(right.class))
            && left != right
        {
            return left.cmp(&right);
        }
    }
    let (first, second) = (&left.details, &right.details);
    let names = || first.name.cmp(&second.name);
    first.created.cmp(&second.created).then_with(names).then(left.rank.cmp(&right.rank))
}
