//! How far a job has come, and what it loses when it is stopped.
//!
//! Work is counted in whole units: thousandths of GPUs (pods, where a job has no GPUs) times nanoseconds. A job
//! works at the rate of the pods that run: with half of them it takes twice as long.

use foretell_framework::{RestartCost, Time};

/// Which of its work a job keeps when it is stopped.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Checkpoints {
    /// None: it starts from the beginning.
    #[default]
    Never,
    /// What it had done at the last checkpoint. They come at this interval from when it began to compute; at an
    /// interval of zero a job that is told to stop saves all it did.
    Every(Time),
}

/// What stopping a job costs.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct PreemptionCost {
    /// Which of its work it keeps.
    pub checkpoints: Checkpoints,
    /// How long it computes nothing when it starts again.
    pub restart_cost: RestartCost,
    /// From being told to stop until a pod has left its node.
    pub termination_grace: Time,
}

/// The work of one job.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Work {
    /// `None` never ends.
    total: Option<u128>,
    done: u128,
    /// Of what is done, what the last checkpoint holds.
    saved: u128,
    /// Work that was done and lost, and capacity that restarts took.
    lost: u128,
    /// Units a nanosecond; zero while it does not run.
    rate: u64,
    /// `done` is as of this time.
    as_of: Time,
    /// When it began, or will begin, to compute in this run.
    computes_from: Time,
}

impl Work {
    /// The work of a job that runs for `duration` at `full_rate`.
    pub(super) fn new(duration: Option<Time>, full_rate: u64) -> Self {
        Self {
            total: duration.map(|duration| u128::from(duration.as_nanos()) * u128::from(full_rate)),
            done: 0,
            saved: 0,
            lost: 0,
            rate: 0,
            as_of: Time::ZERO,
            computes_from: Time::ZERO,
        }
    }

    /// It runs from `now` on at `rate`, and computes after `preparation`.
    pub(super) fn start(&mut self, now: Time, rate: u64, preparation: Time) {
        self.rate = rate;
        self.as_of = now;
        self.computes_from = now + preparation;
    }

    /// It goes on at another rate.
    pub(super) fn set_rate(&mut self, now: Time, rate: u64, checkpoints: Checkpoints) {
        self.advance(now, checkpoints);
        self.rate = rate;
    }

    /// It is stopped. Returns the work that this loses.
    pub(super) fn stop(&mut self, now: Time, checkpoints: Checkpoints) -> u128 {
        self.advance(now, checkpoints);
        if checkpoints == Checkpoints::Every(Time::ZERO) {
            self.saved = self.done;
        }
        let lost = self.done - self.saved;
        self.lost += lost;
        self.done = self.saved;
        self.rate = 0;
        lost
    }

    /// Brings the account up to `now`.
    pub(super) fn advance(&mut self, now: Time, checkpoints: Checkpoints) {
        let computes_from = self.computes_from;
        let rate = u128::from(self.rate);
        let prepared = now.min(computes_from).since(self.as_of.min(computes_from));
        self.lost += u128::from(prepared.as_nanos()) * rate;
        let from = self.as_of.max(computes_from);
        self.as_of = now;
        if now <= from {
            return;
        }
        if let Checkpoints::Every(interval) = checkpoints
            && let Some(count) = now.since(computes_from).as_nanos().checked_div(interval.as_nanos())
        {
            let latest = computes_from + Time::from_nanos(count * interval.as_nanos());
            if latest > from {
                self.saved = self.done + u128::from(latest.since(from).as_nanos()) * rate;
            }
        }
        self.done += u128::from(now.since(from).as_nanos()) * rate;
    }

    /// When it will be done, if it goes on like this; `None` for never.
    pub(super) fn finish_at(&self) -> Option<Time> {
        let left = self.total?.saturating_sub(self.done);
        if left == 0 {
            return Some(self.as_of.max(self.computes_from));
        }
        if self.rate == 0 {
            return None;
        }
        let nanos = u64::try_from(left.div_ceil(u128::from(self.rate))).unwrap_or(u64::MAX);
        Some(self.as_of.max(self.computes_from) + Time::from_nanos(nanos))
    }

    /// What it lost so far, and what its restarts took.
    pub(super) const fn lost(&self) -> u128 {
        self.lost
    }

    /// What would be lost if it were stopped at `now`.
    pub(super) fn at_stake(&self, now: Time, checkpoints: Checkpoints) -> u128 {
        let mut trial = *self;
        trial.stop(now, checkpoints)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn seconds(seconds: u64) -> Time {
        Time::from_nanos(seconds * 1_000_000_000)
    }

    /// A job of 100 s on 2 units is stopped after 35 s and starts again at 50 s with 5 s to prepare.
    fn check(checkpoints: Checkpoints, lost_s: u64, finish_s: u64) {
        let mut work = Work::new(Some(seconds(100)), 2);
        work.start(Time::ZERO, 2, Time::ZERO);
        assert_eq!(work.finish_at(), Some(seconds(100)));
        assert_eq!(work.at_stake(seconds(35), checkpoints), 2 * u128::from(lost_s) * 1_000_000_000);
        assert_eq!(work.stop(seconds(35), checkpoints), 2 * u128::from(lost_s) * 1_000_000_000);
        work.start(seconds(50), 2, seconds(5));
        assert_eq!(work.finish_at(), Some(seconds(finish_s)));
        work.advance(seconds(finish_s), checkpoints);
        assert_eq!(work.lost(), 2 * u128::from(lost_s + 5) * 1_000_000_000);
    }

    #[test]
    fn what_is_lost_is_what_no_checkpoint_holds() {
        check(Checkpoints::Never, 35, 155);
        check(Checkpoints::Every(seconds(10)), 5, 125);
        check(Checkpoints::Every(seconds(35)), 0, 120);
        check(Checkpoints::Every(seconds(36)), 35, 155);
        check(Checkpoints::Every(Time::ZERO), 0, 120);
    }

    #[test]
    fn half_the_pods_take_twice_as_long() {
        let mut work = Work::new(Some(seconds(100)), 4);
        work.start(Time::ZERO, 4, Time::ZERO);
        work.set_rate(seconds(50), 2, Checkpoints::Never);
        assert_eq!(work.finish_at(), Some(seconds(150)));
        work.set_rate(seconds(100), 4, Checkpoints::Never);
        assert_eq!(work.finish_at(), Some(seconds(125)));
    }

    proptest! {
        /// Capacity spent = work kept + work lost and restarts, whatever happens and in however many steps it is told.
        #[test]
        fn work_is_conserved(
            steps in prop::collection::vec((0_u64..50, 0_u64..4), 1..30),
            interval in prop::option::of(0_u64..20),
            restart_cost in 0_u64..10,
        ) {
            let checkpoints = interval.map_or(Checkpoints::Never, |nanos| Checkpoints::Every(Time::from_nanos(nanos)));
            let mut work = Work::new(None, 3);
            let (mut now, mut rate, mut spent, mut restarts) = (0, 0, 0_u128, 0);
            for (span, next) in steps {
                spent += u128::from(span * rate);
                now += span;
                let time = Time::from_nanos(now);
                match (rate, next) {
                    (0, 0) => {}
                    (0, _) => {
                        let cost = if restarts == 0 { 0 } else { restart_cost };
                        work.start(time, next, Time::from_nanos(cost));
                    }
                    (_, 0) => {
                        let at_stake = work.at_stake(time, checkpoints);
                        prop_assert_eq!(work.stop(time, checkpoints), at_stake);
                        restarts += 1;
                    }
                    _ => work.set_rate(time, next, checkpoints),
                }
                rate = next;
                work.advance(time, checkpoints);
                prop_assert_eq!(work.done + work.lost(), spent);
                prop_assert!(work.saved <= work.done);
            }
        }
    }
}
