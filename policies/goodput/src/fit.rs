//! Pollux' model of step times, fitted to a profile.

use crate::{StepTime, StepTimes};

/// A measured step.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Sample {
    /// Nodes.
    pub nodes: u32,
    /// GPUs over all of them.
    pub gpus: u32,
    /// Examples that a GPU worked on.
    pub local_batch: f64,
    /// How long it took.
    pub time: StepTime,
}

/// Pollux' model (OSDI'21, section 3.2): with `b` examples per GPU and `k` GPUs
///
/// ```text
///   compute = alpha_c + beta_c b
///   sync    = 0 on one GPU, alpha_r + beta_r (k - 2) within a node, alpha_n + beta_n (k - 2) between nodes
///   step    = (compute^gamma + sync^gamma)^(1 / gamma)
/// ```
///
/// where gamma says how much of the exchange is hidden behind the computation: 1 is nothing.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct FittedTimes {
    /// Seconds of a pass without examples.
    pub alpha_compute_s: f64,
    /// Seconds per example.
    pub beta_compute_s: f64,
    /// Seconds of the exchange between two GPUs of different nodes.
    pub alpha_nodes_s: f64,
    /// Seconds that each further GPU adds to it.
    pub beta_nodes_s: f64,
    /// Seconds of the exchange between two GPUs of a node.
    pub alpha_local_s: f64,
    /// Seconds that each further GPU adds to it.
    pub beta_local_s: f64,
    /// 1 to 10.
    pub gamma: f64,
}

impl StepTimes for FittedTimes {
    fn step_time(&self, nodes: u32, gpus: u32, local_batch: f64) -> Option<StepTime> {
        let compute_s = self.alpha_compute_s + self.beta_compute_s * local_batch;
        let further = f64::from(gpus.saturating_sub(2));
        let sync_s = match (nodes, gpus) {
            (_, ..=1) => 0.0,
            (..=1, _) => self.alpha_local_s + self.beta_local_s * further,
            _ => self.alpha_nodes_s + self.beta_nodes_s * further,
        };
        let sum = libm::pow(compute_s, self.gamma) + libm::pow(sync_s, self.gamma);
        Some(StepTime { compute_s, step_s: libm::pow(sum, 1.0 / self.gamma) })
    }
}

/// Number of parameters.
const SIZE: usize = 7;
/// The search is over logarithms; gamma's is between those of 1 and 10.
type Point = [f64; SIZE];

const STEPS: u32 = 1500;
/// The search starts anew, smaller, from where it has come to: a simplex may collapse.
const STARTS: u32 = 3;
/// Logarithms of seconds below which nothing is told apart.
const FLOOR: f64 = -18.0;

fn model(point: &Point) -> FittedTimes {
    let value = |at: usize| libm::exp(point[at].clamp(FLOOR, 10.0));
    FittedTimes {
        alpha_compute_s: value(0),
        beta_compute_s: value(1),
        alpha_nodes_s: value(2),
        beta_nodes_s: value(3),
        alpha_local_s: value(4),
        beta_local_s: value(5),
        gamma: value(6).clamp(1.0, 10.0),
    }
}

/// Mean squared error of logarithms, of computation and of whole steps alike, and a little that draws what the profile
/// does not show to no growth and no overlap, as Pollux does.
fn loss(point: &Point, samples: &[Sample]) -> f64 {
    let fitted = model(point);
    let square = |one: f64, other: f64| {
        let error = libm::log(one.max(1e-9)) - libm::log(other.max(1e-9));
        error * error
    };
    let mut sum = 0.0;
    for sample in samples {
        let Some(time) = fitted.step_time(sample.nodes, sample.gpus, sample.local_batch) else { continue };
        sum += square(time.compute_s, sample.time.compute_s) + square(time.step_s, sample.time.step_s);
    }
    let growth = |beta: f64, alpha: f64| (beta / alpha) * (beta / alpha);
    let prior = 1e-3 * (fitted.gamma - 1.0) * (fitted.gamma - 1.0)
        + 1e-2 * growth(fitted.beta_nodes_s, fitted.alpha_nodes_s)
        + 1e-2 * growth(fitted.beta_local_s, fitted.alpha_local_s);
    // Bounds: beyond them the value does not change, and the search is drawn back.
    let outside = |value: f64, low: f64, high: f64| (low - value).max(value - high).max(0.0);
    let beyond: f64 = point[..6].iter().map(|&value| outside(value, FLOOR, 10.0)).sum();
    let beyond = beyond + outside(point[6], 0.0, libm::log(10.0));
    sum / samples.len() as f64 + 1e-2 * prior + beyond
}

/// Fits the model to a profile by the simplex search of Nelder and Mead; nothing without samples. Where the profile has no
/// step between nodes, exchange between nodes is taken to cost what it costs within one, and the other way round.
pub fn fit(samples: &[Sample]) -> Option<FittedTimes> {
    let first = samples.first()?;
    let least = samples.iter().map(|sample| sample.time.compute_s).fold(first.time.compute_s, f64::min);
    let least = libm::log(least.max(1e-7));
    let largest = samples.iter().map(|sample| sample.local_batch).fold(1.0, f64::max);
    let start =
        [least - 0.7, least - libm::log(largest), least - 1.0, least - 4.0, least - 1.0, least - 4.0, 0.3];
    let mut best = start;
    for round in 0..STARTS {
        best = descend(best, 1.0 / f64::from(1 + round), samples);
    }
    let mut fitted = model(&best);
    let spans = samples.iter().any(|sample| sample.nodes > 1 && sample.gpus > 1);
    let shares = samples.iter().any(|sample| sample.nodes == 1 && sample.gpus > 1);
    if !spans {
        (fitted.alpha_nodes_s, fitted.beta_nodes_s) = (fitted.alpha_local_s, fitted.beta_local_s);
    } else if !shares {
        (fitted.alpha_local_s, fitted.beta_local_s) = (fitted.alpha_nodes_s, fitted.beta_nodes_s);
    }
    Some(fitted)
}

fn descend(start: Point, size: f64, samples: &[Sample]) -> Point {
    let mut simplex = [(0.0, start); SIZE + 1];
    for (at, corner) in simplex.iter_mut().enumerate() {
        if at > 0 {
            corner.1[at - 1] += size;
        }
        corner.0 = loss(&corner.1, samples);
    }
    for _ in 0..STEPS {
        simplex.sort_by(|one, other| one.0.total_cmp(&other.0));
        let (worst, last) = (simplex[SIZE], simplex[SIZE - 1].0);
        if worst.0 - simplex[0].0 < 1e-12 {
            break;
        }
        let mut centre = [0.0; SIZE];
        for (_, corner) in &simplex[..SIZE] {
            centre.iter_mut().zip(corner).for_each(|(sum, value)| *sum += value / SIZE as f64);
        }
        let along = |factor: f64| {
            let mut point = centre;
            point.iter_mut().zip(&worst.1).for_each(|(value, far)| *value += factor * (*value - far));
            (loss(&point, samples), point)
        };
        let reflected = along(1.0);
        simplex[SIZE] = if reflected.0 < simplex[0].0 {
            let expanded = along(2.0);
            if expanded.0 < reflected.0 { expanded } else { reflected }
        } else if reflected.0 < last {
            reflected
        } else {
            let contracted = along(if reflected.0 < worst.0 { 0.5 } else { -0.5 });
            if contracted.0 < worst.0.min(reflected.0) {
                contracted
            } else {
                let (best, rest) = simplex.split_at_mut(1);
                for corner in rest {
                    corner
                        .1
                        .iter_mut()
                        .zip(&best[0].1)
                        .for_each(|(value, near)| *value = f64::midpoint(*value, *near));
                    corner.0 = loss(&corner.1, samples);
                }
                continue;
            }
        };
    }
    simplex.sort_by(|one, other| one.0.total_cmp(&other.0));
    simplex[0].1
}
