//! What a single run says of each demand.

use foretell_serving::metrics::Objective;
use foretell_serving::{Latencies, Outcome};

use crate::slo::{Measure, Metric, Slo, Statistic, Term};

/// Beyond this factor, in logarithms, it makes no difference by how much a time exceeds its limit or stays below: single runs far off would else drown the
/// others.
pub const EXCESS_CAP: f64 = std::f64::consts::LN_10;

const NS_PER_S: f64 = 1e9;

/// What became of the requests of a run.
#[derive(Clone, Copy, Debug)]
pub struct Run<'a> {
    /// Those that were answered.
    pub outcomes: &'a [Outcome],
    /// How many got nothing. They count as if each of their times were endless.
    pub refused: u64,
    /// Times from one token to the next.
    pub inter_token: &'a Latencies,
    /// What the scenario promises.
    pub objective: &'a Objective,
}

/// What a run says of each demand, in their order.
#[derive(Clone, PartialEq, Debug)]
pub struct Sample {
    /// What was measured; none where the run was cut short and it is not known.
    pub values: Vec<Option<f64>>,
    /// Whether it was cut short, since it had missed a demand for certain; its value is then the least that it can be.
    pub cut: bool,
}

impl Sample {
    /// Of a run that came to its end.
    pub fn of(run: &Run<'_>, slo: &Slo) -> Self {
        Self { values: slo.terms().iter().map(|term| Some(value(run, term))).collect(), cut: false }
    }

    /// Of a run that was cut short once the demand at `index` was missed, with a value of at least `value`.
    pub fn cut(slo: &Slo, index: usize, value: f64) -> Self {
        let values = (0..slo.terms().len()).map(|other| (other == index).then_some(value)).collect();
        Self { values, cut: true }
    }

    /// Whether this run met all demands.
    pub fn is_met(&self, slo: &Slo) -> bool {
        let met = |(value, term): (&Option<f64>, &Term)| value.is_some_and(|of| term.is_met(term.excess(of)));
        self.values.iter().zip(slo.terms()).all(met)
    }

    /// By how much the demand at `index` is exceeded, within [`EXCESS_CAP`].
    pub(crate) fn excess(&self, index: usize, term: &Term) -> Option<f64> {
        let value = *self.values.get(index)?;
        Some(term.excess(value?).clamp(-EXCESS_CAP, EXCESS_CAP))
    }
}

fn value(run: &Run<'_>, term: &Term) -> f64 {
    let all = run.outcomes.len() as u64 + run.refused;
    let share = |count: u64| if all > 0 { count as f64 / all as f64 } else { 0.0 };
    match term.measure {
        Measure::Latency(statistic, Metric::Itl) => inter_token(run.inter_token, statistic),
        Measure::Latency(statistic, metric) => latency(run, statistic, metric),
        Measure::Attainment => {
            let kept = run.outcomes.iter().filter(|one| one.meets(run.objective)).count() as u64;
            if all > 0 { share(kept) } else { 1.0 }
        }
        Measure::Rejected => share(run.refused),
        Measure::Backlog => growth(run.outcomes),
    }
}

fn latency(run: &Run<'_>, statistic: Statistic, metric: Metric) -> f64 {
    let outcomes = run.outcomes.iter();
    let mut values: Vec<f64> = match metric {
        Metric::Ttft => outcomes.map(Outcome::ttft_s).collect(),
        Metric::Tpot => outcomes.filter_map(Outcome::tpot_s).collect(),
        Metric::E2e => outcomes.map(Outcome::e2e_s).collect(),
        Metric::Queue | Metric::Itl => outcomes.map(Outcome::queue_s).collect(),
    };
    values.extend((0..run.refused).map(|_| f64::INFINITY));
    let Some(share) = statistic.share() else {
        let sum: f64 = values.iter().sum();
        return if values.is_empty() { 0.0 } else { sum / values.len() as f64 };
    };
    values.sort_by(f64::total_cmp);
    percentile(&values, share)
}

/// The percentile of values in order: on the line between the two nearest, as everywhere else.
pub fn percentile(sorted: &[f64], share: f64) -> f64 {
    let Some(last) = sorted.len().checked_sub(1) else { return 0.0 };
    let place = share * last as f64;
    let (below, above) = (sorted[place.floor() as usize], sorted[place.ceil() as usize]);
    // Beside what is endless there is no line.
    if below.to_bits() == above.to_bits() { below } else { below + (place - place.floor()) * (above - below) }
}

fn inter_token(latencies: &Latencies, statistic: Statistic) -> f64 {
    let count = latencies.count();
    if count == 0 {
        return 0.0;
    }
    let Some(share) = statistic.share() else {
        return latencies.sum_ns() as f64 / count as f64 / NS_PER_S;
    };
    let wanted = (share * count as f64).ceil().max(1.0) as u64;
    let mut seen = 0;
    let found = latencies.iter().find(|&(_, count)| {
        seen += count;
        seen >= wanted
    });
    found.map_or(latencies.max_ns(), |(latency_ns, _)| latency_ns) as f64 / NS_PER_S
}

/// Seconds by which requests stay longer for each second by which they arrive later: the slope of the line through times in the system by time of arrival (least
/// squares). What is served at the rate at which it arrives has none; if a share x arrives beyond what can be served, the wait grows by x ÷ (1 + x) a
/// second. The first quarter of arrivals, which find an empty system, is left out.
fn growth(outcomes: &[Outcome]) -> f64 {
    let mut by_arrival: Vec<(u64, f64)> = outcomes.iter().map(|one| (one.arrival_ns, one.e2e_s())).collect();
    by_arrival.sort_by(|one, other| one.0.cmp(&other.0).then(one.1.total_cmp(&other.1)));
    let settled = &by_arrival[by_arrival.len() / 4..];
    let Some(&(from_ns, _)) = settled.first() else { return 0.0 };
    let count = settled.len() as f64;
    let at = |arrival_ns: u64| (arrival_ns - from_ns) as f64 / NS_PER_S;
    let mean_at = settled.iter().map(|&(arrival_ns, _)| at(arrival_ns)).sum::<f64>() / count;
    let mean_s = settled.iter().map(|&(_, stay_s)| stay_s).sum::<f64>() / count;
    let (mut both, mut square) = (0.0, 0.0);
    for &(arrival_ns, stay_s) in settled {
        let away = at(arrival_ns) - mean_at;
        both += away * (stay_s - mean_s);
        square += away * away;
    }
    if square > 0.0 { both / square } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(arrival_s: f64, first_s: f64, last_s: f64, output_tokens: u32) -> Outcome {
        let ns = |seconds: f64| (seconds * 1e9).round() as u64;
        Outcome {
            request: 0,
            arrival_ns: ns(arrival_s),
            scheduled_ns: ns(arrival_s),
            first_token_ns: ns(first_s),
            last_token_ns: ns(last_s),
            prompt_tokens: 10,
            output_tokens,
            cached_tokens: 0,
            preemptions: 0,
        }
    }

    fn value_of(outcomes: &[Outcome], refused: u64, text: &str) -> f64 {
        let objective = Objective { ttft_s: Some(1.5), ..Objective::default() };
        let run = Run { outcomes, refused, inter_token: &Latencies::default(), objective: &objective };
        Sample::of(&run, &Slo::parse(text).unwrap()).values[0].unwrap()
    }

    #[test]
    fn values_are_those_of_requests() {
        // First tokens after 1, 2, 3 s; last ones after 3, 4, 5 s; eleven tokens each.
        let outcomes: Vec<_> =
            (1..=3).map(|first| outcome(0.0, f64::from(first), f64::from(first) + 2.0, 11)).collect();
        let check = |refused, text: &str, expected: f64| {
            let found = value_of(&outcomes, refused, text);
            assert!(
                (found - expected).abs() < 1e-9 || found.to_bits() == expected.to_bits(),
                "{text}: {found}"
            );
        };
        check(0, "mean ttft < 1s", 2.0);
        check(0, "max ttft < 1s", 3.0);
        check(0, "p50 e2e < 1s", 4.0);
        check(0, "p75 ttft < 1s", 2.5);
        check(0, "p99 tpot < 1s", 0.2);
        check(0, "p99 queue < 1s", 0.0);
        check(0, "p99 itl < 1s", 0.0);
        check(0, "rejected < 1%", 0.0);
        check(0, "attainment > 1%", 1.0 / 3.0);
        // Who got nothing waits for ever.
        check(1, "rejected < 1%", 0.25);
        check(1, "attainment > 1%", 0.25);
        check(1, "p50 ttft < 1s", 2.5);
        check(1, "p99 ttft < 1s", f64::INFINITY);
        check(1, "mean ttft < 1s", f64::INFINITY);
    }

    #[test]
    fn a_backlog_grows_where_more_arrives_than_is_served() {
        // One arrives a second, and each is served in so many, one after another.
        let check = |service_s: f64, expected: f64| {
            let mut free_s: f64 = 0.0;
            let outcomes: Vec<Outcome> = (0..400)
                .map(|index| {
                    let arrival_s = f64::from(index);
                    free_s = free_s.max(arrival_s) + service_s;
                    outcome(arrival_s, free_s, free_s, 1)
                })
                .collect();
            let found = growth(&outcomes);
            assert!((found - expected).abs() < 1e-6, "{service_s}: {found}");
        };
        check(0.5, 0.0);
        check(1.0, 0.0);
        check(1.1, 0.1);
        check(2.0, 1.0);
    }

    #[test]
    fn nothing_measured_exceeds_nothing() {
        assert_eq!(value_of(&[], 0, "p99 ttft < 1s").to_bits(), 0.0_f64.to_bits());
        assert_eq!(value_of(&[], 0, "backlog < 1%").to_bits(), 0.0_f64.to_bits());
    }
}
