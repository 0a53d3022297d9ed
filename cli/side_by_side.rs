//! Runs of several policies with several seeds, side by side.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use foretell_reports::PolicyRuns;
use foretell_scenarios::service::ServedRun;
use foretell_scenarios::sim::log::RunSummary;
use foretell_scenarios::{Plan, RunError, Scenario};
use rayon::prelude::*;

use crate::progress::{Bars, JobsDone, show_time};

/// Every policy with every seed, on the threads of the current pool; results in the order of the scenario, whichever finishes
/// first. Of the first seed the whole result is kept, of the others the figures.
pub(crate) fn run_all(scenario: &Scenario) -> Result<Vec<PolicyRuns>, RunError> {
    let policies = scenario.scheduler.policies.as_slice();
    let seeds = scenario.seed..scenario.seed.saturating_add(scenario.seeds);
    let plans: Vec<Plan> = seeds
        .into_par_iter()
        .map(|seed| Plan::new(Scenario { seed, ..scenario.clone() }))
        .collect::<Result<_, _>>()?;
    let all = SideBySide {
        policies,
        plans: &plans,
        bars: Bars::new(policies.iter().map(String::as_str)),
        todo: Mutex::new(Todo::new(policies.len(), plans.len())),
        changed: Condvar::new(),
    };
    rayon::broadcast(|_| all.work());
    let Todo { failed, first, others, .. } = all.todo.into_inner().unwrap_or_else(PoisonError::into_inner);
    match failed {
        Some(error) => Err(error),
        None => Ok(first
            .into_iter()
            .zip(others)
            .filter_map(|(first, others)| {
                Some(PolicyRuns { others: others.into_iter().flatten().collect(), ..first? })
            })
            .collect()),
    }
}

struct SideBySide<'a> {
    policies: &'a [String],
    /// One for each seed.
    plans: &'a [Plan],
    bars: Bars,
    todo: Mutex<Todo>,
    changed: Condvar,
}

/// A policy, a plan, by position.
type Run = (usize, usize);

struct Todo {
    /// The policy whose first run begins next. Those are whole, and tell how long the others take.
    next: usize,
    /// First runs that are under way: others may follow.
    under_way: usize,
    /// Other runs, by what their policy took with the first seed: the longest begin first, so that no thread is left with one of them
    /// when the rest is done.
    rest: BinaryHeap<(Duration, Reverse<Run>)>,
    failed: Option<RunError>,
    /// Of each policy.
    first: Vec<Option<PolicyRuns>>,
    others: Vec<Vec<Option<RunSummary>>>,
}

impl Todo {
    fn new(policies: usize, seeds: usize) -> Self {
        Self {
            next: 0,
            under_way: 0,
            rest: BinaryHeap::new(),
            failed: None,
            first: (0..policies).map(|_| None).collect(),
            others: vec![vec![None; seeds.saturating_sub(1)]; policies],
        }
    }
}

/// A run that was begun; it is over when this is dropped, however it ended.
struct Begun<'a> {
    all: &'a SideBySide<'a>,
    run: Run,
}

impl Drop for Begun<'_> {
    fn drop(&mut self) {
        let (_, plan) = self.run;
        self.all.todo().under_way -= usize::from(plan == 0);
        self.all.changed.notify_all();
    }
}

impl SideBySide<'_> {
    fn todo(&self) -> MutexGuard<'_, Todo> {
        self.todo.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What one thread does.
    fn work(&self) {
        while let Some(begun) = self.begin() {
            if let Err(error) = self.run(begun.run) {
                self.todo().failed.get_or_insert(error);
            }
        }
    }

    /// The next run, once there is one.
    fn begin(&self) -> Option<Begun<'_>> {
        let mut todo = self.todo();
        let run = loop {
            if todo.failed.is_some() {
                return None;
            }
            if todo.next < self.policies.len() {
                todo.next += 1;
                todo.under_way += 1;
                break (todo.next - 1, 0);
            }
            if let Some((_, Reverse(run))) = todo.rest.pop() {
                break run;
            }
            if todo.under_way == 0 {
                return None;
            }
            todo = self.changed.wait(todo).unwrap_or_else(PoisonError::into_inner);
        };
        Some(Begun { all: self, run })
    }

    fn run(&self, (index, seed): Run) -> Result<(), RunError> {
        let (policy, plan) = (&self.policies[index], &self.plans[seed]);
        let bar = self.bars.add(policy, plan.jobs(), "jobs");
        let mut jobs_done = JobsDone::new(bar.clone());
        let mut progress = |progress| show_time(&bar, progress);
        let begun = Instant::now();
        if seed > 0 {
            let result = plan.run(policy, &mut jobs_done, &mut progress);
            bar.finish_and_clear();
            let summary = result?.summary;
            self.todo().others[index][seed - 1] = Some(summary);
            return Ok(());
        }
        let result = plan.run_and_serve(policy, &mut jobs_done, &mut progress);
        bar.finish_and_clear();
        let ServedRun { result: first, services, classical, pipelines } = result?;
        let mut todo = self.todo();
        for other in 1..self.plans.len() {
            if plan.depends_on_seed(policy, &first) {
                todo.rest.push((begun.elapsed(), Reverse((index, other))));
            } else {
                let seed = self.plans[other].scenario().seed;
                todo.others[index][other - 1] = Some(RunSummary { seed, ..first.summary.clone() });
            }
        }
        todo.first[index] = Some(PolicyRuns { first, others: Vec::new(), services, classical, pipelines });
        Ok(())
    }
}
