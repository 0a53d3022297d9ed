//! The cycle as an action of a profile.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec;

use foretell_framework::select::{BestFitGpus, BestNode, tightest_gpus};
use foretell_framework::{
    Action, ClusterEvent, ClusterState, EvictionReason, GpuSet, JobId, NodeId, Plugins, Profile, Reason,
    Session, TaskId, TaskStatus, Time, Transaction, WHOLE_GPU_MILLI,
};

use alloc::vec::Vec;

use crate::config::KaiConfig;
use crate::cycle::{Cycle, Moved};
use crate::model::{FIRST_NEW_GROUP, Model, Status};
use crate::usage::{Past, Usage};

/// KAI-Scheduler's cycle: all its verbs, over one picture of the cluster.
pub struct Kai {
    config: KaiConfig,
    /// Since when jobs have been seen to run without their minimum, where the driver does not say.
    stale_since: BTreeMap<JobId, Time>,
    /// The picture of the last cycle; none before the first.
    model: Option<Model>,
    /// What queues had, where the past counts.
    usage: Usage,
    /// No cycle begins before.
    next: Time,
}

/// What is decided of a task.
struct Order {
    task: TaskId,
    node: Option<NodeId>,
    groups: Vec<u32>,
    was: Status,
    is: Status,
    reason: EvictionReason,
    beneficiary: Option<TaskId>,
}

impl Kai {
    /// A cycle with this configuration.
    pub fn new(config: KaiConfig) -> Self {
        let usage = Usage::default();
        Self { config, stale_since: BTreeMap::new(), model: None, usage, next: Time::ZERO }
    }

    /// Plugins for a profile of this action. It filters and scores for itself: they only say what an empty cluster would
    /// hold, and why a job waits.
    pub fn plugins() -> Plugins {
        Plugins::new(Box::new(BestNode), Box::new(BestFitGpus))
    }

    /// A profile of this action alone.
    pub fn profile(name: String, config: KaiConfig) -> Profile {
        Profile::new(name, Self::plugins(), vec![Box::new(Self::new(config))])
    }

    fn remember_stale(&mut self, model: &mut Model) {
        let Model { stale, jobs, now, .. } = model;
        let known = stale.iter().map(|&job| {
            let entry = &mut jobs[job];
            let remembered = self.stale_since.get(&entry.id).copied().unwrap_or(*now);
            (entry.id, *entry.stale_since.get_or_insert(remembered))
        });
        self.stale_since = known.collect();
    }

    fn decide(&mut self, session: &Session<'_>) -> Vec<Order> {
        let state = session.state();
        let (now, factor) = (session.now, self.config.usage_factor);
        let measures = factor != 0.0;
        let usage = if measures { self.usage.at(now, self.config.usage) } else { Vec::new() };
        let past = Past { factor, usage: &usage };
        let mut model = match self.model.take() {
            Some(model) => model.read_again(state, now, past),
            None => Model::read(state, now, past),
        };
        self.remember_stale(&mut model);
        let mut cycle = Cycle { state, config: &self.config, model, moved: Vec::new() };
        cycle.run();
        let Cycle { model, moved, .. } = cycle;
        if measures {
            let held = model.queues.iter().map(|queue| &queue.allocated);
            self.usage.set(now, self.config.usage, held, &model.total);
        }
        let order = |Moved { task, before, after, reason, beneficiary }: Moved| Order {
            task: model.tasks[task].id,
            node: after.node.map(|node| model.nodes[node].id),
            groups: after.groups,
            was: before.status,
            is: after.status,
            reason: reason.unwrap_or(EvictionReason::Preempted),
            beneficiary: beneficiary.filter(|&other| other != task).map(|task| model.tasks[task].id),
        };
        let orders = moved.into_iter().map(order).collect();
        self.model = Some(model);
        orders
    }
}

impl Action for Kai {
    fn name(&self) -> &'static str {
        "kai"
    }

    fn notify(&mut self, _state: &ClusterState, _plugins: &mut Plugins, _event: ClusterEvent) {}

    fn run(&mut self, session: &mut Session<'_>, _plugins: &mut Plugins) {
        if session.now < self.next {
            session.wake_by(self.next);
            return;
        }
        self.next = session.now + self.config.period;
        let orders = self.decide(session);
        session.forget_nominations();
        let (mut transaction, _) = session.begin();
        let mut devices = BTreeMap::new();
        for order in &orders {
            if order.was.is_active() {
                // A task that has its place can be told to stop.
                let _evicted = transaction.evict(order.task, order.reason, order.beneficiary);
            }
            // What the picture had room for, the state has room for.
            let _done = match (order.is, order.node) {
                (Status::Allocated, Some(node)) => {
                    let gpus = gpus(&transaction, order, node, &mut devices);
                    transaction.place(order.task, node, gpus)
                }
                (Status::Pipelined, Some(node)) => transaction.nominate(order.task, Some(node)),
                _ => Ok(()),
            };
        }
        transaction.commit();
    }

    fn explain(&mut self, session: &mut Session<'_>, plugins: &mut Plugins, job: JobId) -> Option<Reason> {
        let state = session.state();
        let entry = state.job(job)?;
        let mut tasks = entry.tasks().iter().filter_map(|&task| state.task(task));
        let class = tasks.find(|task| task.status() == TaskStatus::Waiting)?.class;
        let rejections = plugins.rejections(state, class);
        let (placed, min_member) = (entry.placed(), entry.spec.min_member);
        // Where a node would take it, its queue, its gang or its domain stands in the way.
        (!rejections.counts.is_empty()).then_some(Reason::NoNode { placed, min_member, rejections })
    }
}

/// The devices of a task. `devices` says which stand for groups that were made in this cycle.
fn gpus(
    transaction: &Transaction<'_>,
    order: &Order,
    node: NodeId,
    devices: &mut BTreeMap<(NodeId, u32), usize>,
) -> GpuSet {
    let state = transaction.state();
    let free_milli = state.gpu_free_milli(node);
    let Some(task) = state.task(order.task) else { return GpuSet::EMPTY };
    if order.groups.is_empty() {
        return tightest_gpus(free_milli, &state.class_spec(task.class).gpus);
    }
    let mut chosen = GpuSet::EMPTY;
    for &group in &order.groups {
        let known =
            if group < FIRST_NEW_GROUP { Some(group as usize) } else { devices.get(&(node, group)).copied() };
        let untouched = || {
            let mut free = free_milli.iter().enumerate();
            free.find(|&(device, &free)| free == WHOLE_GPU_MILLI && !chosen.contains(device))
        };
        let Some(device) = known.or_else(|| untouched().map(|(device, _)| device)) else { continue };
        devices.insert((node, group), device);
        chosen.insert(device);
    }
    chosen
}
