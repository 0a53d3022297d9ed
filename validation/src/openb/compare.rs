//! Ours against theirs.

use std::collections::BTreeMap;

use super::tables::Table;
use crate::report::{Cell, Row};

/// Titles of the columns that the rows of this module fill. `ours` and `theirs` are the mean GPU allocation when the
/// most GPU had arrived; `diff` is the largest difference of any cell of a table.
pub(super) const COLUMNS: [&str; 10] = [
    "trace",
    "policy",
    "runs",
    "cells",
    "ours %",
    "theirs %",
    "diff allo",
    "diff frag",
    "diff ratio",
    "beyond",
];

/// One run of ours beside the published one.
pub(super) struct Comparison {
    /// Per table: our cell and theirs, in order of arrived GPU.
    pub(super) tables: BTreeMap<Table, Vec<(f64, f64)>>,
}

impl Comparison {
    pub(super) fn cells(&self) -> usize {
        self.tables.values().map(Vec::len).sum()
    }
}

/// The largest difference of a table over runs and cells; NaN where one of the two has a figure and the other none.
fn largest_difference(runs: &[&Comparison], table: Table) -> f64 {
    let differences = runs
        .iter()
        .filter_map(|run| run.tables.get(&table))
        .flatten()
        .map(|(ours, theirs)| (ours - theirs).abs());
    differences.fold(
        0.0,
        |largest: f64, difference| {
            if difference > largest || difference.is_nan() { difference } else { largest }
        },
    )
}

/// Mean over runs of the last allocation cell: what was allocated when the most GPU had arrived.
fn final_allocation(runs: &[&Comparison], side: impl Fn(&(f64, f64)) -> f64) -> f64 {
    let last = runs.iter().filter_map(|run| run.tables.get(&Table::Allocation)?.last()).map(side);
    let values: Vec<f64> = last.collect();
    values.iter().sum::<f64>() / values.len() as f64
}

fn row(
    trace: &str,
    policy: &str,
    runs: &[&Comparison],
    differences: [f64; 3],
    beyond: usize,
    passed: bool,
) -> Row {
    let count = |count: usize| Cell::Count(count as u64);
    let [allocation, fragmentation, ratio] = differences;
    Row {
        cells: vec![
            Cell::Text(trace.to_owned()),
            Cell::Text(policy.to_owned()),
            count(runs.len()),
            count(runs.iter().map(|run| run.cells()).sum()),
            Cell::Figure(final_allocation(runs, |&(ours, _)| ours), 2),
            Cell::Figure(final_allocation(runs, |&(_, theirs)| theirs), 2),
            Cell::Figure(allocation, 4),
            Cell::Figure(fragmentation, 4),
            Cell::Figure(ratio, 4),
            count(beyond),
        ],
        passed,
    }
}

/// Every cell of every run must agree.
pub(super) fn deterministic_row(trace: &str, policy: &str, runs: &[&Comparison]) -> Row {
    let mut beyond = 0;
    for run in runs {
        for (table, cells) in &run.tables {
            // Written so that a NaN is beyond.
            let agrees = |(ours, theirs): &&(f64, f64)| (ours - theirs).abs() <= table.tolerance();
            beyond += cells.len() - cells.iter().filter(agrees).count();
        }
    }
    let differences = Table::ALL.map(|table| largest_difference(runs, table));
    row(trace, policy, runs, differences, beyond, beyond == 0)
}

/// Means that differ by more than this many standard errors disagree.
const STANDARD_ERRORS: f64 = 3.0;

/// The share of a random policy's cells that may disagree by chance. Of independent means of ten seeds 0.8 % lie
/// beyond 3 standard errors; the cells of a table follow each other, so they do so together or not at all.
const RANDOM_BEYOND_SHARE: f64 = 0.05;

/// A random policy is a distribution: the means over runs must agree within 3 standard errors of their difference, at
/// the last level of each table and in all but a few of the cells before it.
pub(super) fn random_row(trace: &str, policy: &str, runs: &[&Comparison]) -> Row {
    if runs.len() < 2 {
        // One run says nothing of a distribution: shown, not judged.
        let differences = Table::ALL.map(|table| largest_difference(runs, table));
        let mut shown = row(trace, policy, runs, differences, 0, true);
        *shown.cells.last_mut().expect("a row has cells") = Cell::Text("not judged".to_owned());
        return shown;
    }
    let (mut beyond, mut cells, mut last_agrees) = (0, 0, true);
    let mut differences = [0.0_f64; 3];
    for (table, largest) in Table::ALL.into_iter().zip(&mut differences) {
        let columns: Vec<&[(f64, f64)]> =
            runs.iter().filter_map(|run| Some(run.tables.get(&table)?.as_slice())).collect();
        let levels = columns.iter().map(|cells| cells.len()).min().unwrap_or(0);
        cells += levels;
        for level in 0..levels {
            let (ours, our_error) = mean_and_error(columns.iter().map(|cells| cells[level].0));
            let (theirs, their_error) = mean_and_error(columns.iter().map(|cells| cells[level].1));
            let difference = (ours - theirs).abs();
            let agrees = difference <= STANDARD_ERRORS * our_error.hypot(their_error) + table.tolerance();
            *largest = if difference > *largest || difference.is_nan() { difference } else { *largest };
            beyond += usize::from(!agrees);
            last_agrees &= agrees || level + 1 < levels;
        }
    }
    let passed = last_agrees && beyond as f64 <= RANDOM_BEYOND_SHARE * cells as f64;
    row(trace, policy, runs, differences, beyond, passed)
}

/// Mean and its standard error, of at least two values.
fn mean_and_error(values: impl Iterator<Item = f64> + Clone) -> (f64, f64) {
    let count = values.clone().count() as f64;
    let mean = values.clone().sum::<f64>() / count;
    let variance = values.map(|value| (value - mean).powi(2)).sum::<f64>() / (count - 1.0);
    (mean, (variance / count).sqrt())
}

/// Every pod of a published list must go to the node that the list names.
pub(super) fn placements_row(trace: &str, policy: &str, placements: usize, differences: usize) -> Row {
    let count = |count: usize| Cell::Count(count as u64);
    Row {
        cells: vec![
            Cell::Text(trace.to_owned()),
            Cell::Text(format!("{policy} (nodes)")),
            count(1),
            count(placements),
            Cell::None,
            Cell::None,
            Cell::None,
            Cell::None,
            Cell::None,
            count(differences),
        ],
        passed: differences == 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn comparison(allocation: &[(f64, f64)], ratio: &[(f64, f64)]) -> Comparison {
        let tables = [(Table::Allocation, allocation), (Table::FragmentationRatio, ratio)];
        Comparison { tables: tables.map(|(table, cells)| (table, cells.to_vec())).into() }
    }

    #[track_caller]
    fn check(row: &Row, beyond: u64, passed: bool) {
        assert_eq!((row.cells.last(), row.passed), (Some(&Cell::Count(beyond)), passed), "{row:?}");
    }

    #[test]
    fn every_cell_of_a_deterministic_policy_counts() {
        let good = comparison(&[(50.0, 50.01), (60.0, 60.0)], &[(1.0, 1.000_09)]);
        let bad = comparison(&[(50.0, 50.02), (f64::NAN, 60.0)], &[(1.0, 1.000_11)]);
        check(&deterministic_row("t", "p", &[&good, &good]), 0, true);
        check(&deterministic_row("t", "p", &[&good, &bad]), 3, false);
        assert!((largest_difference(&[&good], Table::Allocation) - 0.01).abs() < 1e-9);
        assert!(largest_difference(&[&good, &bad], Table::Allocation).is_nan());
    }

    #[test]
    fn a_random_policy_is_judged_by_means() {
        // Means 50.0 and 50.0 with errors of about 0.7 each; then the same shifted by 4.
        let near = [comparison(&[(49.0, 51.0)], &[]), comparison(&[(51.0, 49.0)], &[])];
        let far = [comparison(&[(53.0, 51.0)], &[]), comparison(&[(57.0, 49.0)], &[])];
        check(&random_row("t", "p", &near.each_ref()), 0, true);
        check(&random_row("t", "p", &far.each_ref()), 0, true);
        let farther = [comparison(&[(60.0, 51.0)], &[]), comparison(&[(61.0, 49.0)], &[])];
        check(&random_row("t", "p", &farther.each_ref()), 1, false);
    }
}
