//! Linear programs, and who solves them.

use alloc::vec::Vec;

/// How a row compares with its bound.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Relation {
    /// At most the bound.
    AtMost,
    /// At least the bound.
    AtLeast,
}

/// One constraint: a weighted sum of variables against a bound.
#[derive(Clone, PartialEq, Debug)]
pub struct Row {
    /// Variables and their weights; no variable twice.
    pub terms: Vec<(usize, f64)>,
    /// How the sum compares.
    pub relation: Relation,
    /// With what.
    pub bound: f64,
}

/// Maximise a weighted sum of variables, none of them negative, under constraints.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct LinearProgram {
    /// The weight of each variable in what is maximised.
    pub objective: Vec<f64>,
    /// The constraints.
    pub rows: Vec<Row>,
}

impl LinearProgram {
    /// Adds a variable with this weight in the objective and says which it is.
    pub fn variable(&mut self, weight: f64) -> usize {
        self.objective.push(weight);
        self.objective.len() - 1
    }

    /// Adds a constraint; terms of weight zero are left out.
    pub fn constrain(
        &mut self,
        terms: impl IntoIterator<Item = (usize, f64)>,
        relation: Relation,
        bound: f64,
    ) {
        let terms = terms.into_iter().filter(|&(_, weight)| weight != 0.0).collect();
        self.rows.push(Row { terms, relation, bound });
    }
}

/// Solves linear programs.
pub trait Solver {
    /// The value of each variable at an optimum, or nothing if there is none or it could not be found.
    fn maximize(&mut self, program: &LinearProgram) -> Option<Vec<f64>>;
}
