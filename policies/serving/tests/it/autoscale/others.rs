//! Timetables, plans and predictions.

use foretell_serving_policies::autoscale::{
    Autoscaler, HoltWinters, Metric, Observed, Planner, Prediction, Predictive, Predictor, Reason, Role,
    Scheduled, SlaPlanner, Timetable, Weights,
};

use super::{Case, arrivals, check, concurrency};

fn scheduled(tick_s: f64, period_s: u64, starts_at_s: u64, rows: &[(u64, u32)]) -> Box<dyn Autoscaler> {
    Box::new(Scheduled::new(Timetable {
        tick_s,
        period_s,
        starts_at_s,
        rows: rows.to_vec(),
        ..Timetable::default()
    }))
}

fn planner(role: Role, change: impl FnOnce(&mut Planner)) -> Box<dyn Autoscaler> {
    let mut parameters = Planner { role, ..Planner::default() };
    change(&mut parameters);
    Box::new(SlaPlanner::new(parameters))
}

/// A season of four ticks of a minute, one request per second a replica.
fn predictive(lead_time_s: f64) -> Box<dyn Autoscaler> {
    let weights = Weights { level: 0.5, trend: 0.5, season: 0.5 };
    Box::new(Predictive::new(Prediction { season_s: 240.0, lead_time_s, weights, ..Prediction::default() }))
}

fn prompts(tokens: f64) -> Observed {
    Observed { prompt_tokens: tokens as u64, ..Observed::default() }
}

fn output(tokens: f64) -> Observed {
    Observed { output_tokens: tokens as u64, ..Observed::default() }
}

#[test]
fn follows_a_timetable() {
    // The last row holds until the first, and again after 10 s.
    check(Case {
        name: "boundaries",
        scaler: scheduled(1.0, 10, 0, &[(3, 2), (7, 5)]),
        sees: concurrency,
        start: 1,
        ready: None,
        rows: &[(2, 0.0, 5), (6, 0.0, 2), (12, 0.0, 5), (16, 0.0, 2), (17, 0.0, 5)],
    });

    // From 6 to 18 h, across midnight, and again.
    check(Case {
        name: "a day",
        scaler: scheduled(3600.0, 86_400, 0, &[(64_800, 1), (21_600, 4)]),
        sees: concurrency,
        start: 1,
        ready: None,
        rows: &[(18_000, 0.0, 1), (61_200, 0.0, 4), (104_400, 0.0, 1), (108_000, 0.0, 4)],
    });

    // 23:30, then midnight.
    check(Case {
        name: "begins at 23 h",
        scaler: scheduled(1800.0, 86_400, 82_800, &[(0, 1), (82_800, 7)]),
        sees: concurrency,
        start: 1,
        ready: None,
        rows: &[(1800, 0.0, 7), (3600, 0.0, 1)],
    });

    // Nothing changes.
    check(Case {
        name: "no rows",
        scaler: scheduled(60.0, 86_400, 0, &[]),
        sees: concurrency,
        start: 3,
        ready: None,
        rows: &[(600, 9.0, 3)],
    });
}

#[test]
fn plans_by_capacities() {
    // 3600000 / 180 s = 20000 of 10000 a replica; 20001 are too many for 2.
    check(Case {
        name: "prompts",
        scaler: planner(Role::Prefill, |_| ()),
        sees: prompts,
        start: 1,
        ready: None,
        rows: &[(180, 3_600_000.0, 2), (360, 3_600_180.0, 3)],
    });

    // 270000 / 180 s = 1500 of 1000.
    check(Case {
        name: "output",
        scaler: planner(Role::Decode, |_| ()),
        sees: output,
        start: 1,
        ready: None,
        rows: &[(180, 270_000.0, 2)],
    });

    // 5000 / 10000 + 500 / 1000 = 1, then 0.5 + 0.6.
    check(Case {
        name: "both",
        scaler: planner(Role::Aggregated, |_| ()),
        sees: |tokens| Observed {
            prompt_tokens: 900_000,
            output_tokens: tokens as u64,
            ..Observed::default()
        },
        start: 1,
        ready: None,
        rows: &[(180, 90_000.0, 1), (360, 108_000.0, 2)],
    });

    check(Case {
        name: "no load",
        scaler: planner(Role::Aggregated, |_| ()),
        sees: prompts,
        start: 3,
        ready: None,
        rows: &[(360, 0.0, 1)],
    });
}

#[test]
fn corrects_plans_by_latencies() {
    // 0.25 of 0.5 s expected halves the 2.
    check(Case {
        name: "shorter times to first token",
        scaler: planner(Role::Prefill, |_| ()),
        sees: |ttft_s| Observed { ttft_s: Some(ttft_s), ..prompts(3_600_000.0) },
        start: 2,
        ready: None,
        rows: &[(180, 0.25, 1), (360, 0.5, 2), (540, 5.0, 2)],
    });

    // 0.04 s / (0.08 / 0.04) = 0.02 s: 1000 / 400 = 2.5. At half of what is expected, 0.08 s, no more than the last point.
    check(Case {
        name: "longer times per output token",
        scaler: planner(Role::Decode, |parameters| {
            parameters.decode_profile = vec![(0.02, 400.0), (0.04, 1000.0)];
            parameters.tpot_objective_s = 0.04;
            parameters.expected_tpot_s = 0.04;
        }),
        sees: |tpot_s| Observed { tpot_s: Some(tpot_s), ..output(180_000.0) },
        start: 1,
        ready: None,
        rows: &[(180, 0.08, 3), (360, 0.02, 1)],
    });

    // 0.04 / (0.05 / 0.04) = 0.032 s: 400 + 600 x 0.6 = 760; 1500 / 760 = 1.97. Below the first point as at it: 1500 / 400 = 3.75.
    check(Case {
        name: "between the points",
        scaler: planner(Role::Decode, |parameters| {
            parameters.decode_profile = vec![(0.02, 400.0), (0.04, 1000.0)];
            parameters.tpot_objective_s = 0.04;
            parameters.expected_tpot_s = 0.04;
        }),
        sees: |tpot_s| Observed { tpot_s: Some(tpot_s), ..output(270_000.0) },
        start: 1,
        ready: None,
        rows: &[(180, 0.05, 2), (360, 0.5, 4)],
    });

    // 1500 / 1000.
    check(Case {
        name: "without corrections",
        scaler: planner(Role::Decode, |parameters| {
            parameters.decode_profile = vec![(0.02, 400.0), (0.04, 1000.0)];
            parameters.tpot_objective_s = 0.04;
            parameters.expected_tpot_s = 0.04;
            parameters.corrections = false;
        }),
        sees: |tpot_s| Observed { tpot_s: Some(tpot_s), ..output(270_000.0) },
        start: 1,
        ready: None,
        rows: &[(180, 0.5, 2)],
    });

    // None ended in the second interval (a load of 0): half of 2 still.
    check(Case {
        name: "corrections stay",
        scaler: planner(Role::Prefill, |_| ()),
        sees: |ttft_s| Observed { ttft_s: (ttft_s > 0.0).then_some(ttft_s), ..prompts(3_600_000.0) },
        start: 2,
        ready: None,
        rows: &[(180, 0.25, 1), (360, 0.0, 1)],
    });
}

#[test]
fn plans_for_predicted_load() {
    // 10000, (10000 + 30000) / 2, 30000.
    check(Case {
        name: "moving average",
        scaler: planner(Role::Prefill, |parameters| {
            parameters.predictor = Predictor::MovingAverage(2);
        }),
        sees: prompts,
        start: 1,
        ready: None,
        rows: &[(180, 1_800_000.0, 1), (360, 5_400_000.0, 2), (540, 5_400_000.0, 3)],
    });

    // A season of 1 and 3 replicas: the latest until it was seen, then the other one.
    check(Case {
        name: "seasons",
        scaler: planner(Role::Prefill, |parameters| {
            parameters.predictor = Predictor::HoltWinters(HoltWinters::new(2, Weights::default()));
        }),
        sees: prompts,
        start: 1,
        ready: None,
        rows: &[(180, 1_800_000.0, 1), (360, 5_400_000.0, 1), (540, 1_800_000.0, 3), (720, 5_400_000.0, 1)],
    });
}

#[test]
fn predicts_seasons() {
    // 1, 2, 3, 2 a second: mean 2, seasons -1, 0, 1, 0. From 240 s on what the next minute had.
    check(Case {
        name: "a step ahead",
        scaler: predictive(60.0),
        sees: arrivals,
        start: 1,
        ready: None,
        rows: &[
            (60, 60.0, 1),
            (120, 120.0, 2),
            (180, 180.0, 3),
            (240, 120.0, 1),
            (300, 60.0, 2),
            (360, 120.0, 3),
            (420, 180.0, 2),
            (480, 120.0, 1),
        ],
    });

    // The higher of the next two.
    check(Case {
        name: "two steps ahead",
        scaler: predictive(120.0),
        sees: arrivals,
        start: 1,
        ready: None,
        rows: &[
            (60, 60.0, 1),
            (120, 120.0, 2),
            (180, 180.0, 3),
            (240, 120.0, 2),
            (300, 60.0, 3),
            (360, 120.0, 3),
            (420, 180.0, 2),
        ],
    });

    // 300 s, 3: level (3 + 1) / 2 + 2 / 2 = 3, trend 0.5; 3.5 + 0. 360 s, 4: level 3.75, trend 0.625; 4.375 + 1.
    check(Case {
        name: "a trend",
        scaler: predictive(60.0),
        sees: arrivals,
        start: 1,
        ready: None,
        rows: &[
            (60, 60.0, 1),
            (120, 120.0, 2),
            (180, 180.0, 3),
            (240, 120.0, 1),
            (300, 180.0, 4),
            (360, 240.0, 6),
        ],
    });
}

#[test]
fn smooths_as_by_hand() {
    let mut smoothing = HoltWinters::new(2, Weights { level: 0.5, trend: 0.25, season: 0.5 });
    // 10 and 14: level 12, seasons -2 and 2; next 10.
    // 12: level (12 + 2) / 2 + 12 / 2 = 13, trend 0.25, season (12 - 13) / 2 - 1 = -1.5; next 13.25 + 2.
    // 16: level (16 - 2) / 2 + 13.25 / 2 = 13.625, trend 0.25 x 0.625 + 0.75 x 0.25 = 0.34375, season (16 - 13.625) / 2 + 1 = 2.1875;
    // next 13.96875 - 1.5, and after that 13.625 + 0.6875 + 2.1875.
    for (value, expected) in [(10.0, None), (14.0, Some(10.0)), (12.0, Some(15.25)), (16.0, Some(12.46875))] {
        smoothing.record(value);
        assert_eq!(smoothing.forecast(1), expected, "after {value}");
    }
    assert_eq!(smoothing.forecast(2), Some(16.5));
}

#[test]
fn reasons_fit_a_cell() {
    let load = Reason::Load { metric: Metric::KvShare, value: 1.5, target: 0.8, window_s: 15.0 };
    for (reason, text) in [
        (load, "KV share 1.50 of 0.80 a replica over 15 s"),
        (Reason::ScaleDownDelay { wanted: 2 }, "held: scale-down delay before 2"),
        (Reason::Stabilised { wanted: 2 }, "held: stabilisation window before 2"),
        (Reason::RateLimited { wanted: 9 }, "limited: rate towards 9"),
        (Reason::Bounded { wanted: 0 }, "limited: bounds instead of 0"),
        (Reason::Activated { value: 6.0, threshold: 5.0 }, "activated: 6.00 above 5.00"),
        (
            Reason::Planned { prompt_tokens_per_s: 20_000.0, output_tokens_per_s: 1500.4 },
            "planned for 20000 prompt and 1500 output tokens/s",
        ),
        (Reason::Scheduled { since_s: 21_600 }, "scheduled since second 21600"),
        (Reason::Predicted { rate: 3.5, replica_rate: 1.0 }, "predicted 3.50 requests/s of 1.00 a replica"),
    ] {
        assert_eq!(reason.to_string(), text);
    }
}
