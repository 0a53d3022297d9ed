//! Least squares over bounded constants, each held to what is expected of it.

/// What is expected of a constant, and between which bounds it is looked for.
pub(crate) type Prior = (f64, f64, f64);

/// Steps of Levenberg and Marquardt's method.
const STEPS: usize = 40;

/// Differences of a constant for the derivative, as a share of its range.
const DIFFERENCE: f64 = 1e-4;

/// Errors above this count linearly, not squared: measurements have outliers.
const LINEAR_ABOVE: f64 = 0.1;

/// The constants whose residuals are least, found from what is expected of them by Levenberg and Marquardt's method. `prior_weight` is how
/// far they are held to that: the weight of a departure by the whole range of one.
pub(crate) fn least_squares(
    priors: &[Prior],
    prior_weight: f64,
    of_rows: impl Fn(&[f64]) -> Vec<f64>,
) -> Vec<f64> {
    let range = |one: usize| priors[one].2 - priors[one].1;
    // Residuals of measurements, then of constants, in units of their ranges.
    let residuals = |values: &[f64]| -> Vec<f64> {
        let mut all = of_rows(values);
        all.extend(
            values.iter().enumerate().map(|(one, value)| prior_weight * (value - priors[one].0) / range(one)),
        );
        all
    };
    // What a residual costs once large ones count linearly, and its weight in the normal equations.
    let cost = |residuals: &[f64]| -> f64 {
        let soft = |residual: &f64| ((residual / LINEAR_ABOVE).powi(2) + 1.0).sqrt() - 1.0;
        residuals.iter().map(soft).sum()
    };
    let bounded = |one: usize, value: f64| value.clamp(priors[one].1, priors[one].2);
    let count = priors.len();
    let mut values: Vec<f64> = priors.iter().map(|&(prior, ..)| prior).collect();
    let mut damping = 1e-2;
    let mut current = residuals(&values);
    for _ in 0..STEPS {
        let derivatives: Vec<Vec<f64>> = (0..count)
            .map(|one| {
                let mut moved = values.clone();
                let step = DIFFERENCE * range(one);
                moved[one] = bounded(one, values[one] + step);
                // At its upper bound the other way.
                if moved[one] < values[one] + 0.5 * step {
                    moved[one] = bounded(one, values[one] - step);
                }
                let by = (moved[one] - values[one]) / range(one);
                residuals(&moved).iter().zip(&current).map(|(after, before)| (after - before) / by).collect()
            })
            .collect();
        let weight = |residual: f64| 1.0 / ((residual / LINEAR_ABOVE).powi(2) + 1.0).sqrt();
        let mut matrix = vec![vec![0.0; count]; count];
        let mut gradient = vec![0.0; count];
        for (row, &residual) in current.iter().enumerate() {
            let weight = weight(residual);
            for one in 0..count {
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
            let moved: Vec<f64> =
                (0..count).map(|one| bounded(one, values[one] - step[one] * range(one))).collect();
            let after = residuals(&moved);
            if cost(&after) < cost(&current) {
                (values, current) = (moved, after);
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
    values
}

/// Solves (matrix + damping times its diagonal) x = right by Cholesky's method; only the lower half of the matrix is read. Constants
/// that no residual depends on stay.
fn solve(matrix: &[Vec<f64>], right: &[f64], damping: f64) -> Vec<f64> {
    let count = right.len();
    let mut lower = vec![vec![0.0; count]; count];
    for one in 0..count {
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
    let mut solution = right.to_vec();
    for one in 0..count {
        for inner in 0..one {
            solution[one] -= lower[one][inner] * solution[inner];
        }
        solution[one] /= lower[one][one];
    }
    for one in (0..count).rev() {
        for inner in one + 1..count {
            solution[one] -= lower[inner][one] * solution[inner];
        }
        solution[one] /= lower[one][one];
    }
    solution
}
