//! A replica as its fleet knows it.

use foretell_serving_policies::route::{Arrival, Caches};
use foretell_serving_policies::{AdapterAt, State};

use super::watch::Watched;
use crate::engine::{Iterations, Observer, Outcome, Steps};
use crate::latencies::Latencies;
use crate::replay::Replica;

/// What a replica is at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Phase {
    Starting,
    Serving,
    /// It takes nothing more.
    Draining,
    Gone,
}

pub(super) struct Member<R, O> {
    /// None once it is gone.
    pub(super) replica: Option<R>,
    pub(super) observer: O,
    pub(super) phase: Phase,
    pub(super) variant: u32,
    /// Prompts that it read in and handed over.
    pub(super) read_in: u64,
}

/// What replicas have in their caches.
pub(super) struct Caching<'a, R, O>(pub(super) &'a [Member<R, O>]);

impl<R: Replica, O> Caches for Caching<'_, R, O> {
    fn cached_blocks(&self, replica: usize, arrival: &Arrival<'_>) -> u32 {
        self.0[replica].replica.as_ref().map_or(0, |replica| replica.cached_blocks(arrival.block_keys))
    }

    fn adapter(&self, replica: usize, arrival: &Arrival<'_>) -> AdapterAt {
        let replica = self.0[replica].replica.as_ref();
        replica.map_or(AdapterAt::Absent, |replica| replica.adapter_at(arrival.adapter))
    }
}

/// Listens to a replica; who is done is told once it is known whose try that was.
pub(super) struct Listening<'o, O> {
    pub(super) observer: &'o mut O,
    pub(super) done: &'o mut Vec<Outcome>,
    pub(super) watched: &'o mut Watched,
    /// Where times between tokens are counted instead.
    pub(super) inter_token: Option<&'o mut Latencies>,
    pub(super) variant: u32,
}

impl<O: Observer> Observer for Listening<'_, O> {
    fn inter_token(&mut self, latency_ns: u64, tokens: u32) {
        match &mut self.inter_token {
            Some(counted) => counted.add(latency_ns, tokens),
            None => self.observer.inter_token(latency_ns, tokens),
        }
    }

    fn inter_tokens(&mut self, steps: &Steps<'_>, tokens: u32) {
        match &mut self.inter_token {
            Some(counted) => counted.add_steps(steps, tokens),
            None => self.observer.inter_tokens(steps, tokens),
        }
    }

    fn preempted(&mut self, request: u32, now_ns: u64) {
        self.observer.preempted(request, now_ns);
    }

    fn finished(&mut self, outcome: &Outcome) {
        self.done.push(*outcome);
    }

    fn iterations(&mut self, iterations: &Iterations<'_>, state: &State) {
        self.watched.computed(iterations, self.variant);
        self.observer.iterations(iterations, state);
    }
}
