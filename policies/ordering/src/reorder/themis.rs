//! Finish-time fairness: who is kept longest from what a share of the cluster of its own would have given it goes first.

use alloc::vec::Vec;
use core::ops::ControlFlow;

use foretell_framework::Time;

use super::Discipline;
use super::service::{Jobs, Service, Slot};

/// Largest finish-time ratio first (Themis, NSDI'20), with leases; the durations must be known.
///
/// The ratio of a job is that of two completion times. The one is its own if it ran from now on without
/// interruption. The other is that on its own share of the cluster, 1/N of the GPUs with N the mean number of
/// jobs there since it was submitted; with fewer GPUs than it asks for it would take longer in proportion.
///
/// GPUs are leased. All leases end together, at multiples of their length; then all GPUs go to the jobs with
/// the largest ratios that fit. In between, what is free goes to waiting jobs likewise. The paper auctions GPUs among
/// the part of the jobs with the largest ratios, which bid for partial allocations; jobs that take all their GPUs or none
/// have nothing to bid with, and the auction comes down to this order.
pub struct Themis {
    lease: Time,
    /// Number of the lease period of the last decision.
    period: u64,
    /// Whether anyone waited after it.
    contended: bool,
    /// Whether leases have ended with this decision.
    auctions: bool,
    /// Number of jobs times nanoseconds, up to `as_of`.
    contention: u128,
    as_of: Time,
    /// How many are there since `as_of`.
    present: u64,
    /// By slot: `contention` on arrival.
    contention_before: Vec<u128>,
    ranked: Vec<(f64, u64, Slot)>,
}

impl Themis {
    /// With leases of this length.
    pub const fn new(lease: Time) -> Self {
        Self {
            lease,
            period: 0,
            contended: false,
            auctions: false,
            contention: 0,
            as_of: Time::ZERO,
            present: 0,
            contention_before: Vec::new(),
            ranked: Vec::new(),
        }
    }

    fn advance(&mut self, now: Time) {
        self.contention += u128::from(now.since(self.as_of).as_nanos()) * u128::from(self.present);
        self.as_of = now;
    }

    fn period_of(&self, now: Time) -> u64 {
        now.as_nanos() / self.lease.as_nanos().max(1)
    }

    /// Mean number of jobs since this one came; those there now if that was just now.
    fn contenders(&self, service: &Service, slot: Slot, now: Time) -> f64 {
        let there = now.since(service.submitted).as_nanos();
        let before = self.contention_before.get(slot as usize).copied().unwrap_or_default();
        if there == 0 {
            return self.present as f64;
        }
        (self.contention - before) as f64 / there as f64
    }

    /// Jobs of unknown duration have a ratio of 1.
    fn ratio(&self, service: &Service, slot: Slot, gpu_capacity_milli: u64, now: Time) -> f64 {
        let Some(expected) = service.expected.filter(|expected| *expected > Time::ZERO) else { return 1.0 };
        let shared = now.since(service.submitted) + service.remaining(now);
        let share_milli = gpu_capacity_milli as f64 / self.contenders(service, slot, now).max(1.0);
        let slower = (service.gpu_milli as f64 / share_milli).max(1.0);
        // Divided in this order, jobs of any duration that have just come compare exactly.
        shared.as_nanos() as f64 / expected.as_nanos() as f64 / slower
    }
}

impl Discipline for Themis {
    fn name(&self) -> &'static str {
        "Themis"
    }

    fn preempts(&self) -> bool {
        true
    }

    fn added(&mut self, _jobs: &Jobs, slot: Slot, now: Time) {
        self.advance(now);
        self.present += 1;
        if self.contention_before.len() <= slot as usize {
            self.contention_before.resize(slot as usize + 1, 0);
        }
        self.contention_before[slot as usize] = self.contention;
    }

    fn started(&mut self, _jobs: &Jobs, _slot: Slot, _now: Time) {}

    fn stopped(&mut self, _jobs: &Jobs, _slot: Slot, _now: Time) {}

    fn ended(&mut self, _service: &Service, _slot: Slot, now: Time) {
        self.advance(now);
        self.present -= 1;
    }

    fn update(&mut self, _jobs: &mut Jobs, now: Time) {
        self.advance(now);
        let period = self.period_of(now);
        // Where nobody waited, leases were renewed.
        self.auctions = self.contended && period > self.period;
        self.period = period;
    }

    fn walk(&mut self, jobs: &Jobs, now: Time, visit: &mut dyn FnMut(&[Slot]) -> ControlFlow<()>) {
        let mut ranked = core::mem::take(&mut self.ranked);
        ranked.clear();
        for (slot, service) in jobs.iter() {
            if self.auctions || !service.is_running() {
                let ratio = self.ratio(service, slot, jobs.gpu_capacity_milli(), now);
                ranked.push((ratio, service.sequence, slot));
            }
        }
        ranked.sort_unstable_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        let leased = if self.auctions { &[][..] } else { jobs.running() };
        if visit(leased).is_continue() {
            let _ = ranked.iter().try_for_each(|&(_, _, slot)| visit(&[slot]));
        }
        self.ranked = ranked;
    }

    fn next_change(&self, jobs: &Jobs, now: Time) -> Option<Time> {
        let waits = jobs.arrivals().len() > jobs.running().len();
        let next = (self.period_of(now) + 1).saturating_mul(self.lease.as_nanos());
        waits.then(|| Time::from_nanos(next))
    }

    fn decided(&mut self, jobs: &Jobs) {
        self.contended = jobs.arrivals().len() > jobs.running().len();
    }
}
