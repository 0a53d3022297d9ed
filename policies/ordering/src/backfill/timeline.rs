//! What one node is expected to have free from now on: a step for every instant at which that changes.

use alloc::vec::Vec;

use foretell_framework::gpu::MAX_GPUS_PER_NODE;
use foretell_framework::{ClusterState, NodeId, TaskSpec, TaskStatus, Time, WHOLE_GPU_MILLI};

use super::room::INSTANT;

/// The present, and the instant after it, at which what should have ended is taken to end.
#[derive(Clone, Copy, Default)]
pub(super) struct Clock {
    pub(super) now: Time,
    pub(super) soon: Time,
}

impl Clock {
    pub(super) fn at(now: Time) -> Self {
        Self { now, soon: now + INSTANT }
    }

    /// A step's instant by this clock: the first step of a timeline, at zero, is the present.
    #[inline]
    pub(super) fn read(self, at: Time) -> Time {
        if at == Time::ZERO { self.now } else { at.max(self.soon) }
    }
}

/// What is free. Of devices only those count that are free as a whole.
#[derive(Clone, Copy, Default, Debug)]
struct Spare {
    cpu_milli: u64,
    memory_bytes: u64,
    slots: u64,
    devices: u64,
}

impl Spare {
    fn take(&mut self, spec: &TaskSpec, count: u32) {
        let tasks = u64::from(count);
        let less = |free: &mut u64, each: u64| *free = free.saturating_sub(each.saturating_mul(tasks));
        less(&mut self.cpu_milli, spec.requests.cpu_milli);
        less(&mut self.memory_bytes, spec.requests.memory_bytes);
        less(&mut self.slots, 1);
        less(&mut self.devices, u64::from(spec.gpus.count));
    }

    #[inline]
    fn room(&self, task: &TaskSpec) -> u64 {
        let per = |free: u64, asked: u64| free.checked_div(asked).unwrap_or(u64::MAX);
        self.slots
            .min(per(self.devices, u64::from(task.gpus.count)))
            .min(per(self.cpu_milli, task.requests.cpu_milli))
            .min(per(self.memory_bytes, task.requests.memory_bytes))
    }
}

#[derive(Clone, Copy, Debug)]
struct Step {
    at: Time,
    /// Whether something that is held begins here: nowhere else does room shrink.
    begins: bool,
    spare: Spare,
}

/// A node's steps. What is not asked in whole GPUs, and extended resources, it knows nothing of.
#[derive(Default)]
pub(super) struct Timeline {
    /// As what runs ends, each at the time that was expected, be it past.
    base: Vec<Step>,
    /// The same beside what is held, by the clock of this cycle.
    held: Vec<Step>,
    is_held: bool,
}

impl Timeline {
    /// Reads the node, with nothing held. Returns whether something there has not started, so that its end moves with time.
    pub(super) fn read(&mut self, state: &ClusterState, id: NodeId, now: Time) -> bool {
        self.is_held = false;
        self.base.clear();
        let mut is_moving = false;
        let node = state.node(id);
        let free_milli = state.gpu_free_milli(id);
        let mut devices = [0; MAX_GPUS_PER_NODE];
        devices[..free_milli.len()].copy_from_slice(free_milli);
        let devices = &mut devices[..free_milli.len()];
        let mut spare = Spare {
            cpu_milli: node.cpu_free_milli(),
            memory_bytes: node.memory_free_bytes(),
            slots: u64::from(node.spec.max_tasks).saturating_sub(node.tasks().len() as u64),
            devices: whole(devices),
        };
        self.base.push(Step { at: Time::ZERO, begins: false, spare });
        let tasks = node.tasks().iter().filter_map(|&id| {
            let task = state.task(id)?;
            let job = state.job(task.job)?;
            let started = job.tasks().iter().find_map(|&task| state.task(task)?.details.started);
            let end = if task.status() == TaskStatus::Releasing {
                Time::ZERO
            } else {
                is_moving |= started.is_none();
                started.unwrap_or(now) + job.spec.expected_duration.unwrap_or(Time::MAX)
            };
            // Zero is the present.
            Some((end.max(INSTANT), task))
        });
        let mut ends: Vec<_> = tasks.filter(|&(end, _)| end < Time::MAX).collect();
        ends.sort_unstable_by_key(|&(end, _)| end);
        for (end, task) in ends {
            let requests = &state.class_spec(task.class).requests;
            spare.cpu_milli += requests.cpu_milli;
            spare.memory_bytes += requests.memory_bytes;
            spare.slots += 1;
            if let Some(placement) = task.placement() {
                let healthy = |device: &usize| state.is_gpu_healthy(id, *device);
                for device in placement.gpus.iter().filter(healthy) {
                    // What was observed may be more than a device has.
                    let was_whole = devices[device] >= WHOLE_GPU_MILLI;
                    devices[device] += placement.gpu_milli;
                    spare.devices += u64::from(!was_whole && devices[device] >= WHOLE_GPU_MILLI);
                }
            }
            match self.base.last_mut() {
                Some(last) if last.at == end => last.spare = spare,
                _ => self.base.push(Step { at: end, begins: false, spare }),
            }
        }
        is_moving
    }

    const fn steps(&self) -> &Vec<Step> {
        if self.is_held { &self.held } else { &self.base }
    }

    /// Whether anything is held.
    pub(super) const fn is_held(&self) -> bool {
        self.is_held
    }

    /// Forgets what is held.
    pub(super) const fn release(&mut self) {
        self.is_held = false;
    }

    /// Tasks of a spec are promised a window here.
    pub(super) fn hold(&mut self, clock: Clock, (from, until): (Time, Time), spec: &TaskSpec, count: u32) {
        if !self.is_held {
            self.is_held = true;
            self.held.clear();
            for &step in &self.base {
                let at = if step.at == Time::ZERO { step.at } else { step.at.max(clock.soon) };
                match self.held.last_mut() {
                    Some(last) if last.at == at => *last = Step { at, ..step },
                    _ => self.held.push(Step { at, ..step }),
                }
            }
        }
        if until <= clock.now && from < until {
            return;
        }
        let first = if from <= clock.now {
            0
        } else {
            let first = self.split(from);
            self.held[first].begins = true;
            first
        };
        let last = if until == Time::MAX { self.held.len() } else { self.split(until.max(clock.soon)) };
        if from < until {
            self.held[first..last].iter_mut().for_each(|step| step.spare.take(spec, count));
        }
    }

    /// The step at an instant after the present, made if there is none.
    fn split(&mut self, at: Time) -> usize {
        let position = self.held.partition_point(|step| step.at < at);
        if self.held.get(position).is_none_or(|step| step.at > at) {
            let before = self.held[position - 1];
            self.held.insert(position, Step { at, begins: false, ..before });
        }
        position
    }

    /// Tasks of a spec that there is room for from `from` until `until`.
    pub(super) fn room(&self, clock: Clock, task: &TaskSpec, from: Time, until: Time) -> u64 {
        let steps = self.steps();
        let first = if from <= clock.now { 0 } else { steps.partition_point(|step| step.at <= from) - 1 };
        let mut room = steps[first].spare.room(task);
        if self.is_held {
            let after = steps[first + 1..].iter().take_while(|step| step.at < until);
            room = after.filter(|step| step.begins).fold(room, |room, step| room.min(step.spare.room(task)));
        }
        room
    }

    /// Tasks of a spec that there is room for once nothing changes any more.
    pub(super) fn room_in_the_end(&self, task: &TaskSpec) -> u64 {
        self.steps().last().map_or(0, |step| step.spare.room(task))
    }

    /// When there is room for one task of a spec: from when, and until when, at most. Times are as on the steps.
    pub(super) fn find_gaps(&self, task: &TaskSpec, gaps: &mut Vec<(Time, Time)>) {
        gaps.clear();
        let mut start = None;
        for step in self.steps() {
            if step.spare.room(task) > 0 {
                start = start.or(Some(step.at));
            } else if step.begins
                && let Some(start) = start.take()
            {
                gaps.push((start, step.at));
            }
        }
        gaps.extend(start.map(|start| (start, Time::MAX)));
    }

    /// Instants after `from`, up to `last`, at which room may grow.
    pub(super) fn instants(&self, clock: Clock, from: Time, last: Time) -> impl Iterator<Item = Time> {
        let instants = self.steps()[1..].iter().map(move |step| clock.read(step.at));
        instants.filter(move |&at| at > from && at <= last)
    }
}

/// Devices that are free as a whole.
fn whole(devices: &[u32]) -> u64 {
    devices.iter().filter(|&&free| free >= WHOLE_GPU_MILLI).count() as u64
}
