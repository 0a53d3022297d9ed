//! The least time until all jobs have ended.

use alloc::vec::Vec;

use crate::shares::{Shares, singly};
use crate::{Allocation, Policy, Relation, Solver, View};

/// The least time until all jobs have ended.
///
/// Gavel searches this time by bisection to within 5 %. Here it is a variable: shares times the whole are linear in it.
#[derive(Default)]
pub struct MinTotalDuration;

impl Policy for MinTotalDuration {
    fn allocate(
        &mut self,
        view: &View<'_>,
        solver: &mut dyn Solver,
        _draw: &mut dyn FnMut(usize) -> usize,
    ) -> Allocation {
        let groups = singly(view);
        let mut shares = Shares::new(view, &groups, false);
        let whole = shares.program.variable(-1.0);
        shares.fit(view.workers, Some(whole));
        for (at, group) in groups.iter().enumerate() {
            // In units of the work left, so that all rows are of one size.
            let factor = 3600.0 / group.job().steps_remaining.max(1e-9);
            let terms: Vec<_> = shares.speed(at, factor).collect();
            shares.program.constrain(terms, Relation::AtLeast, 1.0);
        }
        let Some(values) = solver.maximize(&shares.program) else { return Allocation::new() };
        shares.allocation(&values, values[whole].max(1e-9))
    }
}
