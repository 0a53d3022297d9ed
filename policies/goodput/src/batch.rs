//! The batch with which a job advances fastest.

use alloc::vec::Vec;

use crate::{GradientNoise, StepTimes};

/// Between which batches a job may choose, in examples.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BatchLimits {
    /// The batch that its user would train with on one GPU; efficiency is relative to it.
    pub initial: u32,
    /// The largest batch with which it still learns as well.
    pub largest: u32,
    /// Least examples that a GPU works on at a time.
    pub local_least: u32,
    /// Most examples that fit into the memory of a GPU.
    pub local_largest: u32,
}

/// A batch, how it is divided, and how fast the job advances with it.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Batch {
    /// Examples that a GPU works on at a time.
    pub local: u32,
    /// Passes whose gradients are added up before the one that exchanges them.
    pub accumulation_steps: u32,
    /// Examples per update of the model, over all GPUs.
    pub total: u32,
}

/// Sizes between which Pollux chooses are in geometric progression.
const CANDIDATES: u32 = 50;

/// Absorbs what division leaves behind whole numbers.
const EPSILON: f64 = 1e-8;

fn ceil(value: f64) -> u32 {
    libm::ceil(value - EPSILON) as u32
}

/// Divides about `total` examples over GPUs, rounding up, with as few passes as fit the memory. One GPU that works on more than the
/// initial batch makes at least two passes: otherwise the noise of its gradient could not be measured (Pollux).
fn divide(total: f64, gpus: u32, limits: &BatchLimits) -> Batch {
    let local = total / f64::from(gpus);
    let mut passes = ceil(local / f64::from(limits.local_largest)).max(1);
    if gpus == 1 && local > f64::from(limits.initial) + EPSILON {
        passes = passes.max(2);
    }
    let local = ceil(local / f64::from(passes)).clamp(limits.local_least, limits.local_largest);
    Batch { local, accumulation_steps: passes - 1, total: gpus * local * passes }
}

/// The batches that Pollux considers for this many GPUs: 50 sizes in geometric progression from the least to the largest.
pub fn candidate_batches(gpus: u32, limits: &BatchLimits) -> Vec<Batch> {
    let least = f64::from(limits.initial.max(limits.local_least * gpus));
    let largest = f64::from(limits.largest);
    let mut found: Vec<Batch> = Vec::new();
    if least > largest {
        return found;
    }
    let ratio = libm::pow(largest / least, 1.0 / f64::from(CANDIDATES - 1));
    let mut total = least;
    for _ in 0..CANDIDATES {
        let batch = divide(total, gpus, limits);
        if batch.total <= limits.largest && found.last() != Some(&batch) {
            found.push(batch);
        }
        total *= ratio;
    }
    found
}

/// The batch of a fixed total over this many GPUs, never above the total where it can be avoided; nothing if it cannot be divided so.
pub fn fixed_batch(total: u32, gpus: u32, limits: &BatchLimits) -> Option<Batch> {
    let mut batch = divide(f64::from(total), gpus, limits);
    let pieces = gpus * (batch.accumulation_steps + 1);
    batch.local = batch.local.min(limits.largest / pieces);
    batch.total = pieces * batch.local;
    (batch.local >= 1).then_some(batch)
}

/// The batches that come into question on this many GPUs over this many nodes, each with the seconds from one update of the
/// model to the next.
pub fn timed_batches(
    times: &dyn StepTimes,
    limits: &BatchLimits,
    nodes: u32,
    gpus: u32,
) -> Vec<(Batch, f64)> {
    let with_time = |batch: Batch| {
        let time = times.step_time(nodes, gpus, f64::from(batch.local))?;
        Some((batch, time.with_accumulation(batch.accumulation_steps)))
    };
    candidate_batches(gpus, limits).into_iter().filter_map(with_time).collect()
}

/// The batch with the greatest goodput, and that goodput: examples per second, each counted for what it teaches relative to
/// one in the initial batch. `noise` is that of training with so many examples per update. Of equals the first, and so the
/// smallest, wins. Nothing where there is no batch.
pub fn best_batch(
    timed: &[(Batch, f64)],
    limits: &BatchLimits,
    noise: impl Fn(u32) -> GradientNoise,
) -> Option<(Batch, f64)> {
    let initial = f64::from(limits.initial);
    let mut best: Option<(Batch, f64)> = None;
    for &(batch, update_s) in timed {
        let gain = noise(batch.total).gain(f64::from(batch.total) / initial);
        let goodput = gain * initial / update_s;
        if best.is_none_or(|(_, greatest)| goodput > greatest) {
            best = Some((batch, goodput));
        }
    }
    best
}
