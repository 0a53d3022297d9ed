//! Fits the constants of the model to measurements: least squares of the logarithm of predicted over measured time.

use std::collections::BTreeMap;

use foretell_fabric::collectives::{Calibration, Parameter};

use super::measured::Measurement;

const N: usize = Parameter::ALL.len();

/// Steps of Levenberg and Marquardt's method.
const STEPS: usize = 40;

/// Differences of a constant for the derivative, as a share of its range.
const DIFFERENCE: f64 = 1e-4;

/// How far a constant is held to what is expected of it: the weight of a departure by its whole range.
const PRIOR_WEIGHT: f64 = 0.2;

/// Errors above this count linearly, not squared: measurements have outliers.
const LINEAR_ABOVE: f64 = 0.1;

/// The constants that fit these best. Large messages count most, and each case as much as another.
pub(super) fn fit(measurements: &[&Measurement]) -> Calibration {
    let mut rows: BTreeMap<&str, u32> = BTreeMap::new();
    for row in measurements {
        *rows.entry(&row.case).or_default() += 1;
    }
    let weights: Vec<f64> =
        measurements.iter().map(|row| row.weight() / f64::from(rows[row.case.as_str()]).sqrt()).collect();
    let range = |parameter: Parameter| {
        let (_, least, most) = parameter.prior();
        most - least
    };
    // Residuals of measurements, then of constants, in units of their ranges.
    let residuals = |calibration: &Calibration| -> Vec<f64> {
        let of_rows =
            measurements.iter().zip(&weights).map(|(row, weight)| weight * row.log_error(calibration));
        let of_priors = Parameter::ALL
            .into_iter()
            .map(|one| PRIOR_WEIGHT * (calibration.get(one) - one.prior().0) / range(one));
        of_rows.chain(of_priors).collect()
    };
    // What a residual costs once large ones count linearly, and its weight in the normal equations.
    let cost = |residuals: &[f64]| -> f64 {
        let soft = |residual: &f64| ((residual / LINEAR_ABOVE).powi(2) + 1.0).sqrt() - 1.0;
        residuals.iter().map(soft).sum()
    };
    let mut calibration = Calibration::prior();
    let mut damping = 1e-2;
    let mut current = residuals(&calibration);
    for _ in 0..STEPS {
        let derivatives: Vec<Vec<f64>> = Parameter::ALL
            .into_iter()
            .map(|one| {
                let mut moved = calibration.clone();
                let step = DIFFERENCE * range(one);
                moved.set(one, calibration.get(one) + step);
                // At its upper bound the other way.
                if moved.get(one) < calibration.get(one) + 0.5 * step {
                    moved.set(one, calibration.get(one) - step);
                }
                let by = (moved.get(one) - calibration.get(one)) / range(one);
                residuals(&moved).iter().zip(&current).map(|(after, before)| (after - before) / by).collect()
            })
            .collect();
        let weight = |residual: f64| 1.0 / ((residual / LINEAR_ABOVE).powi(2) + 1.0).sqrt();
        let mut matrix = [[0.0; N]; N];
        let mut gradient = [0.0; N];
        for (row, &residual) in current.iter().enumerate() {
            let weight = weight(residual);
            for one in 0..N {
                let derivative = weight * derivatives[one][row];
                if derivative != 0.0 {
                    gradient[one] += derivative * residual;
                    for other in 0..=one {
                        matrix[one][other] += derivative * derivatives[other][row];
                    }
                }
            }
        }
        let mut improved = false;
        for _ in 0..8 {
            let step = solve(&matrix, &gradient, damping);
            let mut moved = calibration.clone();
            for (one, step) in Parameter::ALL.into_iter().zip(step) {
                moved.set(one, calibration.get(one) - step * range(one));
            }
            let after = residuals(&moved);
            if cost(&after) < cost(&current) {
                (calibration, current) = (moved, after);
                damping = f64::max(damping / 3.0, 1e-9);
                improved = true;
                break;
            }
            damping *= 4.0;
        }
        if !improved {
            break;
        }
    }
    calibration
}

/// Solves (matrix + damping times its diagonal) x = right by Cholesky's method; only the lower half of the matrix is read. Constants
/// that no residual depends on stay.
fn solve(matrix: &[[f64; N]; N], right: &[f64; N], damping: f64) -> [f64; N] {
    let mut lower = [[0.0; N]; N];
    for one in 0..N {
        for other in 0..=one {
            let mut sum = matrix[one][other];
            if one == other {
                sum += damping * sum + 1e-12;
            }
            let known = lower[one].iter().zip(&lower[other]).take(other);
            sum -= known.map(|(one, other)| one * other).sum::<f64>();
            lower[one][other] = if one == other { sum.max(1e-12).sqrt() } else { sum / lower[other][other] };
        }
    }
    let mut solution = *right;
    for one in 0..N {
        for inner in 0..one {
            solution[one] -= lower[one][inner] * solution[inner];
        }
        solution[one] /= lower[one][one];
    }
    for one in (0..N).rev() {
        for inner in one + 1..N {
            solution[one] -= lower[inner][one] * solution[inner];
        }
        solution[one] /= lower[one][one];
    }
    solution
}
