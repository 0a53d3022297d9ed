//! A function of a whole number, kept at hand.

/// Up to here every value is kept.
const EACH: u32 = 256;

/// From there on one of so many, and between them a line.
const STEP: u32 = 8;

/// A function of a whole number from 0: exact up to [`EACH`], then a line between every [`STEP`]th value, and continued by its last line.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Curve(Vec<f64>);

impl Curve {
    /// Tabulates up to `last`.
    pub(crate) fn new(last: u32, mut of: impl FnMut(u32) -> f64) -> Self {
        let further = last.saturating_sub(EACH).div_ceil(STEP).max(1);
        let near = 0..=EACH;
        Self(near.chain((1..=further).map(|step| EACH + step * STEP)).map(&mut of).collect())
    }

    /// Its value.
    #[inline]
    pub(crate) fn at(&self, of: u32) -> f64 {
        if of <= EACH {
            return self.0[of as usize];
        }
        let beyond = of - EACH;
        let left = ((EACH + beyond / STEP) as usize).min(self.0.len() - 2);
        let share = f64::from(of - EACH - (left as u32 - EACH) * STEP) / f64::from(STEP);
        self.0[left] + (self.0[left + 1] - self.0[left]) * share
    }

    /// The sum of both, where both were tabulated as far.
    pub(crate) fn plus(&self, other: &Self) -> Self {
        Self(self.0.iter().zip(&other.0).map(|(one, other)| one + other).collect())
    }
}

/// A function that was measured at some points: lines between them, the last line continued; before the first point its value holds.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Series {
    at: Vec<f64>,
    values: Vec<f64>,
}

impl Series {
    /// From points in any order; of several at one place the last holds.
    pub fn new(mut points: Vec<(f64, f64)>) -> Self {
        points.sort_by(|one, other| one.0.total_cmp(&other.0));
        let mut series = Self::default();
        for (at, value) in points {
            if series.at.last() == Some(&at) {
                series.values.pop();
            } else {
                series.at.push(at);
            }
            series.values.push(value);
        }
        series
    }

    /// Whether there are no points.
    pub fn is_empty(&self) -> bool {
        self.at.is_empty()
    }

    /// Its points.
    pub fn points(&self) -> impl Iterator<Item = (f64, f64)> + '_ {
        self.at.iter().copied().zip(self.values.iter().copied())
    }

    /// Its value; 0 without points.
    pub fn at(&self, of: f64) -> f64 {
        let Some((segment, share)) = segment(&self.at, of) else {
            return self.values.first().copied().unwrap_or(0.0);
        };
        self.values[segment] + (self.values[segment + 1] - self.values[segment]) * share
    }
}

/// Between which two of `anchors` a value lies, and how far along: 0 before the first, more than 1 beyond the last. None if there are
/// fewer than two.
#[inline]
pub(crate) fn segment(anchors: &[f64], of: f64) -> Option<(usize, f64)> {
    if anchors.len() < 2 {
        return None;
    }
    let left = anchors[1..anchors.len() - 1].partition_point(|&anchor| anchor <= of);
    Some((left, ((of - anchors[left]) / (anchors[left + 1] - anchors[left])).max(0.0)))
}
