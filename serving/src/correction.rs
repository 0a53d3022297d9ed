//! What products take against their law, by size: a coarse grid of factors.

use serde::{Deserialize, Serialize};

use crate::curve::segment;

/// How often what is left is fitted again: a node first gets the mean of its neighbourhood, which smooths too much.
const ROUNDS: usize = 12;

/// Timings that a node needs to be believed half.
const BELIEVED_HALF: f64 = 0.5;

/// Rows, inner and outer sizes of the nodes.
const NODES: [&[u32]; 3] = [
    &[1, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 16384],
    &[512, 1024, 2048, 4096, 8192, 16384],
    &[512, 1024, 2048, 4096, 8192, 16384, 65536],
];

/// By how much products take longer than their law, at the nodes of a grid of sizes; lines between the logarithms of sizes, held at the edges. The
/// library chooses among its kernels by size, which four constants cannot follow.
#[derive(Clone, PartialEq, Default, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Correction {
    /// Rows of the nodes.
    pub rows: Vec<u32>,
    /// Inner sizes.
    pub inner: Vec<u32>,
    /// Outer sizes.
    pub outer: Vec<u32>,
    /// Natural logarithm of measured to law, in per cent, by rows, inner, outer.
    pub percent: Vec<f64>,
}

/// The nodes around a place, and their shares.
type Around = [(usize, f64); 8];

impl Correction {
    /// Fits rows, inner size, outer size and the logarithm of measured to law.
    pub(crate) fn fit(points: &[([f64; 3], f64)]) -> Self {
        let [rows, inner, outer] = NODES.map(<[u32]>::to_vec);
        let count = rows.len() * inner.len() * outer.len();
        let mut found = Self { rows, inner, outer, percent: vec![0.0; count] };
        let anchors = found.anchors();
        let around: Vec<Around> = points.iter().map(|&(at, _)| around(&anchors, at)).collect();
        for _ in 0..ROUNDS {
            let (mut sums, mut weights) = (vec![0.0; count], vec![BELIEVED_HALF; count]);
            for (near, &(_, log)) in around.iter().zip(points) {
                let left = log - found.among(near);
                // Outliers count with their sign alone.
                let left = left.clamp(-0.3, 0.3);
                for &(node, share) in near {
                    sums[node] += share * left;
                    weights[node] += share;
                }
            }
            for (node, percent) in found.percent.iter_mut().enumerate() {
                *percent += 100.0 * sums[node] / weights[node];
            }
        }
        for percent in &mut found.percent {
            *percent = libm::round(*percent * 10.0) / 10.0;
        }
        found
    }

    /// Whether there are as many numbers as nodes, and sizes in order.
    pub(crate) fn is_whole(&self) -> bool {
        let axes = [&self.rows, &self.inner, &self.outer];
        let in_order = |axis: &&Vec<u32>| axis.len() > 1 && axis[0] > 0 && axis.is_sorted();
        axes.iter().all(in_order)
            && self.percent.len() == axes.iter().map(|axis| axis.len()).product::<usize>()
            && self.percent.iter().all(|percent| percent.is_finite())
    }

    fn anchors(&self) -> [Vec<f64>; 3] {
        [&self.rows, &self.inner, &self.outer]
            .map(|axis| axis.iter().map(|&size| libm::log(f64::from(size))).collect())
    }

    fn among(&self, near: &Around) -> f64 {
        near.iter().map(|&(node, share)| share * self.percent[node]).sum::<f64>() / 100.0
    }

    /// The factor on the law's time.
    pub fn factor(&self, rows: f64, inner: f64, outer: f64) -> f64 {
        self.prepared().factor(rows, inner, outer)
    }

    /// For many a factor.
    pub(crate) fn prepared(&self) -> Prepared<'_> {
        Prepared { anchors: self.anchors(), of: self }
    }
}

/// A correction with the logarithms of its sizes at hand.
pub(crate) struct Prepared<'a> {
    anchors: [Vec<f64>; 3],
    of: &'a Correction,
}

impl Prepared<'_> {
    pub(crate) fn factor(&self, rows: f64, inner: f64, outer: f64) -> f64 {
        libm::exp(self.of.among(&around(&self.anchors, [rows, inner, outer])))
    }
}

fn around(anchors: &[Vec<f64>; 3], at: [f64; 3]) -> Around {
    std::array::from_fn(|corner| {
        let (mut node, mut share) = (0, 1.0);
        for (place, (axis, size)) in anchors.iter().zip(at).enumerate() {
            let (left, along) = segment(axis, libm::log(size)).unwrap_or((0, 0.0));
            let along = along.min(1.0);
            // A bit of the corner for each axis says on which side of the place it is.
            let right = corner >> place & 1;
            node = node * axis.len() + left + right;
            share *= if right == 1 { along } else { 1.0 - along };
        }
        (node, share)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What depends on sizes by lines between logarithms is found again, outliers or not.
    #[test]
    fn finds_what_four_constants_leave() {
        let truth = |[rows, inner, outer]: [f64; 3]| {
            0.2 * libm::log2(rows) / 14.0 - 0.1 * libm::log2(inner / 512.0) / 5.0
                + 0.02 * libm::log2(outer / 512.0)
        };
        let mut points = Vec::new();
        for rows in [1, 4, 16, 24, 32, 48, 64, 128, 200, 256, 512, 1024, 2048, 4096, 16384] {
            for inner in [512, 1024, 1536, 2048, 4096, 6000, 8192, 16384] {
                for outer in [512, 1024, 1536, 2048, 4096, 6000, 8192, 16384, 65536] {
                    let at = [rows, inner, outer].map(f64::from);
                    points.push((at, truth(at)));
                }
            }
        }
        let is_outlier = |at: &[f64; 3]| at.map(|size| size as u32) == [200, 1536, 1536];
        let outlier = points.iter().position(|(at, _)| is_outlier(at)).unwrap();
        points[outlier].1 += 0.5;
        let found = Correction::fit(&points);
        assert!(found.is_whole());
        for (at, log) in points.iter().filter(|(at, _)| at[0] > 1.0 && !is_outlier(at)) {
            let factor = found.factor(at[0], at[1], at[2]);
            assert!((libm::log(factor) - log).abs() < 0.03, "{at:?}: {factor} {log}");
        }
        // Held beyond the edges.
        let edge = found.factor(16384.0, 16384.0, 65536.0);
        assert!((found.factor(1e6, 1e6, 1e6) - edge).abs() < 1e-12);
    }
}
