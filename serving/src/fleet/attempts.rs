//! Tries of clients to get an answer.

use foretell_serving_policies::route::Arrival;

use super::FleetOptions;
use super::hand_over::{Copied, Stage};
use crate::engine::{Handed, Request};

/// A try.
#[derive(Clone, Debug)]
pub(super) struct Attempt {
    /// The request's index.
    pub(super) index: u32,
    /// When the request arrived, at its first try.
    pub(super) arrival_ns: u64,
    pub(super) prompt_tokens: u32,
    pub(super) output_tokens: u32,
    pub(super) limit_tokens: u32,
    pub(super) priority: i32,
    pub(super) adapter: u32,
    pub(super) session: u64,
    pub(super) block_keys: Box<[u64]>,
    /// Tries before it.
    pub(super) tries: u32,
    /// Its number among all tries.
    pub(super) serial: u64,
    /// Whether its client waits no more.
    pub(super) given_up: bool,
    /// Whether its replica knows.
    pub(super) cancelled: bool,
    /// The replica that it was sent to.
    pub(super) replica: Option<usize>,
    /// Whether it waits before the fleet.
    pub(super) queued: bool,
    /// What is done of it.
    pub(super) stage: Stage,
    /// What of its beginning comes from another replica.
    pub(super) copy: Option<Copied>,
    /// What became of its prompt, once that was read in and handed over.
    pub(super) handed: Handed,
}

impl Attempt {
    /// The first of a request.
    pub(super) fn of(request: &Request<'_>) -> Self {
        Self {
            index: request.index,
            arrival_ns: request.arrival_ns,
            prompt_tokens: request.prompt_tokens,
            output_tokens: request.output_tokens,
            limit_tokens: request.limit_tokens,
            priority: request.priority,
            adapter: request.adapter,
            session: 0,
            block_keys: request.block_keys.into(),
            tries: 0,
            serial: 0,
            given_up: false,
            cancelled: false,
            replica: None,
            queued: false,
            stage: Stage::Rest,
            copy: None,
            handed: Handed::default(),
        }
    }

    /// As it reaches a router.
    pub(super) fn arrival(&self, now_ns: u64, options: &FleetOptions, random: u64) -> Arrival<'_> {
        Arrival {
            index: self.index,
            now_ns,
            prompt_tokens: self.prompt_tokens,
            limit_tokens: self.limit_tokens,
            block_keys: &self.block_keys,
            block_tokens: options.block_tokens,
            session: self.session,
            adapter: self.adapter,
            random,
        }
    }

    /// As it reaches a replica.
    pub(super) fn request(&self) -> Request<'_> {
        Request {
            index: self.index,
            arrival_ns: self.arrival_ns,
            prompt_tokens: self.prompt_tokens,
            output_tokens: self.output_tokens,
            limit_tokens: self.limit_tokens,
            priority: self.priority,
            adapter: self.adapter,
            block_keys: &self.block_keys,
        }
    }
}

/// Tries that are under way. Places are used again.
#[derive(Default, Debug)]
pub(super) struct Attempts {
    places: Vec<Option<Attempt>>,
    vacant: Vec<u32>,
}

impl Attempts {
    pub(super) fn insert(&mut self, attempt: Attempt) -> u32 {
        if let Some(place) = self.vacant.pop() {
            self.places[place as usize] = Some(attempt);
            return place;
        }
        self.places.push(Some(attempt));
        self.places.len() as u32 - 1
    }

    pub(super) fn get_mut(&mut self, place: u32) -> Option<&mut Attempt> {
        self.places.get_mut(place as usize)?.as_mut()
    }

    /// All, with their places.
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (u32, &mut Attempt)> {
        (0..).zip(&mut self.places).filter_map(|(place, attempt)| Some((place, attempt.as_mut()?)))
    }

    pub(super) fn remove(&mut self, place: u32) -> Option<Attempt> {
        let attempt = self.places.get_mut(place as usize)?.take();
        if attempt.is_some() {
            self.vacant.push(place);
        }
        attempt
    }
}
