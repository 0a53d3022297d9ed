//! The border between what is held and what is missed, on a line of whole numbers along which load grows.

use std::collections::BTreeMap;
use std::marker::PhantomData;

use rayon::prelude::*;

use crate::sample::Sample;
use crate::slo::Slo;
use crate::verdict::{Confidence, Verdict, verdict};

/// Runs a point with a seed, from 0. The same point and seed must give the same sample.
pub trait Probe<E>: Fn(i64, u32) -> Result<Sample, E> + Sync {}

impl<E, F: Fn(i64, u32) -> Result<Sample, E> + Sync> Probe<E> for F {}

/// Where to look.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Range {
    /// The least load.
    pub low: i64,
    /// The most.
    pub high: i64,
    /// Where to begin.
    pub start: i64,
    /// How far to go at first; twice as far each time after.
    pub stride: i64,
}

/// A point that was looked at.
#[derive(Clone, PartialEq, Debug)]
pub struct Point {
    /// Its place on the line.
    pub at: i64,
    /// One for each seed, in their order.
    pub samples: Vec<Sample>,
}

/// What was found.
#[derive(Clone, PartialEq, Debug)]
pub struct Border {
    /// The most load that is held; none if not even the least is.
    pub held: Option<i64>,
    /// The least load above it that is missed; none if not even the most is.
    pub missed: Option<i64>,
    /// All that was looked at, in order of load.
    pub points: Vec<Point>,
}

/// Finds the border.
///
/// What is held is taken to be held at less load too. First the border of the first seed alone is found: strides twice as long each time until it is passed,
/// then bisection. From there the last point that is [`Verdict::Held`] and the first that is [`Verdict::Missed`] are looked for with as many seeds as it takes; between
/// them seeds differ too much to say.
pub fn border<E: Send>(
    range: Range,
    slo: &Slo,
    confidence: &Confidence,
    probe: &impl Probe<E>,
) -> Result<Border, E> {
    let mut search = Search { range, slo, confidence, probe, points: BTreeMap::new(), cause: PhantomData };
    let pilot = search.last(range.start, range.stride, Search::first_is_met)?;
    let start = pilot.unwrap_or(range.low);
    let held = search.last(start, 1, |search, at| Ok(search.verdict(at)? == Verdict::Held))?;
    let above = held.map_or(range.low, |held| (held + 1).min(range.high));
    let bearable = search.last(above, 1, |search, at| Ok(search.verdict(at)? != Verdict::Missed))?;
    let missed = bearable.map_or(range.low, |bearable| bearable + 1);
    Ok(Border {
        held,
        missed: (missed <= range.high).then_some(missed),
        points: search.points.into_iter().map(|(at, samples)| Point { at, samples }).collect(),
    })
}

struct Search<'a, P, E> {
    range: Range,
    slo: &'a Slo,
    confidence: &'a Confidence,
    probe: &'a P,
    points: BTreeMap<i64, Vec<Sample>>,
    cause: PhantomData<E>,
}

impl<E: Send, P: Probe<E>> Search<'_, P, E> {
    /// The last point of which something is true that is true of all before it; none if it is not true of the first.
    fn last(
        &mut self,
        start: i64,
        stride: i64,
        mut is_true: impl FnMut(&mut Self, i64) -> Result<bool, E>,
    ) -> Result<Option<i64>, E> {
        let Range { low, high, .. } = self.range;
        let mut stride = stride.max(1);
        let start = start.clamp(low, high);
        // True at `below`, if that is in range, and not at `above`.
        let (mut below, mut above);
        if is_true(self, start)? {
            (below, above) = (start, high + 1);
            while below < high {
                let next = below.saturating_add(stride).min(high);
                if !is_true(self, next)? {
                    above = next;
                    break;
                }
                below = next;
                stride = stride.saturating_mul(2);
            }
        } else {
            (below, above) = (low - 1, start);
            while above > low {
                let next = above.saturating_sub(stride).max(low);
                if is_true(self, next)? {
                    below = next;
                    break;
                }
                above = next;
                stride = stride.saturating_mul(2);
            }
        }
        while above - below > 1 {
            let middle = below + (above - below) / 2;
            if is_true(self, middle)? {
                below = middle;
            } else {
                above = middle;
            }
        }
        Ok((below >= low).then_some(below))
    }

    /// Sees to it that a point was run with so many seeds.
    fn sample(&mut self, at: i64, seeds: u32) -> Result<&[Sample], E> {
        let samples = self.points.entry(at).or_default();
        let missing: Vec<u32> = (samples.len() as u32..seeds).collect();
        match missing.as_slice() {
            [] => {}
            // No detour over threads for what one of them does.
            &[seed] => samples.push((self.probe)(at, seed)?),
            missing => {
                let more: Result<Vec<_>, E> =
                    missing.par_iter().map(|&seed| (self.probe)(at, seed)).collect();
                samples.extend(more?);
            }
        }
        Ok(samples)
    }

    fn first_is_met(&mut self, at: i64) -> Result<bool, E> {
        let slo = self.slo;
        Ok(self.sample(at, 1)?.first().is_some_and(|sample| sample.is_met(slo)))
    }

    fn verdict(&mut self, at: i64) -> Result<Verdict, E> {
        let (slo, confidence) = (self.slo, self.confidence);
        let mut seeds = confidence.seeds_min.max(1);
        loop {
            let samples = self.sample(at, seeds)?;
            let verdict = verdict(samples, slo, confidence);
            seeds = samples.len() as u32 + 1;
            if verdict != Verdict::Open || seeds > confidence.seeds_max {
                return Ok(verdict);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use proptest::prelude::*;

    use super::*;

    fn slo() -> Slo {
        Slo::parse("p99 ttft < 1s, backlog < 5%").unwrap()
    }

    /// A time that grows by a tenth each point, and is a second at `border`; seeds differ by up to a factor of e^noise.
    fn noisy(border: i64, noise: f64, salt: u64) -> impl Fn(i64, u32) -> Result<Sample, Infallible> + Sync {
        move |at, seed| {
            // As even as it need be here.
            let mixed = (salt ^ u64::from(seed)).wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
            let draw = (mixed.wrapping_mul(mixed >> 29) >> 11) as f64 / (1_u64 << 53) as f64;
            let value = ((at - border) as f64 * 0.1 + noise * (2.0 * draw - 1.0)).exp();
            Ok(Sample { values: vec![Some(value), Some(0.0)], cut: false })
        }
    }

    /// The slow way: every point from the least on.
    fn scanned(
        range: Range,
        confidence: &Confidence,
        probe: &impl Fn(i64, u32) -> Result<Sample, Infallible>,
    ) -> (Option<i64>, Option<i64>) {
        let slo = slo();
        let verdict_at = |at: i64| {
            let mut samples: Vec<Sample> =
                (0..confidence.seeds_min).map(|seed| probe(at, seed).unwrap()).collect();
            while verdict(&samples, &slo, confidence) == Verdict::Open
                && (samples.len() as u32) < confidence.seeds_max
            {
                samples.push(probe(at, samples.len() as u32).unwrap());
            }
            verdict(&samples, &slo, confidence)
        };
        let held = (range.low..=range.high).take_while(|&at| verdict_at(at) == Verdict::Held).last();
        let missed = (range.low..=range.high).find(|&at| verdict_at(at) == Verdict::Missed);
        (held, missed)
    }

    fn found(
        range: Range,
        probe: &(impl Fn(i64, u32) -> Result<Sample, Infallible> + Sync),
    ) -> (Option<i64>, Option<i64>, usize) {
        let border = border(range, &slo(), &Confidence::default(), probe).unwrap();
        (border.held, border.missed, border.points.iter().map(|point| point.samples.len()).sum())
    }

    #[test]
    fn the_border_is_found_from_wherever_one_begins() {
        let check = |low, high, start, expected: (Option<i64>, Option<i64>)| {
            let range = Range { low, high, start, stride: 4 };
            let (held, missed, _) = found(range, &noisy(10, 0.0, 0));
            assert_eq!((held, missed), expected, "{range:?}");
        };
        // At 10 the limit is reached, which is too much.
        check(-100, 100, 0, (Some(9), Some(10)));
        check(-100, 100, 100, (Some(9), Some(10)));
        check(-100, 100, -100, (Some(9), Some(10)));
        check(-100, 100, 1000, (Some(9), Some(10)));
        check(9, 10, 9, (Some(9), Some(10)));
        check(-100, 5, 0, (Some(5), None));
        check(20, 100, 50, (None, Some(20)));
        check(7, 7, 7, (Some(7), None));
        check(10, 10, 10, (None, Some(10)));
    }

    #[test]
    fn few_runs_are_enough() {
        let range = Range { low: -1000, high: 1000, start: 0, stride: 35 };
        let (.., runs) = found(range, &noisy(300, 0.0, 0));
        assert!(runs <= 20, "{runs}");
        let (.., runs) = found(range, &noisy(300, 0.3, 0));
        assert!(runs <= 60, "{runs}");
    }

    #[test]
    fn an_error_ends_the_search() {
        let range = Range { low: 0, high: 10, start: 5, stride: 1 };
        let failing = |_: i64, _: u32| Err::<Sample, _>("no");
        assert_eq!(border(range, &slo(), &Confidence::default(), &failing), Err("no"));
    }

    proptest! {
        /// Seeds shift the whole curve, as with the same arrivals drawn closer together: verdicts are monotone, and both ways must agree exactly.
        #[test]
        fn it_is_where_a_scan_finds_it(
            place in -20_i64..60, noise in 0.0..2.0, salt: u64, start in -5_i64..45, stride in 1_i64..12,
        ) {
            let range = Range { low: 0, high: 40, start, stride };
            let probe = noisy(place, noise, salt);
            let (held, missed, _) = found(range, &probe);
            prop_assert_eq!((held, missed), scanned(range, &Confidence::default(), &probe));
        }
    }
}
