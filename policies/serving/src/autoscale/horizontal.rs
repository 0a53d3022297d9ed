//! Kubernetes' horizontal pod autoscaler, and KEDA's way to zero.

use super::rules::{Changes, Rules};
use super::window::{Laps, Recent};
use super::{Autoscaler, Bounds, Decision, Metric, Observed, Reason, ceiling, nanoseconds};

/// Parameters of [`HorizontalPodAutoscaler`]; the defaults are Kubernetes', but for the metric and its target, which have none there.
#[derive(Clone, Debug, PartialEq)]
pub struct Horizontal {
    /// Fewest and most replicas: 1 and no limit. No replicas at all only with KEDA.
    pub bounds: Bounds,
    /// Time between ticks: 15.
    pub tick_s: f64,
    /// What is measured: concurrency.
    pub metric: Metric,
    /// How much of it is for a replica: 1.
    pub target: f64,
    /// By how much the ratio to the target may differ from 1 without a change: 0.1.
    pub tolerance: f64,
    /// How more replicas are held back.
    pub up: Rules,
    /// How fewer are.
    pub down: Rules,
    /// What brings the service to no replicas and back: nothing.
    pub keda: Option<Keda>,
}

impl Default for Horizontal {
    fn default() -> Self {
        Self {
            bounds: Bounds { min_replicas: 1, max_replicas: u32::MAX },
            tick_s: 15.0,
            metric: Metric::Concurrency,
            target: 1.0,
            tolerance: 0.1,
            up: Rules::up(),
            down: Rules::down(),
            keda: None,
        }
    }
}

/// KEDA beside a horizontal autoscaler: it makes the first replica and takes the last.
#[derive(Clone, Debug, PartialEq)]
pub struct Keda {
    /// A service is active while its metric, over all replicas, is above this: 0.
    pub activation_threshold: f64,
    /// How long it must not have been active before the last replicas go: 300.
    pub cooldown_s: f64,
    /// How often that is looked at: 30.
    pub polling_interval_s: f64,
}

impl Default for Keda {
    fn default() -> Self {
        Self { activation_threshold: 0.0, cooldown_s: 300.0, polling_interval_s: 30.0 }
    }
}

/// Kubernetes' horizontal pod autoscaler: as many replicas as bring a metric to its target.
#[derive(Clone, Debug)]
pub struct HorizontalPodAutoscaler {
    parameters: Horizontal,
    laps: Laps,
    /// Recommendations, before they were held back.
    recommended: Recent,
    changes: Changes,
    polled_ns: Option<u64>,
    active_ns: Option<u64>,
    started: bool,
}

impl HorizontalPodAutoscaler {
    /// For a new service.
    pub fn new(parameters: Horizontal) -> Self {
        let stabilisation_s = parameters.up.stabilisation_s.max(parameters.down.stabilisation_s);
        Self {
            laps: Laps::new(nanoseconds(parameters.tick_s)),
            recommended: Recent::new(nanoseconds(stabilisation_s)),
            changes: Changes::new(parameters.up.longest_ns().max(parameters.down.longest_ns())),
            polled_ns: None,
            active_ns: None,
            started: false,
            parameters,
        }
    }

    /// What KEDA decides instead: whether there are replicas at all.
    fn activate(&mut self, observed: &Observed, value: f64) -> Option<Decision> {
        let keda = self.parameters.keda.as_ref()?;
        let now_ns = observed.now_ns;
        let threshold = keda.activation_threshold;
        let interval_ns = nanoseconds(keda.polling_interval_s);
        let due = self.polled_ns.is_none_or(|polled_ns| now_ns.saturating_sub(polled_ns) >= interval_ns);
        if due {
            self.polled_ns = Some(now_ns);
        }
        let active = due && value > threshold;
        if active || self.active_ns.is_none() {
            self.active_ns = Some(now_ns);
        }
        let bounds = self.parameters.bounds;
        if observed.desired == 0 && bounds.min_replicas == 0 {
            let (replicas, reason) =
                if active { (1, Reason::Activated { value, threshold }) } else { (0, Reason::Unchanged) };
            return Some(bounds.apply(replicas, reason));
        }
        let idle_ns = now_ns.saturating_sub(self.active_ns.unwrap_or(now_ns));
        let cooled = due && !active && bounds.min_replicas == 0 && idle_ns > nanoseconds(keda.cooldown_s);
        cooled.then_some(Decision { replicas: 0, reason: Reason::CooledDown })
    }

    /// The number that brings the metric to its target, of `current`.
    fn recommend(&self, observed: &Observed, current: u32, value: f64) -> u32 {
        let Horizontal { metric, target, tolerance, .. } = self.parameters;
        let near = |ratio: f64| (ratio - 1.0).abs() <= tolerance;
        if !metric.of_replicas() {
            return if near(value / (target * f64::from(current))) {
                current
            } else {
                ceiling(value / target)
            };
        }
        let ready = observed.ready.min(current);
        if ready == 0 {
            return current;
        }
        // Of replicas that do not serve yet nothing is known: none of them counts towards fewer replicas, each counts as idle towards more.
        let ratio = value / (target * f64::from(observed.ready));
        if ratio > 1.0 && ready < current {
            let cautious = ratio * f64::from(ready) / f64::from(current);
            let unchanged = near(cautious) || cautious < 1.0;
            return if unchanged { current } else { ceiling(cautious * f64::from(current)) };
        }
        if near(ratio) { current } else { ceiling(ratio * f64::from(ready)) }
    }
}

impl Autoscaler for HorizontalPodAutoscaler {
    fn period_ns(&self) -> u64 {
        nanoseconds(self.parameters.tick_s)
    }

    fn decide(&mut self, observed: &Observed) -> Decision {
        let now_ns = observed.now_ns;
        let elapsed_ns = self.laps.lap_ns(now_ns);
        let value = self.parameters.metric.total(observed, elapsed_ns);
        if let Some(decision) = self.activate(observed, value) {
            return decision;
        }
        let bounds =
            Bounds { min_replicas: self.parameters.bounds.min_replicas.max(1), ..self.parameters.bounds };
        if observed.desired == 0 {
            return bounds.apply(0, Reason::Unchanged);
        }

        let current = observed.desired;
        if !self.started {
            // As if what there is had been recommended: a new autoscaler takes nothing away before its window is over.
            self.started = true;
            self.recommended.record(now_ns, current);
        }
        let recommended = self.recommend(observed, current, value);
        let Horizontal { metric, target, tick_s, .. } = self.parameters;
        let mut reason = if recommended == current {
            Reason::Unchanged
        } else {
            Reason::Load { metric, value, target, window_s: tick_s }
        };
        let (up, down) = (&self.parameters.up, &self.parameters.down);
        let least = self.recommended.lowest(now_ns, nanoseconds(up.stabilisation_s), recommended);
        let most = self.recommended.highest(now_ns, nanoseconds(down.stabilisation_s), recommended);
        self.recommended.record(now_ns, recommended);
        let stabilised = current.max(least).min(most);
        if stabilised != recommended {
            reason = Reason::Stabilised { wanted: recommended };
        }
        let limited = if stabilised > current {
            stabilised.min(up.most(&self.changes, now_ns, current))
        } else {
            stabilised.max(down.fewest(&self.changes, now_ns, current))
        };
        if limited != stabilised {
            reason = Reason::RateLimited { wanted: stabilised };
        }
        let decision = bounds.apply(limited, reason);
        self.changes.record(now_ns, current, decision.replicas);
        decision
    }
}
