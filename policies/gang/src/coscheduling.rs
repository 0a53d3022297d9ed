//! Gangs as scheduler-plugins' `Coscheduling` has them: pods are placed one by one and each holds its node until enough of
//! its group are placed, or until they have waited too long.

use alloc::boxed::Box;
use core::cmp::{Ordering, Reverse};

use foretell_framework::{ClusterState, Dimension, Job, JobId, Quota, Reason, TaskId, Time};

/// The label by which a pod names its group.
pub const POD_GROUP_LABEL: &str = "scheduling.x-k8s.io/pod-group";

/// The group of a task.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Group<'a> {
    /// It is in none.
    None,
    /// It names one that is not there.
    Missing,
    /// Its job.
    Of(&'a Job),
}

/// The group of a task. Where nothing is said of groups, as in a simulation, a job of several tasks is one.
pub fn group(state: &ClusterState, task: TaskId) -> Group<'_> {
    let Some(entry) = state.task(task) else { return Group::None };
    let Some(job) = state.job(entry.job) else { return Group::None };
    if job.spec.gang.is_some() {
        Group::Of(job)
    } else if state.class_spec(entry.class).labels.contains_key(POD_GROUP_LABEL) {
        Group::Missing
    } else if job.spec.min_member > 1 {
        Group::Of(job)
    } else {
        Group::None
    }
}

/// A waiting task, as the queue sees it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct QueuedTask {
    /// The task.
    pub task: TaskId,
    /// When it was tried first.
    pub first_attempt: Time,
}

/// Which of two tasks is tried first: the one of higher priority, then the one whose group is older (outside groups: the one
/// that was tried first earlier), then by namespace and name.
pub fn compare(state: &ClusterState, left: &QueuedTask, right: &QueuedTask) -> Ordering {
    let key = |queued: &QueuedTask| {
        let entry = state.task(queued.task)?;
        let job = state.job(entry.job)?;
        let since = match group(state, queued.task) {
            Group::Of(job) => job.spec.submitted,
            Group::None | Group::Missing => queued.first_attempt,
        };
        Some((Reverse(entry.details.priority), since, job.spec.sequence, entry.rank))
    };
    let name = |queued: &QueuedTask| {
        let entry = state.task(queued.task);
        let namespace = entry.map_or("", |entry| &state.class_spec(entry.class).namespace);
        let name = entry.map_or("", |entry| &entry.details.name);
        namespace.bytes().chain(core::iter::once(b'/')).chain(name.bytes())
    };
    match (key(left), key(right)) {
        (
            Some((priority, since, sequence, rank)),
            Some((other_priority, other_since, other_sequence, other_rank)),
        ) => (priority, since)
            .cmp(&(other_priority, other_since))
            .then_with(|| name(left).cmp(name(right)))
            .then_with(|| (sequence, rank).cmp(&(other_sequence, other_rank))),
        (left, right) => left.is_some().cmp(&right.is_some()).reverse(),
    }
}

/// Whether a task may be placed at all: its group must have as many tasks as it needs, and its minimum must fit into what
/// all nodes have left together, with what the group holds already.
pub fn admit(state: &ClusterState, task: TaskId) -> Result<(), Reason> {
    let Group::Of(job) = group(state, task) else { return Ok(()) };
    let min_member = job.spec.min_member;
    let tasks = job.tasks().len() as u32;
    if tasks < min_member {
        return Err(Reason::GangIncomplete { tasks, min_member });
    }
    let Some(minimum) = job.spec.gang.as_ref().and_then(|gang| gang.min_resources.as_ref()) else {
        return Ok(());
    };
    let job = state.task(task).map(|task| task.job);
    let minimum = Quota { tasks: Some(u64::from(min_member)), ..minimum.clone() };
    match resource_gap(state, job, &minimum) {
        None => Ok(()),
        Some(gap) => Err(gap),
    }
}

/// What all nodes together lack of an amount, if anything. What the tasks of `own` hold counts as left.
pub fn resource_gap(state: &ClusterState, own: Option<JobId>, amount: &Quota) -> Option<Reason> {
    let held = |node: &foretell_framework::Node| {
        let tasks = node.tasks().iter().filter_map(|&task| state.task(task));
        tasks
            .filter(|task| Some(task.job) == own)
            .map(|task| state.class_spec(task.class))
            .collect::<alloc::vec::Vec<_>>()
    };
    let gap = |resource: Box<str>, free: u64, asked: u64| {
        (free < asked).then_some(Reason::GangExceedsCluster { resource, free, asked })
    };
    let of_resources = amount.named().find_map(|(dimension, asked)| {
        let free = state.nodes().iter().map(|node| {
            let left = node.allocatable(dimension).saturating_sub(node.used(dimension));
            let own = held(node);
            let own = own.iter().flat_map(|task| task.requested()).filter(|&(other, _)| other == dimension);
            left + own.map(|(_, amount)| amount).sum::<u64>()
        });
        let name: Box<str> = match dimension {
            Dimension::Cpu => "cpu (milli)".into(),
            Dimension::Memory => "memory (bytes)".into(),
            Dimension::Gpu => "gpu (milli)".into(),
            Dimension::Extended(resource) => state.resource_name(resource).into(),
        };
        gap(name, free.fold(0, u64::saturating_add), asked)
    });
    of_resources.or_else(|| {
        let free = state.nodes().iter().map(|node| {
            let others = node.tasks().len() - held(node).len();
            u64::from(node.spec.max_tasks).saturating_sub(others as u64)
        });
        gap("pods".into(), free.fold(0, u64::saturating_add), amount.tasks?)
    })
}

/// What becomes of a task for which a node was found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Permit {
    /// It is bound, and with it those of its group that wait.
    Bind,
    /// It holds its node and waits for others of its group.
    Wait,
    /// It is sent back: its group is not there.
    Reject,
}

/// What becomes of a task for which a node was found: it counts with the tasks of its group that have theirs.
pub fn permit(state: &ClusterState, task: TaskId) -> Permit {
    match group(state, task) {
        Group::None => Permit::Bind,
        Group::Missing => Permit::Reject,
        Group::Of(job) => {
            let placed = state.task(task).is_some_and(|task| task.status().is_placed());
            let assigned = assigned(state, job) - u32::from(placed);
            if assigned + 1 >= job.spec.min_member { Permit::Bind } else { Permit::Wait }
        }
    }
}

/// Tasks of a group that have a node.
fn assigned(state: &ClusterState, job: &Job) -> u32 {
    let tasks = job.tasks().iter().filter_map(|&task| state.task(task));
    tasks.filter(|task| task.placement().is_some()).count() as u32
}

/// Whether a group lets go of what it holds when one of its tasks fits nowhere: not if it has its quorum, nor if no more than
/// a tenth of it is missing.
pub fn gives_up(state: &ClusterState, job: JobId) -> bool {
    let Some(job) = state.job(job) else { return false };
    let (min_member, assigned) = (job.spec.min_member, assigned(state, job));
    assigned < min_member && (min_member - assigned) as f32 / min_member as f32 > 0.1
}
