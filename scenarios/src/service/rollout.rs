//! A new version of a service that gets more and more of its requests.

use foretell_serving::served::RolloutEvent;

use super::Rollout;
use super::controller::{Look, Running};

/// Variant of the old version, and of the new one.
const OLD: usize = 0;
const NEW: usize = 1;

/// How often it is looked whether replicas serve.
const LOOK_NS: u64 = 5_000_000_000;

/// How far a rollout has come.
pub(super) struct Progress<'a> {
    rollout: &'a Rollout,
    /// Steps that were taken.
    steps: usize,
    /// Replicas that the latest of them needs before it gets its part of the requests, and when that is looked at again.
    awaited: Option<(u32, u64)>,
    /// Whether it was withdrawn.
    withdrawn: bool,
    /// When its requests are counted next.
    check_ns: Option<u64>,
    /// By place in the fleet: requests that were counted, and those of them that kept what is promised.
    counted: Vec<(u64, u64)>,
    events: Vec<RolloutEvent>,
}

fn nanoseconds(seconds: f64) -> u64 {
    (seconds * 1e9).round() as u64
}

impl<'a> Progress<'a> {
    pub(super) fn new(rollout: &'a Rollout) -> Self {
        let (counted, events) = (Vec::new(), Vec::new());
        Self { rollout, steps: 0, awaited: None, withdrawn: false, check_ns: None, counted, events }
    }

    pub(super) fn take_events(&mut self) -> Vec<RolloutEvent> {
        std::mem::take(&mut self.events)
    }

    /// When the next step is due.
    fn step_ns(&self) -> Option<u64> {
        self.rollout.file.steps.get(self.steps).map(|step| nanoseconds(step.after_s))
    }

    /// When something of it is due.
    pub(super) fn next_ns(&self) -> Option<u64> {
        if self.withdrawn {
            return None;
        }
        let awaited_ns = self.awaited.map(|(_, look_ns)| look_ns);
        [self.step_ns(), self.check_ns, awaited_ns].into_iter().flatten().min()
    }

    /// Takes the steps that are due, and withdraws the new version if it does not do.
    pub(super) fn act(&mut self, running: &mut Running<'_>, look: &mut Look<'_>) {
        if self.withdrawn {
            return;
        }
        let now_ns = look.now_ns;
        let replicas = running.service.replicas;
        if self.check_ns.is_some_and(|check_ns| check_ns <= now_ns) {
            self.check_ns = self.check_after(now_ns);
            if let Some(reason) = self.failure(running) {
                self.withdrawn = true;
                self.shift(running, now_ns, 0, &reason);
                running.scale_to(look, OLD, replicas, &"rolled back");
                running.scale_to(look, NEW, 0, &"rolled back");
                return;
            }
        }
        while self.step_ns().is_some_and(|step_ns| step_ns <= now_ns) {
            let percent = self.rollout.file.steps[self.steps].percent;
            self.steps += 1;
            let part = (u64::from(replicas) * u64::from(percent)).div_ceil(100).max(1) as u32;
            running.scale_to(look, NEW, part, &format_args!("{percent} % of the requests"));
            self.awaited = Some((part, now_ns));
        }
        let Some((part, look_ns)) = self.awaited.filter(|&(_, look_ns)| look_ns <= now_ns) else { return };
        let serving = running.fleet.serving().filter(|load| load.variant as usize == NEW).count() as u32;
        if serving < part {
            self.awaited = Some((part, look_ns.saturating_add(LOOK_NS)));
            return;
        }
        // Only now: fewer would be overrun.
        self.awaited = None;
        let percent = self.rollout.file.steps[self.steps - 1].percent;
        self.shift(running, now_ns, percent, "a step of the rollout");
        self.check_ns = self.check_ns.or_else(|| self.check_after(now_ns));
        if percent == 100 {
            running.scale_to(look, OLD, 0, &"the new version has all requests");
        }
    }

    fn check_after(&self, now_ns: u64) -> Option<u64> {
        let period_ns = nanoseconds(self.rollout.file.rollback?.window_s).max(1);
        Some(now_ns.saturating_add(period_ns))
    }

    /// Gives the new version another part of the requests.
    fn shift(&mut self, running: &mut Running<'_>, now_ns: u64, percent: u32, reason: &str) {
        running.fleet.router_mut().set_weights(&[100 - percent.min(100), percent]);
        self.events.push(RolloutEvent { at_s: now_ns as f64 / 1e9, percent, reason: reason.to_owned() });
    }

    /// Why the new version is to be withdrawn, by the requests that it has answered since this was last asked.
    fn failure(&mut self, running: &Running<'_>) -> Option<String> {
        let rollback = self.rollout.file.rollback?;
        let (mut answered, mut kept) = (0, 0);
        self.counted.resize(running.serving.len(), (0, 0));
        for (member, counted) in self.counted.iter_mut().enumerate() {
            if running.serving[member].variant as usize != NEW {
                continue;
            }
            let Some(recorder) = running.fleet.observer(member) else { continue };
            answered += recorder.answered - counted.0;
            kept += recorder.kept - counted.1;
            *counted = (recorder.answered, recorder.kept);
        }
        let share = kept as f64 / answered.max(1) as f64;
        (answered >= u64::from(rollback.min_requests) && share < rollback.attainment).then(|| {
            let needed = 100.0 * rollback.attainment;
            format!("rolled back: {kept} of {answered} requests kept the SLO, {needed} % have to")
        })
    }
}
