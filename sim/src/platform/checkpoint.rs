//! When jobs take checkpoints, and what that takes.

use foretell_framework::Time;

/// Which of its work a job keeps when it is stopped.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Checkpoints {
    /// None: it starts from the beginning.
    #[default]
    Never,
    /// What it had done at the last checkpoint. They come at this interval of computing from when it began to compute; at
    /// an interval of zero a job that is told to stop saves all it did. One that fails cannot: it loses all.
    Every(Time),
    /// The same at the interval that loses least (Young 1974): `sqrt(2 C M)` for checkpoints that cost the time C and a mean
    /// time M between failures of the job, on the nodes that it has.
    Young,
}

/// A time that grows with the GPUs of a job.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct SizedTime {
    /// Of every job.
    pub base: Time,
    /// For each of its GPUs.
    pub per_gpu: Time,
}

impl SizedTime {
    /// Of a job with so many thousandths of GPUs.
    pub fn of(self, gpu_milli: u64) -> Time {
        let nanos = u128::from(self.per_gpu.as_nanos()) * u128::from(gpu_milli) / 1000;
        self.base + Time::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

/// What writing a checkpoint and reading it takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CheckpointCost {
    /// From taking a checkpoint until it is safe.
    pub write: SizedTime,
    /// For what part of that the job stands still, in millionths: all of it unless it goes on meanwhile.
    pub stall_millionths: u32,
    /// Reading it when the job starts again.
    pub load: SizedTime,
}

impl Default for CheckpointCost {
    fn default() -> Self {
        Self { write: SizedTime::default(), stall_millionths: MILLION as u32, load: SizedTime::default() }
    }
}

impl CheckpointCost {
    /// Whether it takes any time at all.
    pub fn is_free(&self) -> bool {
        self.write == SizedTime::default() && self.load == SizedTime::default()
    }
}

const MILLION: u64 = 1_000_000;

/// The checkpoints of one job while it runs: it computes for an interval, stands still for a pause, and so on; a while
/// after the interval what it had done then is safe.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) struct Schedule {
    /// `None` takes none.
    interval: Option<u64>,
    pause: u64,
    /// From taking one until it is safe: no longer than an interval and a pause.
    write: u64,
    /// Whether a job that is told to stop saves all it did.
    pub(super) saves_when_told: bool,
}

impl Schedule {
    /// Of a job with so many thousandths of GPUs that fails so many times a second on average.
    pub(super) fn new(
        checkpoints: Checkpoints,
        cost: &CheckpointCost,
        gpu_milli: u64,
        failures_per_s: f64,
    ) -> Self {
        let write = cost.write.of(gpu_milli).as_nanos();
        let pause = u128::from(write) * u128::from(cost.stall_millionths.min(MILLION as u32));
        let pause = (pause / u128::from(MILLION)) as u64;
        let interval = match checkpoints {
            Checkpoints::Never => None,
            Checkpoints::Every(Time::ZERO) => {
                return Self { saves_when_told: true, ..Self::default() };
            }
            Checkpoints::Every(interval) => Some(interval.as_nanos()),
            Checkpoints::Young if failures_per_s <= 0.0 => None,
            Checkpoints::Young => {
                let cost_s = Time::from_nanos(pause).as_s();
                Some(Time::from_s((2.0 * cost_s / failures_per_s).sqrt()).as_nanos())
            }
        };
        // One is safe before the next is taken.
        let interval = interval.map(|nanos| nanos.max(write - pause).max(1));
        Self { interval, pause, write, saves_when_told: false }
    }

    /// Of a span of nanoseconds from when it began to compute, those in which it computed.
    pub(super) const fn computed(&self, span: u64) -> u64 {
        let Some(interval) = self.interval else { return span };
        let period = interval.saturating_add(self.pause);
        let rest = span % period;
        span / period * interval + if rest < interval { rest } else { interval }
    }

    /// When it has computed for so long, in nanoseconds from when it began: the inverse of [`Self::computed`].
    pub(super) const fn reaches(&self, computed: u64) -> u64 {
        let Some(interval) = self.interval else { return computed };
        if computed == 0 {
            return 0;
        }
        computed.saturating_add(((computed - 1) / interval).saturating_mul(self.pause))
    }

    /// When the latest checkpoint up to an instant was taken, and when it is safe, in nanoseconds from when it began to
    /// compute.
    pub(super) const fn latest(&self, span: u64) -> Option<(u64, u64)> {
        let Some(interval) = self.interval else { return None };
        if span < interval {
            return None;
        }
        let period = interval.saturating_add(self.pause);
        let taken = (span - interval) / period * period + interval;
        Some((taken, taken.saturating_add(self.write)))
    }

    /// When the checkpoint before one that was taken at an instant was taken.
    pub(super) const fn before(&self, taken: u64) -> Option<u64> {
        match self.interval {
            Some(interval) => taken.checked_sub(interval.saturating_add(self.pause)),
            None => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn seconds(seconds: f64) -> Time {
        Time::from_s(seconds)
    }

    #[test]
    fn youngs_interval_by_hand() {
        // Of 16,000 GPUs, 12 GB each at 3.2 TB/s: a minute. One failure in three hours: sqrt(2 * 60 * 10,800) s.
        let write = SizedTime { base: Time::ZERO, per_gpu: seconds(0.00375) };
        let interval = |stall_millionths, gpus: u64, failures_per_s| {
            let cost = CheckpointCost { write, stall_millionths, load: SizedTime::default() };
            let schedule = Schedule::new(Checkpoints::Young, &cost, gpus * 1000, failures_per_s);
            schedule.interval.map(|nanos| (nanos as f64 / 1e6).round() / 1e3)
        };
        assert_eq!(interval(1_000_000, 16_000, 1.0 / 10_800.0), Some(1_138.42));
        // A quarter of the stall is half the interval.
        assert_eq!(interval(250_000, 16_000, 1.0 / 10_800.0), Some(569.21));
        // No more often than they can be written.
        assert_eq!(interval(0, 16_000, 1.0 / 10_800.0), Some(60.0));
        assert_eq!(interval(1_000_000, 16_000, 0.0), None);
    }

    proptest! {
        /// Against counting nanoseconds one by one.
        #[test]
        fn closed_forms_count_as_fingers_do(
            interval in 1_u64..8,
            write in 0_u64..10,
            stall_millionths in 0_u32..=1_000_000,
            span in 0_u64..60,
        ) {
            let write = SizedTime { base: Time::from_nanos(write), per_gpu: Time::ZERO };
            let cost = CheckpointCost { write, stall_millionths, ..CheckpointCost::default() };
            let schedule = Schedule::new(Checkpoints::Every(Time::from_nanos(interval)), &cost, 0, 0.0);
            let (interval, pause) = (schedule.interval.unwrap(), schedule.pause);
            let (mut computed, mut taken, mut paused) = (0, Vec::new(), 0);
            let mut reached = vec![0];
            for now in 1..=span {
                if paused > 0 {
                    paused -= 1;
                    continue;
                }
                computed += 1;
                reached.push(now);
                if computed % interval == 0 {
                    taken.push(now);
                    paused = pause;
                }
            }
            prop_assert_eq!(schedule.computed(span), computed);
            prop_assert_eq!(schedule.latest(span).map(|(taken, _)| taken), taken.last().copied());
            for (computed, &at) in reached.iter().enumerate() {
                prop_assert_eq!(schedule.reaches(computed as u64), at);
            }
            if let [.., before, last] = *taken {
                prop_assert_eq!(schedule.before(last), Some(before));
                prop_assert!(before + schedule.write <= last);
            }
        }
    }
}
