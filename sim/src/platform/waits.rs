//! What jobs wait for, over a whole run.
//!
//! To ask the policy about every waiting job after every cycle would cost more than the run. So some cycles are picked,
//! fewer as the run goes on, and after each of those the policy is asked about some waiting jobs, drawn in proportion to
//! the GPUs that they ask for (about all of them where they are few). What they say stands for the GPU time that is waited
//! until the next picked cycle. How much was waited in all is exact; how it falls to reasons is an estimate.

use foretell_framework::{JobId, Reason, Time};
use rand::RngExt;
use rand::rngs::ChaCha8Rng;

use super::Submission;
use super::simulation::Simulation;
use crate::log::Record;

/// Cycles that are picked at one stride before the stride doubles.
const PICKS_PER_STRIDE: u32 = 128;

/// Jobs that are asked about after a picked cycle.
const JOBS_PER_PICK: usize = 8;

/// Draws before the first job at hand is taken.
const DRAWS_MAX: u32 = 64;

/// The jobs that wait, and what was waited since the last picked cycle.
pub(super) struct Waits {
    random: ChaCha8Rng,
    /// Jobs that wait and their GPUs, in no order that means anything.
    jobs: Vec<(JobId, u64)>,
    gpu_milli: u64,
    /// A bound on the GPUs of a job.
    largest_milli: u64,
    since: Time,
    /// GPU time waited since the last pick: thousandths of a GPU times nanoseconds.
    waited: u128,
    stride: u32,
    cycles_to_go: u32,
    picks: u32,
}

impl Waits {
    pub(super) const fn new(random: ChaCha8Rng) -> Self {
        Self {
            random,
            jobs: Vec::new(),
            gpu_milli: 0,
            largest_milli: 1,
            since: Time::ZERO,
            waited: 0,
            stride: 1,
            cycles_to_go: 1,
            picks: 0,
        }
    }

    fn advance(&mut self, now: Time) {
        self.waited += u128::from(self.gpu_milli) * u128::from(now.since(self.since).as_nanos());
        self.since = now;
    }

    /// A job begins to wait. Returns its place.
    pub(super) fn add(&mut self, now: Time, job: JobId, gpu_milli: u64) -> usize {
        self.advance(now);
        self.gpu_milli += gpu_milli;
        self.largest_milli = self.largest_milli.max(gpu_milli);
        self.jobs.push((job, gpu_milli));
        self.jobs.len() - 1
    }

    /// The job at a place waits no more. Returns the job that takes the place, if one does.
    pub(super) fn remove(&mut self, now: Time, place: usize) -> Option<JobId> {
        self.advance(now);
        let (_, gpu_milli) = self.jobs.swap_remove(place);
        self.gpu_milli -= gpu_milli;
        self.jobs.get(place).map(|&(job, _)| job)
    }

    /// A cycle has ended. If it is picked: what was waited since the last pick, for the reasons found then, and the jobs to
    /// ask about now, each with its weight.
    pub(super) fn cycle_ended(&mut self, now: Time) -> Option<(u128, Vec<(JobId, u64)>)> {
        self.cycles_to_go -= 1;
        if self.cycles_to_go > 0 {
            return None;
        }
        self.picks += 1;
        if self.picks.is_multiple_of(PICKS_PER_STRIDE) {
            self.stride *= 2;
        }
        self.cycles_to_go = self.stride;
        Some((self.take(now), self.draw()))
    }

    /// What was waited since the last pick.
    pub(super) fn take(&mut self, now: Time) -> u128 {
        self.advance(now);
        std::mem::take(&mut self.waited)
    }

    /// What was taken is not told yet.
    pub(super) const fn put_back(&mut self, waited: u128) {
        self.waited += waited;
    }

    fn draw(&mut self) -> Vec<(JobId, u64)> {
        if self.jobs.len() <= JOBS_PER_PICK {
            return self.jobs.iter().copied().filter(|&(_, gpu_milli)| gpu_milli > 0).collect();
        }
        if self.gpu_milli == 0 {
            return Vec::new();
        }
        let draws = 0..JOBS_PER_PICK;
        draws.map(|_| (self.draw_one(), 1)).collect()
    }

    /// A waiting job, in proportion to its GPUs.
    fn draw_one(&mut self) -> JobId {
        for _ in 0..DRAWS_MAX {
            let (job, gpu_milli) = self.jobs[self.random.random_range(0..self.jobs.len())];
            if self.random.random_range(0..self.largest_milli) < gpu_milli {
                return job;
            }
        }
        self.jobs[self.random.random_range(0..self.jobs.len())].0
    }
}

impl<W, E> Simulation<'_, W, E>
where
    W: Iterator<Item = Result<Submission, E>>,
{
    /// A job begins to wait.
    pub(super) fn waits(&mut self, job: JobId) {
        self.waiting += 1;
        if let Some(waits) = &mut self.waits {
            let live = &mut self.jobs[job];
            live.waits_at = waits.add(self.now, job, live.gpu_milli);
        }
    }

    /// A job waits no more.
    pub(super) fn waits_no_more(&mut self, job: JobId) {
        self.waiting -= 1;
        if let Some(waits) = &mut self.waits {
            let place = self.jobs[job].waits_at;
            if let Some(moved) = waits.remove(self.now, place) {
                self.jobs[moved].waits_at = place;
            }
        }
    }

    /// After some cycles, finds out what jobs wait for.
    pub(super) fn ask_about_waits(&mut self) {
        let Some(waits) = &mut self.waits else { return };
        // What a policy does by itself when nothing else is left to happen is no part of the run.
        if self.next.is_none() && self.running == 0 && self.now > self.last_event {
            return;
        }
        let Some((waited, jobs)) = waits.cycle_ended(self.now) else { return };
        let asked = jobs.iter().map(|&(job, _)| job);
        let reasons = self.scheduler.explain_each(self.now, &mut self.state, asked);
        let kinds = reasons.iter().zip(&jobs).map(|(reason, &(_, weight))| (reason.kind(), weight));
        let found: Vec<_> = kinds.collect();
        // Where nobody waited before, the first that came say what they waited for.
        if self.wait_reasons.is_empty() {
            self.wait_reasons.clone_from(&found);
        }
        if self.wait_reasons.is_empty() {
            // Those that waited are gone: the next that come say it for them.
            waits.put_back(waited);
            return;
        }
        self.record_waited(waited);
        self.wait_reasons = found;
    }

    /// What was waited since the last picked cycle, to the end of the run.
    pub(super) fn explain_waited(&mut self) {
        let end = self.last_event;
        if let Some(waits) = &mut self.waits {
            let waited = waits.take(end);
            self.record_waited(waited);
        }
    }

    fn record_waited(&mut self, waited: u128) {
        let reasons = std::mem::take(&mut self.wait_reasons);
        let mut weight_left: u128 = reasons.iter().map(|&(_, weight)| u128::from(weight)).sum();
        let mut left = waited;
        if waited > 0 && reasons.is_empty() {
            self.record(&Record::Waited { kind: Reason::NotTried.kind(), gpu_time: waited });
        }
        for (kind, weight) in reasons {
            // Shares that add up to the whole.
            let weight = u128::from(weight);
            let share = left / weight_left * weight + left % weight_left * weight / weight_left;
            left -= share;
            weight_left -= weight;
            if share > 0 {
                self.record(&Record::Waited { kind, gpu_time: share });
            }
        }
    }
}
