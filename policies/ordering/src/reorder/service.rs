//! What a policy keeps of each job to order it: what it asks for, and what it has had.

use alloc::boxed::Box;
use alloc::vec::Vec;

use foretell_framework::{ClusterState, JobId, QueueId, Time};

/// What a job asks for and has had so far, as the policy counts it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Service {
    /// The job.
    pub id: JobId,
    /// Its number in order of submission.
    pub sequence: u64,
    /// Who submitted it; empty if unknown.
    pub user: Box<str>,
    /// Its name; empty if it has none.
    pub name: Box<str>,
    /// The queue that it came through.
    pub queue: QueueId,
    /// Larger goes first.
    pub priority: i32,
    /// When it was submitted.
    pub submitted: Time,
    /// How long it is expected to run, if the policy is told.
    pub expected: Option<Time>,
    /// When it should be done.
    pub deadline: Option<Time>,
    /// All its tasks' GPUs, in thousandths.
    pub gpu_milli: u64,
    /// Whether its tasks must not be displaced.
    pub is_protected: bool,
    /// Time that it has spent or will spend without computing: restarts that it pays for.
    pub penalty: Time,
    started: bool,
    running: bool,
    /// Up to `since`: all that it has had, and what it has had since it was last promoted.
    executed: Time,
    executed_since_promotion: Time,
    waited_since_promotion: Time,
    since: Time,
}

impl Service {
    /// Whether it has its place.
    pub const fn is_running(&self) -> bool {
        self.running
    }

    /// Whether it ever had a place.
    pub const fn has_started(&self) -> bool {
        self.started
    }

    /// How long it has had a place.
    pub fn executed(&self, now: Time) -> Time {
        if self.running { self.executed + now.since(self.since) } else { self.executed }
    }

    /// How long it has had a place since it was last promoted.
    pub fn executed_since_promotion(&self, now: Time) -> Time {
        let running = if self.running { now.since(self.since) } else { Time::ZERO };
        self.executed_since_promotion + running
    }

    /// How long it has waited since it was last promoted, the time before its first start left out.
    pub fn waited_since_promotion(&self, now: Time) -> Time {
        let waits = !self.running && self.executed_since_promotion > Time::ZERO;
        self.waited_since_promotion + if waits { now.since(self.since) } else { Time::ZERO }
    }

    /// GPUs times time that it has had since it was last promoted, in thousandths of GPU-nanoseconds.
    pub fn attained(&self, now: Time) -> u128 {
        u128::from(self.executed_since_promotion(now).as_nanos()) * u128::from(self.gpu_milli)
    }

    /// How long it would still run, restarts that it pays for included; unknown durations are endless.
    pub fn remaining(&self, now: Time) -> Time {
        self.expected.map_or(Time::MAX, |expected| (expected + self.penalty).since(self.executed(now)))
    }

    /// Begins to count what it gets and waits for anew.
    pub(super) fn promote(&mut self, now: Time) {
        self.advance(now);
        self.executed_since_promotion = Time::ZERO;
        self.waited_since_promotion = Time::ZERO;
    }

    fn set_running(&mut self, now: Time, running: bool) {
        self.advance(now);
        self.running = running;
        self.started |= running;
    }

    fn advance(&mut self, now: Time) {
        self.executed = self.executed(now);
        self.waited_since_promotion = self.waited_since_promotion(now);
        self.executed_since_promotion = self.executed_since_promotion(now);
        self.since = now;
    }
}

/// A position in [`Jobs`].
pub type Slot = u32;

/// What one looks at of every job in each decision.
#[derive(Clone, Copy, Debug)]
pub(super) struct Demand {
    /// All its tasks' GPUs, in thousandths.
    pub(super) gpu_milli: u64,
    /// Whether it has its place.
    pub(super) is_running: bool,
}

/// The jobs that wait or run.
#[derive(Default)]
pub struct Jobs {
    slots: Vec<Option<Service>>,
    /// By slot, apart because it is small and a service is not.
    demands: Vec<Option<Demand>>,
    free: Vec<Slot>,
    /// Those that are there, in order of arrival.
    arrivals: Vec<Slot>,
    /// Those that have their places.
    running: Vec<Slot>,
    /// How many must not be displaced.
    protected: usize,
    gpu_capacity_milli: u64,
}

impl Jobs {
    /// Those that are there, in order of arrival.
    pub fn arrivals(&self) -> &[Slot] {
        &self.arrivals
    }

    /// Those that are there, in order of arrival.
    pub fn iter(&self) -> impl Iterator<Item = (Slot, &Service)> {
        self.arrivals.iter().filter_map(|&slot| Some((slot, self.get(slot)?)))
    }

    /// Those that have their places, in no order that means anything.
    pub fn running(&self) -> &[Slot] {
        &self.running
    }

    /// Whether some must not be displaced.
    pub(super) const fn any_is_protected(&self) -> bool {
        self.protected > 0
    }

    /// All GPUs of the cluster, in thousandths.
    pub const fn gpu_capacity_milli(&self) -> u64 {
        self.gpu_capacity_milli
    }

    pub(super) const fn set_gpu_capacity_milli(&mut self, capacity: u64) {
        self.gpu_capacity_milli = capacity;
    }

    /// The job in a slot.
    pub fn get(&self, slot: Slot) -> Option<&Service> {
        self.slots.get(slot as usize).and_then(Option::as_ref)
    }

    /// The same, to change it.
    pub fn get_mut(&mut self, slot: Slot) -> Option<&mut Service> {
        self.slots.get_mut(slot as usize).and_then(Option::as_mut)
    }

    /// By slot: what the job there asks for, and whether it has it.
    pub(super) fn demands(&self) -> &[Option<Demand>] {
        &self.demands
    }

    pub(super) fn add(&mut self, state: &ClusterState, id: JobId) -> Option<Slot> {
        let job = state.job(id)?;
        let tasks = job.spec.tasks.iter();
        let gpu_milli =
            tasks.map(|&(class, count)| u64::from(count) * state.class_spec(class).gpus.total_milli()).sum();
        let service = Service {
            id,
            sequence: job.spec.sequence,
            user: job.spec.user.clone(),
            name: job.spec.name.clone(),
            queue: job.spec.queue,
            priority: job.spec.priority,
            submitted: job.spec.submitted,
            expected: job.spec.expected_duration,
            deadline: job.spec.deadline,
            gpu_milli,
            is_protected: job.spec.preemptable == Some(false),
            penalty: Time::ZERO,
            started: false,
            running: false,
            executed: Time::ZERO,
            executed_since_promotion: Time::ZERO,
            waited_since_promotion: Time::ZERO,
            since: job.spec.submitted,
        };
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            self.demands.push(None);
            self.slots.len() as Slot - 1
        });
        self.protected += usize::from(service.is_protected);
        self.slots[slot as usize] = Some(service);
        self.demands[slot as usize] = Some(Demand { gpu_milli, is_running: false });
        self.arrivals.push(slot);
        Some(slot)
    }

    /// A job got its place, or lost it.
    pub(super) fn set_running(&mut self, slot: Slot, now: Time, running: bool) {
        let Some(service) = self.get_mut(slot).filter(|service| service.running != running) else { return };
        service.set_running(now, running);
        if let Some(demand) = &mut self.demands[slot as usize] {
            demand.is_running = running;
        }
        if running {
            self.running.push(slot);
        } else if let Some(position) = self.running.iter().position(|&other| other == slot) {
            self.running.swap_remove(position);
        }
    }

    pub(super) fn remove(&mut self, slot: Slot) -> Option<Service> {
        let service = self.slots.get_mut(slot as usize)?.take()?;
        self.demands[slot as usize] = None;
        self.protected -= usize::from(service.is_protected);
        // Most leave young.
        if let Some(position) = self.arrivals.iter().rposition(|&other| other == slot) {
            self.arrivals.remove(position);
        }
        self.free.push(slot);
        Some(service)
    }
}
