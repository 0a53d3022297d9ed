//! Fewer points without losing what the eye would see.

#![expect(clippy::float_cmp, reason = "whether a value is the same one, not whether two calculations agree")]

/// A point in data coordinates.
pub(super) type Point = (f64, f64);

/// Columns of pixels that get points of their own: with four points each, 2,000 in all.
const BUCKETS: usize = 500;
/// Points of a distribution function.
const CDF_POINTS: usize = 500;

/// At most 2,000 of the points, which lie in order of x: of every bucket along x the first, the last, the lowest and
/// the highest, so that a line through them covers the same pixels (M4, Jugel et al., VLDB 2014).
pub(super) fn thinned(points: &[Point]) -> Vec<Point> {
    let (Some(first), Some(last)) = (points.first(), points.last()) else { return Vec::new() };
    let span = last.0 - first.0;
    if points.len() <= 4 * BUCKETS || span <= 0.0 {
        return points.to_vec();
    }
    let bucket = |point: &Point| (((point.0 - first.0) / span * BUCKETS as f64) as usize).min(BUCKETS - 1);
    let mut kept = Vec::new();
    for chunk in points.chunk_by(|a, b| bucket(a) == bucket(b)) {
        let (mut lowest, mut highest) = (0, 0);
        for (index, point) in chunk.iter().enumerate() {
            if point.1 < chunk[lowest].1 {
                lowest = index;
            }
            if point.1 > chunk[highest].1 {
                highest = index;
            }
        }
        let mut indices = [0, lowest, highest, chunk.len() - 1].to_vec();
        indices.sort_unstable();
        indices.dedup();
        kept.extend(indices.into_iter().map(|index| chunk[index]));
    }
    kept
}

/// The corners of a step function that holds each value until the next point.
pub(super) fn steps(points: &[Point]) -> Vec<Point> {
    let mut corners: Vec<Point> = Vec::with_capacity(2 * points.len());
    let mut push = |corner: Point| {
        // A run of equal values needs only its two ends.
        if let [.., (_, before), (_, last)] = corners[..]
            && before == corner.1
            && last == corner.1
        {
            corners.pop();
        }
        corners.push(corner);
    };
    for (index, &(x, y)) in points.iter().enumerate() {
        if index > 0 && points[index - 1].1 != y {
            push((x, points[index - 1].1));
        }
        push((x, y));
    }
    corners
}

/// Means of the step function over windows of `width`, at the middle of each. What is left of the last window counts
/// as one.
pub(super) fn window_means(points: &[Point], width: f64) -> Vec<Point> {
    let (Some(first), Some(last)) = (points.first(), points.last()) else { return Vec::new() };
    let mut means = Vec::new();
    let mut start = first.0;
    let mut next = 1;
    while start < last.0 {
        let end = (start + width).min(last.0);
        let (mut area, mut from) = (0.0, start);
        loop {
            let until = points[next].0.min(end);
            area += points[next - 1].1 * (until - from);
            from = until;
            if points[next].0 > end || next + 1 == points.len() {
                break;
            }
            next += 1;
        }
        means.push((f64::midpoint(start, end), area / (end - start)));
        start = end;
    }
    means
}

/// Points (value, share of values not larger) of the empirical distribution of `sorted`, at most 500: all distinct
/// values if there are no more ranks than that, else values at evenly spaced ranks, the first and the last among them.
pub(super) fn cdf(sorted: &[u64]) -> Vec<(u64, f64)> {
    let ranks = sorted.len().min(CDF_POINTS);
    let mut points: Vec<(u64, f64)> = Vec::with_capacity(ranks);
    for step in 0..ranks {
        let value = sorted[step * (sorted.len() - 1) / (ranks - 1).max(1)];
        if points.last().is_none_or(|&(last, _)| last < value) {
            let not_larger = sorted.partition_point(|&other| other <= value);
            points.push((value, not_larger as f64 / sorted.len() as f64));
        }
    }
    points
}

/// What lies above one interval of x.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Bin {
    pub(super) x_mean: f64,
    pub(super) y_mean: f64,
    pub(super) y_min: f64,
    pub(super) y_max: f64,
}

/// Points grouped by x into intervals of `width`, empty ones left out.
pub(super) fn bins(points: &[Point], width: f64) -> Vec<Bin> {
    let mut sorted = points.to_vec();
    sorted.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1)));
    let interval = |point: &Point| (point.0 / width).floor();
    let bin = |points: &[Point]| Bin {
        x_mean: points.iter().map(|point| point.0).sum::<f64>() / points.len() as f64,
        y_mean: points.iter().map(|point| point.1).sum::<f64>() / points.len() as f64,
        y_min: points.iter().map(|point| point.1).fold(f64::INFINITY, f64::min),
        y_max: points.iter().map(|point| point.1).fold(f64::NEG_INFINITY, f64::max),
    };
    sorted.chunk_by(|a, b| interval(a) == interval(b)).map(bin).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn steps_keep_only_corners() {
        let check = |points: &[Point], expected: &[Point]| assert_eq!(steps(points), expected);
        check(&[], &[]);
        check(&[(0.0, 1.0)], &[(0.0, 1.0)]);
        check(&[(0.0, 1.0), (1.0, 2.0)], &[(0.0, 1.0), (1.0, 1.0), (1.0, 2.0)]);
        check(&[(0.0, 1.0), (1.0, 1.0), (2.0, 1.0), (3.0, 0.0)], &[(0.0, 1.0), (3.0, 1.0), (3.0, 0.0)]);
    }

    #[test]
    fn windows_average_by_time() {
        let check =
            |points: &[Point], width, expected: &[Point]| assert_eq!(window_means(points, width), expected);
        check(&[], 2.0, &[]);
        check(&[(0.0, 1.0)], 2.0, &[]);
        check(&[(0.0, 4.0), (0.5, 0.0), (2.0, 8.0), (5.0, 0.0)], 2.0, &[(1.0, 1.0), (3.0, 8.0), (4.5, 8.0)]);
        check(&[(0.0, 4.0), (10.0, 0.0)], 5.0, &[(2.5, 4.0), (7.5, 4.0)]);
    }

    #[test]
    fn a_distribution_function_counts_equals_once() {
        let check = |sorted: &[u64], expected: &[(u64, f64)]| assert_eq!(cdf(sorted), expected);
        check(&[], &[]);
        check(&[7], &[(7, 1.0)]);
        check(&[0, 0, 0, 5], &[(0, 0.75), (5, 1.0)]);
    }

    #[test]
    fn bins_are_means_over_intervals() {
        let bins = bins(&[(0.5, 1.0), (7.0, 9.0), (1.5, 3.0)], 2.0);
        assert_eq!(
            bins,
            [
                Bin { x_mean: 1.0, y_mean: 2.0, y_min: 1.0, y_max: 3.0 },
                Bin { x_mean: 7.0, y_mean: 9.0, y_min: 9.0, y_max: 9.0 },
            ]
        );
    }

    proptest! {
        #[test]
        fn thinning_keeps_ends_and_extremes(values in prop::collection::vec(0.0..1e6f64, 0..10_000)) {
            let points: Vec<Point> = values.iter().enumerate().map(|(x, y)| (x as f64, *y)).collect();
            let kept = thinned(&points);
            prop_assert!(kept.len() <= 2_000);
            prop_assert!(kept.is_sorted_by(|a, b| a.0 < b.0));
            prop_assert!(kept.iter().all(|point| points.contains(point) || points.len() > 2_000));
            let extremes = |points: &[Point]| {
                let range = |low: f64, high: f64| (low.to_bits(), high.to_bits());
                let values = || points.iter().map(|point| point.1);
                (
                    points.first().copied(),
                    points.last().copied(),
                    range(values().fold(f64::INFINITY, f64::min), values().fold(0.0, f64::max)),
                )
            };
            prop_assert_eq!(extremes(&kept), extremes(&points));
        }

        #[test]
        fn windows_conserve_the_area(values in prop::collection::vec(0u32..100, 2..200), width in 1u32..40) {
            let points: Vec<Point> = values.iter().enumerate().map(|(x, y)| (x as f64, f64::from(*y))).collect();
            let last = points[points.len() - 1].0;
            let means = window_means(&points, f64::from(width));
            let area: f64 = means.iter().map(|(middle, mean)| 2.0 * (middle - (middle / f64::from(width)).floor() * f64::from(width)) * mean).sum();
            let naive: f64 = points[..points.len() - 1].iter().map(|point| point.1).sum();
            prop_assert!((area - naive).abs() < 1e-6 * (1.0 + naive), "{area} {naive} {last}");
        }

        #[test]
        fn a_distribution_function_is_the_naive_one_at_every_point(
            mut values in prop::collection::vec(0u64..5_000, 0..3_000),
        ) {
            values.sort_unstable();
            let points = cdf(&values);
            prop_assert!(points.len() <= 500);
            prop_assert_eq!(points.first().map(|point| point.0), values.first().copied());
            prop_assert_eq!(points.last().map(|point| point.0), values.last().copied());
            for (value, share) in points {
                let naive = values.iter().filter(|other| **other <= value).count() as f64 / values.len() as f64;
                prop_assert_eq!(share, naive);
            }
        }
    }
}
