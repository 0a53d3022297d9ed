//! Samples at regular instants.

use foretell_framework::Time;

use super::TimelineRow;

/// When samples are taken.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Sampling {
    /// At an interval of the run's own choice: between 1,000 and 2,000 samples, however long it lasts.
    #[default]
    Auto,
    /// At this interval; a run of more than a million samples doubles it until they are fewer.
    Every(Time),
}

/// Samples kept before the interval doubles.
const ROWS_MAX: usize = 2000;

/// The same where the interval was given: it bounds memory, not the size of a plot.
const GIVEN_ROWS_MAX: usize = 1_000_000;

/// The first interval of [`Sampling::Auto`].
const FIRST_INTERVAL: Time = Time::from_nanos(1_000_000_000);

pub(super) struct Timeline {
    rows_max: usize,
    interval: Time,
    next: Time,
    pub(super) rows: Vec<TimelineRow>,
}

impl Timeline {
    pub(super) fn new(sampling: Sampling) -> Self {
        let (rows_max, interval) = match sampling {
            Sampling::Auto => (ROWS_MAX, FIRST_INTERVAL),
            // An interval of zero would sample for ever.
            Sampling::Every(interval) => (GIVEN_ROWS_MAX, interval.max(Time::from_nanos(1))),
        };
        Self { rows_max, interval, next: Time::ZERO, rows: Vec::new() }
    }

    /// Takes the samples that fall before `to`, all of which see what `row` tells.
    pub(super) fn sample_until(&mut self, to: Time, row: impl Fn(Time) -> TimelineRow) {
        while self.next < to {
            self.rows.push(row(self.next));
            self.next = self.next + self.interval;
            if self.rows.len() >= self.rows_max {
                // Every other sample is one of the doubled interval.
                let mut keep = false;
                self.rows.retain(|_| {
                    keep = !keep;
                    keep
                });
                self.interval = self.interval + self.interval;
                self.next = Time::from_nanos(self.interval.as_nanos() * self.rows.len() as u64);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Steps of `step` seconds up to `end`: the instants and the interval of the samples.
    fn sample(sampling: Sampling, step: f64, end: f64) -> Vec<f64> {
        let mut timeline = Timeline::new(sampling);
        let mut to = 0.0;
        while to < end {
            to += step;
            timeline.sample_until(Time::from_s(to), |time| TimelineRow { time, ..TimelineRow::default() });
        }
        timeline.rows.iter().map(|row| row.time.as_s()).collect()
    }

    #[test]
    fn a_given_interval_is_kept() {
        let every = |seconds| Sampling::Every(Time::from_s(seconds));
        assert_eq!(sample(every(10.0), 25.0, 50.0), [0.0, 10.0, 20.0, 30.0, 40.0]);
        assert_eq!(sample(every(10.0), 1.0, 30.0), [0.0, 10.0, 20.0]);
    }

    #[test]
    fn the_automatic_interval_adapts_to_the_run() {
        for (step, end) in [(1.0, 100.0), (7.0, 7000.0), (1000.0, 1e6), (0.5, 3000.0), (12345.0, 1e9)] {
            let times = sample(Sampling::Auto, step, end);
            let interval = times[1] - times[0];
            assert!(
                times.len() < ROWS_MAX && (times.len() >= ROWS_MAX / 2 || interval <= 1.0),
                "{end}: {}",
                times.len()
            );
            assert!(
                times.iter().enumerate().all(|(index, &time)| (time - index as f64 * interval).abs() < 1e-6)
            );
        }
    }
}
