//! Fits the constants of kernels to measured steps.

use foretell_training::kernels::{Calibration, Parameter};

use super::measured::Measured;
use crate::fit::least_squares;

/// The constants that fit the steps of these best.
pub(super) fn fit(rows: &[&Measured]) -> Calibration {
    let values = least_squares(&Parameter::ALL.map(Parameter::prior), |values| {
        let calibration = Calibration::of(values);
        rows.iter().map(|row| row.log_error(&calibration).unwrap_or(0.0)).collect()
    });
    Calibration::of(&values)
}
