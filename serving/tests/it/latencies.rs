//! Counted times are those that were added, to half a part in a thousand.

use foretell_serving::Latencies;
use foretell_serving::engine::Steps;
use foretell_serving::metrics::Spread;
use proptest::prelude::*;

fn of(added: &[(u64, u32)]) -> Latencies {
    let mut latencies = Latencies::default();
    for &(latency_ns, times) in added {
        latencies.add(latency_ns, times);
    }
    latencies
}

fn added() -> impl Strategy<Value = Vec<(u64, u32)>> {
    let latency_ns =
        prop_oneof![0_u64..3000, 1_000_000_u64..2_000_000_000, any::<u64>().prop_map(|any| any >> 20)];
    prop::collection::vec((latency_ns, 1_u32..50), 1..40)
}

proptest! {
    #[test]
    fn times_are_known_to_half_a_part_in_a_thousand(added in added()) {
        let mut exact: Vec<u64> = added.iter().flat_map(|&(latency_ns, times)| (0..times).map(move |_| latency_ns)).collect();
        exact.sort_unstable();
        let latencies = of(&added);
        let counted: Vec<u64> =
            latencies.iter().flat_map(|(latency_ns, times)| (0..times).map(move |_| latency_ns)).collect();
        prop_assert_eq!(counted.len(), exact.len());
        for (counted, exact) in counted.iter().zip(&exact) {
            prop_assert!(counted.abs_diff(*exact) as f64 <= *exact as f64 / 2000.0, "{} for {}", counted, exact);
        }
        prop_assert_eq!(latencies.sum_ns(), exact.iter().map(|&one| u128::from(one)).sum::<u128>());
        let spread = Spread::of_latencies(&latencies);
        prop_assert!((spread.max - exact[exact.len() - 1] as f64 / 1e9).abs() <= f64::EPSILON * spread.max);
        let middle = exact[exact.len().div_ceil(2) - 1] as f64 / 1e9;
        prop_assert!((spread.p50 - middle).abs() <= middle / 2000.0);
    }

    #[test]
    fn many_at_once_are_as_one_by_one(
        runs in prop::collection::vec((0_u64..20_000_000, prop::collection::vec(0_u64..5000, 1..40)), 1..10),
        times in 1_u32..50,
    ) {
        let latencies_ns: Vec<u64> =
            runs.iter().flat_map(|(from_ns, further)| further.iter().map(move |more_ns| from_ns + more_ns)).collect();
        let mut at_once = Latencies::default();
        at_once.add_steps(&Steps::each(&latencies_ns), times);
        let one_by_one = of(&latencies_ns.iter().map(|&latency_ns| (latency_ns, times)).collect::<Vec<_>>());
        prop_assert_eq!(at_once.iter().collect::<Vec<_>>(), one_by_one.iter().collect::<Vec<_>>());
        prop_assert_eq!(
            (at_once.count(), at_once.sum_ns(), at_once.max_ns()),
            (one_by_one.count(), one_by_one.sum_ns(), one_by_one.max_ns())
        );
    }

    #[test]
    fn parts_come_to_the_whole(one in added(), other in added()) {
        let mut merged = of(&one);
        merged.merge(&of(&other));
        let whole = of(&[one, other].concat());
        prop_assert_eq!(merged.iter().collect::<Vec<_>>(), whole.iter().collect::<Vec<_>>());
        prop_assert_eq!((merged.count(), merged.sum_ns(), merged.max_ns()), (whole.count(), whole.sum_ns(), whole.max_ns()));
    }
}

#[test]
fn nothing_has_no_spread() {
    assert_eq!(Spread::of_latencies(&Latencies::default()), Spread::default());
}
