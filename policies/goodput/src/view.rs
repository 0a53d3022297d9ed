//! What policies see of a job.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use crate::Shape;

/// GPUs per node: nodes by number, each once, ascending.
pub type Placement = Vec<(usize, u32)>;

/// How fast a job advances in each shape that it can run in. Any unit does, as long as it is one per job.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct GoodputTable {
    by_shape: BTreeMap<Shape, f64>,
}

impl GoodputTable {
    /// Sets the goodput of a shape. Zero and what is no number mean that the job cannot run so.
    pub fn insert(&mut self, shape: Shape, goodput: f64) {
        self.by_shape.insert(shape, if goodput > 0.0 { goodput } else { 0.0 });
    }

    /// The goodput of a shape; zero where the job cannot run so.
    pub fn goodput(&self, shape: Shape) -> f64 {
        self.by_shape.get(&shape).copied().unwrap_or(0.0)
    }
}

/// A job that has arrived and not ended.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct JobView<'a> {
    /// Who it is, from round to round.
    pub id: u64,
    /// Fewest GPUs with which it can run.
    pub gpus_least: u32,
    /// Most GPUs that it may be given this time: see [`doubled`].
    pub gpus_most: u32,
    /// How fast it advances.
    pub goodput: &'a GoodputTable,
    /// Seconds since its arrival.
    pub age_s: f64,
    /// How often it was restarted.
    pub restarts: u32,
    /// Seconds that a restart costs.
    pub restart_s: f64,
    /// Where it runs; empty where it waits.
    pub current: &'a [(usize, u32)],
}

/// Most GPUs that a job may be given next, if it has never had more than `had`: Sia and Pollux let a job at most double
/// beyond what it was measured on, starting from `least`.
pub fn doubled(had: u32, least: u32, most: u32) -> u32 {
    had.saturating_mul(2).max(least).min(most)
}

/// Which part of its speed a job keeps if it is restarted now, judged by how much of its life restarts have cost: near 1 for a job that
/// is old and was seldom restarted (Pollux, eq. 16 of its paper; Sia, section 3.4). Never zero, such that a young job can
/// still be compared.
pub fn restart_factor(age_s: f64, restarts: u32, delay_s: f64) -> f64 {
    let kept_s = age_s - f64::from(restarts) * delay_s;
    (kept_s / (age_s + delay_s).max(1e-9)).clamp(1e-2, 1.0)
}
