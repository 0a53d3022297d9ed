//! Knative's pod autoscaler.

use super::window::{Averages, Laps, Recent};
use super::{Autoscaler, Bounds, Decision, Metric, Observed, Reason, ceiling, nanoseconds};

/// Parameters of [`KnativePodAutoscaler`]; the defaults are those of Knative's `config-autoscaler`.
#[derive(Clone, Debug, PartialEq)]
pub struct Knative {
    /// Fewest and most replicas: 0 and no limit.
    pub bounds: Bounds,
    /// Time between ticks: 2.
    pub tick_s: f64,
    /// What is measured: concurrency.
    pub metric: Metric,
    /// What a replica can take: 100 requests at a time. Knative's default for rates is 200 per second.
    pub target: f64,
    /// How much of that it is meant to have: 0.7.
    pub target_utilization: f64,
    /// Window of the usual average: 60.
    pub stable_window_s: f64,
    /// The panic window's share of the stable one: 0.1.
    pub panic_window_share: f64,
    /// How many times as many replicas as are ready must be wanted over the panic window to panic: 2.
    pub panic_threshold: f64,
    /// At most how many times as many replicas as are ready may be asked for: 1000.
    pub max_scale_up_rate: f64,
    /// The ready replicas divided by this stay: 2.
    pub max_scale_down_rate: f64,
    /// How long less must have been wanted: 0.
    pub scale_down_delay_s: f64,
    /// Whether the last replica may go: yes.
    pub scale_to_zero: bool,
    /// How long the last replica stays while requests are being redirected: 30, which Knative has as an upper limit.
    pub scale_to_zero_grace_s: f64,
    /// How long the last replica stays at least: 0.
    pub scale_to_zero_retention_s: f64,
    /// Replicas that a new service must have had: 1.
    pub initial_scale: u32,
    /// Replicas whenever there is any load: 1.
    pub activation_scale: u32,
    /// Requests that must find room at once, or else pass through the activator: 211. Negative: always.
    pub target_burst_capacity: f64,
}

impl Default for Knative {
    fn default() -> Self {
        Self {
            bounds: Bounds { min_replicas: 0, max_replicas: u32::MAX },
            tick_s: 2.0,
            metric: Metric::Concurrency,
            target: 100.0,
            target_utilization: 0.7,
            stable_window_s: 60.0,
            panic_window_share: 0.1,
            panic_threshold: 2.0,
            max_scale_up_rate: 1000.0,
            max_scale_down_rate: 2.0,
            scale_down_delay_s: 0.0,
            scale_to_zero: true,
            scale_to_zero_grace_s: 30.0,
            scale_to_zero_retention_s: 0.0,
            initial_scale: 1,
            activation_scale: 1,
            target_burst_capacity: 211.0,
        }
    }
}

/// Knative's pod autoscaler: an average over a stable window, and over a much shorter one when that wants a multiple of the ready replicas.
#[derive(Clone, Debug)]
pub struct KnativePodAutoscaler {
    parameters: Knative,
    laps: Laps,
    averages: Averages,
    delayed: Recent,
    /// When the panic threshold was last exceeded, while panicking.
    panic_ns: Option<u64>,
    panic_replicas: u32,
    initialised: bool,
    /// Since when there is load.
    active_since_ns: Option<u64>,
    /// Since when none is wanted.
    idle_since_ns: Option<u64>,
}

impl KnativePodAutoscaler {
    /// For a new service.
    pub fn new(parameters: Knative) -> Self {
        Self {
            laps: Laps::new(nanoseconds(parameters.tick_s)),
            averages: Averages::new(nanoseconds(parameters.stable_window_s)),
            delayed: Recent::new(nanoseconds(parameters.scale_down_delay_s)),
            panic_ns: None,
            panic_replicas: 0,
            initialised: false,
            active_since_ns: None,
            idle_since_ns: None,
            parameters,
        }
    }

    /// Whether it panics.
    pub fn panics(&self) -> bool {
        self.panic_ns.is_some()
    }

    /// Room for a burst beyond what is targeted: below 0 requests should pass through an activator that queues them. With the averages of the
    /// latest tick, at which there were `ready` replicas.
    pub fn excess_burst_capacity(&self, now_ns: u64, ready: u32) -> f64 {
        let parameters = &self.parameters;
        if parameters.target_burst_capacity < 0.0 {
            return -1.0;
        }
        if parameters.target_burst_capacity == 0.0 {
            return 0.0;
        }
        let panic = self.averages.over(now_ns, nanoseconds(self.panic_window_s()));
        libm::floor(f64::from(ready) * parameters.target - parameters.target_burst_capacity - panic)
    }

    fn panic_window_s(&self) -> f64 {
        self.parameters.stable_window_s * self.parameters.panic_window_share
    }

    /// What the windows want, before delays and bounds.
    fn wanted(&mut self, observed: &Observed) -> (u32, Reason) {
        let now_ns = observed.now_ns;
        let (stable_window_s, panic_window_s) = (self.parameters.stable_window_s, self.panic_window_s());
        let stable = self.averages.over(now_ns, nanoseconds(stable_window_s));
        let panic = self.averages.over(now_ns, nanoseconds(panic_window_s));

        let parameters = &self.parameters;
        let target = parameters.target * parameters.target_utilization;
        let ready = f64::from(observed.ready.max(1));
        let most = ceiling(parameters.max_scale_up_rate * ready);
        let least = libm::floor(ready / parameters.max_scale_down_rate) as u32;
        let limit = |wanted: u32| {
            let limited = wanted.max(least).min(most);
            if wanted > 0 { limited.max(parameters.activation_scale) } else { limited }
        };
        let (stable_wanted, panic_wanted) = (ceiling(stable / target), ceiling(panic / target));
        let (by_stable, by_panic) = (limit(stable_wanted), limit(panic_wanted));

        if f64::from(panic_wanted) / ready >= parameters.panic_threshold {
            self.panic_ns = Some(now_ns);
        } else if let Some(panic_ns) = self.panic_ns
            && panic_ns.saturating_add(nanoseconds(stable_window_s)) < now_ns
        {
            self.panic_ns = None;
            self.panic_replicas = 0;
        }

        let metric = parameters.metric;
        let (wanted, unlimited, reason) = if self.panic_ns.is_some() && by_panic >= by_stable {
            (by_panic, panic_wanted, Reason::Panic { metric, value: panic, target, window_s: panic_window_s })
        } else {
            (
                by_stable,
                stable_wanted,
                Reason::Load { metric, value: stable, target, window_s: stable_window_s },
            )
        };
        if self.panic_ns.is_some() {
            if wanted < self.panic_replicas {
                return (self.panic_replicas, Reason::PanicHeld { wanted });
            }
            self.panic_replicas = wanted;
        }
        if unlimited < least || unlimited > most {
            return (wanted, Reason::RateLimited { wanted: unlimited });
        }
        (wanted, reason)
    }

    /// Whether the last replica may go now.
    fn may_go(&self, now_ns: u64) -> bool {
        let parameters = &self.parameters;
        let kept_s = parameters.scale_to_zero_grace_s.max(parameters.scale_to_zero_retention_s);
        let idle_ns = now_ns.saturating_sub(self.idle_since_ns.unwrap_or(now_ns));
        parameters.scale_to_zero && idle_ns >= nanoseconds(kept_s)
    }
}

impl Autoscaler for KnativePodAutoscaler {
    fn period_ns(&self) -> u64 {
        nanoseconds(self.parameters.tick_s)
    }

    fn decide(&mut self, observed: &Observed) -> Decision {
        let now_ns = observed.now_ns;
        let elapsed_ns = self.laps.lap_ns(now_ns);
        self.averages.record(now_ns, elapsed_ns, self.parameters.metric.total(observed, elapsed_ns));

        let (wanted, mut reason) = self.wanted(observed);
        let delay_ns = nanoseconds(self.parameters.scale_down_delay_s);
        self.delayed.record(now_ns, wanted);
        let mut replicas = self.delayed.highest(now_ns, delay_ns, wanted);
        if replicas > wanted {
            reason = Reason::ScaleDownDelay { wanted };
        }

        if observed.ready >= self.parameters.initial_scale {
            self.initialised = true;
        }
        if !self.initialised && replicas < self.parameters.initial_scale {
            (replicas, reason) = (self.parameters.initial_scale, Reason::Initial);
        }

        if replicas > 0 {
            self.active_since_ns.get_or_insert(now_ns);
            self.idle_since_ns = None;
        } else if observed.desired > 0 {
            // What has just become active stays so for a stable window: only then does the time begin after which the last replica goes.
            let active_ns = now_ns.saturating_sub(*self.active_since_ns.get_or_insert(now_ns));
            if active_ns >= nanoseconds(self.parameters.stable_window_s) {
                self.idle_since_ns.get_or_insert(now_ns);
            }
            if self.idle_since_ns.is_some() && self.may_go(now_ns) {
                self.active_since_ns = None;
            } else {
                (replicas, reason) = (1, Reason::LastReplica);
            }
        }
        self.parameters.bounds.apply(replicas, reason)
    }
}
