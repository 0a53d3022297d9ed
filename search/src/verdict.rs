//! What runs with several seeds say together.

use crate::sample::Sample;
use crate::slo::Slo;
use crate::student::quantile;

/// How sure one wants to be.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Confidence {
    /// How likely a verdict is right, at least: 0.5 to 1.
    pub level: f64,
    /// Seeds of every point that matters.
    pub seeds_min: u32,
    /// Seeds of a point that stays undecided.
    pub seeds_max: u32,
}

impl Default for Confidence {
    fn default() -> Self {
        Self { level: 0.95, seeds_min: 3, seeds_max: 8 }
    }
}

/// What is known of a point.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// All demands are met, each with the confidence asked for.
    Held,
    /// One of them is not, with the confidence asked for.
    Missed,
    /// The runs differ too much to say.
    Open,
}

/// What samples say of all demands, each for itself: their excess is taken as normal over seeds, and its mean held against zero by Student's one-sided test. A run
/// that was cut short is enough for a point not to be held. A single sample decides as it is.
pub fn verdict(samples: &[Sample], slo: &Slo, confidence: &Confidence) -> Verdict {
    let mut all_met = !samples.is_empty() && samples.iter().all(|sample| !sample.cut);
    for (index, term) in slo.terms().iter().enumerate() {
        let excesses: Vec<f64> = samples.iter().filter_map(|sample| sample.excess(index, term)).collect();
        if excesses.is_empty() {
            continue;
        }
        let count = excesses.len() as f64;
        let mean = excesses.iter().sum::<f64>() / count;
        // Of several runs a single one that says something does not count.
        if excesses.len() == 1 && samples.len() > 1 {
            all_met = false;
            continue;
        }
        let half = if excesses.len() > 1 {
            let square: f64 = excesses.iter().map(|excess| (excess - mean) * (excess - mean)).sum();
            let deviation = (square / (count - 1.0)).sqrt();
            quantile(confidence.level, excesses.len() as u32 - 1) * deviation / count.sqrt()
        } else {
            0.0
        };
        if !term.is_met(mean - half) {
            return Verdict::Missed;
        }
        all_met &= term.is_met(mean + half);
    }
    if all_met { Verdict::Held } else { Verdict::Open }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_runs_say_together() {
        let slo = Slo::parse("p99 ttft < 1s, rejected <= 0%, backlog < 5%").unwrap();
        let check = |values: &[f64], expected: Verdict| {
            let sample = |&value: &f64| match value {
                // A negative one stands for a run that was cut short.
                ..0.0 => Sample::cut(&slo, 0, -value),
                value => Sample { values: vec![Some(value), Some(0.0), Some(0.0)], cut: false },
            };
            let samples: Vec<Sample> = values.iter().map(sample).collect();
            assert_eq!(verdict(&samples, &slo, &Confidence::default()), expected, "{values:?}");
        };
        check(&[], Verdict::Open);
        check(&[0.9], Verdict::Held);
        check(&[1.0], Verdict::Missed);
        check(&[1.1], Verdict::Missed);
        check(&[-1.5], Verdict::Missed);
        check(&[0.5, 0.5, 0.5], Verdict::Held);
        check(&[0.5, 0.6, 0.4], Verdict::Held);
        check(&[0.9, 0.5, 1.1], Verdict::Open);
        check(&[1.5, 1.6, 1.4], Verdict::Missed);
        check(&[-1.5, -1.5, -1.5], Verdict::Missed);
        check(&[-1.5, 0.9, 0.9], Verdict::Open);
        check(&[-1.5, 0.2, 0.2, 0.2, 0.2, 0.2, 0.2, 0.2], Verdict::Open);
        // Two with (ln 0.5, ln 0.9) are not enough: 6.3 deviations.
        check(&[0.5, 0.9], Verdict::Open);
    }

    #[test]
    fn each_demand_counts() {
        let slo = Slo::parse("p99 ttft < 1s, attainment >= 90%, backlog < 5%").unwrap();
        let check = |ttft_s, attainment, backlog, expected: Verdict| {
            let sample = Sample { values: vec![Some(ttft_s), Some(attainment), Some(backlog)], cut: false };
            let samples = [sample.clone(), sample.clone(), sample];
            assert_eq!(verdict(&samples, &slo, &Confidence::default()), expected);
        };
        check(0.5, 0.9, 0.01, Verdict::Held);
        check(0.5, 0.8, 0.01, Verdict::Missed);
        check(0.5, 0.9, 0.06, Verdict::Missed);
        check(f64::INFINITY, 0.9, 0.0, Verdict::Missed);
        check(0.0, 1.0, -0.2, Verdict::Held);
    }
}
