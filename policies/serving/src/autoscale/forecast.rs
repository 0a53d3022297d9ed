//! What comes next in a series.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

/// How much of what [`HoltWinters`] knows is new at each value, from 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Weights {
    /// Of the level: 0.5.
    pub level: f64,
    /// Of the trend: 0.1.
    pub trend: f64,
    /// Of what a point of the season adds: 0.3.
    pub season: f64,
}

impl Default for Weights {
    fn default() -> Self {
        Self { level: 0.5, trend: 0.1, season: 0.3 }
    }
}

/// Triple exponential smoothing with seasons that add up (Holt 1957, Winters 1960): a level, a trend, and what each point of a season adds.
///
/// The first season sets the level to its mean, the trend to 0 and what each point adds to how it differs from the mean. From then on a value `y` makes
/// `level' = a (y - season) + (1 - a)(level + trend)`, `trend' = b (level' - level) + (1 - b) trend`,
/// `season' = c (y - level') + (1 - c) season`.
#[derive(Clone, Debug, PartialEq)]
pub struct HoltWinters {
    weights: Weights,
    season_length: usize,
    level: f64,
    trend: f64,
    season: Vec<f64>,
    seen: usize,
}

impl HoltWinters {
    /// With a season of so many values (at least 1).
    pub fn new(season_length: usize, weights: Weights) -> Self {
        Self {
            weights,
            season_length: season_length.max(1),
            level: 0.0,
            trend: 0.0,
            season: Vec::new(),
            seen: 0,
        }
    }

    /// One more value.
    pub fn record(&mut self, value: f64) {
        let length = self.season_length;
        let point = self.seen % length;
        self.seen += 1;
        if self.seen <= length {
            self.season.push(value);
            if self.seen == length {
                self.level = self.season.iter().sum::<f64>() / length as f64;
                let level = self.level;
                self.season.iter_mut().for_each(|added| *added -= level);
            }
            return;
        }
        let (before, season) = (self.level, self.season[point]);
        let Weights { level, trend, season: added } = self.weights;
        self.level = level * (value - season) + (1.0 - level) * (before + self.trend);
        self.trend = trend * (self.level - before) + (1.0 - trend) * self.trend;
        self.season[point] = added * (value - self.level) + (1.0 - added) * season;
    }

    /// The value `steps` (at least 1) from the latest; none before a season was seen.
    pub fn forecast(&self, steps: usize) -> Option<f64> {
        if self.seen < self.season_length {
            return None;
        }
        let steps = steps.max(1);
        let point = (self.seen + steps - 1) % self.season_length;
        Some(self.level + steps as f64 * self.trend + self.season[point])
    }
}

/// How the next value of a series is guessed.
#[derive(Clone, Debug, PartialEq)]
pub enum Predictor {
    /// It is the latest.
    Constant,
    /// It is the mean of the latest so many.
    MovingAverage(usize),
    /// It follows season and trend; until a season was seen it is the latest.
    HoltWinters(HoltWinters),
}

/// A series that a predictor watches.
#[derive(Clone, Debug)]
pub(super) struct Series {
    predictor: Predictor,
    latest: VecDeque<f64>,
}

impl Series {
    pub(super) fn new(predictor: Predictor) -> Self {
        Self { predictor, latest: VecDeque::new() }
    }

    /// One more value, and the guess at the next. Never below 0.
    pub(super) fn next(&mut self, value: f64) -> f64 {
        let kept = if let Predictor::MovingAverage(length) = self.predictor { length.max(1) } else { 1 };
        self.latest.push_back(value);
        while self.latest.len() > kept {
            self.latest.pop_front();
        }
        let guess = match &mut self.predictor {
            Predictor::Constant => value,
            Predictor::MovingAverage(_) => self.latest.iter().sum::<f64>() / self.latest.len() as f64,
            Predictor::HoltWinters(smoothing) => {
                smoothing.record(value);
                smoothing.forecast(1).unwrap_or(value)
            }
        };
        guess.max(0.0)
    }
}
