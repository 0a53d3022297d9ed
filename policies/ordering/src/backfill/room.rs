//! How many tasks a node has room for over a span of time, beside what runs there and what is held.

use alloc::vec::Vec;

use foretell_framework::gpu::MAX_GPUS_PER_NODE;
use foretell_framework::select::tightest_gpus;
use foretell_framework::{
    ClassId, ClusterState, Filter, JobId, NodeId, Rejection, ResourceId, Scope, TaskId, TaskSpec, TaskStatus,
    Time, WHOLE_GPU_MILLI,
};

use super::holds::{Asking, Holds, SharedHolds};

/// The shortest span of time. What should have ended is taken to end so soon.
pub(super) const INSTANT: Time = Time::from_nanos(1);

/// When a job that has places is expected to have left them: its start plus its expected duration, and at once if it has
/// run longer than that already.
pub fn expected_end(state: &ClusterState, job: JobId, now: Time) -> Time {
    let Some(job) = state.job(job) else { return now };
    let started = job.tasks().iter().find_map(|&task| state.task(task)?.details.started);
    let end = started.unwrap_or(now) + job.spec.expected_duration.unwrap_or(Time::MAX);
    end.max(now + INSTANT)
}

/// When a task on a node is expected to have left it.
pub(super) fn task_end(state: &ClusterState, task: TaskId, now: Time) -> Time {
    match state.task(task) {
        Some(task) if task.status() == TaskStatus::Releasing => now + INSTANT,
        Some(task) => expected_end(state, task.job, now),
        None => now,
    }
}

/// A question about room on nodes.
pub(super) struct Question<'a> {
    pub(super) holds: &'a Holds,
    pub(super) state: &'a ClusterState,
    /// What is promised to this job itself does not count.
    pub(super) asking: Asking,
    /// Places that count beside those that are promised.
    pub(super) also: &'a [(NodeId, ClassId, u32)],
}

/// What a node has free at an instant.
struct Free<'a> {
    state: &'a ClusterState,
    task: &'a TaskSpec,
    cpu_milli: u64,
    memory_bytes: u64,
    /// Of the extended resources that the task asks for.
    extended: Vec<(ResourceId, u64)>,
    slots: u64,
    devices: [u32; MAX_GPUS_PER_NODE],
    gpus: usize,
}

impl Question<'_> {
    /// Tasks of a spec that the node has room for from `from` until `until`.
    pub(super) fn room(&self, task: &TaskSpec, node: NodeId, from: Time, until: Time) -> u64 {
        let mut room = self.room_at(task, node, from);
        // What is free only shrinks where something that is held begins.
        let begins = self.holds.on_node(node).iter().filter(|hold| hold.job != self.asking.job);
        let begins = begins.map(|hold| hold.from);
        let windows = self.holds.windows(node).iter().map(|window| window.from);
        for at in begins.chain(windows).filter(|&at| at > from && at < until) {
            room = room.min(self.room_at(task, node, at));
        }
        room
    }

    fn room_at(&self, task: &TaskSpec, node: NodeId, at: Time) -> u64 {
        let Self { state, asking, .. } = *self;
        let entry = state.node(node);
        let mut free = Free::of(state, node, task);
        if at > asking.now {
            for &id in entry.tasks() {
                if task_end(state, id, asking.now) <= at {
                    free.give_back(id, node);
                }
            }
        }
        for hold in self.holds.on_node(node) {
            if hold.job != asking.job && hold.from <= at && at < hold.until {
                free.take(state.class_spec(hold.class), hold.count);
            }
        }
        for &(_, class, count) in self.also.iter().filter(|&&(other, ..)| other == node) {
            free.take(state.class_spec(class), count);
        }
        for window in self.holds.windows(node).iter().filter(|window| window.from <= at && at < window.until)
        {
            let admits = |job| {
                state.job(job).is_some_and(|job| {
                    let queue = &state.queue(job.spec.queue).name;
                    self.holds.reservation(window).admits(&job.spec, queue)
                })
            };
            if admits(asking.job) {
                continue;
            }
            let Some(kept) = window.gpus else { return 0 };
            let users = entry.tasks().iter().filter_map(|&id| {
                let task = state.task(id).filter(|task| admits(task.job))?;
                (task_end(state, id, asking.now) > at)
                    .then_some(state.class_spec(task.class).gpus.total_milli())
            });
            let in_use = users.sum::<u64>().div_ceil(u64::from(WHOLE_GPU_MILLI));
            free.keep(u64::from(kept).saturating_sub(in_use));
        }
        free.room()
    }
}

impl<'a> Free<'a> {
    fn of(state: &'a ClusterState, id: NodeId, task: &'a TaskSpec) -> Self {
        let node = state.node(id);
        let free_milli = state.gpu_free_milli(id);
        let mut devices = [0; MAX_GPUS_PER_NODE];
        devices[..free_milli.len()].copy_from_slice(free_milli);
        Self {
            state,
            task,
            cpu_milli: node.cpu_free_milli(),
            memory_bytes: node.memory_free_bytes(),
            extended: task
                .requests
                .all_extended()
                .map(|(resource, _)| (resource, node.extended_free(resource)))
                .collect(),
            slots: u64::from(node.spec.max_tasks).saturating_sub(node.tasks().len() as u64),
            devices,
            gpus: free_milli.len(),
        }
    }

    /// A task has left the node.
    fn give_back(&mut self, id: TaskId, node: NodeId) {
        let Some(task) = self.state.task(id) else { return };
        let requests = &self.state.class_spec(task.class).requests;
        self.cpu_milli += requests.cpu_milli;
        self.memory_bytes += requests.memory_bytes;
        self.slots += 1;
        for (resource, free) in &mut self.extended {
            *free += requests.extended(*resource);
        }
        if let Some(placement) = task.placement() {
            let healthy = |device: &usize| self.state.is_gpu_healthy(node, *device);
            for device in placement.gpus.iter().filter(healthy) {
                self.devices[device] += placement.gpu_milli;
            }
        }
    }

    /// Tasks of a spec are there, on the devices that leave the most of the others.
    fn take(&mut self, spec: &TaskSpec, count: u32) {
        let tasks = u64::from(count);
        self.cpu_milli = self.cpu_milli.saturating_sub(spec.requests.cpu_milli.saturating_mul(tasks));
        self.memory_bytes =
            self.memory_bytes.saturating_sub(spec.requests.memory_bytes.saturating_mul(tasks));
        self.slots = self.slots.saturating_sub(tasks);
        for (resource, free) in &mut self.extended {
            *free = free.saturating_sub(spec.requests.extended(*resource).saturating_mul(tasks));
        }
        for _ in 0..if spec.gpus.count > 0 { count } else { 0 } {
            for device in tightest_gpus(&self.devices[..self.gpus], &spec.gpus).iter() {
                self.devices[device] -= spec.gpus.milli;
            }
        }
    }

    /// So many devices are kept for others.
    fn keep(&mut self, devices: u64) {
        let free = self.devices[..self.gpus].iter_mut().rev().filter(|free| **free == WHOLE_GPU_MILLI);
        free.take(devices as usize).for_each(|free| *free = 0);
    }

    /// Tasks of the spec that fit.
    fn room(&self) -> u64 {
        let per = |free: u64, asked: u64| free.checked_div(asked).unwrap_or(u64::MAX);
        let TaskSpec { requests, gpus, .. } = self.task;
        let mut room = self
            .slots
            .min(per(self.cpu_milli, requests.cpu_milli))
            .min(per(self.memory_bytes, requests.memory_bytes));
        for &(resource, free) in &self.extended {
            room = room.min(per(free, requests.extended(resource)));
        }
        let devices = &self.devices[..self.gpus];
        let devices = match gpus.count {
            0 => u64::MAX,
            1 => devices.iter().map(|&free| per(u64::from(free), u64::from(gpus.milli))).sum(),
            count => devices.iter().filter(|&&free| free >= gpus.milli).count() as u64 / u64::from(count),
        };
        room.min(devices)
    }
}

/// Keeps what is promised to others free: a job may start on a node only if all that is held there still fits.
pub struct HonourReservations {
    /// What is held.
    pub holds: SharedHolds,
}

impl Filter for HonourReservations {
    fn name(&self) -> &'static str {
        "HonourReservations"
    }

    fn scope(&self) -> Scope {
        Scope::Cluster
    }

    fn prepare(&mut self, _state: &ClusterState, _task: &TaskSpec) -> bool {
        let holds = self.holds.borrow();
        holds.asking.is_some() && !holds.is_empty()
    }

    fn filter(&mut self, state: &ClusterState, task: &TaskSpec, node: NodeId) -> Result<(), Rejection> {
        let holds = self.holds.borrow();
        let Some(asking) = holds.asking else { return Ok(()) };
        if holds.on_node(node).is_empty() && holds.windows(node).is_empty() {
            return Ok(());
        }
        let question = Question { holds: &holds, state, asking, also: &[] };
        let room = question.room(task, node, asking.now, asking.until);
        if room > 0 { Ok(()) } else { Err(Rejection::Reserved) }
    }
}
