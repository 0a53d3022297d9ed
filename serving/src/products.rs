//! Matrix products as measured, by efficiency: what the hardware could do in a time, against the time.

use crate::curve::Series;

/// Shapes that an unseen one is taken from.
const NEAREST: usize = 4;

/// Shapes further than this (in natural logarithms of both sizes, added as squares) count alike: a shape that was measured stands for itself.
const SAME: f64 = 1e-9;

/// One measurement.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct ProductPoint {
    /// Rows.
    pub rows: f64,
    /// Inner size.
    pub inner: f64,
    /// Outer size.
    pub outer: f64,
    /// What the larger of operations and bytes would take at the peaks.
    pub ideal_s: f64,
    /// What it took.
    pub seconds: f64,
}

/// Efficiencies of products of one precision on one GPU: for each shape of the matrix by rows, lines between the logarithms of rows that were measured,
/// held before the first and beyond the last. Efficiency, unlike time, carries over to shapes that were not measured: they take it from the nearest.
#[derive(Clone, PartialEq, Default, Debug)]
pub struct ProductTable {
    /// Logarithms of inner and outer size; efficiency by logarithm of rows; the last logarithm.
    shapes: Vec<((f64, f64), Series, f64)>,
}

impl ProductTable {
    /// From measurements in any order.
    pub fn new(points: &[ProductPoint]) -> Self {
        let mut points: Vec<ProductPoint> = points.to_vec();
        // Positive numbers are ordered as their bits are.
        points.sort_by_key(|point| [point.inner, point.outer, point.rows].map(f64::to_bits));
        let same = |one: &ProductPoint, other: &ProductPoint| {
            one.inner.to_bits() == other.inner.to_bits() && one.outer.to_bits() == other.outer.to_bits()
        };
        let shapes = points.chunk_by(same).filter_map(|of| {
            let (first, last) = (of.first()?, of.last()?);
            let efficiency = of.iter().map(|point| (libm::log(point.rows), point.ideal_s / point.seconds));
            let at = (libm::log(first.inner), libm::log(first.outer));
            Some((at, Series::new(efficiency.collect()), libm::log(last.rows)))
        });
        Self { shapes: shapes.collect() }
    }

    /// Whether nothing was measured.
    pub fn is_empty(&self) -> bool {
        self.shapes.is_empty()
    }

    /// Shares of the shapes nearest to one, by the inverse of their distance; a shape that was measured has it all.
    fn nearest(&self, inner: f64, outer: f64) -> Vec<(usize, f64)> {
        let (inner, outer) = (libm::log(inner), libm::log(outer));
        let distance = |&((one, other), ..): &((f64, f64), Series, f64)| {
            (one - inner) * (one - inner) + (other - outer) * (other - outer)
        };
        let mut near: Vec<(usize, f64)> =
            self.shapes.iter().enumerate().map(|(which, shape)| (which, distance(shape))).collect();
        near.sort_by(|one, other| one.1.total_cmp(&other.1).then(one.0.cmp(&other.0)));
        near.truncate(NEAREST);
        if let Some(&(which, closest)) = near.first()
            && closest < SAME
        {
            return vec![(which, 1.0)];
        }
        let sum: f64 = near.iter().map(|(_, distance)| 1.0 / distance).sum();
        near.into_iter().map(|(which, distance)| (which, 1.0 / distance / sum)).collect()
    }

    /// Efficiency of a product; `None` if nothing was measured.
    pub fn efficiency(&self, rows: f64, inner: f64, outer: f64) -> Option<f64> {
        if self.is_empty() {
            return None;
        }
        let rows = libm::log(rows);
        let near = self.nearest(inner, outer);
        Some(
            near.into_iter()
                .map(|(which, share)| {
                    let (_, series, last) = &self.shapes[which];
                    share * series.at(rows.min(*last))
                })
                .sum(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(rows: f64, inner: f64, outer: f64, efficiency: f64) -> ProductPoint {
        ProductPoint { rows, inner, outer, ideal_s: efficiency, seconds: 1.0 }
    }

    #[test]
    fn efficiency_between_points_and_beyond_them() {
        let table = ProductTable::new(&[
            point(16.0, 1024.0, 1024.0, 0.8),
            point(1.0, 1024.0, 1024.0, 0.4),
            point(1.0, 4096.0, 1024.0, 0.6),
            point(16.0, 4096.0, 1024.0, 0.6),
        ]);
        let at = |rows, inner| table.efficiency(rows, inner, 1024.0).unwrap();
        for (rows, inner, expected) in [
            (1.0, 1024.0, 0.4),
            (4.0, 1024.0, 0.6),
            (16.0, 1024.0, 0.8),
            // Held beyond the last.
            (4096.0, 1024.0, 0.8),
            // In the middle of both shapes.
            (1.0, 2048.0, 0.5),
            (16.0, 2048.0, 0.7),
        ] {
            assert!((at(rows, inner) - expected).abs() < 1e-9, "{rows} {inner}: {}", at(rows, inner));
        }
        assert_eq!(ProductTable::default().efficiency(1.0, 1.0, 1.0), None);
    }
}
