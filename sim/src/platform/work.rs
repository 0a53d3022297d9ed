//! How far a job has come, and what it loses when it is stopped.
//!
//! Work is counted in whole units: thousandths of GPUs (pods, where a job has no GPUs) times nanoseconds. A job
//! works at the rate of the pods that run: with half of them it takes twice as long. Where a job says how it scales, a
//! unit is a millionth of its speed times a nanosecond instead. What is lost is counted in GPU time, whatever the unit.

use std::ops::Add;

use foretell_framework::{RestartCost, Time, WHOLE_WORK};

use super::checkpoint::{CheckpointCost, Checkpoints, Schedule};
use super::storage::Moves;

/// What stopping a job costs.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct PreemptionCost {
    /// Which of its work it keeps.
    pub checkpoints: Checkpoints,
    /// What checkpoints take.
    pub checkpoint_cost: CheckpointCost,
    /// How long it computes nothing when it starts again, beside reading its checkpoint.
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
    /// Of these, what it waits in vain for because a node is slow.
    pub(super) slow_milli: u64,
}

/// The speed of a job on nodes that are as fast as they should be, in millionths.
pub(super) const WHOLE_SPEED: u32 = 1_000_000;

impl Pace {
    fn over(self, span: Time) -> Account {
        let nanos = u128::from(span.as_nanos());
        let effective_milli = self.gpu_milli - self.slow_milli;
        Account { work: nanos * u128::from(self.work), gpu_time: nanos * u128::from(effective_milli) }
    }

    /// What it holds in a span.
    fn held(self, span: Time) -> u128 {
        u128::from(self.gpu_milli) * u128::from(span.as_nanos())
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

/// GPU time that a job held and that brought it no further: thousandths of a GPU times nanoseconds.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Losses {
    /// Work that was done and lost when it was told to stop.
    pub stopped: u128,
    /// Work that was done and lost when pods of it failed.
    pub failed: u128,
    /// Held from a failure until it was noticed.
    pub unnoticed: u128,
    /// Starting again, and going on with other pods.
    pub restarts: u128,
    /// Standing still for checkpoints.
    pub checkpoints: u128,
    /// Waiting for nodes that are slow.
    pub slow: u128,
}

impl Losses {
    /// All of it.
    pub const fn total(&self) -> u128 {
        self.stopped + self.failed + self.unnoticed + self.restarts + self.checkpoints + self.slow
    }
}

/// The work of one job.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Work {
    /// `None` never ends.
    total: Option<u128>,
    done: Account,
    /// Of what is done, what the last checkpoint that is safe holds.
    saved: Account,
    /// What a checkpoint holds that is being written, and when it will be safe.
    written: Option<(Time, Account)>,
    losses: Losses,
    /// Nothing while it does not run.
    pace: Pace,
    schedule: Schedule,
    /// What it moves, on storage that others use.
    moves: Option<Moves>,
    /// How long it has computed since it took a checkpoint there, nanoseconds.
    since_checkpoint: u64,
    /// Whether pods of it have failed, so that it gets no further until that is noticed.
    hangs: bool,
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
            written: None,
            losses: Losses::default(),
            pace: Pace::default(),
            schedule: Schedule::default(),
            moves: None,
            since_checkpoint: 0,
            hangs: false,
            as_of: Time::ZERO,
            began: Time::ZERO,
            computes_from: Time::ZERO,
        }
    }

    /// It runs from `now` on at `pace`, and computes after `preparation`.
    pub(super) fn start(&mut self, now: Time, pace: Pace, preparation: Time, schedule: Schedule) {
        self.pace = pace;
        self.schedule = schedule;
        self.as_of = now;
        self.began = now;
        self.computes_from = now + preparation;
        self.moves = schedule.shared.filter(|shared| shared.reads).map(|_| Moves::Reads);
        self.since_checkpoint = 0;
    }

    /// Whether there is one to start from.
    pub(super) fn has_checkpoint(&self) -> bool {
        self.saved != Account::default()
    }

    /// What it moves on storage that others use.
    pub(super) const fn moves(&self) -> Option<Moves> {
        self.moves
    }

    /// When it will take a checkpoint on storage that others use. What never ends takes none, or a run would not end.
    pub(super) fn checkpoint_due(&self) -> Option<Time> {
        let interval = self.schedule.shared?.interval?;
        if self.total.is_none() || self.hangs || self.moves.is_some() || self.pace.work == 0 {
            return None;
        }
        let from = self.as_of.max(self.computes_from);
        Some(from + Time::from_nanos(interval.saturating_sub(self.since_checkpoint)))
    }

    /// It takes a checkpoint on storage that others use.
    pub(super) fn take_checkpoint(&mut self, now: Time) {
        self.advance(now);
        let Some(shared) = self.schedule.shared else { return };
        self.since_checkpoint = 0;
        self.moves = match (shared.stalls, shared.goes_on) {
            (true, _) => Some(Moves::Stalls),
            (false, true) => Some(Moves::Writes),
            (false, false) => None,
        };
        if self.moves.is_some() {
            // It is safe when that is told.
            self.written = Some((Time::MAX, self.done));
        } else {
            self.saved = self.done;
        }
    }

    /// What it moved has arrived.
    pub(super) fn moved(&mut self, now: Time, moves: Moves) {
        self.advance(now);
        self.moves = None;
        match moves {
            Moves::Reads => {}
            Moves::Stalls if self.schedule.shared.is_some_and(|shared| shared.goes_on) => {
                self.moves = Some(Moves::Writes);
            }
            Moves::Stalls | Moves::Writes => {
                if let Some((_, account)) = self.written.take() {
                    self.saved = account;
                }
            }
        }
    }

    /// What it does if it stands still no longer for what it moves.
    pub(super) const fn go_on_at_once(&mut self) {
        self.moves = None;
    }

    /// It goes on at another pace.
    pub(super) fn set_pace(&mut self, now: Time, pace: Pace) {
        self.advance(now);
        self.pace = pace;
    }

    /// It goes on with more or fewer pods, which costs it so much time.
    pub(super) fn resize(&mut self, now: Time, pace: Pace, cost: Time) {
        self.set_pace(now, pace);
        // Pods that come at the same instant start together.
        if cost > Time::ZERO && now > self.began {
            self.saved = self.done;
            self.written = None;
            self.computes_from = self.computes_from.max(now + cost);
            self.since_checkpoint = 0;
            self.moves = self.moves.filter(|&moves| moves == Moves::Reads);
        }
    }

    /// It is stopped. Returns the GPU time of the work that this loses.
    pub(super) fn stop(&mut self, now: Time) -> u128 {
        self.advance(now);
        if self.schedule.saves_when_told && !self.hangs {
            self.saved = self.done;
        }
        let lost = self.roll_back();
        self.losses.stopped += lost;
        self.pace = Pace::default();
        self.hangs = false;
        lost
    }

    /// Pods of it have failed: what no checkpoint holds is lost at once, and it holds what it holds in vain. Returns the GPU
    /// time of the work that this loses.
    pub(super) fn fail(&mut self, now: Time) -> u128 {
        self.advance(now);
        let lost = self.roll_back();
        self.losses.failed += lost;
        self.hangs = true;
        lost
    }

    /// That pods have failed was noticed, and it goes on with the others after `preparation`.
    pub(super) fn go_on(&mut self, now: Time, pace: Pace, preparation: Time, schedule: Schedule) {
        self.advance(now);
        self.hangs = false;
        self.start(now, pace, preparation, schedule);
    }

    /// Back to the last checkpoint. Returns the GPU time of the work that was done since.
    fn roll_back(&mut self) -> u128 {
        let lost = self.done.gpu_time - self.saved.gpu_time;
        self.done = self.saved;
        self.written = None;
        self.moves = None;
        lost
    }

    /// Brings the account up to `now`.
    pub(super) fn advance(&mut self, now: Time) {
        let held_from = std::mem::replace(&mut self.as_of, now);
        if self.hangs {
            self.losses.unnoticed += self.pace.held(now.since(held_from));
            return;
        }
        match self.moves {
            Some(Moves::Reads) => {
                let held = now.since(held_from);
                self.losses.restarts += self.pace.held(held);
                // What comes after it is as long as ever.
                self.computes_from = self.computes_from + held;
                return;
            }
            Some(Moves::Stalls) => {
                self.losses.checkpoints += self.pace.held(now.since(held_from));
                return;
            }
            Some(Moves::Writes) | None => {}
        }
        let computes_from = self.computes_from;
        let prepared = now.min(computes_from).since(held_from.min(computes_from));
        self.losses.restarts += self.pace.held(prepared);
        let from = held_from.max(computes_from);
        if now <= from {
            return;
        }
        if let Some((_, account)) = self.written.take_if(|(safe, _)| *safe <= now) {
            self.saved = account;
        }
        let (pace, done, schedule) = (self.pace, self.done, self.schedule);
        let (begin, end) = (from.since(computes_from).as_nanos(), now.since(computes_from).as_nanos());
        let before = schedule.computed(begin);
        let done_at = |span: u64| done + pace.over(Time::from_nanos(schedule.computed(span) - before));
        if let Some((taken, safe)) = schedule.latest(end).filter(|&(taken, _)| taken > begin) {
            if safe <= end {
                self.saved = done_at(taken);
                self.written = None;
            } else {
                if let Some(taken) = schedule.before(taken).filter(|&taken| taken > begin) {
                    self.saved = done_at(taken);
                }
                self.written = Some((computes_from + Time::from_nanos(safe), done_at(taken)));
            }
        }
        self.done = done_at(end);
        let computed = schedule.computed(end) - before;
        self.since_checkpoint += computed;
        self.losses.checkpoints += pace.held(Time::from_nanos(end - begin - computed));
        self.losses.slow += u128::from(pace.slow_milli) * u128::from(computed);
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
        if self.hangs || matches!(self.moves, Some(Moves::Reads | Moves::Stalls)) {
            return None;
        }
        let left = work.saturating_sub(self.done.work);
        let from = self.as_of.max(self.computes_from);
        if left == 0 {
            return Some(from);
        }
        if self.pace.work == 0 {
            return None;
        }
        let nanos = u64::try_from(left.div_ceil(u128::from(self.pace.work))).unwrap_or(u64::MAX);
        let computed = self.schedule.computed(from.since(self.computes_from).as_nanos());
        Some(self.computes_from + Time::from_nanos(self.schedule.reaches(computed.saturating_add(nanos))))
    }

    /// How much of it is done, in millionths; none of what never ends.
    pub(super) fn done_millionths(&self) -> u64 {
        let Some(total) = self.total.filter(|&total| total > 0) else { return 0 };
        (self.done.work.min(total) * u128::from(WHOLE_WORK) / total) as u64
    }

    /// Whether it ends by itself.
    pub(super) const fn is_finite(&self) -> bool {
        self.total.is_some()
    }

    /// GPU time that brought it no further so far.
    pub(super) const fn losses(&self) -> &Losses {
        &self.losses
    }

    /// The GPU time that would be lost if it were stopped at `now`.
    pub(super) fn at_stake(&self, now: Time) -> u128 {
        let mut trial = *self;
        trial.stop(now)
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
        Pace { work: rate, gpu_milli: rate, slow_milli: 0 }
    }

    fn schedule(checkpoints: Checkpoints) -> Schedule {
        Schedule::new(checkpoints, &CheckpointCost::default(), None, 0.0)
    }

    /// Checkpoints after each `interval` that take `write`, in a part of which the job stands still.
    fn written(interval: Time, write: Time, stall_millionths: u32) -> Schedule {
        let cost = CheckpointCost {
            write_bytes_per_s: 1_000_000_000,
            stall_millionths,
            ..CheckpointCost::default()
        };
        Schedule::new(Checkpoints::Every(interval), &cost, Some(write.as_nanos()), 0.0)
    }

    /// A job of 100 s on 2 units is stopped after 35 s and starts again at 50 s with 5 s to prepare.
    fn check(checkpoints: Checkpoints, lost_s: u64, finish_s: u64) {
        let schedule = schedule(checkpoints);
        let mut work = Work::new(Some(seconds(100)), 2);
        work.start(Time::ZERO, pace(2), Time::ZERO, schedule);
        assert_eq!(work.finish_at(), Some(seconds(100)));
        assert_eq!(work.at_stake(seconds(35)), 2 * u128::from(lost_s) * 1_000_000_000);
        assert_eq!(work.stop(seconds(35)), 2 * u128::from(lost_s) * 1_000_000_000);
        work.start(seconds(50), pace(2), seconds(5), schedule);
        assert_eq!(work.finish_at(), Some(seconds(finish_s)));
        work.advance(seconds(finish_s));
        assert_eq!(work.losses().total(), 2 * u128::from(lost_s + 5) * 1_000_000_000);
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
        work.start(Time::ZERO, pace(4), Time::ZERO, schedule(Checkpoints::Never));
        work.set_pace(seconds(50), pace(2));
        assert_eq!(work.finish_at(), Some(seconds(150)));
        work.set_pace(seconds(100), pace(4));
        assert_eq!(work.finish_at(), Some(seconds(125)));
    }

    #[test]
    fn a_resize_saves_all_and_pauses_once() {
        let mut work = Work::new(Some(seconds(100)), 4);
        work.start(Time::ZERO, pace(2), Time::ZERO, schedule(Checkpoints::Every(seconds(30))));
        // More pods that come with the first ones.
        work.resize(Time::ZERO, pace(4), seconds(10));
        assert_eq!(work.finish_at(), Some(seconds(100)));
        // Two pods go at once: one pause.
        work.resize(seconds(40), pace(3), seconds(10));
        work.resize(seconds(40), pace(2), seconds(10));
        assert_eq!((work.finish_at(), work.at_stake(seconds(50))), (Some(seconds(170)), 0));
        assert_eq!(work.reaches_millionths(500_000), Some(seconds(70)));
        work.advance(seconds(70));
        assert_eq!((work.done_millionths(), work.losses().total()), (500_000, 2 * 10 * 1_000_000_000));
    }

    /// Checkpoints every 10 s of computing that take 4 s, on one unit: what a failure loses, and when 30 s of work are done.
    #[track_caller]
    fn check_writing(stall_millionths: u32, fails_s: u64, lost_s: u64, done_s: u64) {
        let schedule = written(seconds(10), seconds(4), stall_millionths);
        let mut work = Work::new(Some(seconds(30)), 1);
        work.start(Time::ZERO, pace(1), Time::ZERO, schedule);
        assert_eq!(work.finish_at(), Some(seconds(done_s)));
        assert_eq!(work.fail(seconds(fails_s)), u128::from(lost_s) * 1_000_000_000, "at {fails_s} s");
        assert_eq!(work.finish_at(), None);
        // Until it is noticed, all is in vain.
        work.advance(seconds(fails_s + 7));
        assert_eq!(work.losses().unnoticed, 7 * 1_000_000_000);
        assert_eq!(work.stop(seconds(fails_s + 7)), 0);
    }

    #[test]
    fn a_checkpoint_counts_once_it_is_written() {
        // Computes 0 to 10, writes to 14, computes to 24, writes to 28, computes to 38.
        for (fails_s, lost_s) in [(9, 9), (10, 10), (13, 10), (14, 0), (20, 6), (24, 10), (27, 10), (28, 0)] {
            check_writing(1_000_000, fails_s, lost_s, 38);
        }
        // Goes on meanwhile but for a second: computes 0 to 10, 11 to 21, 22 to 32.
        for (fails_s, lost_s) in [(10, 10), (13, 12), (14, 3), (21, 10), (24, 12), (25, 3)] {
            check_writing(250_000, fails_s, lost_s, 32);
        }
        // Goes on all the time.
        for (fails_s, lost_s) in [(10, 10), (13, 13), (14, 4), (24, 4)] {
            check_writing(0, fails_s, lost_s, 30);
        }
    }

    #[test]
    fn who_saves_when_told_saves_nothing_when_it_fails() {
        let mut work = Work::new(Some(seconds(100)), 1);
        work.start(Time::ZERO, pace(1), Time::ZERO, schedule(Checkpoints::Every(Time::ZERO)));
        assert_eq!(work.fail(seconds(35)), 35 * 1_000_000_000);
        work.go_on(seconds(40), pace(1), seconds(5), schedule(Checkpoints::Every(Time::ZERO)));
        assert_eq!(work.finish_at(), Some(seconds(145)));
        assert_eq!(work.stop(seconds(60)), 0);
        let Losses { failed, unnoticed, restarts, .. } = *work.losses();
        assert_eq!([failed, unnoticed, restarts].map(|lost| lost / 1_000_000_000), [35, 5, 5]);
    }

    /// What happens to a job after a span.
    #[derive(Clone, Copy, Debug)]
    enum Step {
        /// It has so many units; zero stops it.
        Units(u64),
        /// It is resized to so many, at least one.
        Resize(u64),
        Fail,
        GoOn(u64),
        /// Somebody asks how far it has come.
        Look,
        /// It takes a checkpoint on storage that others use.
        Take,
        /// What it moves there arrives.
        Arrive,
    }

    fn step() -> impl Strategy<Value = (u64, Step)> {
        let step = prop_oneof![
            (0_u64..4).prop_map(Step::Units),
            (1_u64..4).prop_map(Step::Resize),
            Just(Step::Fail),
            (1_u64..4).prop_map(Step::GoOn),
            Just(Step::Look),
            Just(Step::Take),
            Just(Step::Arrive),
        ];
        (0_u64..50, step)
    }

    proptest! {
        /// Capacity spent = work kept + work lost and restarts and checkpoints, whatever happens; and the account is the same
        /// in however many steps it is told.
        #[test]
        fn work_is_conserved(
            steps in prop::collection::vec(step(), 1..30),
            resize_cost in 0_u64..6,
            interval in prop::option::of(0_u64..20),
            write in 0_u64..15,
            stall_millionths in 0_u32..=1_000_000,
            restart_cost in 0_u64..10,
            is_shared: bool,
        ) {
            let checkpoints = interval.map_or(Checkpoints::Never, |nanos| Checkpoints::Every(Time::from_nanos(nanos)));
            let cost =
                CheckpointCost { write_bytes_per_s: 1_000_000_000, stall_millionths, ..CheckpointCost::default() };
            let schedule = Schedule::new(checkpoints, &cost, Some(write), 0.0);
            let schedule = if is_shared { schedule.on_shared_storage(true) } else { schedule };
            let restart = Time::from_nanos(restart_cost);
            let mut work = Work::new(None, 3);
            // The same, told of every nanosecond.
            let mut slow = work;
            let (mut now, mut rate, mut spent, mut hangs) = (0, 0, 0_u128, false);
            for (span, step) in steps {
                spent += u128::from(span * rate);
                if rate > 0 {
                    (now..now + span).for_each(|nanos| slow.advance(Time::from_nanos(nanos)));
                }
                now += span;
                let time = Time::from_nanos(now);
                for work in [&mut work, &mut slow] {
                    match (rate, step) {
                        (0, Step::Units(0)) => {}
                        (0, Step::Units(next)) => work.start(time, pace(next), restart, schedule),
                        (0, _) | (_, Step::Look) => work.advance(time),
                        (_, Step::Take) if is_shared && !hangs && work.moves().is_none() => work.take_checkpoint(time),
                        (_, Step::Arrive) if work.moves().is_some() => work.moved(time, work.moves().unwrap()),
                        (_, Step::Units(0)) => {
                            let at_stake = work.at_stake(time);
                            prop_assert_eq!(work.stop(time), at_stake);
                        }
                        (_, Step::Units(next)) => work.set_pace(time, pace(next)),
                        (_, Step::Resize(next)) => work.resize(time, pace(next), Time::from_nanos(resize_cost)),
                        (_, Step::GoOn(next)) if hangs => work.go_on(time, pace(next), restart, schedule),
                        (_, Step::GoOn(_) | Step::Take | Step::Arrive) => {}
                        (_, Step::Fail) => {
                            work.fail(time);
                        }
                    }
                    work.advance(time);
                }
                match step {
                    Step::Units(0) => (rate, hangs) = (0, false),
                    Step::Units(next) => rate = next,
                    Step::Resize(next) if rate > 0 => rate = next,
                    Step::GoOn(next) if hangs => (rate, hangs) = (next, false),
                    Step::Fail if rate > 0 => hangs = true,
                    _ => {}
                }
                prop_assert_eq!(work, slow);
                prop_assert_eq!(work.done.gpu_time + work.losses().total(), spent);
                prop_assert!(work.saved.gpu_time <= work.done.gpu_time);
                prop_assert_eq!(work.done.work, work.done.gpu_time);
            }
        }
    }
}
