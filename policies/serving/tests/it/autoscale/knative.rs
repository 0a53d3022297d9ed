//! Knative's: ticks each 2 s, so a stable window has 30 of them and a panic window 3.

use foretell_serving_policies::autoscale::{
    Autoscaler, Bounds, Knative, KnativePodAutoscaler, Metric, Observed,
};

use super::{Case, arrivals, check, concurrency, knative};

#[test]
fn follows_the_average() {
    // 70 % of 100: 141 / 70 = 2.01.
    check(Case {
        name: "defaults",
        scaler: Box::new(KnativePodAutoscaler::new(Knative::default())),
        sees: concurrency,
        start: 3,
        ready: None,
        rows: &[(60, 141.0, 3)],
    });

    // 45 / 10 = 4.5; 5 / 4 is no panic.
    check(Case {
        name: "one more",
        scaler: knative(|_| ()),
        sees: concurrency,
        start: 4,
        ready: None,
        rows: &[(60, 45.0, 5)],
    });

    // 84 arrivals in 2 s are 42 a second; 42 / (20 x 0.7) = 3.
    check(Case {
        name: "rate",
        scaler: knative(|parameters| {
            parameters.metric = Metric::Rate;
            parameters.target = 20.0;
            parameters.target_utilization = 0.7;
        }),
        sees: arrivals,
        start: 3,
        ready: None,
        rows: &[(60, 84.0, 3)],
    });

    // Panic averages 53, 66, 79: 6 / 4, 7 / 5, 8 / 5, all below 2. Stable ones 41.3, 42.6, 43.9.
    check(Case {
        name: "below the panic threshold",
        scaler: knative(|_| ()),
        sees: concurrency,
        start: 4,
        ready: None,
        rows: &[(60, 40.0, 4), (66, 79.0, 5)],
    });
}

#[test]
fn panics() {
    // 62 s: (20 + 20 + 100) / 3 = 46.7, 5 of 2 ready. 64 s: 220 / 3 = 73.3. 66 s: 100.
    check(Case {
        name: "entry",
        scaler: knative(|_| ()),
        sees: concurrency,
        start: 2,
        ready: None,
        rows: &[(60, 20.0, 2), (62, 100.0, 5), (64, 100.0, 8), (66, 100.0, 10)],
    });

    // Exceeded last at 62 s (8 / 5 and 10 / 8 do not): over at the first tick after 122 s. Then 100 / 30 = 3.3 wants 1, half of 10 stay;
    // half of 5; half of 2 is all that stays at 128 s, none is wanted at 130 s, and 30 s later the last goes.
    check(Case {
        name: "no decrease, and exit",
        scaler: knative(|_| ()),
        sees: concurrency,
        start: 2,
        ready: None,
        rows: &[
            (60, 20.0, 2),
            (62, 100.0, 5),
            (64, 100.0, 8),
            (66, 100.0, 10),
            (122, 0.0, 10),
            (124, 0.0, 5),
            (126, 0.0, 2),
            (158, 0.0, 1),
            (170, 0.0, 0),
        ],
    });

    // (50 + 50 + 200) / 3 = 100 wants 10 of 5 ready, which is enough; stable (1450 + 200) / 30 would want 6.
    check(Case {
        name: "exactly the threshold",
        scaler: knative(|_| ()),
        sees: concurrency,
        start: 5,
        ready: None,
        rows: &[(60, 50.0, 5), (62, 200.0, 10)],
    });

    // 5 of 2 is below 3: stable (580 + 100) / 30 = 22.7.
    check(Case {
        name: "a higher threshold",
        scaler: knative(|parameters| {
            parameters.panic_threshold = 3.0;
        }),
        sees: concurrency,
        start: 2,
        ready: None,
        rows: &[(60, 20.0, 2), (62, 100.0, 3)],
    });
}

#[test]
fn changes_at_limited_rates() {
    // (10 + 10 + 1000) / 3 wants 34, then 67 and 100: twice the ready ones each time.
    check(Case {
        name: "up",
        scaler: knative(|parameters| {
            parameters.max_scale_up_rate = 2.0;
        }),
        sees: concurrency,
        start: 1,
        ready: None,
        rows: &[
            (60, 10.0, 1),
            (62, 1000.0, 2),
            (64, 1000.0, 4),
            (66, 1000.0, 8),
            (68, 1000.0, 16),
            (70, 1000.0, 32),
            (72, 1000.0, 64),
            (74, 1000.0, 100),
        ],
    });

    // 10 x 1 of the 50 wanted.
    check(Case {
        name: "none ready counts as one",
        scaler: knative(|parameters| {
            parameters.max_scale_up_rate = 10.0;
        }),
        sees: concurrency,
        start: 1,
        ready: Some(0),
        rows: &[(10, 500.0, 10)],
    });

    // Windows of one tick: 1 is wanted, floor(8 / 2), floor(4 / 2), 1.
    check(Case {
        name: "down to half",
        scaler: knative(|parameters| {
            parameters.stable_window_s = 2.0;
            parameters.panic_window_share = 1.0;
        }),
        sees: concurrency,
        start: 8,
        ready: None,
        rows: &[(2, 80.0, 8), (4, 10.0, 4), (6, 10.0, 2), (10, 10.0, 1)],
    });

    // floor(8 / 1.5) = 5, floor(5 / 1.5) = 3, 2, 1.
    check(Case {
        name: "down by a lower rate",
        scaler: knative(|parameters| {
            parameters.stable_window_s = 2.0;
            parameters.panic_window_share = 1.0;
            parameters.max_scale_down_rate = 1.5;
        }),
        sees: concurrency,
        start: 8,
        ready: None,
        rows: &[(2, 80.0, 8), (4, 10.0, 5), (6, 10.0, 3), (8, 10.0, 2), (10, 10.0, 1)],
    });

    // floor(8 / 10) = 0: 1 is wanted.
    check(Case {
        name: "down at once",
        scaler: knative(|parameters| {
            parameters.stable_window_s = 2.0;
            parameters.panic_window_share = 1.0;
            parameters.max_scale_down_rate = 10.0;
        }),
        sees: concurrency,
        start: 8,
        ready: None,
        rows: &[(2, 80.0, 8), (4, 10.0, 1)],
    });
}

#[test]
fn delays_a_decrease() {
    // The 8 of 2 s counts until 10 s. Half of the 8 ready were wanted until 12 s, which count until 20 s; half of 4 until 22 s; then 1.
    check(Case {
        name: "10 s",
        scaler: knative(|parameters| {
            parameters.stable_window_s = 2.0;
            parameters.panic_window_share = 1.0;
            parameters.scale_down_delay_s = 10.0;
        }),
        sees: concurrency,
        start: 8,
        ready: None,
        rows: &[(2, 80.0, 8), (10, 10.0, 8), (20, 10.0, 4), (30, 10.0, 2), (40, 10.0, 1)],
    });

    // 16 of 8.
    check(Case {
        name: "not an increase",
        scaler: knative(|parameters| {
            parameters.stable_window_s = 2.0;
            parameters.panic_window_share = 1.0;
            parameters.scale_down_delay_s = 10.0;
        }),
        sees: concurrency,
        start: 8,
        ready: None,
        rows: &[(2, 80.0, 8), (4, 160.0, 16)],
    });
}

#[test]
fn goes_to_zero_and_back() {
    // The window is empty at 70 s, the last goes 30 s later; one request is a thirtieth of one on average, and wants 1.
    check(Case {
        name: "with the default grace",
        scaler: knative(|_| ()),
        sees: concurrency,
        start: 1,
        ready: None,
        rows: &[(10, 5.0, 1), (98, 0.0, 1), (110, 0.0, 0), (112, 1.0, 1)],
    });

    check(Case {
        name: "without grace",
        scaler: knative(|parameters| {
            parameters.scale_to_zero_grace_s = 0.0;
        }),
        sees: concurrency,
        start: 1,
        ready: None,
        rows: &[(10, 5.0, 1), (68, 0.0, 1), (70, 0.0, 0)],
    });

    // 70 + 60.
    check(Case {
        name: "retained for longer than the grace",
        scaler: knative(|parameters| {
            parameters.scale_to_zero_retention_s = 60.0;
        }),
        sees: concurrency,
        start: 1,
        ready: None,
        rows: &[(10, 5.0, 1), (128, 0.0, 1), (132, 0.0, 0)],
    });

    // Seen at 82 s: out of the window at 142 s, and the grace begins anew.
    check(Case {
        name: "load during the grace",
        scaler: knative(|_| ()),
        sees: concurrency,
        start: 1,
        ready: None,
        rows: &[(10, 5.0, 1), (80, 0.0, 1), (82, 5.0, 1), (170, 0.0, 1), (172, 0.0, 0)],
    });

    // The last stays.
    check(Case {
        name: "not allowed",
        scaler: knative(|parameters| {
            parameters.scale_to_zero = false;
        }),
        sees: concurrency,
        start: 1,
        ready: None,
        rows: &[(10, 5.0, 1), (300, 0.0, 1)],
    });

    // Active for a stable window (2 to 62 s) before the grace begins.
    check(Case {
        name: "new and idle",
        scaler: knative(|_| ()),
        sees: concurrency,
        start: 1,
        ready: None,
        rows: &[(90, 0.0, 1), (92, 0.0, 0)],
    });
}

#[test]
fn keeps_to_scales_and_bounds() {
    // floor(3 / 2) = 1 and later 0 are below 2.
    check(Case {
        name: "fewest",
        scaler: knative(|parameters| {
            parameters.bounds.min_replicas = 2;
        }),
        sees: concurrency,
        start: 3,
        ready: None,
        rows: &[(200, 0.0, 2)],
    });

    // 100 are wanted.
    check(Case {
        name: "most",
        scaler: knative(|parameters| {
            parameters.bounds = Bounds { min_replicas: 0, max_replicas: 5 };
        }),
        sees: concurrency,
        start: 1,
        ready: None,
        rows: &[(60, 1000.0, 5)],
    });

    // None serves yet.
    check(Case {
        name: "initial scale, not reached",
        scaler: knative(|parameters| {
            parameters.initial_scale = 3;
        }),
        sees: concurrency,
        start: 3,
        ready: Some(0),
        rows: &[(60, 0.0, 3)],
    });

    // floor(3 / 2) stay.
    check(Case {
        name: "initial scale, reached",
        scaler: knative(|parameters| {
            parameters.initial_scale = 3;
        }),
        sees: concurrency,
        start: 3,
        ready: None,
        rows: &[(2, 0.0, 1)],
    });

    // 1 / 3 on average wants 1.
    check(Case {
        name: "activation scale",
        scaler: knative(|parameters| {
            parameters.initial_scale = 0;
            parameters.activation_scale = 3;
        }),
        sees: concurrency,
        start: 0,
        ready: None,
        rows: &[(4, 0.0, 0), (6, 1.0, 3)],
    });
}

#[test]
fn tells_the_room_for_bursts() {
    // floor(ready x 100 - 211 - 150).
    for (target_burst_capacity, ready, expected) in
        [(211.0, 4, 39.0), (211.0, 3, -61.0), (0.0, 1, 0.0), (-1.0, 100, -1.0)]
    {
        let mut scaler = KnativePodAutoscaler::new(Knative { target_burst_capacity, ..Knative::default() });
        scaler.decide(&Observed { now_ns: 2_000_000_000, ready, desired: ready, ..concurrency(150.0) });
        let excess = scaler.excess_burst_capacity(2_000_000_000, ready);
        assert!((excess - expected).abs() < 1e-9, "{excess} instead of {expected}");
    }
}

#[test]
fn says_that_it_panics() {
    let mut scaler = KnativePodAutoscaler::new(Knative::default());
    let seen = Observed { now_ns: 2_000_000_000, ready: 1, desired: 1, ..concurrency(200.0) };
    let decision = scaler.decide(&seen);
    assert!(scaler.panics());
    assert_eq!(decision.reason.to_string(), "panic: concurrency 200.00 of 70.00 a replica over 6 s");
    let decision =
        scaler.decide(&Observed { now_ns: 4_000_000_000, ready: 3, desired: 3, ..Observed::default() });
    assert_eq!(decision.reason.to_string(), "panic: no decrease to 2");
    assert_eq!(scaler.period_ns(), 2_000_000_000);
}
