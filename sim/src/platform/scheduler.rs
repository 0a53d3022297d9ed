//! When the policy runs, and what becomes of its decisions.

use foretell_framework::{ClusterState, Decision, JobId, Profile, Reason, Session, Time};
use rand::rngs::ChaCha8Rng;

use crate::engine::{EventHandle, EventQueue, Streams};
use crate::event::{Event, SchedulerEvent};

/// The scheduler as the simulation drives it.
pub(super) struct Scheduler {
    pub(super) profile: Profile,
    random: ChaCha8Rng,
    /// Explanations draw from a stream of their own: to be asked changes nothing.
    explain_random: ChaCha8Rng,
    /// Cycles fall on multiples of this; zero runs one whenever something changed.
    period: Time,
    /// From a decision to its effect.
    latency: Time,
    next: Option<(Time, EventHandle)>,
    last: Option<Time>,
    /// Those of the latest cycle.
    pub(super) decisions: Vec<Decision>,
    pub(super) cycles: u64,
}

impl Scheduler {
    pub(super) fn new(profile: Profile, streams: Streams, period: Time, latency: Time) -> Self {
        Self {
            profile,
            random: streams.stream("policy", 0),
            explain_random: streams.stream("explain", 0),
            period,
            latency,
            next: None,
            last: None,
            decisions: Vec::new(),
            cycles: 0,
        }
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

    /// Runs a cycle; its decisions are in `decisions`. Returns when the policy wants the next one even if nothing happens.
    pub(super) fn cycle(&mut self, now: Time, state: &mut ClusterState) -> Option<Time> {
        self.next = None;
        self.last = Some(now);
        self.cycles += 1;
        self.decisions.clear();
        let mut session = Session::new(state, now, &mut self.random, &mut self.decisions);
        self.profile.cycle(&mut session);
        let wake_at = session.wake_at;
        wake_at.map(|time| time.max(now + Time::from_nanos(1)))
    }

    /// When decisions of a cycle at `now` take effect.
    pub(super) fn effect_at(&self, now: Time) -> Time {
        now + self.latency
    }

    /// Whether anything was drawn at random so far.
    pub(super) fn has_drawn(&self) -> bool {
        [&self.random, &self.explain_random].into_iter().any(|random| random.get_word_pos() > 0)
    }

    /// Why each of some jobs waits.
    pub(super) fn explain_each(
        &mut self,
        now: Time,
        state: &mut ClusterState,
        jobs: impl Iterator<Item = JobId>,
    ) -> Vec<Reason> {
        let mut undecided = Vec::new();
        let mut session = Session::new(state, now, &mut self.explain_random, &mut undecided);
        self.profile.explain_each(&mut session, jobs)
    }

    /// Why a job waits, from a session in which nothing is decided.
    pub(super) fn explain(&mut self, now: Time, state: &mut ClusterState, job: JobId) -> Reason {
        let mut undecided = Vec::new();
        let mut session = Session::new(state, now, &mut self.explain_random, &mut undecided);
        self.profile.explain(&mut session, job)
    }
}
