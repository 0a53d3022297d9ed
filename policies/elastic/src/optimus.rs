//! Optimus (Peng and others, EuroSys'18): GPUs one by one to the job whose end they bring closest.

use alloc::collections::BinaryHeap;
use alloc::vec;
use alloc::vec::Vec;
use core::cmp::Reverse;

use foretell_framework::{FULL_SPEED, Time};

use crate::divide::{Divide, ElasticJob, give_minima};

/// What a job of unknown length is taken to have left.
const UNKNOWN: Time = Time::from_nanos(3_600_000_000_000);

/// Every job gets its minimum, in order of priority and submission. Then one task after the other goes to the job whose
/// estimated time to completion one more task cuts most for what it holds of GPUs, while that cuts anything.
///
/// As in the paper but for this: the speeds and what is left are told, not fitted to what jobs report; there are workers only,
/// no parameter servers; and young jobs are not held back.
#[derive(Default)]
pub struct Optimus;

/// Time that one more task saves, in nanoseconds for each GPU that it holds.
fn gain(job: &ElasticJob, tasks: u32) -> u128 {
    let unknown = u128::from(UNKNOWN.as_nanos()) * u128::from(FULL_SPEED);
    let left = job.left.unwrap_or(unknown);
    let time = |tasks| left.checked_div(u128::from(job.speed(tasks))).unwrap_or(u128::MAX / 2000);
    time(tasks).saturating_sub(time(tasks + 1)) * 1000 / u128::from(job.gpu_milli.max(1))
}

impl Divide for Optimus {
    fn name(&self) -> &'static str {
        "Optimus"
    }

    fn divide(&mut self, jobs: &[ElasticJob], gpu_milli: u64, _now: Time) -> Vec<u32> {
        let mut free_milli = gpu_milli;
        let mut targets = vec![0; jobs.len()];
        give_minima(jobs, |_| true, &mut targets, &mut free_milli);
        let mut gains = BinaryHeap::new();
        let offer = |gains: &mut BinaryHeap<_>, targets: &[u32], index: usize| {
            let (job, tasks) = (&jobs[index], targets[index]);
            let gain = gain(job, tasks);
            if tasks > 0 && tasks < job.max_tasks && gain > 0 {
                gains.push((gain, Reverse(index)));
            }
        };
        (0..jobs.len()).for_each(|index| offer(&mut gains, &targets, index));
        while let Some((_, Reverse(index))) = gains.pop() {
            let need = jobs[index].gpu_milli;
            // What does not fit now does not fit later either.
            if need <= free_milli {
                free_milli -= need;
                targets[index] += 1;
                offer(&mut gains, &targets, index);
            }
        }
        targets
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::divide::tests::job;

    #[track_caller]
    fn check(jobs: &[ElasticJob], gpus: u64, expected: &[u32]) {
        assert_eq!(Optimus.divide(jobs, gpus * 1000, Time::ZERO), expected);
    }

    #[test]
    fn gpus_go_where_they_save_most_time() {
        // The first saves 100 s with a second task, 33 s with a third; the second 30 s, then 10.
        let linear = vec![500_000, 1_000_000, 1_500_000, 2_000_000];
        let jobs = [job(0, 1, 4, 100, linear.clone()), job(1, 1, 4, 30, linear.clone())];
        check(&jobs, 1, &[1, 0]);
        check(&jobs, 2, &[1, 1]);
        check(&jobs, 3, &[2, 1]);
        check(&jobs, 4, &[3, 1]);
        check(&jobs, 5, &[3, 2]);
        check(&jobs, 9, &[4, 4]);
        // A minimum that does not fit is passed over.
        let jobs = [job(0, 3, 4, 100, linear.clone()), job(1, 1, 4, 30, linear.clone())];
        check(&jobs, 2, &[0, 2]);
        check(&jobs, 3, &[3, 0]);
        // What makes a job no faster stays idle.
        let jobs = [job(0, 1, 4, 100, vec![500_000, 1_000_000, 1_000_000, 900_000])];
        check(&jobs, 4, &[2]);
        // Tasks of two GPUs save half as much for each.
        let mut wide = job(0, 1, 4, 100, linear.clone());
        wide.gpu_milli = 2000;
        check(&[wide, job(1, 1, 4, 60, linear)], 4, &[1, 2]);
    }

    #[test]
    fn priority_and_protection_come_before_submission() {
        let speeds = vec![500_000, 1_000_000];
        let mut jobs =
            [job(0, 1, 2, 10, speeds.clone()), job(1, 1, 2, 10, speeds.clone()), job(2, 1, 2, 10, speeds)];
        jobs[1].priority = 1;
        check(&jobs, 1, &[0, 1, 0]);
        (jobs[2].is_protected, jobs[2].tasks, jobs[2].min_tasks) = (true, 2, 2);
        check(&jobs, 2, &[0, 0, 2]);
        check(&jobs, 3, &[0, 1, 2]);
    }
}
