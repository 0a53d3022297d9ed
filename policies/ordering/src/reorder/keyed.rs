//! Orders by one figure per job.

use alloc::boxed::Box;
use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use core::cmp::Reverse;
use core::ops::ControlFlow;

use foretell_framework::Time;

use super::Discipline;
use super::predict::DurationHistory;
use super::service::{Jobs, Service, Slot};

/// A figure by which jobs are ordered, smaller first. That of a job that waits must not change while it waits.
pub trait Rank {
    /// Its name.
    fn name(&self) -> &'static str;

    /// Whether jobs that are ahead take the GPUs of running ones behind them.
    fn preempts(&self) -> bool {
        true
    }

    /// The figure.
    fn key(&self, service: &Service, now: Time) -> u128;

    /// A job left; it may teach something.
    fn ended(&mut self, _service: &Service, _now: Time) {}

    /// How often to look again although nothing happened, if figures of running jobs may pass those of waiting ones.
    fn quantum(&self) -> Option<Time> {
        None
    }
}

/// Least remaining time first (SRTF): the durations must be known.
pub struct ShortestRemaining;

impl Rank for ShortestRemaining {
    fn name(&self) -> &'static str {
        "ShortestRemaining"
    }

    fn key(&self, service: &Service, now: Time) -> u128 {
        u128::from(service.remaining(now).as_nanos())
    }
}

/// Least remaining GPU-time first (SRSF, Tiresias' name for it): the durations must be known.
pub struct ShortestRemainingService;

impl Rank for ShortestRemainingService {
    fn name(&self) -> &'static str {
        "ShortestRemainingService"
    }

    fn key(&self, service: &Service, now: Time) -> u128 {
        u128::from(service.remaining(now).as_nanos()) * u128::from(service.gpu_milli)
    }
}

/// Earliest deadline first (EDF); jobs without one last.
pub struct EarliestDeadline;

impl Rank for EarliestDeadline {
    fn name(&self) -> &'static str {
        "EarliestDeadline"
    }

    fn key(&self, service: &Service, _now: Time) -> u128 {
        u128::from(service.deadline.unwrap_or(Time::MAX).as_nanos())
    }
}

/// Least attained GPU-time first (LAS): nothing need be known.
pub struct LeastAttained {
    /// How often running jobs are compared with waiting ones.
    pub quantum: Time,
}

impl Rank for LeastAttained {
    fn name(&self) -> &'static str {
        "LeastAttained"
    }

    fn key(&self, service: &Service, now: Time) -> u128 {
        service.attained(now)
    }

    fn quantum(&self) -> Option<Time> {
        Some(self.quantum)
    }
}

/// Least predicted GPU-time first, without preemption (QSSF of Helios, SC'21): durations are predicted from those of jobs
/// that ended before.
#[derive(Default)]
pub struct LeastPredicted {
    history: DurationHistory,
}

impl Rank for LeastPredicted {
    fn name(&self) -> &'static str {
        "LeastPredicted"
    }

    fn preempts(&self) -> bool {
        false
    }

    fn key(&self, service: &Service, _now: Time) -> u128 {
        u128::from(self.history.predict(service).as_nanos()) * u128::from(service.gpu_milli)
    }

    fn ended(&mut self, service: &Service, now: Time) {
        if service.has_started() {
            self.history.learn(service, service.executed(now));
        }
    }
}

/// Priority, figure, order of submission.
type Key = (Reverse<i32>, u128, u64);

/// Jobs in order of a figure, after their priority.
pub struct Keyed {
    rank: Box<dyn Rank>,
    waiting: BTreeSet<(Key, Slot)>,
    /// By slot: its key while it waits.
    keys: Vec<Option<Key>>,
    /// Those that run, where they are preempted, in the order of the last walk, and behind them those that started since.
    ranked: Vec<(Key, Slot)>,
}

impl Keyed {
    /// In order of this figure.
    pub fn new(rank: Box<dyn Rank>) -> Self {
        Self { rank, waiting: BTreeSet::new(), keys: Vec::new(), ranked: Vec::new() }
    }

    fn key(&self, service: &Service, now: Time) -> Key {
        (Reverse(service.priority), self.rank.key(service, now), service.sequence)
    }

    fn wait(&mut self, jobs: &Jobs, slot: Slot, now: Time) {
        let Some(key) = jobs.get(slot).map(|service| self.key(service, now)) else { return };
        if self.keys.len() <= slot as usize {
            self.keys.resize(slot as usize + 1, None);
        }
        self.keys[slot as usize] = Some(key);
        self.waiting.insert((key, slot));
    }

    fn wait_no_more(&mut self, slot: Slot) {
        if let Some(key) = self.keys.get_mut(slot as usize).and_then(Option::take) {
            self.waiting.remove(&(key, slot));
        }
    }

    fn run_no_more(&mut self, slot: Slot) {
        if let Some(position) = self.ranked.iter().position(|&(_, other)| other == slot) {
            self.ranked.remove(position);
        }
    }
}

impl Discipline for Keyed {
    fn name(&self) -> &'static str {
        self.rank.name()
    }

    fn preempts(&self) -> bool {
        self.rank.preempts()
    }

    fn added(&mut self, jobs: &Jobs, slot: Slot, now: Time) {
        self.wait(jobs, slot, now);
    }

    fn started(&mut self, jobs: &Jobs, slot: Slot, now: Time) {
        self.wait_no_more(slot);
        if self.rank.preempts()
            && let Some(service) = jobs.get(slot)
        {
            self.ranked.push((self.key(service, now), slot));
        }
    }

    fn stopped(&mut self, jobs: &Jobs, slot: Slot, now: Time) {
        self.run_no_more(slot);
        self.wait(jobs, slot, now);
    }

    fn ended(&mut self, service: &Service, slot: Slot, now: Time) {
        self.wait_no_more(slot);
        self.run_no_more(slot);
        self.rank.ended(service, now);
    }

    fn walk(&mut self, jobs: &Jobs, now: Time, visit: &mut dyn FnMut(&[Slot]) -> ControlFlow<()>) {
        let mut ranked = core::mem::take(&mut self.ranked);
        for (key, slot) in &mut ranked {
            if let Some(service) = jobs.get(*slot) {
                *key = self.key(service, now);
            }
        }
        // As time goes by few pass others, or none: a sort that looks for runs has little to do.
        ranked.sort();
        let mut running = ranked.iter().copied().peekable();
        let mut waiting = self.waiting.iter().copied().peekable();
        loop {
            let next = match (running.peek(), waiting.peek()) {
                (Some(runs), Some(waits)) if runs < waits => running.next(),
                (_, Some(_)) => waiting.next(),
                _ => running.next(),
            };
            if next.is_none_or(|(_, slot)| visit(&[slot]).is_break()) {
                break;
            }
        }
        self.ranked = ranked;
    }

    fn next_change(&self, jobs: &Jobs, now: Time) -> Option<Time> {
        let contended = !self.waiting.is_empty() && !jobs.running().is_empty();
        self.rank.quantum().filter(|_| contended).map(|quantum| now + quantum)
    }
}
