//! Max-min fairness: least attained service, with and without knowledge of throughputs.

use alloc::vec;
use alloc::vec::Vec;

use crate::shares::{Shares, alike, proportional};
use crate::{Allocation, Policy, Relation, Share, Solver, Unit, View};

/// Max-min fairness that knows no throughputs: GPU-time is divided equally by weight, each job's over all types alike.
#[derive(Default)]
pub struct MaxMinFairness;

impl Policy for MaxMinFairness {
    fn allocate(
        &mut self,
        view: &View<'_>,
        _solver: &mut dyn Solver,
        _draw: &mut dyn FnMut(usize) -> usize,
    ) -> Allocation {
        let total: f64 = view.workers.iter().map(|&count| f64::from(count)).sum();
        let level = level(view, total);
        view.jobs
            .iter()
            .map(|job| {
                let time = (level * job.weight / f64::from(job.scale_factor)).min(1.0);
                let fractions = view.workers.iter().map(|&count| time * f64::from(count) / total).collect();
                Share { unit: Unit::single(job.id), fractions }
            })
            .collect()
    }

    fn shuffles_types(&self) -> bool {
        true
    }
}

/// GPUs per unit of weight such that jobs, none of which can use more than it asks for, use all GPUs.
fn level(view: &View<'_>, total: f64) -> f64 {
    // By falling demand per weight: what asks for least is satisfied first.
    let mut demands: Vec<(f64, f64)> =
        view.jobs.iter().map(|job| (f64::from(job.scale_factor) / job.weight, job.weight)).collect();
    demands.sort_by(|one, other| one.0.total_cmp(&other.0));
    let mut weight_left: f64 = demands.iter().map(|&(_, weight)| weight).sum();
    let mut room = total;
    for (demand, weight) in demands {
        if demand * weight_left > room {
            return room / weight_left;
        }
        room -= demand * weight;
        weight_left -= weight;
    }
    f64::INFINITY
}

/// Max-min fairness of throughput, relative to what a job would have if its time were divided as the GPUs are.
pub struct MaxMinFairnessPerf {
    packs: bool,
}

impl MaxMinFairnessPerf {
    /// Whether jobs may share GPUs.
    pub fn new(packs: bool) -> Self {
        Self { packs }
    }
}

impl Policy for MaxMinFairnessPerf {
    fn allocate(
        &mut self,
        view: &View<'_>,
        solver: &mut dyn Solver,
        _draw: &mut dyn FnMut(usize) -> usize,
    ) -> Allocation {
        let groups = alike(view);
        let mut shares = Shares::new(view, &groups, self.packs);
        let least = shares.program.variable(1.0);
        shares.fit(view.workers, None);
        let mut normalised = vec![Vec::new(); groups.len()];
        for (at, group) in groups.iter().enumerate() {
            let job = group.job();
            let factor = f64::from(job.scale_factor) / (job.weight * proportional(job, view.workers));
            normalised[at] = shares.speed(at, factor).collect();
            let terms = normalised[at].iter().copied().chain([(least, -1.0)]);
            shares.program.constrain(terms, Relation::AtLeast, 0.0);
        }
        let Some(values) = solver.maximize(&shares.program) else { return Allocation::new() };
        // Where the least cannot be raised, what is left goes to where it does most.
        shares.program.constrain([(least, 1.0)], Relation::AtLeast, values[least] * (1.0 - 1e-6));
        for (group, terms) in groups.iter().zip(normalised) {
            for (variable, weight) in terms {
                shares.program.objective[variable] += group.count() * weight * 1e-3;
            }
        }
        let values = solver.maximize(&shares.program).unwrap_or(values);
        shares.allocation(&values, 1.0)
    }
}
