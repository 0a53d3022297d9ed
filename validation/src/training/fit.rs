//! Fits the constants of kernels to measured steps.

use foretell_training::kernels::{Calibration, Parameter};

use super::measured::Measured;
use crate::fit::least_squares;

/// How far constants are held to what is expected of them.
const PRIOR_WEIGHT: f64 = 0.2;

/// The constants that fit the steps of these best.
pub(super) fn fit(rows: &[&Measured]) -> Calibration {
    let values = least_squares(&Parameter::ALL.map(Parameter::prior), PRIOR_WEIGHT, |values| {
        let calibration = Calibration::of(values);
        rows.iter().map(|row| row.log_error(&calibration).unwrap_or(0.0)).collect()
    });
    Calibration::of(&values)
}
