//! Finish-time fairness (Themis, NSDI'20) as Gavel states it.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use crate::shares::{Shares, isolated_shares, singly};
use crate::{Allocation, JobId, Policy, Relation, Solver, View};

/// The least largest ratio, over jobs, of the time from arrival to end to what it would be with an equal part of the
/// cluster for itself.
#[derive(Default)]
pub struct FinishTimeFairnessPerf {
    history: BTreeMap<JobId, History>,
}

/// What a job's time alone has been so far.
#[derive(Clone, Copy, Default)]
struct History {
    /// Seconds that the steps run so far would have taken with an equal part of the cluster.
    isolated_s: f64,
    /// At the last allocation: steps left, and steps per second with an equal part.
    last: Option<(f64, f64)>,
}

/// Steps of the bisection over the ratio: down to 1 in 1,000 of a ratio of 1 to 1000.
const BISECTIONS: u32 = 14;
const RATIO_MAX: f64 = 1000.0;

impl FinishTimeFairnessPerf {
    fn solve(view: &View<'_>, solver: &mut dyn Solver, ratio: f64, isolated_s: &[f64]) -> Option<Allocation> {
        let groups = singly(view);
        let mut shares = Shares::new(view, &groups, false);
        let spare = shares.program.variable(1.0);
        shares.fit(view.workers, None);
        for (at, group) in groups.iter().enumerate() {
            let job = group.job();
            let left_s = ratio * isolated_s[at] - job.elapsed_s;
            if left_s <= 0.0 {
                return None;
            }
            let factor = left_s / job.steps_remaining.max(1e-9);
            let terms: Vec<_> = shares.speed(at, factor).chain([(spare, -1.0)]).collect();
            shares.program.constrain(terms, Relation::AtLeast, 0.0);
        }
        let values = solver.maximize(&shares.program)?;
        (values[spare] >= 1.0).then(|| shares.allocation(&values, 1.0))
    }
}

impl Policy for FinishTimeFairnessPerf {
    fn allocate(
        &mut self,
        view: &View<'_>,
        solver: &mut dyn Solver,
        _draw: &mut dyn FnMut(usize) -> usize,
    ) -> Allocation {
        let mut isolated_s = Vec::with_capacity(view.jobs.len());
        let mut history = BTreeMap::new();
        for job in view.jobs {
            let part = isolated_shares(job.scale_factor, view.jobs.len(), view.workers);
            let steps_per_s: f64 = job.throughputs.iter().zip(&part).map(|(steps, part)| steps * part).sum();
            let mut known = self.history.get(&job.id).copied().unwrap_or_default();
            if let Some((steps_left, steps_per_s)) = known.last {
                known.isolated_s += (steps_left - job.steps_remaining) / steps_per_s;
            }
            known.last = Some((job.steps_remaining, steps_per_s));
            history.insert(job.id, known);
            isolated_s.push(known.isolated_s + job.steps_remaining / steps_per_s);
        }
        self.history = history;
        let (mut low, mut high): (f64, f64) = (1e-3, RATIO_MAX);
        let mut best = Allocation::new();
        for _ in 0..BISECTIONS {
            let ratio = libm::sqrt(low * high);
            if let Some(allocation) = Self::solve(view, solver, ratio, &isolated_s) {
                best = allocation;
                high = ratio;
            } else {
                low = ratio;
            }
        }
        best
    }
}
