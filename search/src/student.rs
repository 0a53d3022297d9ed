//! Student's distribution, for means of few runs.

use std::f64::consts::PI;

/// The value that Student's variable with so many degrees of freedom does not exceed with this probability, at least one half.
///
/// The distribution function is a finite sum for whole degrees of freedom (Abramowitz and Stegun, 26.7.3 and 26.7.4); its inverse is found by bisection.
pub fn quantile(probability: f64, freedom: u32) -> f64 {
    let (mut below, mut above) = (0.0, 1.0);
    while distribution(above, freedom) < probability && above < 1e12 {
        above *= 2.0;
    }
    for _ in 0..100 {
        let middle = f64::midpoint(below, above);
        if distribution(middle, freedom) < probability {
            below = middle;
        } else {
            above = middle;
        }
    }
    above
}

/// The probability that Student's variable is no more than `t`, which is not negative.
fn distribution(t: f64, freedom: u32) -> f64 {
    let angle = (t / f64::from(freedom).sqrt()).atan();
    let (sine, cosine) = angle.sin_cos();
    let is_odd = freedom % 2 == 1;
    // Terms of the sum: each is the one before it times cos² and the next fraction.
    let mut term = if is_odd { cosine } else { 1.0 };
    let mut sum = if freedom > 1 { term } else { 0.0 };
    let mut next = if is_odd { 3 } else { 2 };
    while next < freedom {
        term *= cosine * cosine * f64::from(next - 1) / f64::from(next);
        sum += term;
        next += 2;
    }
    let within = if is_odd { 2.0 / PI * (angle + sine * sum) } else { sine * sum };
    f64::midpoint(1.0, within)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From the tables that every book of statistics has.
    #[test]
    fn quantiles_are_those_of_the_tables() {
        let check = |probability, freedom, expected: f64| {
            let found = quantile(probability, freedom);
            assert!((found - expected).abs() < 6e-4, "{probability} {freedom}: {found}");
        };
        check(0.95, 1, 6.3138);
        check(0.95, 2, 2.9200);
        check(0.95, 3, 2.3534);
        check(0.95, 4, 2.1318);
        check(0.95, 7, 1.8946);
        check(0.975, 5, 2.5706);
        check(0.99, 2, 6.9646);
        check(0.99, 9, 2.8214);
        check(0.9, 30, 1.3104);
        check(0.5, 4, 0.0);
    }
}
