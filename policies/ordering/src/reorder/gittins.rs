//! Gittins indices from the jobs that ended.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

/// GPU-seconds in which the index asks for a job's end, as in Tiresias' published simulator.
const WINDOW_GPU_S: u64 = 3250;

/// Jobs that are remembered: the latest.
const SAMPLE_MAX: usize = 4096;

/// What the latest jobs that ended had in all.
#[derive(Default)]
pub(super) struct Sample {
    /// GPU-seconds, latest last.
    latest: VecDeque<u64>,
    /// The same, ascending.
    sorted: Vec<u64>,
    /// Sums of those before each position of `sorted`, and of all; empty if out of date.
    sums: Vec<u64>,
}

impl Sample {
    /// A job ended.
    pub(super) fn learn(&mut self, gpu_s: u64) {
        if self.latest.len() == SAMPLE_MAX
            && let Some(oldest) = self.latest.pop_front()
        {
            self.sorted.remove(self.sorted.partition_point(|&other| other < oldest));
        }
        self.latest.push_back(gpu_s);
        self.sorted.insert(self.above(gpu_s), gpu_s);
        self.sums.clear();
    }

    /// Brings sums up to date.
    pub(super) fn refresh(&mut self) {
        if self.sums.is_empty() {
            let sums = self.sorted.iter().scan(0, |sum: &mut u64, &gpu_s| {
                *sum = sum.saturating_add(gpu_s);
                Some(*sum)
            });
            self.sums = core::iter::once(0).chain(sums).collect();
        }
    }

    fn above(&self, limit: u64) -> usize {
        self.sorted.partition_point(|&other| other <= limit)
    }

    /// How likely a job that has attained so much ends within the window, over the GPU-seconds that this costs on average: the
    /// larger, the sooner it should run. Times 10^10, rounded as the published simulator rounds.
    pub(super) fn index(&self, attained_gpu_s: u64) -> u64 {
        let Some(&longest) = self.sorted.last() else { return 0 };
        if attained_gpu_s > longest.saturating_sub(1) {
            return 0;
        }
        let count = self.sorted.len();
        let from = self.above(attained_gpu_s);
        let next = attained_gpu_s.saturating_add(WINDOW_GPU_S);
        let to = if next > longest.saturating_sub(1) { count - 1 } else { self.above(next) }.max(from);
        let left = (count - from) as f64;
        let ends = round_to((to - from) as f64 / left, 1e5);
        let within = self.sums.get(to).zip(self.sums.get(from)).map_or(0, |(to, from)| to - from);
        let beyond = WINDOW_GPU_S * (count - to) as u64;
        let cost = round_to((within + beyond) as f64 / left, 1e5);
        round(ends * 1e6 / cost * 1e4) as u64
    }
}

fn round_to(value: f64, scale: f64) -> f64 {
    round(value * scale) / scale
}

/// To the next whole number, halves up, of what is not negative, as `libm` rounds.
fn round(value: f64) -> f64 {
    // Exact up to 2^53, and from there on all are whole.
    let whole = value as u64 as f64;
    if value - whole >= 0.5 { whole + 1.0 } else { whole }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(gpu_s: impl IntoIterator<Item = u64>) -> Sample {
        let mut sample = Sample::default();
        gpu_s.into_iter().for_each(|gpu_s| sample.learn(gpu_s));
        sample.refresh();
        sample
    }

    #[test]
    fn the_index_falls_with_service_where_long_jobs_are_what_is_left() {
        let sample = sample([100, 200, 50_000, 300, 400, 90_000]);
        // Four of six end within the window: (4/6) / ((1000 + 2 * 3250) / 6).
        assert_eq!(sample.index(0), 5_333_360);
        assert!(sample.index(0) > sample.index(1_000));
        assert_eq!(sample.index(90_000), 0);
        assert_eq!(Sample::default().index(0), 0);
    }

    #[test]
    fn old_jobs_are_forgotten() {
        let jobs = (0..10).chain(core::iter::repeat_n(500, SAMPLE_MAX));
        let sample = sample(jobs);
        assert_eq!((sample.sorted.len(), sample.sorted[0]), (SAMPLE_MAX, 500));
    }
}
