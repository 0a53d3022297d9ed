//! Fits the constants of the model to measurements: least squares of the logarithm of predicted over measured time.

use std::collections::BTreeMap;

use foretell_fabric::collectives::{Calibration, Parameter};

use super::measured::Measurement;
use crate::fit::least_squares;

/// How far constants are held to what is expected of them. Many rest on one or two systems: held less, they fit those better and others
/// that are left out worse.
const PRIOR_WEIGHT: f64 = 1.5;

/// The constants that fit these best. Large messages count most, and each case as much as another.
pub(super) fn fit(measurements: &[&Measurement]) -> Calibration {
    let mut rows: BTreeMap<&str, u32> = BTreeMap::new();
    for row in measurements {
        *rows.entry(&row.case).or_default() += 1;
    }
    let weights: Vec<f64> =
        measurements.iter().map(|row| row.weight() / f64::from(rows[row.case.as_str()]).sqrt()).collect();
    let values = least_squares(&Parameter::ALL.map(Parameter::prior), PRIOR_WEIGHT, |values| {
        let calibration = Calibration::of(values);
        measurements.iter().zip(&weights).map(|(row, weight)| weight * row.log_error(&calibration)).collect()
    });
    Calibration::of(&values)
}
