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
    /// time M between interruptions of the job, on the nodes that it has.
    Young,
    /// The same of higher order (Daly 2006): `sqrt(2 C M) (1 + sqrt(C / 2M) / 3 + C / 18M) - C`, and M where C is twice that or more.
    Daly,
}

impl Checkpoints {
    /// Whether the interval follows from what interrupts jobs.
    pub(super) const fn weigh_interruptions(self) -> bool {
        matches!(self, Self::Young | Self::Daly)
    }

    /// The interval that loses least, seconds.
    fn best_interval_s(self, cost_s: f64, mean_s: f64) -> f64 {
        let young_s = (2.0 * cost_s * mean_s).sqrt();
        if self != Self::Daly {
            return young_s;
        }
        let half = cost_s / (2.0 * mean_s);
        if half < 1.0 { young_s * (1.0 + half.sqrt() / 3.0 + half / 9.0) - cost_s } else { mean_s }
    }
}

/// Bytes that grow with the GPUs of a job.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct SizedBytes {
    /// Of every job.
    pub base: u64,
    /// For each of its GPUs.
    pub per_gpu: u64,
}

impl SizedBytes {
    /// Of a job with so many thousandths of GPUs.
    pub fn of(self, gpu_milli: u64) -> u64 {
        let grows = u128::from(self.per_gpu) * u128::from(gpu_milli) / 1000;
        self.base.saturating_add(u64::try_from(grows).unwrap_or(u64::MAX))
    }
}

/// What a job that knows its states writes when it takes a checkpoint.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CheckpointSize {
    /// All of it.
    pub bytes: u64,
    /// Of its GPUs, those that write a part of it.
    pub writers: u32,
}

/// What writing a checkpoint and reading it takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CheckpointCost {
    /// Its size, whatever jobs say of theirs. If `None`, jobs that say nothing write nothing, and take no checkpoints where the interval
    /// follows from what they cost.
    pub size: Option<SizedBytes>,
    /// What a job's checkpoint is written at.
    pub write_bytes_per_s: u64,
    /// What it is read at when the job starts again.
    pub read_bytes_per_s: u64,
    /// For what part of the writing the job stands still, in millionths: all of it unless it goes on meanwhile.
    pub stall_millionths: u32,
    /// The mean time between evictions that a job reckons with beside failures.
    pub eviction_every: Option<Time>,
}

impl Default for CheckpointCost {
    fn default() -> Self {
        Self {
            size: None,
            write_bytes_per_s: u64::MAX,
            read_bytes_per_s: u64::MAX,
            stall_millionths: MILLION as u32,
            eviction_every: None,
        }
    }
}

impl CheckpointCost {
    /// Whether checkpoints take no time at all.
    pub const fn is_free(&self) -> bool {
        self.write_bytes_per_s == u64::MAX && self.read_bytes_per_s == u64::MAX
    }

    /// The size of the checkpoint of a job with so many thousandths of GPUs, which may know it.
    pub(super) fn bytes(&self, known: Option<CheckpointSize>, gpu_milli: u64) -> Option<u64> {
        self.size.map(|size| size.of(gpu_milli)).or(known.map(|known| known.bytes))
    }

    /// Of so much, the part that the job stands still for.
    pub(super) fn stalled(&self, bytes: u64) -> u64 {
        let part = u128::from(bytes) * u128::from(self.stall_millionths.min(MILLION as u32));
        (part / u128::from(MILLION)) as u64
    }

    /// How long reading so much takes.
    pub(super) fn load(&self, bytes: u64) -> Time {
        span(bytes, self.read_bytes_per_s)
    }
}

/// How long so much takes at a rate; no time at the highest.
fn span(bytes: u64, per_s: u64) -> Time {
    if per_s == u64::MAX {
        return Time::ZERO;
    }
    let nanos = (u128::from(bytes) * 1_000_000_000 + u128::from(per_s / 2)) / u128::from(per_s.max(1));
    Time::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
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
    /// Where they go to storage that others use. Then the rest says nothing: how long each takes is told.
    pub(super) shared: Option<Shared>,
}

/// Checkpoints on storage that others use.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Shared {
    /// `None` takes none.
    pub(super) interval: Option<u64>,
    /// Whether the job stands still for a part of the writing.
    pub(super) stalls: bool,
    /// Whether it goes on for a part of it.
    pub(super) goes_on: bool,
    /// Whether the job reads one before it computes.
    pub(super) reads: bool,
}

impl Schedule {
    /// Of a job with a checkpoint of this size, if it is known, that is interrupted so many times a second on average.
    pub(super) fn new(
        checkpoints: Checkpoints,
        cost: &CheckpointCost,
        bytes: Option<u64>,
        interruptions_per_s: f64,
    ) -> Self {
        let write = bytes.map_or(0, |bytes| span(bytes, cost.write_bytes_per_s).as_nanos());
        let pause = u128::from(write) * u128::from(cost.stall_millionths.min(MILLION as u32));
        let pause = (pause / u128::from(MILLION)) as u64;
        let interval = match checkpoints {
            Checkpoints::Never => None,
            Checkpoints::Every(Time::ZERO) => {
                return Self { saves_when_told: true, ..Self::default() };
            }
            Checkpoints::Every(interval) => Some(interval.as_nanos()),
            Checkpoints::Young | Checkpoints::Daly if bytes.is_none() || interruptions_per_s <= 0.0 => None,
            Checkpoints::Young | Checkpoints::Daly => {
                let cost_s = Time::from_nanos(pause).as_s();
                let interval_s = checkpoints.best_interval_s(cost_s, 1.0 / interruptions_per_s);
                Some(Time::from_s(interval_s).as_nanos())
            }
        };
        // One is safe before the next is taken.
        let interval = interval.map(|nanos| nanos.max(write - pause).max(1));
        Self { interval, pause, write, ..Self::default() }
    }

    /// The same where how long each takes is told by whoever keeps the storage.
    pub(super) const fn on_shared_storage(self, reads: bool) -> Self {
        let shared = Shared {
            interval: self.interval,
            stalls: self.pause > 0,
            goes_on: self.write > self.pause,
            reads,
        };
        Self {
            interval: None,
            pause: 0,
            write: 0,
            saves_when_told: self.saves_when_told,
            shared: Some(shared),
        }
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

    #[test]
    fn best_intervals_by_hand() {
        use Checkpoints::{Daly, Young};

        // Of 16,000 GPUs, 12 GB each at 3.2 TB/s: a minute. One failure in three hours: sqrt(2 * 60 * 10,800) s; of higher order
        // 1,138.42 * (1 + 0.0527 / 3 + 0.00278 / 9) - 60 s.
        let size = SizedBytes { base: 0, per_gpu: 12_000_000_000 };
        let interval = |checkpoints, stall_millionths, gpus: u64, failures_per_s| {
            let cost = CheckpointCost {
                size: Some(size),
                write_bytes_per_s: 3_200_000_000_000,
                stall_millionths,
                ..CheckpointCost::default()
            };
            let schedule = Schedule::new(checkpoints, &cost, cost.bytes(None, gpus * 1000), failures_per_s);
            schedule.interval.map(|nanos| (nanos as f64 / 1e6).round() / 1e3)
        };
        assert_eq!(interval(Young, 1_000_000, 16_000, 1.0 / 10_800.0), Some(1_138.42));
        assert_eq!(interval(Daly, 1_000_000, 16_000, 1.0 / 10_800.0), Some(1_098.771));
        // A quarter of the stall is half the interval.
        assert_eq!(interval(Young, 250_000, 16_000, 1.0 / 10_800.0), Some(569.21));
        // No more often than they can be written.
        assert_eq!(interval(Young, 0, 16_000, 1.0 / 10_800.0), Some(60.0));
        assert_eq!(interval(Young, 1_000_000, 16_000, 0.0), None);
        // What takes longer than twice the time between failures.
        assert_eq!(interval(Daly, 1_000_000, 16_000, 1.0 / 20.0), Some(20.0));
    }

    #[test]
    fn who_knows_no_size_takes_none_at_the_best_interval() {
        let cost = CheckpointCost { write_bytes_per_s: 1_000_000_000, ..CheckpointCost::default() };
        let schedule = |checkpoints, bytes| Schedule::new(checkpoints, &cost, bytes, 1.0 / 100.0);
        assert_eq!(schedule(Checkpoints::Young, None), Schedule::default());
        let own = cost.bytes(Some(CheckpointSize { bytes: 2_000_000_000, writers: 1 }), 8000);
        assert_eq!(schedule(Checkpoints::Young, own).interval, Some(20_000_000_000));
        // What is said of all counts for all.
        let of_all = CheckpointCost { size: Some(SizedBytes { base: 1, per_gpu: 1 }), ..cost };
        assert_eq!(of_all.bytes(Some(CheckpointSize { bytes: 2_000_000_000, writers: 1 }), 8000), Some(9));
        let every = schedule(Checkpoints::Every(Time::from_nanos(7)), None);
        assert_eq!((every.interval, every.pause), (Some(7), 0));
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
            let cost =
                CheckpointCost { write_bytes_per_s: 1_000_000_000, stall_millionths, ..CheckpointCost::default() };
            let schedule = Schedule::new(Checkpoints::Every(Time::from_nanos(interval)), &cost, Some(write), 0.0);
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
