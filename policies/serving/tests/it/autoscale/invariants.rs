//! What holds of all autoscalers under any load.

use foretell_serving_policies::autoscale::{
    Autoscaler, Bounds, Horizontal, HorizontalPodAutoscaler, Keda, Knative, KnativePodAutoscaler, Observed,
    Planner, Prediction, Predictive, Scheduled, SlaPlanner, Timetable,
};
use proptest::collection::vec;
use proptest::prelude::*;

fn scalers(bounds: Bounds) -> Vec<Box<dyn Autoscaler>> {
    let rows = vec![(0, 1), (1000, 50), (2000, 3)];
    vec![
        Box::new(KnativePodAutoscaler::new(Knative {
            bounds,
            scale_down_delay_s: 7.0,
            ..Knative::default()
        })),
        Box::new(HorizontalPodAutoscaler::new(Horizontal { bounds, ..Horizontal::default() })),
        Box::new(HorizontalPodAutoscaler::new(Horizontal {
            bounds,
            keda: Some(Keda::default()),
            ..Horizontal::default()
        })),
        Box::new(SlaPlanner::new(Planner { bounds, ..Planner::default() })),
        Box::new(Scheduled::new(Timetable { bounds, rows, period_s: 3000, ..Timetable::default() })),
        Box::new(Predictive::new(Prediction { bounds, season_s: 300.0, ..Prediction::default() })),
    ]
}

/// One tick: load, how many of the desired serve in percent, how late the tick is.
type Tick = (u32, u32, u64);

fn play(scaler: &mut dyn Autoscaler, start: u32, ticks: &[Tick]) -> Vec<u32> {
    let (mut now_ns, mut desired) = (0, start);
    let decide = |&(load, ready, late_ns): &Tick| {
        now_ns += scaler.period_ns() + late_ns;
        let load = f64::from(load);
        desired = scaler
            .decide(&Observed {
                now_ns,
                ready: (u64::from(desired) * u64::from(ready) / 100) as u32,
                desired,
                concurrency: load,
                arrivals: load as u64,
                prompt_tokens: load as u64 * 1000,
                output_tokens: load as u64 * 100,
                ttft_s: (load > 10.0).then_some(load / 100.0),
                tpot_s: (load > 10.0).then_some(load / 1000.0),
                kv_share: (load / 1000.0).min(1.0),
                busy_share: (load / 1000.0).min(1.0),
            })
            .replicas;
        desired
    };
    ticks.iter().map(decide).collect()
}

proptest! {
    #[test]
    fn keep_to_their_bounds_and_repeat(
        min_replicas in 0_u32..5, more in 0_u32..50, start in 0_u32..60,
        ticks in vec((prop_oneof![Just(0), 0_u32..2000], 0_u32..=100, 0_u64..1_000_000_000), 1..80),
    ) {
        let bounds = Bounds { min_replicas, max_replicas: min_replicas + more };
        for (mut once, mut again) in scalers(bounds).into_iter().zip(scalers(bounds)) {
            let decided = play(once.as_mut(), start, &ticks);
            for &replicas in &decided {
                prop_assert!((bounds.min_replicas..=bounds.max_replicas).contains(&replicas), "{replicas}");
            }
            prop_assert_eq!(decided, play(again.as_mut(), start, &ticks));
        }
    }
}
