//! What communication did to jobs: integrals of their paces.

use foretell_framework::{FULL_SPEED, Time};

use super::{JobResult, Pace};

/// What communication did to a job that says what its steps take.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Communication {
    /// How long it ran, nanoseconds.
    ran_ns: u128,
    /// In that time, steps times what they take for reference: millionths of nanoseconds.
    worked: u128,
    held_back_ns: u128,
    /// Bytes times a billion.
    leaf: u128,
    spine: u128,
}

impl Communication {
    /// A pace held for a span.
    pub fn add(&mut self, span: Time, pace: Pace) {
        let nanos = u128::from(span.as_nanos());
        self.ran_ns += nanos;
        self.worked += nanos * u128::from(pace.speed);
        self.held_back_ns += if pace.is_held_back { nanos } else { 0 };
        self.leaf += nanos * u128::from(pace.leaf_bytes_per_s);
        self.spine += nanos * u128::from(pace.spine_bytes_per_s);
    }

    /// Mean step time over the reference step time; `None` if it made no step.
    pub fn slowdown(&self) -> Option<f64> {
        (self.worked > 0).then(|| self.ran_ns as f64 * FULL_SPEED as f64 / self.worked as f64)
    }

    /// The same in whole millionths.
    pub fn slowdown_millionths(&self) -> Option<u64> {
        let scaled = self.ran_ns * u128::from(FULL_SPEED) * 1_000_000;
        scaled.checked_div(self.worked).map(|slowdown| u64::try_from(slowdown).unwrap_or(u64::MAX))
    }

    /// How long it ran.
    pub fn ran(&self) -> Time {
        Time::from_nanos(u64::try_from(self.ran_ns).unwrap_or(u64::MAX))
    }

    /// How long it ran slower than it would have alone on the same nodes.
    pub fn held_back(&self) -> Time {
        Time::from_nanos(u64::try_from(self.held_back_ns).unwrap_or(u64::MAX))
    }

    /// Bytes that it sent from leaves up to spines.
    pub fn leaf_bytes(&self) -> u128 {
        bytes(self.leaf)
    }

    /// Bytes that it sent from spines up to cores.
    pub fn spine_bytes(&self) -> u128 {
        bytes(self.spine)
    }
}

/// From bytes times a billion. 64 bits hold 18 exabytes: what 8,192 nodes of 8 cards of 25 GB/s send in three hours.
const fn bytes(billionfold: u128) -> u128 {
    billionfold / 1_000_000_000
}

/// What communication did to all jobs that say what their steps take and began to run.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct CommunicationSummary {
    /// Number of these jobs.
    pub jobs: u64,
    /// Mean over them of the mean step time over the reference step time.
    pub slowdown_mean: f64,
    /// 99th percentile of the same, nearest rank.
    pub slowdown_p99: f64,
    /// Share of their running time, by GPUs asked for, in which others held them back.
    pub held_back: f64,
    /// Bytes sent from leaves up to spines.
    pub leaf_bytes: u128,
    /// Bytes sent from spines up to cores.
    pub spine_bytes: u128,
}

impl CommunicationSummary {
    /// Of all jobs; `None` if none says what its steps take.
    pub(super) fn of(jobs: &[JobResult]) -> Option<Self> {
        let all: Vec<(u64, &Communication)> = jobs
            .iter()
            .filter_map(|job| Some((job.gpu_milli_total, job.communication.as_deref()?)))
            .collect();
        if all.is_empty() {
            return None;
        }
        let mut slowdowns: Vec<f64> = all.iter().filter_map(|(_, one)| one.slowdown()).collect();
        slowdowns.sort_by(f64::total_cmp);
        let count = slowdowns.len();
        let sum = |of: fn(&Communication) -> u128| {
            all.iter().map(|(gpu_milli, one)| u128::from(*gpu_milli) * of(one)).sum::<u128>()
        };
        let (ran, held_back) = (sum(|one| one.ran_ns), sum(|one| one.held_back_ns));
        Some(Self {
            jobs: all.len() as u64,
            slowdown_mean: slowdowns.iter().sum::<f64>() / count.max(1) as f64,
            slowdown_p99: slowdowns.get((count * 99).div_ceil(100).max(1) - 1).copied().unwrap_or_default(),
            held_back: if ran == 0 { 0.0 } else { held_back as f64 / ran as f64 },
            leaf_bytes: bytes(all.iter().map(|(_, one)| one.leaf).sum()),
            spine_bytes: bytes(all.iter().map(|(_, one)| one.spine).sum()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_paces_by_hand() {
        let mut job = Communication::default();
        assert_eq!(job.slowdown(), None);
        let pace = |speed, is_held_back, leaf_bytes_per_s| Pace {
            speed,
            is_held_back,
            leaf_bytes_per_s,
            spine_bytes_per_s: leaf_bytes_per_s / 2,
        };
        // 60 s at full speed, 40 s at a quarter: 70 s of work in 100 s.
        job.add(Time::from_s(60.0), pace(FULL_SPEED, false, 10));
        job.add(Time::from_s(40.0), pace(FULL_SPEED / 4, true, 4));
        assert_eq!(job.slowdown(), Some(100.0 / 70.0));
        assert_eq!(job.slowdown_millionths(), Some(1_428_571));
        assert_eq!((job.ran(), job.held_back()), (Time::from_s(100.0), Time::from_s(40.0)));
        assert_eq!((job.leaf_bytes(), job.spine_bytes()), (760, 380));
    }

    /// Thirty days of a job on 8,192 nodes that fills their cards: more than 64 bits hold.
    #[test]
    fn bytes_of_a_large_job_are_all_counted() {
        let mut job = Communication::default();
        let pace = Pace {
            speed: FULL_SPEED,
            is_held_back: false,
            leaf_bytes_per_s: 8_192 * 200_000_000_000,
            spine_bytes_per_s: 0,
        };
        job.add(Time::from_s(30.0 * 86_400.0), pace);
        assert_eq!(job.leaf_bytes(), 4_246_732_800_000_000_000_000);
    }
}
