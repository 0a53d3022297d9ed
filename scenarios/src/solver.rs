//! The solver of linear programs: microlp's simplex.

use foretell_registry::{LinearProgram, Relation, Solver};
use microlp::{ComparisonOp, OptimizationDirection, Problem, SolveOutcome};

/// Solves linear programs with microlp.
#[derive(Clone, Copy, Debug, Default)]
pub struct Simplex;

/// A solver for [`PolicyConfig`](foretell_registry::PolicyConfig).
pub(crate) fn simplex() -> Box<dyn Solver> {
    Box::new(Simplex)
}

impl Solver for Simplex {
    fn maximize(&mut self, program: &LinearProgram) -> Option<Vec<f64>> {
        let mut problem = Problem::new(OptimizationDirection::Maximize);
        let variables: Vec<_> =
            program.objective.iter().map(|&weight| problem.add_var(weight, (0.0, f64::INFINITY))).collect();
        for row in &program.rows {
            let relation = match row.relation {
                Relation::AtMost => ComparisonOp::Le,
                Relation::AtLeast => ComparisonOp::Ge,
            };
            let terms: Vec<_> =
                row.terms.iter().map(|&(variable, weight)| (variables[variable], weight)).collect();
            problem.add_constraint(terms.as_slice(), relation, row.bound);
        }
        let Ok(SolveOutcome::Solution(solution)) = problem.solve() else { return None };
        Some(variables.iter().map(|&variable| solution[variable]).collect())
    }
}
