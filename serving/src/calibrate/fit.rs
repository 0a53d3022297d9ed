//! Least squares of relative errors over bounded constants.

/// A constant: where the search begins, and the bounds. All are positive and searched on a scale of logarithms.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Range {
    pub(crate) start: f64,
    pub(crate) low: f64,
    pub(crate) high: f64,
}

/// Steps of Levenberg and Marquardt's method at most.
const STEPS: usize = 60;

/// Relative change of a constant for the derivative.
const DIFFERENCE: f64 = 1e-4;

/// Errors above this count linearly, not squared: timings have outliers.
const LINEAR_ABOVE: f64 = 0.1;

/// The constants with the least `log(law / measured)`, which `residuals` puts in the vector that it is given.
pub(crate) fn least_squares(ranges: &[Range], residuals: impl Fn(&[f64], &mut Vec<f64>)) -> Vec<f64> {
    let count = ranges.len();
    let evaluate = |logs: &[f64], into: &mut Vec<f64>| {
        let values: Vec<f64> = logs.iter().map(|&log| libm::exp(log)).collect();
        into.clear();
        residuals(&values, into);
    };
    let bounded = |one: usize, log: f64| log.clamp(libm::log(ranges[one].low), libm::log(ranges[one].high));
    let cost = |residuals: &[f64]| -> f64 {
        residuals.iter().map(|one| ((one / LINEAR_ABOVE).powi(2) + 1.0).sqrt() - 1.0).sum()
    };
    let mut logs: Vec<f64> = (0..count).map(|one| bounded(one, libm::log(ranges[one].start))).collect();
    let (mut current, mut moved) = (Vec::new(), Vec::new());
    evaluate(&logs, &mut current);
    let mut damping = 1e-2;
    for _ in 0..STEPS {
        let mut derivatives = Vec::with_capacity(count);
        for one in 0..count {
            let mut at = logs.clone();
            at[one] = bounded(one, logs[one] + DIFFERENCE);
            if at[one] < logs[one] + 0.5 * DIFFERENCE {
                at[one] = bounded(one, logs[one] - DIFFERENCE);
            }
            let by = at[one] - logs[one];
            evaluate(&at, &mut moved);
            let of: Vec<f64> =
                moved.iter().zip(&current).map(|(after, before)| (after - before) / by).collect();
            derivatives.push(of);
        }
        let (mut matrix, mut gradient) = (vec![vec![0.0; count]; count], vec![0.0; count]);
        for (row, &residual) in current.iter().enumerate() {
            let weight = 1.0 / ((residual / LINEAR_ABOVE).powi(2) + 1.0).sqrt();
            for one in 0..count {
                let derivative = weight * derivatives[one][row];
                gradient[one] += derivative * residual;
                for other in 0..=one {
                    matrix[one][other] += derivative * derivatives[other][row];
                }
            }
        }
        let before = cost(&current);
        let mut gain = 0.0;
        for _ in 0..10 {
            let step = solve(&matrix, &gradient, damping);
            let next: Vec<f64> = (0..count).map(|one| bounded(one, logs[one] - step[one])).collect();
            evaluate(&next, &mut moved);
            let after = cost(&moved);
            if after < before {
                gain = before - after;
                logs = next;
                std::mem::swap(&mut current, &mut moved);
                damping = f64::max(damping / 5.0, 1e-10);
                break;
            }
            damping *= 5.0;
        }
        if gain <= 1e-7 * before {
            break;
        }
    }
    logs.into_iter().map(libm::exp).collect()
}

/// Solves (matrix + damping times its diagonal) x = right by Cholesky's method; only the lower half of the matrix is read.
fn solve(matrix: &[Vec<f64>], right: &[f64], damping: f64) -> Vec<f64> {
    let count = right.len();
    let mut lower = vec![vec![0.0; count]; count];
    for one in 0..count {
        for other in 0..=one {
            let mut sum = matrix[one][other];
            if one == other {
                // A constant without effect has no diagonal, and stays.
                sum += damping * sum + 1e-9;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_constants_that_made_the_data() {
        let points: Vec<(f64, f64)> =
            (0..200_i32).map(|i| (libm::exp2(f64::from(i % 20)), f64::from(i / 20) * 40.0)).collect();
        let law = |x: &[f64], (a, b): (f64, f64)| x[0] * a + x[1] * b + x[2];
        let truth = [0.3, 7.0, 25.0];
        let range = |start| Range { start, low: 1e-3, high: 1e3 };
        let found = least_squares(&[range(1.0), range(1.0), range(1.0)], |x, into| {
            into.extend(points.iter().map(|&at| libm::log(law(x, at) / law(&truth, at))));
        });
        for (found, truth) in found.iter().zip(truth) {
            assert!((found / truth - 1.0).abs() < 1e-3, "{found} {truth}");
        }
    }

    #[test]
    fn stays_within_bounds() {
        let found = least_squares(&[Range { start: 1.0, low: 0.5, high: 2.0 }], |x, into| {
            into.push(libm::log(x[0] / 10.0));
        });
        assert!((found[0] - 2.0).abs() < 1e-9);
    }
}
