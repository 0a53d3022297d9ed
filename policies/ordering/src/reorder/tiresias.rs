//! Tiresias' discretised least attained service (NSDI'19), as its published simulator (959f9b0) decides.

use alloc::collections::BTreeMap;
use alloc::vec;
use alloc::vec::Vec;
use core::ops::ControlFlow;

use foretell_framework::Time;
use foretell_framework::time::NANOS_PER_SECOND;

use super::Discipline;
use super::gittins::Sample;
use super::service::{Jobs, Service, Slot};

/// When a running job is looked at again because it may have used up its level.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum DemotionInstant {
    /// When the published simulator does: after (limit - executed) / GPUs whole seconds, where the time that was executed is not
    /// multiplied by the GPUs. A job of several GPUs is then demoted late, unless something else happens before.
    #[default]
    AsPublished,
    /// When it has attained the limit, to the second.
    Exact,
}

/// Parameters of Tiresias.
#[derive(Clone, PartialEq, Debug)]
pub struct TiresiasConfig {
    /// The GPU-seconds at which a job leaves each level for the next; one more level than limits.
    pub limits_gpu_s: Vec<u64>,
    /// A job that has waited this many times as long as it has run since its last promotion is promoted to the first level; zero
    /// promotes nobody.
    pub promote_after: u64,
    /// When running jobs are demoted.
    pub demotion: DemotionInstant,
    /// Whether jobs of a level go by their Gittins index, learned from the jobs that ended, rather than by their start.
    pub gittins: bool,
}

impl Default for TiresiasConfig {
    fn default() -> Self {
        Self {
            limits_gpu_s: vec![3250, 7200],
            promote_after: 0,
            demotion: DemotionInstant::default(),
            gittins: false,
        }
    }
}

/// Levels of attained GPU-time. A job enters at the first and is demoted as it attains the limits; within a level those
/// that started first go first, and those that never started go last, in order of arrival.
pub struct Tiresias {
    config: TiresiasConfig,
    levels: Vec<Vec<Slot>>,
    /// By slot.
    level_of: Vec<usize>,
    sample: Sample,
    /// How many jobs of each priority are there.
    priorities: BTreeMap<i32, u32>,
    /// Whether one of the first level may have started behind others that never did.
    unsorted: bool,
    /// To sort with.
    never_started: Vec<Slot>,
}

impl Tiresias {
    /// With these parameters.
    pub fn new(config: TiresiasConfig) -> Self {
        let levels = vec![Vec::new(); config.limits_gpu_s.len() + 1];
        Self {
            config,
            levels,
            level_of: Vec::new(),
            sample: Sample::default(),
            priorities: BTreeMap::new(),
            unsorted: false,
            never_started: Vec::new(),
        }
    }

    fn limit(&self, level: usize) -> Option<u128> {
        self.config.limits_gpu_s.get(level).map(|&limit| u128::from(limit) * GPU_SECOND)
    }

    fn move_to(&mut self, slot: Slot, level: usize) {
        self.levels[self.level_of[slot as usize]].retain(|&other| other != slot);
        self.levels[level].push(slot);
        self.level_of[slot as usize] = level;
    }

    fn is_to_be_promoted(&self, service: &Service, level: usize, now: Time) -> bool {
        let after = self.config.promote_after;
        let executed = service.executed_since_promotion(now);
        after > 0
            && level > 0
            && !service.is_running()
            && executed > Time::ZERO
            && service.waited_since_promotion(now).as_nanos() >= executed.as_nanos().saturating_mul(after)
    }

    /// Demotes and promotes.
    fn change_levels(&mut self, jobs: &mut Jobs, now: Time) {
        let has_had_enough = |&slot: &Slot| {
            // Most have a long time behind them and are on the last level, which nobody leaves.
            let limit = self.limit(self.level_of[slot as usize])?;
            let service = jobs.get(slot)?;
            (service.attained(now) >= limit).then_some((service.sequence, slot))
        };
        // In order of arrival, one level at a time, as published.
        let mut demoted: Vec<(u64, Slot)> = jobs.running().iter().filter_map(has_had_enough).collect();
        demoted.sort_unstable();
        for (_, slot) in demoted {
            self.move_to(slot, self.level_of[slot as usize] + 1);
        }
        if self.config.promote_after == 0 {
            return;
        }
        for position in 0..jobs.arrivals().len() {
            let slot = jobs.arrivals()[position];
            let Some(service) = jobs.get_mut(slot) else { continue };
            if self.is_to_be_promoted(service, self.level_of[slot as usize], now) {
                service.promote(now);
                self.move_to(slot, 0);
                self.unsorted = true;
            }
        }
    }

    fn rank_by_index(&mut self, jobs: &Jobs, now: Time) {
        self.sample.refresh();
        let sample = &self.sample;
        for level in &mut self.levels {
            level.sort_by_cached_key(|&slot| {
                let service = jobs.get(slot);
                let attained = service.map_or(0, |service| service.attained(now) / GPU_SECOND);
                let index = sample.index(u64::try_from(attained).unwrap_or(u64::MAX));
                (core::cmp::Reverse(index), service.map(|service| (service.submitted, service.sequence)))
            });
        }
    }

    /// When a running job is looked at again for its demotion.
    fn demotion_at(&self, service: &Service, level: usize, now: Time) -> Option<Time> {
        let limit = self.limit(level)?;
        let gpu_milli = u128::from(service.gpu_milli.max(1));
        let executed = service.executed_since_promotion(now);
        let wait = match self.config.demotion {
            DemotionInstant::Exact => limit.saturating_sub(service.attained(now)).div_ceil(gpu_milli),
            DemotionInstant::AsPublished => {
                let left = limit.saturating_sub(u128::from(executed.as_nanos()) * 1000);
                let second = u128::from(NANOS_PER_SECOND);
                // Mostly small enough for a division that the machine has.
                let seconds = match (u64::try_from(left), u64::try_from(gpu_milli)) {
                    (Ok(left), Ok(gpu_milli)) => u128::from(left / gpu_milli / NANOS_PER_SECOND),
                    _ => left / gpu_milli / second,
                };
                // At least one, or a limit of fewer seconds than GPUs would stop the clock.
                seconds.max(1) * second
            }
        };
        Some(now + Time::from_nanos(u64::try_from(wait).unwrap_or(u64::MAX).max(1)))
    }
}

/// A GPU-second in thousandths of GPU-nanoseconds.
const GPU_SECOND: u128 = 1000 * NANOS_PER_SECOND as u128;

impl Discipline for Tiresias {
    fn name(&self) -> &'static str {
        "Tiresias"
    }

    fn preempts(&self) -> bool {
        true
    }

    fn added(&mut self, jobs: &Jobs, slot: Slot, _now: Time) {
        if let Some(service) = jobs.get(slot) {
            *self.priorities.entry(service.priority).or_default() += 1;
        }
        if self.level_of.len() <= slot as usize {
            self.level_of.resize(slot as usize + 1, 0);
        }
        self.level_of[slot as usize] = 0;
        self.levels[0].push(slot);
    }

    fn started(&mut self, _jobs: &Jobs, _slot: Slot, _now: Time) {
        self.unsorted = true;
    }

    fn stopped(&mut self, _jobs: &Jobs, _slot: Slot, _now: Time) {}

    fn ended(&mut self, service: &Service, slot: Slot, now: Time) {
        self.levels[self.level_of[slot as usize]].retain(|&other| other != slot);
        if let Some(count) = self.priorities.get_mut(&service.priority) {
            *count -= 1;
            if *count == 0 {
                self.priorities.remove(&service.priority);
            }
        }
        if self.config.gittins && service.has_started() {
            let had =
                u128::from(service.executed(now).as_nanos()) * u128::from(service.gpu_milli) / GPU_SECOND;
            self.sample.learn(u64::try_from(had).unwrap_or(u64::MAX));
        }
    }

    fn update(&mut self, jobs: &mut Jobs, now: Time) {
        self.change_levels(jobs, now);
        if self.config.gittins {
            self.rank_by_index(jobs, now);
        }
    }

    fn walk(&mut self, jobs: &Jobs, _now: Time, visit: &mut dyn FnMut(Slot) -> ControlFlow<()>) {
        if self.priorities.len() <= 1 {
            let _ = self.levels.iter().flatten().try_for_each(|&slot| visit(slot));
            return;
        }
        // Priorities are not the paper's; where there are any they go before levels.
        for &priority in self.priorities.keys().rev() {
            for &slot in self.levels.iter().flatten() {
                let is_of_it = jobs.get(slot).is_some_and(|service| service.priority == priority);
                if is_of_it && visit(slot).is_break() {
                    return;
                }
            }
        }
    }

    fn next_change(&self, jobs: &Jobs, now: Time) -> Option<Time> {
        let demotion = |&slot: &Slot| {
            let level = self.level_of[slot as usize];
            if level == self.config.limits_gpu_s.len() {
                return None;
            }
            self.demotion_at(jobs.get(slot)?, level, now)
        };
        let demotions = jobs.running().iter().filter_map(demotion);
        let after = self.config.promote_after;
        if after == 0 {
            return demotions.min();
        }
        let promotion = |(slot, service): (Slot, &Service)| {
            let executed = service.executed_since_promotion(now);
            let waits = !service.is_running() && self.level_of[slot as usize] > 0 && executed > Time::ZERO;
            let needed = Time::from_nanos(executed.as_nanos().saturating_mul(after));
            let left = needed.since(service.waited_since_promotion(now));
            // One that is due already, having waited on the first level, is promoted when something happens, as published.
            (waits && left > Time::ZERO).then(|| now + left)
        };
        demotions.chain(jobs.iter().filter_map(promotion)).min()
    }

    fn decided(&mut self, jobs: &Jobs) {
        if !core::mem::take(&mut self.unsorted) {
            return;
        }
        // Those that never started, all of them on the first level, go behind those that did.
        let has_started = |slot: &Slot| jobs.get(*slot).is_none_or(Service::has_started);
        let first = &mut self.levels[0];
        self.never_started.clear();
        self.never_started.extend(first.iter().copied().filter(|slot| !has_started(slot)));
        first.retain(has_started);
        first.append(&mut self.never_started);
    }
}
