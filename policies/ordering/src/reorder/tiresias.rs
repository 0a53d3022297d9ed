//! Tiresias' discretised least attained service (NSDI'19), as its published simulator (959f9b0) decides.

use alloc::collections::BTreeMap;
use alloc::vec;
use alloc::vec::Vec;
use core::cmp::Reverse;
use core::ops::ControlFlow;

use foretell_framework::Time;
use foretell_framework::time::NANOS_PER_SECOND;

use super::Discipline;
use super::clocks::Clocks;
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

/// By Gittins index, largest first, then by submission.
type Ranked = (Reverse<u64>, Option<(Time, u64)>, Slot);

/// Levels of attained GPU-time. A job enters at the first and is demoted as it attains the limits; within a level those
/// that started first go first, and those that never started go last, in order of arrival.
pub struct Tiresias {
    config: TiresiasConfig,
    /// The limit of each level but the last, in thousandths of GPU-nanoseconds.
    limits: Vec<u128>,
    levels: Vec<Vec<Slot>>,
    /// By slot.
    level_of: Vec<usize>,
    /// Of jobs that run on a level with a limit.
    clocks: Clocks,
    /// How many of the first level come first because they have started.
    started: usize,
    sample: Sample,
    /// How many jobs of each priority are there.
    priorities: BTreeMap<i32, u32>,
    /// Those that started since they were last put before others that never did, and whether any may have been promoted.
    starting: Vec<Slot>,
    promoted: bool,
    /// To sort with.
    never_started: Vec<Slot>,
    positions: Vec<usize>,
    ranked: Vec<Ranked>,
    demoted: Vec<(u64, Slot)>,
}

impl Tiresias {
    /// With these parameters.
    pub fn new(config: TiresiasConfig) -> Self {
        let levels = vec![Vec::new(); config.limits_gpu_s.len() + 1];
        let limits = config.limits_gpu_s.iter().map(|&limit| u128::from(limit) * GPU_SECOND).collect();
        Self {
            clocks: Clocks::new(config.demotion),
            config,
            limits,
            levels,
            level_of: Vec::new(),
            started: 0,
            sample: Sample::default(),
            priorities: BTreeMap::new(),
            starting: Vec::new(),
            promoted: false,
            never_started: Vec::new(),
            positions: Vec::new(),
            ranked: Vec::new(),
            demoted: Vec::new(),
        }
    }

    fn leave(&mut self, slot: Slot, level: usize) {
        if let Some(position) = self.levels[level].iter().position(|&other| other == slot) {
            self.levels[level].remove(position);
            self.started -= usize::from(level == 0 && position < self.started);
        }
    }

    fn move_to(&mut self, slot: Slot, level: usize) {
        self.leave(slot, self.level_of[slot as usize]);
        self.levels[level].push(slot);
        self.level_of[slot as usize] = level;
    }

    /// Puts those that ever started before the others, all others in their order.
    fn put_started_first(&mut self, jobs: &Jobs) {
        let Self { levels, started, never_started, .. } = self;
        let has_started = |slot: Slot| jobs.get(slot).is_none_or(Service::has_started);
        let first = &mut levels[0];
        never_started.clear();
        never_started.extend(first.iter().copied().filter(|&slot| !has_started(slot)));
        first.retain(|&slot| has_started(slot));
        *started = first.len();
        first.extend_from_slice(never_started);
    }

    /// The same where only those of `starting` may stand behind others that never started.
    fn put_starting_first(&mut self) {
        let Self { levels, level_of, starting, started, positions, .. } = self;
        let first = &mut levels[0];
        positions.clear();
        for &slot in starting.iter().filter(|&&slot| level_of[slot as usize] == 0) {
            let behind = first[*started..].iter().position(|&other| other == slot);
            positions.extend(behind.map(|position| *started + position));
        }
        positions.sort_unstable();
        for &position in &*positions {
            let slot = first[position];
            first.copy_within(*started..position, *started + 1);
            first[*started] = slot;
            *started += 1;
        }
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
        // In order of arrival, one level at a time, as published.
        self.demoted.clear();
        let sequenced = |slot| jobs.get(slot).map(|service| (service.sequence, slot));
        self.demoted.extend(self.clocks.due(now).filter_map(sequenced));
        self.demoted.sort_unstable();
        for position in 0..self.demoted.len() {
            let (_, slot) = self.demoted[position];
            let level = self.level_of[slot as usize] + 1;
            self.move_to(slot, level);
            self.clocks.set_limit(slot, self.limits.get(level).copied());
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
                self.promoted = true;
            }
        }
    }

    fn rank_by_index(&mut self, jobs: &Jobs, now: Time) {
        self.sample.refresh();
        let Self { sample, levels, ranked, .. } = self;
        for level in levels {
            // Jobs that have had as much stand together, those that have had nothing most of all.
            let mut latest = None;
            ranked.clear();
            ranked.extend(level.iter().map(|&slot| {
                let service = jobs.get(slot);
                let attained = service.map_or(0, |service| service.attained(now) / GPU_SECOND);
                let attained = u64::try_from(attained).unwrap_or(u64::MAX);
                let index = match latest {
                    Some((known, index)) if known == attained => index,
                    _ => sample.index(attained),
                };
                latest = Some((attained, index));
                let arrival = service.map(|service| (service.submitted, service.sequence));
                (Reverse(index), arrival, slot)
            }));
            // Few pass others from one time to the next: a sort that looks for runs has little to do.
            ranked.sort();
            level.clear();
            level.extend(ranked.iter().map(|&(.., slot)| slot));
        }
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

    fn started(&mut self, jobs: &Jobs, slot: Slot, now: Time) {
        self.starting.push(slot);
        let level = self.level_of[slot as usize];
        if let (Some(&limit), Some(service)) = (self.limits.get(level), jobs.get(slot)) {
            self.clocks.start(slot, service.gpu_milli, limit, now, service.executed_since_promotion(now));
        }
    }

    fn stopped(&mut self, _jobs: &Jobs, slot: Slot, _now: Time) {
        self.clocks.stop(slot);
    }

    fn ended(&mut self, service: &Service, slot: Slot, now: Time) {
        self.leave(slot, self.level_of[slot as usize]);
        self.clocks.stop(slot);
        self.starting.retain(|&other| other != slot);
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

    fn walk(&mut self, jobs: &Jobs, _now: Time, visit: &mut dyn FnMut(&[Slot]) -> ControlFlow<()>) {
        if self.priorities.len() <= 1 {
            let _ = self.levels.iter().try_for_each(|level| visit(level));
            return;
        }
        // Priorities are not the paper's; where there are any they go before levels.
        for &priority in self.priorities.keys().rev() {
            for &slot in self.levels.iter().flatten() {
                let is_of_it = jobs.get(slot).is_some_and(|service| service.priority == priority);
                if is_of_it && visit(&[slot]).is_break() {
                    return;
                }
            }
        }
    }

    fn next_change(&self, jobs: &Jobs, now: Time) -> Option<Time> {
        let demotion = self.clocks.next(now);
        let after = self.config.promote_after;
        if after == 0 {
            return demotion;
        }
        let promotion = |(slot, service): (Slot, &Service)| {
            let executed = service.executed_since_promotion(now);
            let waits = !service.is_running() && self.level_of[slot as usize] > 0 && executed > Time::ZERO;
            let needed = Time::from_nanos(executed.as_nanos().saturating_mul(after));
            let left = needed.since(service.waited_since_promotion(now));
            // One that is due already, having waited on the first level, is promoted when something happens, as published.
            (waits && left > Time::ZERO).then(|| now + left)
        };
        demotion.into_iter().chain(jobs.iter().filter_map(promotion)).min()
    }

    fn decided(&mut self, jobs: &Jobs) {
        let promoted = core::mem::take(&mut self.promoted);
        // By index all are sorted anew before they are looked at.
        if self.config.gittins || !promoted && self.starting.is_empty() {
            self.starting.clear();
            return;
        }
        // Those that never started, all of them on the first level, go behind those that did.
        if promoted {
            self.put_started_first(jobs);
        } else {
            self.put_starting_first();
        }
        self.starting.clear();
    }
}
