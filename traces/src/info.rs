//! What a trace is like, in one pass.

use std::collections::BTreeMap;

use crate::error::TraceError;
use crate::record::{JobRecord, JobStatus, WHOLE_GPU_MILLI};

/// Statistics of a trace. Memory does not grow with the number of jobs, only with that of queues and users.
#[derive(Debug, Clone, PartialEq)]
pub struct TraceInfo {
    /// Number of jobs.
    pub jobs: u64,
    /// First submit time in seconds; 0 without jobs.
    pub first_submit_s: f64,
    /// Last submit time in seconds; 0 without jobs.
    pub last_submit_s: f64,
    /// Sum over jobs of GPUs times run time.
    pub gpu_seconds: f64,
    /// Jobs by what they ask for, one entry for each of [`SizeClass::ALL`].
    pub sizes: Vec<(SizeClass, Share)>,
    /// Jobs by queue, most jobs first; the default queue is `""`.
    pub queues: Vec<(Box<str>, Share)>,
    /// Jobs by user, most jobs first; jobs whose user is not known are not counted.
    pub users: Vec<(Box<str>, Share)>,
    /// Jobs by how they ended, one entry for each of [`JobStatus::ALL`].
    pub statuses: Vec<(JobStatus, Share)>,
    /// Run times; `None` without jobs.
    pub run_times: Option<RunTimes>,
    /// Times between submissions; `None` for fewer than two jobs.
    pub gaps: Option<Gaps>,
}

/// A part of the jobs of a trace.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Share {
    /// Number of jobs.
    pub jobs: u64,
    /// Sum of their GPUs times run time.
    pub gpu_seconds: f64,
}

impl Share {
    fn add(&mut self, gpu_seconds: f64) {
        self.jobs += 1;
        self.gpu_seconds += gpu_seconds;
    }
}

/// Jobs by the GPUs of all their tasks together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SizeClass {
    /// No GPU.
    CpuOnly,
    /// Less than the whole of each GPU that it uses.
    GpuShare,
    /// One GPU.
    One,
    /// Two GPUs.
    Two,
    /// Three or four GPUs.
    UpToFour,
    /// Five to eight GPUs.
    UpToEight,
    /// More than eight GPUs: several nodes, where nodes have eight.
    MoreThanEight,
}

impl SizeClass {
    /// All classes, from small to large, which is the order of declaration.
    pub const ALL: [Self; 7] = [
        Self::CpuOnly,
        Self::GpuShare,
        Self::One,
        Self::Two,
        Self::UpToFour,
        Self::UpToEight,
        Self::MoreThanEight,
    ];

    /// The class in words.
    pub const fn name(self) -> &'static str {
        match self {
            Self::CpuOnly => "no GPU",
            Self::GpuShare => "GPU share",
            Self::One => "1 GPU",
            Self::Two => "2 GPUs",
            Self::UpToFour => "3-4 GPUs",
            Self::UpToEight => "5-8 GPUs",
            Self::MoreThanEight => "over 8 GPUs",
        }
    }

    fn of(job: &JobRecord) -> Self {
        match job.tasks.saturating_mul(job.gpus_per_task) {
            0 => Self::CpuOnly,
            _ if job.gpu_milli < WHOLE_GPU_MILLI => Self::GpuShare,
            1 => Self::One,
            2 => Self::Two,
            3..=4 => Self::UpToFour,
            5..=8 => Self::UpToEight,
            _ => Self::MoreThanEight,
        }
    }
}

/// Run times in seconds. Quantiles are off by at most 0.5 %, the others are exact.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RunTimes {
    /// Mean.
    pub mean_s: f64,
    /// Median.
    pub p50_s: f64,
    /// 90th percentile.
    pub p90_s: f64,
    /// 99th percentile.
    pub p99_s: f64,
    /// Longest.
    pub max_s: f64,
}

/// Times between one submission and the next.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Gaps {
    /// Mean in seconds.
    pub mean_s: f64,
    /// Standard deviation divided by the mean: 1 for Poisson arrivals, more for bursts; 0 if all come at once.
    pub coefficient_of_variation: f64,
}

impl TraceInfo {
    /// Takes the statistics of jobs in order of submission; the first error ends it.
    pub fn of(jobs: impl Iterator<Item = Result<JobRecord, TraceError>>) -> Result<Self, TraceError> {
        let mut sizes = SizeClass::ALL.map(|class| (class, Share::default()));
        let mut statuses = JobStatus::ALL.map(|status| (status, Share::default()));
        let (mut queues, mut users) = (BTreeMap::new(), BTreeMap::new());
        let mut run_times = Quantiles::default();
        let mut gaps = Moments::default();
        let mut total = Share::default();
        let (mut first_submit_s, mut last_submit_s, mut run_time_sum_s) = (0.0, 0.0, 0.0);
        for job in jobs {
            let job = job?;
            let gpu_seconds = job.gpu_seconds();
            if total.jobs == 0 {
                first_submit_s = job.submit_s;
            } else {
                gaps.add(job.submit_s - last_submit_s);
            }
            last_submit_s = job.submit_s;
            run_time_sum_s += job.duration_s;
            run_times.add(job.duration_s);
            total.add(gpu_seconds);
            sizes[SizeClass::of(&job) as usize].1.add(gpu_seconds);
            statuses[job.status as usize].1.add(gpu_seconds);
            add_named(&mut queues, job.queue, gpu_seconds);
            if !job.user.is_empty() {
                add_named(&mut users, job.user, gpu_seconds);
            }
        }
        Ok(Self {
            jobs: total.jobs,
            first_submit_s,
            last_submit_s,
            gpu_seconds: total.gpu_seconds,
            sizes: sizes.to_vec(),
            queues: most_jobs_first(queues),
            users: most_jobs_first(users),
            statuses: statuses.to_vec(),
            run_times: (total.jobs > 0).then(|| RunTimes {
                mean_s: run_time_sum_s / total.jobs as f64,
                p50_s: run_times.quantile(0.5),
                p90_s: run_times.quantile(0.9),
                p99_s: run_times.quantile(0.99),
                max_s: run_times.max,
            }),
            gaps: gaps.gaps(),
        })
    }

    /// From the first submission to the last, in seconds.
    pub fn span_s(&self) -> f64 {
        self.last_submit_s - self.first_submit_s
    }

    /// GPUs that the jobs would keep busy if none had to wait: GPU-seconds over the span. `None` if the span is 0.
    pub fn mean_demanded_gpus(&self) -> Option<f64> {
        (self.span_s() > 0.0).then(|| self.gpu_seconds / self.span_s())
    }
}

fn add_named(shares: &mut BTreeMap<Box<str>, Share>, name: Box<str>, gpu_seconds: f64) {
    shares.entry(name).or_default().add(gpu_seconds);
}

/// Ties in the order of names.
fn most_jobs_first(shares: BTreeMap<Box<str>, Share>) -> Vec<(Box<str>, Share)> {
    let mut shares: Vec<_> = shares.into_iter().collect();
    shares.sort_by_key(|(_, share)| std::cmp::Reverse(share.jobs));
    shares
}

/// Running mean and variance (Welford, 1962).
#[derive(Default)]
pub(crate) struct Moments {
    count: f64,
    mean: f64,
    /// Sum of squared differences from the mean.
    squares: f64,
}

impl Moments {
    pub(crate) fn add(&mut self, value: f64) {
        self.count += 1.0;
        let difference = value - self.mean;
        self.mean += difference / self.count;
        self.squares += difference * (value - self.mean);
    }

    /// `None` without values.
    pub(crate) fn gaps(&self) -> Option<Gaps> {
        (self.count > 0.0).then(|| self.to_gaps())
    }

    fn to_gaps(&self) -> Gaps {
        let deviation = (self.squares / self.count).sqrt();
        let coefficient_of_variation = if self.mean > 0.0 { deviation / self.mean } else { 0.0 };
        Gaps { mean_s: self.mean, coefficient_of_variation }
    }
}

/// Quantiles of positive numbers within a relative error, from counts in bins of a constant ratio (as in `DDSketch`,
/// Masson et al., VLDB 2019).
#[derive(Default)]
struct Quantiles {
    /// `bins[i]` counts values from `SMALLEST * RATIO^i`; smaller ones are in the first bin.
    bins: Vec<u64>,
    count: u64,
    max: f64,
}

impl Quantiles {
    /// Values below it, 0 among them, count as 0.
    const SMALLEST: f64 = 1e-3;
    /// Of a bin's bounds; its geometric mean is at most half a percent from either.
    const RATIO: f64 = 1.01;

    fn add(&mut self, value: f64) {
        let bin = if value < Self::SMALLEST {
            0
        } else {
            1 + ((value / Self::SMALLEST).ln() / Self::RATIO.ln()) as usize
        };
        if bin >= self.bins.len() {
            self.bins.resize(bin + 1, 0);
        }
        self.bins[bin] += 1;
        self.count += 1;
        self.max = self.max.max(value);
    }

    /// The smallest value that a share `q` of the values do not exceed.
    fn quantile(&self, q: f64) -> f64 {
        let rank = (q * self.count as f64).ceil() as u64;
        let mut below = 0;
        let bin = self.bins.iter().position(|&count| {
            below += count;
            below >= rank
        });
        match bin {
            None | Some(0) => 0.0,
            Some(bin) => (Self::SMALLEST * Self::RATIO.powf(bin as f64 - 0.5)).min(self.max),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_within_half_a_percent() {
        let mut quantiles = Quantiles::default();
        (1..=10_000).for_each(|value| quantiles.add(f64::from(value)));
        for (q, expected) in [(0.5, 5000.0), (0.9, 9000.0), (0.99, 9900.0), (1.0, 10_000.0)] {
            let value = quantiles.quantile(q);
            assert!(
                (value / expected - 1.0_f64).abs() < 0.0051,
                "quantile {q}: {value}, expected {expected}"
            );
        }
    }

    #[test]
    fn zeros_have_quantile_zero() {
        let mut quantiles = Quantiles::default();
        (0..10).for_each(|_| quantiles.add(0.0));
        assert_eq!(quantiles.quantile(0.5).to_bits(), 0.0_f64.to_bits());
    }
}
