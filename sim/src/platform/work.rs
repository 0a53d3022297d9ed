//! How far a job has come, and what it loses when it is stopped.
//!
//! Work is counted in whole units: thousandths of GPUs (pods, where a job has no GPUs) times nanoseconds. A job
//! works at the rate of the pods that run: with half of them it takes twice as long. Where a job says how it scales, a
//! unit is a millionth of its speed times a nanosecond instead. What is lost is counted in GPU time, whatever the unit.

use std::ops::Add;

use foretell_framework::{RestartCost, Time, WHOLE_WORK};

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
    /// How long an elastic job computes nothing when pods join it or leave it while it runs. Above zero it saves all it did
    /// when that happens, and goes on from there.
    pub resize_cost: Time,
    /// From being told to stop until a pod has left its node.
    pub termination_grace: Time,
}

/// How fast a job works, and what it holds while it does.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) struct Pace {
    /// Units of work a nanosecond.
    pub(super) work: u64,
    /// Thousandths of GPUs.
    pub(super) gpu_milli: u64,
}

impl Pace {
    fn over(self, span: Time) -> Account {
        let nanos = u128::from(span.as_nanos());
        Account { work: nanos * u128::from(self.work), gpu_time: nanos * u128::from(self.gpu_milli) }
    }
}

/// Work, and the GPU time that it took.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
struct Account {
    work: u128,
    /// In thousandths of GPUs times nanoseconds.
    gpu_time: u128,
}

impl Add for Account {
    type Output = Self;

    fn add(self, more: Self) -> Self {
        Self { work: self.work + more.work, gpu_time: self.gpu_time + more.gpu_time }
    }
}

/// The work of one job.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Work {
    /// `None` never ends.
    total: Option<u128>,
    done: Account,
    /// Of what is done, what the last checkpoint holds.
    saved: Account,
    /// GPU time of work that was done and lost, and that restarts took.
    lost: u128,
    /// Nothing while it does not run.
    pace: Pace,
    /// `done` is as of this time.
    as_of: Time,
    /// When it began to run, this time.
    began: Time,
    /// When it began, or will begin, to compute in this run.
    computes_from: Time,
}

impl Work {
    /// The work of a job that runs for `duration` at `full_rate`.
    pub(super) fn new(duration: Option<Time>, full_rate: u64) -> Self {
        Self {
            total: duration.map(|duration| u128::from(duration.as_nanos()) * u128::from(full_rate)),
            done: Account::default(),
            saved: Account::default(),
            lost: 0,
            pace: Pace::default(),
            as_of: Time::ZERO,
            began: Time::ZERO,
            computes_from: Time::ZERO,
        }
    }

    /// It runs from `now` on at `pace`, and computes after `preparation`.
    pub(super) fn start(&mut self, now: Time, pace: Pace, preparation: Time) {
        self.pace = pace;
        self.as_of = now;
        self.began = now;
        self.computes_from = now + preparation;
    }

    /// It goes on at another pace.
    pub(super) fn set_pace(&mut self, now: Time, pace: Pace, checkpoints: Checkpoints) {
        self.advance(now, checkpoints);
        self.pace = pace;
    }

    /// It goes on with more or fewer pods, which costs it so much time.
    pub(super) fn resize(&mut self, now: Time, pace: Pace, checkpoints: Checkpoints, cost: Time) {
        self.set_pace(now, pace, checkpoints);
        // Pods that come at the same instant start together.
        if cost > Time::ZERO && now > self.began {
            self.saved = self.done;
            self.computes_from = self.computes_from.max(now + cost);
        }
    }

    /// It is stopped. Returns the GPU time that this loses.
    pub(super) fn stop(&mut self, now: Time, checkpoints: Checkpoints) -> u128 {
        self.advance(now, checkpoints);
        if checkpoints == Checkpoints::Every(Time::ZERO) {
            self.saved = self.done;
        }
        let lost = self.done.gpu_time - self.saved.gpu_time;
        self.lost += lost;
        self.done = self.saved;
        self.pace = Pace::default();
        lost
    }

    /// Brings the account up to `now`.
    pub(super) fn advance(&mut self, now: Time, checkpoints: Checkpoints) {
        let computes_from = self.computes_from;
        let prepared = now.min(computes_from).since(self.as_of.min(computes_from));
        self.lost += self.pace.over(prepared).gpu_time;
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
                self.saved = self.done + self.pace.over(latest.since(from));
            }
        }
        self.done = self.done + self.pace.over(now.since(from));
    }

    /// When it will be done, if it goes on like this; `None` for never.
    pub(super) fn finish_at(&self) -> Option<Time> {
        self.reaches(self.total?)
    }

    /// When so many millionths of it will be done, likewise.
    pub(super) fn reaches_millionths(&self, millionths: u64) -> Option<Time> {
        self.reaches((self.total? * u128::from(millionths)).div_ceil(u128::from(WHOLE_WORK)))
    }

    fn reaches(&self, work: u128) -> Option<Time> {
        let left = work.saturating_sub(self.done.work);
        if left == 0 {
            return Some(self.as_of.max(self.computes_from));
        }
        if self.pace.work == 0 {
            return None;
        }
        let nanos = u64::try_from(left.div_ceil(u128::from(self.pace.work))).unwrap_or(u64::MAX);
        Some(self.as_of.max(self.computes_from) + Time::from_nanos(nanos))
    }

    /// How much of it is done, in millionths; none of what never ends.
    pub(super) fn done_millionths(&self) -> u64 {
        let Some(total) = self.total.filter(|&total| total > 0) else { return 0 };
        (self.done.work.min(total) * u128::from(WHOLE_WORK) / total) as u64
    }

    /// GPU time that it lost so far, and that its restarts took.
    pub(super) const fn lost(&self) -> u128 {
        self.lost
    }

    /// The GPU time that would be lost if it were stopped at `now`.
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

    /// A unit of work for each thousandth of a GPU.
    fn pace(rate: u64) -> Pace {
        Pace { work: rate, gpu_milli: rate }
    }

    /// A job of 100 s on 2 units is stopped after 35 s and starts again at 50 s with 5 s to prepare.
    fn check(checkpoints: Checkpoints, lost_s: u64, finish_s: u64) {
        let mut work = Work::new(Some(seconds(100)), 2);
        work.start(Time::ZERO, pace(2), Time::ZERO);
        assert_eq!(work.finish_at(), Some(seconds(100)));
        assert_eq!(work.at_stake(seconds(35), checkpoints), 2 * u128::from(lost_s) * 1_000_000_000);
        assert_eq!(work.stop(seconds(35), checkpoints), 2 * u128::from(lost_s) * 1_000_000_000);
        work.start(seconds(50), pace(2), seconds(5));
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
        work.start(Time::ZERO, pace(4), Time::ZERO);
        work.set_pace(seconds(50), pace(2), Checkpoints::Never);
        assert_eq!(work.finish_at(), Some(seconds(150)));
        work.set_pace(seconds(100), pace(4), Checkpoints::Never);
        assert_eq!(work.finish_at(), Some(seconds(125)));
    }

    #[test]
    fn a_resize_saves_all_and_pauses_once() {
        let mut work = Work::new(Some(seconds(100)), 4);
        let every = Checkpoints::Every(seconds(30));
        work.start(Time::ZERO, pace(2), Time::ZERO);
        // More pods that come with the first ones.
        work.resize(Time::ZERO, pace(4), every, seconds(10));
        assert_eq!(work.finish_at(), Some(seconds(100)));
        // Two pods go at once: one pause.
        work.resize(seconds(40), pace(3), every, seconds(10));
        work.resize(seconds(40), pace(2), every, seconds(10));
        assert_eq!((work.finish_at(), work.at_stake(seconds(50), every)), (Some(seconds(170)), 0));
        assert_eq!(work.reaches_millionths(500_000), Some(seconds(70)));
        work.advance(seconds(70), every);
        assert_eq!((work.done_millionths(), work.lost()), (500_000, 2 * 10 * 1_000_000_000));
    }

    proptest! {
        /// Capacity spent = work kept + work lost and restarts, whatever happens and in however many steps it is told.
        #[test]
        fn work_is_conserved(
            steps in prop::collection::vec((0_u64..50, 0_u64..4, any::<bool>()), 1..30),
            resize_cost in 0_u64..6,
            interval in prop::option::of(0_u64..20),
            restart_cost in 0_u64..10,
        ) {
            let checkpoints = interval.map_or(Checkpoints::Never, |nanos| Checkpoints::Every(Time::from_nanos(nanos)));
            let mut work = Work::new(None, 3);
            let (mut now, mut rate, mut spent, mut restarts) = (0, 0, 0_u128, 0);
            for (span, next, is_resize) in steps {
                spent += u128::from(span * rate);
                now += span;
                let time = Time::from_nanos(now);
                match (rate, next) {
                    (0, 0) => {}
                    (0, _) => {
                        let cost = if restarts == 0 { 0 } else { restart_cost };
                        work.start(time, pace(next), Time::from_nanos(cost));
                    }
                    (_, 0) => {
                        let at_stake = work.at_stake(time, checkpoints);
                        prop_assert_eq!(work.stop(time, checkpoints), at_stake);
                        restarts += 1;
                    }
                    _ if is_resize => work.resize(time, pace(next), checkpoints, Time::from_nanos(resize_cost)),
                    _ => work.set_pace(time, pace(next), checkpoints),
                }
                rate = next;
                work.advance(time, checkpoints);
                prop_assert_eq!(work.done.gpu_time + work.lost(), spent);
                prop_assert!(work.saved.gpu_time <= work.done.gpu_time);
                prop_assert_eq!(work.done.work, work.done.gpu_time);
            }
        }
    }
}
