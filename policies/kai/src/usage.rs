//! What queues had in the past, as a part of what the cluster had (KAI-Scheduler's time-based fair share).
//!
//! ```text
//!   usage(t) = ∫ held(s) 0.5^((t-s)/half life) ds  /  ∫ capacity(s) 0.5^((t-s)/half life) ds,   s from t - window to t
//! ```
//!
//! KAI asks Prometheus for both sums, over samples; here they are integrals of what was held from one cycle to the next. Time before the
//! first cycle counts for neither.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use foretell_framework::Time;

use crate::model::{Amounts, RESOURCES};

/// How the past is measured.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct UsageConfig {
    /// After how long what was held counts half (`halfLifePeriod`); `None`: all of the window counts alike.
    pub half_life: Option<Time>,
    /// How far back anything counts (`windowSize`).
    pub window: Time,
}

impl Default for UsageConfig {
    /// KAI's: a week, nothing of which decays.
    fn default() -> Self {
        Self { half_life: None, window: Time::from_nanos(7 * 24 * 3600 * 1_000_000_000) }
    }
}

/// The past as a cycle looks at it.
#[derive(Clone, Copy)]
pub(crate) struct Past<'a> {
    /// How much it counts (`kValue`).
    pub(crate) factor: f64,
    /// Of each queue, by resource.
    pub(crate) usage: &'a [[f64; RESOURCES]],
}

/// What queues and the cluster had.
#[derive(Default)]
pub(crate) struct Usage {
    queues: Vec<Account>,
    cluster: Account,
}

impl Usage {
    /// From now on queues hold this much of so much.
    pub(crate) fn set<'a>(
        &mut self,
        now: Time,
        config: UsageConfig,
        held: impl Iterator<Item = &'a Amounts>,
        total: &Amounts,
    ) {
        for (index, held) in held.enumerate() {
            if index == self.queues.len() {
                self.queues.push(Account::default());
            }
            self.queues[index].set(now, config, held);
        }
        self.cluster.set(now, config, total);
    }

    /// What each queue had, by resource, 0 to 1.
    pub(crate) fn at(&self, now: Time, config: UsageConfig) -> Vec<[f64; RESOURCES]> {
        let total = self.cluster.sum(now, config);
        let part = |account: &Account| {
            let mut part = account.sum(now, config);
            for (part, total) in part.iter_mut().zip(total) {
                *part = if total > 0.0 { *part / total } else { 0.0 };
            }
            part
        };
        self.queues.iter().map(part).collect()
    }
}

/// An amount as it changed.
#[derive(Default)]
struct Account {
    /// Earliest first; the first reaches back to where the window begins, or is the first of all.
    steps: VecDeque<Step>,
}

/// From an instant on.
#[derive(Clone, Copy)]
struct Step {
    from: Time,
    held: Amounts,
    /// The integral of all before.
    before: Integral,
}

/// Amounts times nanoseconds.
#[derive(Clone, Copy)]
enum Integral {
    /// All of the past alike: exact, so that what leaves the window leaves nothing behind.
    Plain([i128; RESOURCES]),
    /// The past decayed, as of the instant.
    Decayed([f64; RESOURCES]),
}

impl Step {
    fn integral(&self, at: Time, half_life: Option<Time>) -> Integral {
        let span = at.since(self.from).as_nanos();
        match (self.before, half_life) {
            (Integral::Decayed(before), Some(half_life)) => {
                let half_life = half_life.as_nanos() as f64;
                let left = libm::exp2(-(span as f64) / half_life);
                let new = (1.0 - left) * half_life / core::f64::consts::LN_2;
                let mut sums = before;
                for (sum, held) in sums.iter_mut().zip(self.held) {
                    *sum = *sum * left + held as f64 * new;
                }
                Integral::Decayed(sums)
            }
            (Integral::Plain(before), _) => {
                let mut sums = before;
                for (sum, held) in sums.iter_mut().zip(self.held) {
                    *sum += i128::from(held) * i128::from(span);
                }
                Integral::Plain(sums)
            }
            (decayed @ Integral::Decayed(_), None) => decayed,
        }
    }
}

impl Account {
    fn set(&mut self, now: Time, UsageConfig { half_life, window }: UsageConfig, held: &Amounts) {
        let before = match self.steps.back() {
            Some(last) if last.held == *held => return,
            Some(last) => last.integral(now, half_life),
            None if half_life.is_some() => Integral::Decayed([0.0; RESOURCES]),
            None => Integral::Plain([0; RESOURCES]),
        };
        self.steps.push_back(Step { from: now, held: *held, before });
        let begins = now.since(window);
        while self.steps.get(1).is_some_and(|next| next.from <= begins) {
            self.steps.pop_front();
        }
    }

    /// The integral over the window.
    fn sum(&self, now: Time, UsageConfig { half_life, window }: UsageConfig) -> [f64; RESOURCES] {
        let begins = now.since(window);
        let all = self.steps.back().map(|last| last.integral(now, half_life));
        let first = self.steps.partition_point(|step| step.from <= begins).checked_sub(1);
        let gone = first.map(|first| self.steps[first].integral(begins, half_life));
        match (all, gone, half_life) {
            (None, ..) => [0.0; RESOURCES],
            (Some(Integral::Plain(all)), Some(Integral::Plain(gone)), _) => {
                core::array::from_fn(|resource| (all[resource] - gone[resource]) as f64)
            }
            (Some(Integral::Decayed(all)), Some(Integral::Decayed(gone)), Some(half_life)) => {
                let left = libm::exp2(-(window.as_nanos() as f64) / half_life.as_nanos() as f64);
                core::array::from_fn(|resource| (all[resource] - gone[resource] * left).max(0.0))
            }
            (Some(Integral::Plain(all)), ..) => all.map(|sum| sum as f64),
            (Some(Integral::Decayed(all)), ..) => all,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const fn seconds(seconds: u64) -> Time {
        Time::from_nanos(seconds * 1_000_000_000)
    }

    fn config(half_life_s: Option<u64>, window_s: u64) -> UsageConfig {
        UsageConfig { half_life: half_life_s.map(seconds), window: seconds(window_s) }
    }

    /// What one queue of a cluster of 8 GPUs had of them by each second of `at_s`; it holds so many from each instant of `held` on.
    #[track_caller]
    fn check(config: UsageConfig, held: &[(u64, i64)], at_s: &[u64], expected: &[f64]) {
        let mut usage = Usage::default();
        let gpus = |gpus: i64| [0, 0, gpus * 1000];
        let mut steps = held.iter().peekable();
        let mut found = Vec::new();
        for &at_s in at_s {
            while let Some(&(from_s, held)) = steps.next_if(|&&(from_s, _)| from_s <= at_s) {
                usage.set(seconds(from_s), config, core::iter::once(&gpus(held)), &gpus(8));
            }
            found.push(usage.at(seconds(at_s), config)[0][2]);
        }
        let is_near = found.iter().zip(expected).all(|(found, expected)| (found - expected).abs() < 1e-9);
        assert!(is_near, "{found:?}");
    }

    #[test]
    fn without_a_half_life_all_of_the_window_counts_alike() {
        let held = [(0, 8), (50, 4), (150, 0)];
        // (8 x 50 + 4 x 50) / (8 x 100), then from second 50 on: 4 x 100, 4 x 50, nothing.
        check(config(None, 100), &held, &[100, 150, 200, 300], &[0.75, 0.5, 0.25, 0.0]);
        // Before the first cycle there was neither a queue nor a cluster.
        check(config(None, 1000), &[(500, 4)], &[500, 600], &[0.0, 0.5]);
    }

    #[test]
    fn what_was_held_a_half_life_ago_counts_half() {
        let held = [(0, 8), (10, 0)];
        // In units of 8 GPUs times half life / ln 2: (1/2 - 1/4) of (1 - 1/4).
        check(config(Some(10), 1000), &held, &[10, 20], &[1.0, 1.0 / 3.0]);
        // The same of the latest 10 s alone, of which it held the first five: (2^-0.5 - 2^-1) of (1 - 2^-1).
        check(config(Some(10), 10), &held, &[15, 20], &[2.0_f64.sqrt() - 1.0, 0.0]);
    }

    proptest! {
        /// Second by second, as KAI's query goes about it.
        #[test]
        fn usage_is_what_a_sum_over_seconds_finds(
            steps in prop::collection::vec((1_u64..20, 0_i64..9), 1..20),
            half_life_s in prop::option::of(5_u64..500),
            window_s in 1_u64..100,
        ) {
            let config = config(half_life_s, window_s);
            let (mut usage, mut held_in, mut now_s) = (Usage::default(), Vec::new(), 0);
            for (span_s, gpus) in steps {
                usage.set(seconds(now_s), config, [&[0, 0, gpus]].into_iter(), &[0, 0, 8]);
                held_in.extend((0..span_s).map(|_| gpus));
                now_s += span_s;
            }
            let weight = |second: usize| half_life_s.map_or(1.0, |half_life_s| {
                0.5_f64.powf((now_s as f64 - second as f64) / half_life_s as f64)
            });
            let begin = now_s.saturating_sub(window_s) as usize;
            let sum = |held: &dyn Fn(usize) -> i64| -> f64 {
                (begin..now_s as usize).map(|second| held(second) as f64 * weight(second)).sum()
            };
            let expected = sum(&|second| held_in[second]) / sum(&|_| 8);
            let found = usage.at(seconds(now_s), config)[0][2];
            prop_assert!((found - expected).abs() < 1e-9, "{} for {}", found, expected);
        }
    }
}
