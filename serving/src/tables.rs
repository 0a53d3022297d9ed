//! What was measured of one model on one GPU, in place of a law: lines between the points of a grid.

use std::collections::BTreeMap;

use crate::calibration::Family;
use crate::curve::{Series, segment};
use crate::products::ProductTable;

/// An operator that depends on the number of tokens (or of sequences) alone.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Operator {
    /// The norm before attention or the feed-forward network.
    Norm,
    /// Projection to queries, keys and values.
    QueriesKeysValues,
    /// Norms of queries and keys.
    QueryKeyNorm,
    /// Rotation by position.
    Rotary,
    /// Projection out of attention.
    Output,
    /// First projection of the feed-forward network.
    Up,
    /// Its activation.
    Activation,
    /// Its last projection.
    Down,
    /// The embedding.
    Embedding,
    /// The norm after the last layer.
    LastNorm,
    /// Projection on the vocabulary, by sequences.
    Vocabulary,
    /// Sampling, by sequences.
    Sampler,
}

/// What was measured of one model on one GPU of a tensor-parallel group.
#[derive(Clone, PartialEq, Default, Debug)]
pub struct Measured {
    /// Seconds by tokens, or by sequences.
    pub operators: BTreeMap<Operator, Series>,
    /// Attention of a layer.
    pub attention: Option<AttentionGrid>,
    /// Experts of a layer.
    pub experts: Option<ExpertGrid>,
    /// Matrix products of any model on the GPU, by family.
    pub products: BTreeMap<Family, ProductTable>,
}

impl Measured {
    pub(crate) fn operator_s(&self, operator: Operator, of: u32) -> Option<f64> {
        self.operators.get(&operator).map(|series| series.at(f64::from(of)))
    }
}

/// Seconds of one call of attention over a grid of (tokens of a chunk, its context, sequences that decode, their context on average).
///
/// Time is nearly linear along every axis, so that lines between points of the grid are off less than lines between logarithms (measured on points that
/// are not in the grid: 3.0 % against 3.3 %, and no bias).
#[derive(Clone, PartialEq, Default, Debug)]
pub struct AttentionGrid {
    chunks: Vec<f64>,
    before: Vec<f64>,
    decodes: Vec<f64>,
    contexts: Vec<f64>,
    /// By chunk, context before, decodes, context; NaN where nothing was measured.
    mixed: Vec<f64>,
    /// By chunk, context before.
    prefill: Vec<f64>,
    /// By decodes, context.
    decode_only: Vec<f64>,
    /// Anchors of `decode_only`.
    decodes_only: Vec<f64>,
}

/// One measurement of attention: tokens of the chunk, its context, sequences that decode, context of each; seconds.
pub type AttentionPoint = ([u32; 4], f64);

impl AttentionGrid {
    /// The grid of the points whose coordinates are powers of two (or 0); others are between them and serve to judge it. None if the
    /// three regimes are not all there, with two points on every axis at least.
    pub fn new(points: &[AttentionPoint]) -> Option<Self> {
        let on_grid = |value: u32| value == 0 || value.is_power_of_two();
        let known: BTreeMap<[u32; 4], f64> =
            points.iter().filter(|(at, _)| at.iter().all(|&one| on_grid(one))).copied().collect();
        let axis = |which: usize, holds: &dyn Fn(&[u32; 4]) -> bool| {
            let mut values: Vec<u32> = known.keys().filter(|at| holds(at)).map(|at| at[which]).collect();
            values.sort_unstable();
            values.dedup();
            values
        };
        let is_mixed = |at: &[u32; 4]| at[0] > 0 && at[2] > 0;
        let chunks = axis(0, &is_mixed);
        let before = axis(1, &is_mixed);
        let decodes = axis(2, &is_mixed);
        let contexts = axis(3, &is_mixed);
        let decodes_only = axis(2, &|at| at[0] == 0 && at[2] > 0);
        if [&chunks, &before, &decodes, &contexts, &decodes_only].iter().any(|one| one.len() < 2) {
            return None;
        }
        let at = |point: [u32; 4]| known.get(&point).copied().unwrap_or(f64::NAN);
        let mut grid = Self::default();
        for &chunk in &chunks {
            for &context in &before {
                grid.prefill.push(at([chunk, context, 0, 0]));
                for &count in &decodes {
                    grid.mixed.extend(contexts.iter().map(|&each| at([chunk, context, count, each])));
                }
            }
        }
        for &count in &decodes_only {
            grid.decode_only.extend(contexts.iter().map(|&each| at([0, 0, count, each])));
        }
        let whole = |values: &[f64]| values.iter().all(|value| value.is_finite());
        let numbers = |axis: Vec<u32>| axis.into_iter().map(f64::from).collect();
        grid.chunks = numbers(chunks);
        grid.before = numbers(before);
        grid.decodes = numbers(decodes);
        grid.contexts = numbers(contexts);
        grid.decodes_only = numbers(decodes_only);
        (whole(&grid.mixed) && whole(&grid.prefill) && whole(&grid.decode_only)).then_some(grid)
    }

    /// Seconds where `decodes` sequences decode and nothing is read in.
    pub fn decode_s(&self, decodes: f64, context: f64) -> f64 {
        let width = self.contexts.len();
        interpolate(&[(&self.decodes_only, decodes), (&self.contexts, context)], &self.decode_only, width)
    }

    /// Seconds of a chunk alone.
    pub fn prefill_s(&self, tokens: f64, before: f64) -> f64 {
        let width = self.before.len();
        interpolate(&[(&self.chunks, tokens), (&self.before, before)], &self.prefill, width)
    }

    /// Seconds of a chunk and of sequences that decode.
    pub fn mixed_s(&self, tokens: f64, before: f64, decodes: f64, context: f64) -> f64 {
        let axes = [
            (self.chunks.as_slice(), tokens),
            (&self.before, before),
            (&self.decodes, decodes),
            (&self.contexts, context),
        ];
        interpolate(&axes, &self.mixed, self.contexts.len())
    }
}

/// Multilinear interpolation; `values` in order of the axes, the last of which has `width` points.
fn interpolate(axes: &[(&[f64], f64)], values: &[f64], width: usize) -> f64 {
    match *axes {
        [] => values.first().copied().unwrap_or(0.0),
        [(anchors, at), ref rest @ ..] => {
            let inner = values.len() / anchors.len();
            debug_assert!(!rest.is_empty() || anchors.len() == width);
            let Some((left, share)) = segment(anchors, at) else {
                return interpolate(rest, values, width);
            };
            let low = interpolate(rest, &values[left * inner..(left + 1) * inner], width);
            if share <= 0.0 {
                return low;
            }
            let high = interpolate(rest, &values[(left + 1) * inner..(left + 2) * inner], width);
            low + (high - low) * share
        }
    }
}

/// A grid with what depends on the number of sequences that decode kept at hand, in nanoseconds of all layers.
#[derive(Clone, Debug)]
pub(crate) struct AttentionRows {
    grid: AttentionGrid,
    /// By decodes, context.
    rows: Vec<f64>,
    last: u32,
    scale: f64,
}

impl AttentionRows {
    /// `scale` makes seconds of a layer into what is asked for.
    pub(crate) fn new(grid: &AttentionGrid, scale: f64, last: u32) -> Self {
        let mut rows = Vec::with_capacity((last as usize + 1) * grid.contexts.len());
        for decodes in 0..=last {
            rows.extend(grid.contexts.iter().map(|&each| scale * grid.decode_s(f64::from(decodes), each)));
        }
        Self { grid: grid.clone(), rows, last, scale }
    }

    #[inline]
    pub(crate) fn decode_ns(&self, decodes: u32, context: f64) -> f64 {
        if decodes > self.last {
            return self.scale * self.grid.decode_s(f64::from(decodes), context);
        }
        let width = self.grid.contexts.len();
        let row = &self.rows[decodes as usize * width..(decodes as usize + 1) * width];
        let Some((left, share)) = segment(&self.grid.contexts, context) else { return row[0] };
        row[left] + (row[left + 1] - row[left]) * share
    }

    pub(crate) fn chunks_ns(&self, tokens: f64, before: f64, decodes: f64, context: f64) -> f64 {
        if decodes == 0.0 {
            return self.scale * self.grid.prefill_s(tokens, before);
        }
        self.scale * self.grid.mixed_s(tokens, before, decodes, context)
    }
}

/// Seconds of the experts of a layer by tokens and by experts that have any.
#[derive(Clone, PartialEq, Default, Debug)]
pub struct ExpertGrid {
    /// For each number of tokens, seconds by experts.
    rows: Vec<(f64, Series)>,
    tokens: Vec<f64>,
}

impl ExpertGrid {
    /// From tokens, experts that have any, and seconds.
    pub fn new(points: &[(f64, f64, f64)]) -> Self {
        let mut by_tokens: Vec<(f64, Vec<(f64, f64)>)> = Vec::new();
        let mut points = points.to_vec();
        points.sort_by(|one, other| one.0.total_cmp(&other.0));
        for (tokens, activated, seconds) in points {
            match by_tokens.last_mut() {
                Some((last, row)) if last.to_bits() == tokens.to_bits() => row.push((activated, seconds)),
                _ => by_tokens.push((tokens, vec![(activated, seconds)])),
            }
        }
        let rows: Vec<(f64, Series)> =
            by_tokens.into_iter().map(|(tokens, row)| (tokens, Series::new(row))).collect();
        Self { tokens: rows.iter().map(|&(tokens, _)| tokens).collect(), rows }
    }

    /// Seconds: lines between numbers of experts, then between numbers of tokens.
    pub fn seconds(&self, tokens: f64, activated: f64) -> f64 {
        let Some((left, share)) = segment(&self.tokens, tokens) else {
            return self.rows.first().map_or(0.0, |(_, row)| row.at(activated));
        };
        let (low, high) = (self.rows[left].1.at(activated), self.rows[left + 1].1.at(activated));
        low + (high - low) * share
    }
}
