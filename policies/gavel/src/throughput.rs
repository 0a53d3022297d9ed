//! The largest sum of throughputs, alone or per cost.

use alloc::vec::Vec;

use crate::shares::{Shares, alike, isolated_shares};
use crate::{Allocation, Policy, Share, Solver, Unit, View};

/// The largest sum of steps per second, or of steps per unit of cost.
#[derive(Default)]
pub struct MaxSumThroughput {
    /// Cost of a GPU-hour per type; empty where costs do not count.
    cost_per_h: Vec<f64>,
}

impl MaxSumThroughput {
    /// Steps count the more, the less their type of GPU costs.
    pub fn per_cost(cost_per_h: Vec<f64>) -> Self {
        Self { cost_per_h }
    }
}

impl Policy for MaxSumThroughput {
    fn allocate(
        &mut self,
        view: &View<'_>,
        solver: &mut dyn Solver,
        _draw: &mut dyn FnMut(usize) -> usize,
    ) -> Allocation {
        let groups = alike(view);
        let mut shares = Shares::new(view, &groups, false);
        shares.fit(view.workers, None);
        shares.reward(|group, gpu_type| {
            let cost = self.cost_per_h.get(gpu_type).copied().unwrap_or(1.0);
            group.count() * group.job().throughputs[gpu_type] / cost
        });
        let Some(values) = solver.maximize(&shares.program) else { return Allocation::new() };
        shares.allocation(&values, 1.0)
    }
}

/// Every job has an equal part of the cluster for itself.
#[derive(Default)]
pub struct Isolated;

impl Policy for Isolated {
    fn allocate(
        &mut self,
        view: &View<'_>,
        _solver: &mut dyn Solver,
        _draw: &mut dyn FnMut(usize) -> usize,
    ) -> Allocation {
        let share = |job: &crate::JobView| Share {
            unit: Unit::single(job.id),
            fractions: isolated_shares(job.scale_factor, view.jobs.len(), view.workers),
        };
        view.jobs.iter().map(share).collect()
    }
}
