//! How long a training step takes, as measured.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

/// Times of one step.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct StepTime {
    /// Seconds of forward and backward pass without exchange of gradients.
    pub compute_s: f64,
    /// Seconds of a pass with exchange of gradients, as far as the two overlap.
    pub step_s: f64,
}

impl StepTime {
    /// Seconds from one update of the model to the next, if this many passes are added up before the one that exchanges.
    pub fn with_accumulation(self, accumulation_steps: u32) -> f64 {
        self.step_s + self.compute_s * f64::from(accumulation_steps)
    }

    /// The point at `at` between this (0) and another (1).
    fn towards(self, other: Self, at: f64) -> Self {
        let between = |one: f64, other: f64| one + (other - one) * at;
        Self {
            compute_s: between(self.compute_s, other.compute_s),
            step_s: between(self.step_s, other.step_s),
        }
    }
}

/// Knows step times.
pub trait StepTimes {
    /// The times of a step on this many GPUs over this many nodes, where each GPU works on `local_batch` examples at a
    /// time; nothing where the job cannot run so.
    fn step_time(&self, nodes: u32, gpus: u32, local_batch: f64) -> Option<StepTime>;
}

/// Step times interpolated between measurements: linearly in the batch of a GPU, in GPUs at one number of nodes, and in
/// nodes at one number of GPUs per node. Beyond what was measured, the nearest measurement holds.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct MeasuredTimes {
    /// Per nodes, per GPUs: by rising batch.
    by_nodes: BTreeMap<u32, BTreeMap<u32, Vec<(f64, StepTime)>>>,
}

/// Measurements at or below and at or above a place, and how far the place is between them.
fn around<T>(below: Option<(f64, T)>, above: Option<(f64, T)>, place: f64) -> Option<(T, T, f64)>
where
    T: Copy,
{
    match (below, above) {
        (Some((low, one)), Some((high, other))) if high > low => {
            Some((one, other, (place - low) / (high - low)))
        }
        (Some((_, only)), _) | (None, Some((_, only))) => Some((only, only, 0.0)),
        (None, None) => None,
    }
}

impl MeasuredTimes {
    /// From measurements (nodes, GPUs, batch of a GPU, times); several of one kind are averaged.
    pub fn new(measurements: impl IntoIterator<Item = (u32, u32, f64, StepTime)>) -> Self {
        let mut sums: BTreeMap<(u32, u32, u64), (f64, f64, f64)> = BTreeMap::new();
        for (nodes, gpus, local_batch, time) in measurements {
            // Bits of positive numbers are in the order of the numbers.
            let sum = sums.entry((nodes, gpus, local_batch.to_bits())).or_default();
            *sum = (sum.0 + 1.0, sum.1 + time.compute_s, sum.2 + time.step_s);
        }
        let mut times = Self::default();
        for ((nodes, gpus, batch), (count, compute_s, step_s)) in sums {
            let time = StepTime { compute_s: compute_s / count, step_s: step_s / count };
            let by_gpus = times.by_nodes.entry(nodes).or_default();
            by_gpus.entry(gpus).or_default().push((f64::from_bits(batch), time));
        }
        times
    }

    fn at_batch(rows: &[(f64, StepTime)], local_batch: f64) -> Option<StepTime> {
        let above = rows.partition_point(|&(batch, _)| batch < local_batch);
        let below = rows.partition_point(|&(batch, _)| batch <= local_batch);
        let at = |index: Option<usize>| index.and_then(|index| rows.get(index)).copied();
        let (one, other, part) = around(at(below.checked_sub(1)), at(Some(above)), local_batch)?;
        Some(one.towards(other, part))
    }

    fn at_gpus(
        by_gpus: &BTreeMap<u32, Vec<(f64, StepTime)>>,
        gpus: f64,
        local_batch: f64,
    ) -> Option<StepTime> {
        let below = by_gpus.range(..=libm::floor(gpus) as u32).next_back();
        let above = by_gpus.range(libm::ceil(gpus) as u32..).next();
        let place = |found: Option<(&u32, _)>| found.map(|(&count, rows)| (f64::from(count), rows));
        let (one, other, part) = around(place(below), place(above), gpus)?;
        let (one, other) = (Self::at_batch(one, local_batch)?, Self::at_batch(other, local_batch)?);
        Some(one.towards(other, part))
    }
}

impl StepTimes for MeasuredTimes {
    fn step_time(&self, nodes: u32, gpus: u32, local_batch: f64) -> Option<StepTime> {
        let below = self.by_nodes.range(..=nodes).next_back();
        let above = self.by_nodes.range(nodes..).next();
        let place =
            |found: Option<(&u32, _)>| found.map(|(&count, by_gpus)| (f64::from(count), (count, by_gpus)));
        let (one, other, part) = around(place(below), place(above), f64::from(nodes))?;
        let per_node = f64::from(gpus) / f64::from(nodes);
        let at = |(count, by_gpus)| Self::at_gpus(by_gpus, per_node * f64::from(count), local_batch);
        Some(at(one)?.towards(at(other)?, part))
    }
}
