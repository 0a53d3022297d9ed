//! Kubernetes' and KEDA's: ticks each 15 s.

use foretell_serving_policies::autoscale::{Keda, Metric, Policy, Select};

use super::{Case, arrivals, busy, check, concurrency, horizontal, kv};

#[test]
fn tolerates_small_differences() {
    // 1.09 is near enough to 1. 1.12 is not: 112 / 10 = 11.2.
    check(Case {
        name: "up",
        scaler: horizontal(|_| ()),
        sees: concurrency,
        start: 10,
        ready: None,
        rows: &[(15, 109.0, 10), (30, 112.0, 12)],
    });

    // 0.91 is near enough. 0.88 is not: 8.8.
    check(Case {
        name: "down",
        scaler: horizontal(|parameters| {
            parameters.down.stabilisation_s = 0.0;
        }),
        sees: concurrency,
        start: 10,
        ready: None,
        rows: &[(15, 91.0, 10), (30, 88.0, 9)],
    });

    // 1.4 is within 0.5.
    check(Case {
        name: "a wider one",
        scaler: horizontal(|parameters| {
            parameters.tolerance = 0.5;
        }),
        sees: concurrency,
        start: 10,
        ready: None,
        rows: &[(30, 140.0, 10), (45, 160.0, 16)],
    });
}

#[test]
fn stabilises() {
    // 10 was recommended last at 60 s.
    check(Case {
        name: "down",
        scaler: horizontal(|_| ()),
        sees: concurrency,
        start: 10,
        ready: None,
        rows: &[(60, 100.0, 10), (345, 20.0, 10), (360, 20.0, 2)],
    });

    // As if 10 had been recommended at 15 s.
    check(Case {
        name: "down, when new",
        scaler: horizontal(|_| ()),
        sees: concurrency,
        start: 10,
        ready: None,
        rows: &[(300, 20.0, 10), (315, 20.0, 2)],
    });

    // 5 was recommended from 75 to 120 s.
    check(Case {
        name: "down, by the highest",
        scaler: horizontal(|_| ()),
        sees: concurrency,
        start: 10,
        ready: None,
        rows: &[(60, 100.0, 10), (120, 50.0, 10), (345, 20.0, 10), (405, 20.0, 5), (420, 20.0, 2)],
    });

    // 2 was recommended last at 60 s, and counts for 60 s.
    check(Case {
        name: "up",
        scaler: horizontal(|parameters| {
            parameters.up.stabilisation_s = 60.0;
        }),
        sees: concurrency,
        start: 2,
        ready: None,
        rows: &[(60, 20.0, 2), (105, 50.0, 2), (120, 50.0, 5)],
    });
}

#[test]
fn follows_policies() {
    // max(2 x 1, 1 + 4), max(10, 9), then twice as many.
    check(Case {
        name: "up by default",
        scaler: horizontal(|_| ()),
        sees: concurrency,
        start: 1,
        ready: None,
        rows: &[
            (15, 1000.0, 5),
            (30, 1000.0, 10),
            (45, 1000.0, 20),
            (60, 1000.0, 40),
            (75, 1000.0, 80),
            (90, 1000.0, 100),
        ],
    });

    // min(20, 14).
    check(Case {
        name: "up by the smaller",
        scaler: horizontal(|parameters| {
            parameters.up.select = Select::Min;
        }),
        sees: concurrency,
        start: 10,
        ready: None,
        rows: &[(15, 1000.0, 14), (30, 1000.0, 18)],
    });

    // 4 in 60 s: 14 until the change at 15 s is 60 s old.
    check(Case {
        name: "up in a longer period",
        scaler: horizontal(|parameters| {
            parameters.up.policies = vec![Policy::Pods { pods: 4, period_s: 60.0 }];
        }),
        sees: concurrency,
        start: 10,
        ready: None,
        rows: &[(60, 1000.0, 14), (75, 1000.0, 18)],
    });

    check(Case {
        name: "down by one a minute",
        scaler: horizontal(|parameters| {
            parameters.down.stabilisation_s = 0.0;
            parameters.down.policies = vec![Policy::Pods { pods: 1, period_s: 60.0 }];
        }),
        sees: concurrency,
        start: 10,
        ready: None,
        rows: &[(60, 10.0, 9), (120, 10.0, 8), (135, 10.0, 7)],
    });

    // 50 x 0.9 = 45, 45 x 0.9 = 40.5.
    check(Case {
        name: "down by a tenth a minute",
        scaler: horizontal(|parameters| {
            parameters.down.stabilisation_s = 0.0;
            parameters.down.policies = vec![Policy::Percent { percent: 10.0, period_s: 60.0 }];
        }),
        sees: concurrency,
        start: 50,
        ready: None,
        rows: &[(60, 10.0, 45), (75, 10.0, 40)],
    });

    check(Case {
        name: "never down",
        scaler: horizontal(|parameters| {
            parameters.down.stabilisation_s = 0.0;
            parameters.down.select = Select::Disabled;
        }),
        sees: concurrency,
        start: 10,
        ready: None,
        rows: &[(600, 10.0, 10)],
    });
}

#[test]
fn reads_other_metrics() {
    // 0.75 / 0.5 x 4 = 6.
    check(Case {
        name: "busy share",
        scaler: horizontal(|parameters| {
            parameters.metric = Metric::BusyShare;
            parameters.target = 0.5;
        }),
        sees: busy,
        start: 4,
        ready: None,
        rows: &[(15, 0.75, 6), (30, 0.5, 6)],
    });

    // 0.75 of 2 is 1.5 of the target; 0.375 of 4 is less than it.
    check(Case {
        name: "some do not serve, and would do",
        scaler: horizontal(|parameters| {
            parameters.metric = Metric::BusyShare;
            parameters.target = 0.5;
        }),
        sees: busy,
        start: 4,
        ready: Some(2),
        rows: &[(60, 0.75, 4)],
    });

    // 3 busy of 4 is 0.75: 0.75 / 0.5 x 4 = 6.
    check(Case {
        name: "some do not serve, and would not do",
        scaler: horizontal(|parameters| {
            parameters.metric = Metric::BusyShare;
            parameters.target = 0.5;
        }),
        sees: busy,
        start: 4,
        ready: Some(3),
        rows: &[(15, 1.0, 6)],
    });

    // Nothing is known.
    check(Case {
        name: "none serves",
        scaler: horizontal(|parameters| {
            parameters.metric = Metric::BusyShare;
            parameters.target = 0.5;
        }),
        sees: busy,
        start: 4,
        ready: Some(0),
        rows: &[(600, 0.0, 4)],
    });

    // 0.4 / 0.8 x 5 = 2.5.
    check(Case {
        name: "KV share",
        scaler: horizontal(|parameters| {
            parameters.metric = Metric::KvShare;
            parameters.target = 0.8;
            parameters.down.stabilisation_s = 0.0;
        }),
        sees: kv,
        start: 5,
        ready: None,
        rows: &[(15, 0.4, 3)],
    });

    // 150 in 15 s are 10 a second; 10 / 2 = 5.
    check(Case {
        name: "rate",
        scaler: horizontal(|parameters| {
            parameters.metric = Metric::Rate;
            parameters.target = 2.0;
        }),
        sees: arrivals,
        start: 2,
        ready: None,
        rows: &[(30, 150.0, 5)],
    });
}

#[test]
fn keeps_to_bounds() {
    // 0 is recommended.
    check(Case {
        name: "no load",
        scaler: horizontal(|parameters| {
            parameters.down.stabilisation_s = 0.0;
        }),
        sees: concurrency,
        start: 3,
        ready: None,
        rows: &[(60, 0.0, 1)],
    });

    // 100 are recommended.
    check(Case {
        name: "most",
        scaler: horizontal(|parameters| {
            parameters.bounds.max_replicas = 7;
        }),
        sees: concurrency,
        start: 5,
        ready: None,
        rows: &[(60, 1000.0, 7)],
    });
}

#[test]
fn activates_and_cools_down_as_keda() {
    // Looked at 15, 45, .. s. 5 is not above 5.
    check(Case {
        name: "activation",
        scaler: horizontal(|parameters| {
            parameters.bounds.min_replicas = 0;
            parameters.keda = Some(Keda { activation_threshold: 5.0, ..Keda::default() });
        }),
        sees: concurrency,
        start: 0,
        ready: None,
        rows: &[(15, 5.0, 0), (30, 6.0, 0), (45, 6.0, 1)],
    });

    // At 15 s it is looked at for the first time.
    check(Case {
        name: "first looks",
        scaler: horizontal(|parameters| {
            parameters.bounds.min_replicas = 0;
            parameters.keda = Some(Keda::default());
        }),
        sees: concurrency,
        start: 0,
        ready: None,
        rows: &[(15, 25.0, 1), (30, 25.0, 3)],
    });

    // Active last at 45 s; 345 s is not more than 300 s later, and 375 s is the next look.
    check(Case {
        name: "cooldown",
        scaler: horizontal(|parameters| {
            parameters.bounds.min_replicas = 0;
            parameters.keda = Some(Keda::default());
        }),
        sees: concurrency,
        start: 1,
        ready: None,
        rows: &[(45, 5.0, 1), (360, 0.0, 1), (390, 0.0, 0)],
    });

    // Active at 165 s: 495 s is the first look after 465 s.
    check(Case {
        name: "load during the cooldown",
        scaler: horizontal(|parameters| {
            parameters.bounds.min_replicas = 0;
            parameters.keda = Some(Keda::default());
        }),
        sees: concurrency,
        start: 1,
        ready: None,
        rows: &[(45, 5.0, 1), (150, 0.0, 1), (165, 5.0, 1), (480, 0.0, 1), (495, 0.0, 0)],
    });

    check(Case {
        name: "one at least",
        scaler: horizontal(|parameters| {
            parameters.keda = Some(Keda::default());
        }),
        sees: concurrency,
        start: 1,
        ready: None,
        rows: &[(900, 0.0, 1)],
    });

    // Looked at 15, 30, .. s: 45 + 60 is not enough, 120 is.
    check(Case {
        name: "shorter",
        scaler: horizontal(|parameters| {
            parameters.bounds.min_replicas = 0;
            parameters.keda = Some(Keda { cooldown_s: 60.0, polling_interval_s: 15.0, ..Keda::default() });
        }),
        sees: concurrency,
        start: 1,
        ready: None,
        rows: &[(45, 5.0, 1), (105, 0.0, 1), (120, 0.0, 0)],
    });
}
