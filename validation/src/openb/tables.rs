//! The study's three tables: allocation, fragmentation and fragmented share of idle GPU, by arrived GPU.

use super::experiment::Arrival;

/// Which of the tables.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Table {
    /// Allocated GPU in percent of all GPUs.
    Allocation,
    /// Fragmented GPU in percent of all GPUs.
    Fragmentation,
    /// Fragmented GPU in percent of idle GPU.
    FragmentationRatio,
}

impl Table {
    /// All of them.
    pub(super) const ALL: [Self; 3] = [Self::Allocation, Self::Fragmentation, Self::FragmentationRatio];

    /// The name in the published file's name.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Allocation => "allo",
            Self::Fragmentation => "frag",
            Self::FragmentationRatio => "frag_ratio",
        }
    }

    /// The difference from a published cell that is still agreement: rounding at a half-way point for the tables
    /// with two decimals, printing precision for the ratio.
    pub(super) const fn tolerance(self) -> f64 {
        match self {
            Self::Allocation | Self::Fragmentation => 0.0101,
            Self::FragmentationRatio => 1e-4,
        }
    }
}

/// The cells of a table at the given levels of arrived GPU, in percent of all GPUs. A level that no arrival is near
/// is NaN.
///
/// The arithmetic is that of the study's own analysis: arrivals are grouped by the rounded percentage of arrived GPU,
/// every figure is first rounded as the simulator's log prints it, and a level without arrivals takes its neighbours'.
pub(super) fn cells(arrivals: &[Arrival], total_gpus: u64, table: Table, levels: &[u32]) -> Vec<f64> {
    let percent_of_gpus = |milli: f64| milli / total_gpus as f64 / 10.0;
    let value = |arrival: &Arrival| match table {
        Table::Allocation => round2(percent_of_gpus(arrival.used_milli as f64)),
        Table::Fragmentation => round2(arrival.fragmented_milli),
        Table::FragmentationRatio => round2(100.0 * arrival.fragmented_milli / arrival.idle_milli as f64),
    };
    let finish = |mean: f64| match table {
        Table::Allocation => round2(mean),
        Table::Fragmentation => round2(100.0 * mean / 1000.0 / total_gpus as f64),
        Table::FragmentationRatio => mean,
    };
    // Arrived GPU only grows, so the arrivals of a range of levels are consecutive.
    let level_of = |arrival: &Arrival| percent_of_gpus(arrival.arrived_milli as f64).round_ties_even();
    let between = |from: f64, to: f64| {
        let first = arrivals.partition_point(|arrival| level_of(arrival) < from);
        let end = arrivals.partition_point(|arrival| level_of(arrival) <= to);
        &arrivals[first..end]
    };
    let cell = |&level: &u32| {
        let level = f64::from(level);
        let mut rows = between(level, level);
        if rows.is_empty() {
            rows = between(level - 1.0, level + 1.0);
        }
        finish(rows.iter().map(value).sum::<f64>() / rows.len() as f64)
    };
    levels.iter().map(cell).collect()
}

/// Two decimals as numpy rounds them: multiply, round half to even, divide.
fn round2(value: f64) -> f64 {
    (value * 100.0).round_ties_even() / 100.0
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Four arrivals of 10 GPUs each on 1000 GPUs (1 % each), and one of 25.
    fn arrivals() -> Vec<Arrival> {
        let arrival = |arrived: u64, used: u64, fragmented_milli: f64| Arrival {
            arrived_milli: arrived * 1000,
            used_milli: used * 1000,
            idle_milli: (1000 - used) * 1000,
            fragmented_milli,
        };
        vec![
            arrival(10, 10, 99_000.0),
            arrival(14, 14, 98_600.004),
            arrival(20, 20, 98_000.0),
            arrival(45, 40, 96_000.0),
        ]
    }

    #[test]
    fn cells_are_means_by_level() {
        let levels = [0, 1, 2, 3, 4, 5, 9];
        let expected = [
            // Level 0 and 3 take their neighbours'; 4.5 % rounds to the even 4; nothing is near 9 %.
            (Table::Allocation, [1.2, 1.2, 2.0, 3.0, 4.0, 4.0, f64::NAN]),
            (Table::Fragmentation, [9.88, 9.88, 9.8, 9.7, 9.6, 9.6, f64::NAN]),
            (Table::FragmentationRatio, [10.0, 10.0, 10.0, 10.0, 10.0, 10.0, f64::NAN]),
        ];
        for (table, expected) in expected {
            let got = cells(&arrivals(), 1000, table, &levels);
            for ((level, got), expected) in levels.iter().zip(got).zip(expected) {
                let same = (got - expected).abs() < 1e-9 || got.is_nan() && expected.is_nan();
                assert!(same, "{table:?} at {level} %: {got}, expected {expected}");
            }
        }
    }

    #[test]
    fn halves_round_to_even() {
        for (value, expected) in
            [(0.125, 0.12), (0.375, 0.38), (-0.125, -0.12), (1.0, 1.0), (2.344_999, 2.34)]
        {
            assert!((round2(value) - expected).abs() < 1e-12, "{value}");
        }
    }
}
