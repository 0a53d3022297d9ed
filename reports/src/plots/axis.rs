//! Ranges, ticks and their labels.

use crate::units::{TimeUnit, fixed};

/// One axis of a chart. Values on it are positions: what a value means is in the labels of the ticks.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Axis {
    pub(super) label: String,
    pub(super) min: f64,
    pub(super) max: f64,
    pub(super) ticks: Vec<Tick>,
}

#[derive(Clone, PartialEq, Debug)]
pub(super) struct Tick {
    pub(super) at: f64,
    pub(super) label: String,
}

const TICKS_MAX: f64 = 9.0;

impl Axis {
    /// Simulated time in seconds, shown in whole units.
    pub(super) fn time(label: &str, min_s: f64, max_s: f64) -> Self {
        let max_s = if max_s > min_s { max_s } else { min_s + 1.0 };
        let span_s = max_s - min_s;
        let step_s = round_time_step(span_s / TICKS_MAX);
        let unit = [TimeUnit::Day, TimeUnit::Hour, TimeUnit::Minute]
            .into_iter()
            .find(|unit| {
                step_s >= unit.seconds() || (step_s * 2.0 >= unit.seconds() && span_s >= 4.0 * unit.seconds())
            })
            .unwrap_or(TimeUnit::Second);
        let decimals = decimals(step_s / unit.seconds());
        let ticks = multiples(step_s, min_s, max_s)
            .map(|at| Tick { at, label: fixed(at / unit.seconds(), decimals) })
            .collect();
        Self { label: format!("{label} ({})", unit.symbol()), min: min_s, max: max_s, ticks }
    }

    /// A quantity from zero up to at least `max`.
    pub(super) fn quantity(label: &str, max: f64, suffix: &str) -> Self {
        let max = if max > 0.0 { max } else { 1.0 };
        let step = round_step(max / TICKS_MAX);
        let max = (max / step - 1e-9).ceil() * step;
        Self::linear(label, max, step, suffix)
    }

    /// A count from zero up to at least `max`, with ticks at whole numbers.
    pub(super) fn whole(label: &str, max: f64) -> Self {
        let step = round_step(max.max(1.0) / TICKS_MAX).max(1.0);
        Self::linear(label, (max.max(1.0) / step - 1e-9).ceil() * step, step, "")
    }

    /// Per cent of something that cannot exceed it.
    pub(super) fn percent(label: &str) -> Self {
        Self::linear(label, 100.0, 20.0, "%")
    }

    fn linear(label: &str, max: f64, step: f64, suffix: &str) -> Self {
        let decimals = decimals(step);
        let ticks = multiples(step, 0.0, max)
            .map(|at| Tick { at, label: format!("{}{suffix}", fixed(at, decimals)) })
            .collect();
        Self { label: label.to_owned(), min: 0.0, max, ticks }
    }
}

/// Durations on a logarithmic scale that has a place for zero.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct DurationScale {
    /// What lies below is shown at the place for zero.
    lower_s: f64,
    upper_s: f64,
    /// Whether anything is shown at the place for zero, and what it is called.
    floor: Option<String>,
}

/// Ticks of a scale of durations, a decade or less apart.
const DURATION_TICKS_S: [(f64, &str); 16] = [
    (1e-6, "1 µs"),
    (1e-5, "10 µs"),
    (1e-4, "100 µs"),
    (1e-3, "1 ms"),
    (1e-2, "10 ms"),
    (1e-1, "100 ms"),
    (1.0, "1 s"),
    (10.0, "10 s"),
    (60.0, "1 min"),
    (600.0, "10 min"),
    (3_600.0, "1 h"),
    (21_600.0, "6 h"),
    (86_400.0, "1 d"),
    (864_000.0, "10 d"),
    (8_640_000.0, "100 d"),
    (86_400_000.0, "1000 d"),
];
/// Decades shown at most; below lies what nobody waits for.
const DECADES_MAX: f64 = 8.0;
/// Distance of the place for zero from the rest, in decades.
const FLOOR_DECADES: f64 = 0.8;
/// Room left of it, so that a line that rises there does not hide in the axis.
const FLOOR_MARGIN_DECADES: f64 = 0.12;

impl DurationScale {
    /// For values of which the smallest that is not zero and the largest are given.
    pub(super) fn new(has_zero: bool, positive_s: Option<(f64, f64)>) -> Self {
        let Some((min_s, max_s)) = positive_s else {
            return Self { lower_s: 1.0, upper_s: 60.0, floor: has_zero.then(|| "0".to_owned()) };
        };
        let shown_min_s = min_s.max(max_s / 10f64.powf(DECADES_MAX)).max(DURATION_TICKS_S[0].0);
        let mut ticks = DURATION_TICKS_S.iter().map(|tick| tick.0);
        let lower =
            DURATION_TICKS_S.iter().rfind(|tick| tick.0 <= shown_min_s).unwrap_or(&DURATION_TICKS_S[0]);
        let lower_s = lower.0;
        let upper_s =
            ticks.find(|tick_s| *tick_s >= max_s && *tick_s > lower_s).unwrap_or(max_s.max(2.0 * lower_s));
        let floor = match (min_s < lower_s, has_zero) {
            (true, _) => Some(format!("<{}", lower.1)),
            (false, true) => Some("0".to_owned()),
            (false, false) => None,
        };
        Self { lower_s, upper_s, floor }
    }

    /// Where a duration lies on the axis.
    pub(super) fn position(&self, duration_s: f64) -> f64 {
        let lower = self.lower_s.log10();
        if duration_s < self.lower_s { lower - FLOOR_DECADES } else { duration_s.log10() }
    }

    pub(super) fn axis(&self, label: &str) -> Axis {
        let floor = self.floor.clone().map(|label| Tick { at: self.position(0.0), label });
        let shown =
            DURATION_TICKS_S.iter().filter(|(tick_s, _)| (self.lower_s..=self.upper_s).contains(tick_s));
        let scale = shown.map(|(tick_s, label)| Tick { at: tick_s.log10(), label: (*label).to_owned() });
        Axis {
            label: format!("{label}, logarithmic scale"),
            min: floor.as_ref().map_or(self.lower_s.log10(), |floor| floor.at - FLOOR_MARGIN_DECADES),
            max: self.upper_s.log10(),
            ticks: floor.into_iter().chain(scale).collect(),
        }
    }
}

/// The shortest span that is not shorter than `raw_s` and that people count in.
pub(super) fn round_time_step(raw_s: f64) -> f64 {
    const STEPS_S: [f64; 19] = [
        1.0, 2.0, 5.0, 10.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 900.0, 1_800.0, 3_600.0, 7_200.0,
        10_800.0, 21_600.0, 43_200.0, 86_400.0, 172_800.0,
    ];
    let day_s = TimeUnit::Day.seconds();
    if raw_s < 0.5 * STEPS_S[0] {
        round_step(raw_s)
    } else {
        STEPS_S
            .into_iter()
            .find(|step_s| *step_s >= raw_s)
            .unwrap_or_else(|| round_step(raw_s / day_s) * day_s)
    }
}

/// The smallest of 1, 2 or 5 times a power of ten that is not smaller than `raw`.
fn round_step(raw: f64) -> f64 {
    let decade = 10f64.powf(raw.log10().floor());
    [1.0, 2.0, 5.0, 10.0]
        .into_iter()
        .map(|factor| factor * decade)
        .find(|step| *step >= raw)
        .unwrap_or(10.0 * decade)
}

/// Decimals that show a multiple of `step` exactly.
fn decimals(step: f64) -> usize {
    (0..9)
        .find(|decimals| (step * 10f64.powi(*decimals) - (step * 10f64.powi(*decimals)).round()).abs() < 1e-6)
        .unwrap_or(9) as usize
}

fn multiples(step: f64, min: f64, max: f64) -> impl Iterator<Item = f64> {
    let first = (min / step - 1e-9).ceil() as u64;
    let last = (max / step + 1e-9).floor() as u64;
    (first..=last).map(move |index| index as f64 * step)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(axis: &Axis) -> String {
        let ticks: Vec<&str> = axis.ticks.iter().map(|tick| tick.label.as_str()).collect();
        format!("{}: {}", axis.label, ticks.join(" "))
    }

    #[test]
    fn time_is_shown_in_whole_units() {
        let check = |max_s, expected: &str| assert_eq!(labels(&Axis::time("time", 0.0, max_s)), expected);
        check(0.0, "time (s): 0.0 0.2 0.4 0.6 0.8 1.0");
        check(100.0, "time (s): 0 15 30 45 60 75 90");
        check(3_600.0, "time (min): 0 10 20 30 40 50 60");
        check(86_400.0, "time (h): 0 3 6 9 12 15 18 21 24");
        check(4.0 * 86_400.0, "time (d): 0.0 0.5 1.0 1.5 2.0 2.5 3.0 3.5 4.0");
        check(149.0 * 86_400.0, "time (d): 0 20 40 60 80 100 120 140");
        check(3_000.0 * 86_400.0, "time (d): 0 500 1,000 1,500 2,000 2,500 3,000");
    }

    #[test]
    fn quantities_reach_beyond_the_largest() {
        let check = |max, expected: &str| assert_eq!(labels(&Axis::quantity("jobs", max, "")), expected);
        check(0.0, "jobs: 0.0 0.2 0.4 0.6 0.8 1.0");
        check(7.0, "jobs: 0 1 2 3 4 5 6 7");
        check(4_321.0, "jobs: 0 500 1,000 1,500 2,000 2,500 3,000 3,500 4,000 4,500");
    }

    #[test]
    fn counts_have_ticks_at_whole_numbers() {
        let check = |max, expected: &str| assert_eq!(labels(&Axis::whole("GPUs", max)), expected);
        check(0.0, "GPUs: 0 1");
        check(4.0, "GPUs: 0 1 2 3 4");
        check(17.0, "GPUs: 0 2 4 6 8 10 12 14 16 18");
    }

    #[test]
    fn durations_have_a_place_for_zero() {
        let check = |has_zero, positive_s, expected: &str| {
            assert_eq!(labels(&DurationScale::new(has_zero, positive_s).axis("delay")), expected);
        };
        check(true, None, "delay, logarithmic scale: 0 1 s 10 s 1 min");
        check(false, None, "delay, logarithmic scale: 1 s 10 s 1 min");
        check(true, Some((30.0, 4_000.0)), "delay, logarithmic scale: 0 10 s 1 min 10 min 1 h 6 h");
        check(false, Some((60.0, 60.0)), "delay, logarithmic scale: 1 min 10 min");
        check(
            false,
            Some((1e-9, 5.0)),
            "delay, logarithmic scale: <1 µs 1 µs 10 µs 100 µs 1 ms 10 ms 100 ms 1 s 10 s",
        );
    }

    #[test]
    fn zero_lies_left_of_everything() {
        let scale = DurationScale::new(true, Some((1.0, 100.0)));
        assert!(scale.position(0.0) < scale.position(1.0));
        assert!((scale.position(10.0) - 1.0).abs() < 1e-12);
    }
}
