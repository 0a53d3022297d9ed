//! Autoscalers against sequences worked by hand from the published algorithms.

mod horizontal;
mod invariants;
mod knative;
mod others;

use foretell_serving_policies::autoscale::{
    Autoscaler, Horizontal, HorizontalPodAutoscaler, Knative, KnativePodAutoscaler, Observed,
};

/// One autoscaler, what it sees, what it must decide.
struct Case {
    name: &'static str,
    scaler: Box<dyn Autoscaler>,
    /// What it sees of a load.
    sees: fn(f64) -> Observed,
    /// Replicas before the first tick.
    start: u32,
    /// Replicas that serve, where not all do that were asked for.
    ready: Option<u32>,
    /// Until when (seconds, inclusive) there is which load and each tick decides on how many replicas.
    rows: &'static [(u64, f64, u32)],
}

/// The first tick comes after a period; what is decided is there at the next.
fn check(mut case: Case) {
    let period_ns = case.scaler.period_ns();
    let (mut now_ns, mut desired) = (period_ns, case.start);
    for &(until_s, load, expected) in case.rows {
        assert!(now_ns <= until_s * 1_000_000_000, "{}: no tick until {until_s} s", case.name);
        while now_ns <= until_s * 1_000_000_000 {
            let ready = case.ready.unwrap_or(desired);
            let decision = case.scaler.decide(&Observed { now_ns, ready, desired, ..(case.sees)(load) });
            let at_s = now_ns as f64 / 1e9;
            assert_eq!(decision.replicas, expected, "{} at {at_s} s: {}", case.name, decision.reason);
            desired = decision.replicas;
            now_ns += period_ns;
        }
    }
}

fn concurrency(load: f64) -> Observed {
    Observed { concurrency: load, ..Observed::default() }
}

fn arrivals(load: f64) -> Observed {
    Observed { arrivals: load as u64, ..Observed::default() }
}

fn busy(load: f64) -> Observed {
    Observed { busy_share: load, ..Observed::default() }
}

fn kv(load: f64) -> Observed {
    Observed { kv_share: load, ..Observed::default() }
}

/// Ten requests a replica, all of them targeted.
fn knative(change: impl FnOnce(&mut Knative)) -> Box<dyn Autoscaler> {
    let mut parameters = Knative { target: 10.0, target_utilization: 1.0, ..Knative::default() };
    change(&mut parameters);
    Box::new(KnativePodAutoscaler::new(parameters))
}

/// Ten requests a replica.
fn horizontal(change: impl FnOnce(&mut Horizontal)) -> Box<dyn Autoscaler> {
    let mut parameters = Horizontal { target: 10.0, ..Horizontal::default() };
    change(&mut parameters);
    Box::new(HorizontalPodAutoscaler::new(parameters))
}
