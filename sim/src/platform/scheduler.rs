//! When the policy runs, and what becomes of its decisions.

use foretell_framework::{ClusterState, Decision, Profile, Session, Time};
use rand::rngs::ChaCha8Rng;

use crate::engine::{EventHandle, EventQueue};
use crate::event::{Event, JobEvent, SchedulerEvent};

/// The scheduler as the simulation drives it.
pub(super) struct Scheduler {
    pub(super) profile: Profile,
    random: ChaCha8Rng,
    /// Cycles fall on multiples of this; zero runs one whenever something changed.
    period: Time,
    /// From a decision to its effect.
    latency: Time,
    next: Option<(Time, EventHandle)>,
    last: Option<Time>,
    decisions: Vec<Decision>,
    pub(super) cycles: u64,
}

impl Scheduler {
    pub(super) const fn new(profile: Profile, random: ChaCha8Rng, period: Time, latency: Time) -> Self {
        Self { profile, random, period, latency, next: None, last: None, decisions: Vec::new(), cycles: 0 }
    }

    /// Sees to it that a cycle runs at `time` or at the first regular instant after it.
    pub(super) fn request(&mut self, time: Time, queue: &mut EventQueue<Event>) {
        let period = self.period.as_nanos();
        let time = if period == 0 {
            time
        } else {
            let next = Time::from_nanos(time.as_nanos().div_ceil(period).saturating_mul(period));
            // One cycle per regular instant.
            if self.last == Some(next) { next + self.period } else { next }
        };
        if let Some((planned, handle)) = self.next {
            if planned <= time {
                return;
            }
            queue.cancel(handle);
        }
        let handle = queue.schedule_cancellable(time, Event::Scheduler(SchedulerEvent::Cycle));
        self.next = Some((time, handle));
    }

    /// Runs a cycle and posts its decisions. Returns when the policy wants the next one even if nothing happens.
    pub(super) fn cycle(
        &mut self,
        now: Time,
        state: &mut ClusterState,
        queue: &mut EventQueue<Event>,
    ) -> Option<Time> {
        self.next = None;
        self.last = Some(now);
        self.cycles += 1;
        self.decisions.clear();
        let mut session = Session::new(state, now, &mut self.random, &mut self.decisions);
        self.profile.cycle(&mut session);
        let wake_at = session.wake_at;
        for decision in &self.decisions {
            let event = match *decision {
                Decision::Bind { task, .. } => JobEvent::Bound(task),
                Decision::Evict { task, .. } => JobEvent::Evicted(task),
                Decision::Nominate { .. } => continue,
            };
            queue.schedule(now + self.latency, Event::Job(event));
        }
        wake_at.map(|time| time.max(now + Time::from_nanos(1)))
    }

    /// A session in which nothing is decided, for explanations.
    pub(super) fn explain(
        &mut self,
        now: Time,
        state: &mut ClusterState,
        job: foretell_framework::JobId,
    ) -> foretell_framework::Reason {
        self.decisions.clear();
        let mut session = Session::new(state, now, &mut self.random, &mut self.decisions);
        self.profile.explain(&mut session, job)
    }
}
