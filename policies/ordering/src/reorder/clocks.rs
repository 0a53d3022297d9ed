//! When running jobs have used up their level, kept in order so that nobody looks at those of which nothing is due.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use foretell_framework::Time;
use foretell_framework::time::NANOS_PER_SECOND;

use super::service::Slot;
use super::tiresias::DemotionInstant;

/// What one needs of a running job to see when it has used up its level.
#[derive(Clone, Copy)]
struct Clock {
    gpu_milli: u64,
    /// GPU-time at which it leaves its level, in thousandths of GPU-nanoseconds.
    limit: u128,
    /// When it would have started had it run without a break since it was last promoted, in nanoseconds; it may be before the
    /// beginning of time.
    origin: i128,
}

impl Clock {
    /// When it has attained its limit; never if it has no GPUs.
    fn due(&self) -> i128 {
        let wait = match self.limit {
            0 => 0,
            limit => limit.checked_div(u128::from(self.gpu_milli)).map_or(i128::MAX, |_| {
                i128::try_from(limit.div_ceil(u128::from(self.gpu_milli))).unwrap_or(i128::MAX)
            }),
        };
        self.origin.saturating_add(wait)
    }

    /// GPUs, and what orders jobs with as many by when the published simulator looks at them: limit plus a thousand times origin.
    fn published(&self) -> (u64, i128) {
        let limit = i128::try_from(self.limit).unwrap_or(i128::MAX);
        (self.gpu_milli.max(1), limit.saturating_add(self.origin * 1000))
    }
}

/// The clocks of jobs that run on a level with a limit.
pub(super) struct Clocks {
    demotion: DemotionInstant,
    /// By slot.
    of_slot: Vec<Option<Clock>>,
    due: BTreeSet<(i128, Slot)>,
    published: BTreeSet<((u64, i128), Slot)>,
}

impl Clocks {
    pub(super) const fn new(demotion: DemotionInstant) -> Self {
        Self { demotion, of_slot: Vec::new(), due: BTreeSet::new(), published: BTreeSet::new() }
    }

    /// A job runs that has so far `executed` since it was last promoted, and leaves its level at this limit.
    pub(super) fn start(&mut self, slot: Slot, gpu_milli: u64, limit: u128, now: Time, executed: Time) {
        let origin = i128::from(now.as_nanos()) - i128::from(executed.as_nanos());
        if self.of_slot.len() <= slot as usize {
            self.of_slot.resize(slot as usize + 1, None);
        }
        self.insert(slot, Clock { gpu_milli, limit, origin });
    }

    fn insert(&mut self, slot: Slot, clock: Clock) {
        self.due.insert((clock.due(), slot));
        if self.demotion == DemotionInstant::AsPublished {
            self.published.insert((clock.published(), slot));
        }
        self.of_slot[slot as usize] = Some(clock);
    }

    fn remove(&mut self, slot: Slot) -> Option<Clock> {
        let clock = self.of_slot.get_mut(slot as usize)?.take()?;
        self.due.remove(&(clock.due(), slot));
        if self.demotion == DemotionInstant::AsPublished {
            self.published.remove(&(clock.published(), slot));
        }
        Some(clock)
    }

    /// A job no longer runs.
    pub(super) fn stop(&mut self, slot: Slot) {
        self.remove(slot);
    }

    /// A running job is on another level, which it leaves at this limit, if it ever does.
    pub(super) fn set_limit(&mut self, slot: Slot, limit: Option<u128>) {
        if let (Some(clock), Some(limit)) = (self.remove(slot), limit) {
            self.insert(slot, Clock { limit, ..clock });
        }
    }

    /// The jobs that have attained their limit.
    pub(super) fn due(&self, now: Time) -> impl Iterator<Item = Slot> {
        let now = i128::from(now.as_nanos());
        self.due.iter().take_while(move |&&(due, _)| due <= now).map(|&(_, slot)| slot)
    }

    /// When the next of them is looked at again.
    pub(super) fn next(&self, now: Time) -> Option<Time> {
        let now_nanos = i128::from(now.as_nanos());
        let wait = match self.demotion {
            DemotionInstant::Exact => {
                self.due.first().map(|&(due, _)| u128::try_from(due.saturating_sub(now_nanos)).unwrap_or(0))
            }
            DemotionInstant::AsPublished => self.published_wait(now_nanos),
        };
        let wait = u64::try_from(wait?).unwrap_or(u64::MAX).max(1);
        Some(now + Time::from_nanos(wait))
    }

    /// The least wait of all, which is that of the first of those with as many GPUs.
    fn published_wait(&self, now_nanos: i128) -> Option<u128> {
        let second = u128::from(NANOS_PER_SECOND);
        let mut least: Option<u128> = None;
        let mut next = self.published.first();
        while let Some(&((gpu_milli, key), _)) = next {
            let left = u128::try_from(key.saturating_sub(now_nanos * 1000)).unwrap_or(0);
            // At least one second, or a limit of fewer seconds than GPUs would stop the clock.
            let wait = (left / u128::from(gpu_milli) / second).max(1) * second;
            least = Some(least.map_or(wait, |least| least.min(wait)));
            next = self.published.range(((gpu_milli + 1, i128::MIN), 0)..).next();
        }
        least
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use proptest::prelude::*;

    use super::*;

    const SECOND: u128 = NANOS_PER_SECOND as u128;
    const LIMITS: [u128; 2] = [3250 * 1000 * SECOND, 7200 * 1000 * SECOND];

    /// A job that runs, looked at each time anew.
    #[derive(Clone, Copy, Debug)]
    struct Looked {
        slot: Slot,
        gpu_milli: u64,
        limit: u128,
        began: u64,
        executed: u64,
    }

    impl Looked {
        fn executed(&self, now: u64) -> u128 {
            u128::from(self.executed + now - self.began)
        }

        fn attained(&self, now: u64) -> u128 {
            self.executed(now) * u128::from(self.gpu_milli)
        }

        fn wait(&self, now: u64, demotion: DemotionInstant) -> u128 {
            let gpu_milli = u128::from(self.gpu_milli);
            match demotion {
                DemotionInstant::Exact => self.limit.saturating_sub(self.attained(now)).div_ceil(gpu_milli),
                DemotionInstant::AsPublished => {
                    let left = self.limit.saturating_sub(self.executed(now) * 1000);
                    (left / gpu_milli / SECOND).max(1) * SECOND
                }
            }
        }
    }

    proptest! {
        /// They say the same as a look at every job.
        #[test]
        fn clocks_equal_a_look_at_all(
            exact in any::<bool>(),
            steps in prop::collection::vec((0_u8..4, 0_u32..6, 1_u64..9, 0_u64..5_000_000, 0_u64..4_000_000), 1..80),
        ) {
            let demotion = if exact { DemotionInstant::Exact } else { DemotionInstant::AsPublished };
            let mut clocks = Clocks::new(demotion);
            let mut all: Vec<Looked> = vec![];
            let mut now = 0;
            for (what, slot, gpus, executed_ms, passes_ms) in steps {
                now += passes_ms * 1_000_001;
                let found = all.iter().position(|looked| looked.slot == slot);
                match (what, found) {
                    (0 | 1, None) => {
                        let (gpu_milli, executed) = (gpus * 500, executed_ms * 999_983);
                        let looked = Looked { slot, gpu_milli, limit: LIMITS[0], began: now, executed };
                        all.push(looked);
                        clocks.start(slot, gpu_milli, LIMITS[0], Time::from_nanos(now), Time::from_nanos(executed));
                    }
                    (2, Some(position)) => {
                        all.remove(position);
                        clocks.stop(slot);
                    }
                    (3, Some(position)) => {
                        let next = (all[position].limit == LIMITS[0]).then_some(LIMITS[1]);
                        match next {
                            Some(limit) => all[position].limit = limit,
                            None => drop(all.remove(position)),
                        }
                        clocks.set_limit(slot, next);
                    }
                    _ => {}
                }
                let has_had_enough = |looked: &&Looked| looked.attained(now) >= looked.limit;
                let mut expected: Vec<Slot> = all.iter().filter(has_had_enough).map(|looked| looked.slot).collect();
                let mut due: Vec<Slot> = clocks.due(Time::from_nanos(now)).collect();
                expected.sort_unstable();
                due.sort_unstable();
                prop_assert_eq!(due, expected);
                let wait = all.iter().map(|looked| looked.wait(now, demotion)).min();
                let expected = wait.map(|wait| Time::from_nanos(now + wait.max(1) as u64));
                prop_assert_eq!(clocks.next(Time::from_nanos(now)), expected);
            }
        }
    }

    /// Who has no GPUs attains nothing.
    #[test]
    fn a_job_without_gpus_is_never_due() {
        let mut clocks = Clocks::new(DemotionInstant::AsPublished);
        clocks.start(0, 0, LIMITS[0], Time::ZERO, Time::ZERO);
        assert_eq!(clocks.due(Time::MAX).count(), 0);
    }
}
