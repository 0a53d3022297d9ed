//! What a run may use before it is stopped with an error that names what ran out.

use std::time::Duration;

use thiserror::Error;

use crate::engine::Time;

/// Limits of one run; `None` is without limit. A run that needs exactly its limit is within it.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Budget {
    /// Events handled.
    pub events: Option<u64>,
    /// Simulated time of the last event handled.
    pub simulated: Option<Time>,
    /// Wall-clock time, looked at every [`CHECK_EVENTS`](super::CHECK_EVENTS) events. The engine reads a clock for this
    /// only, and a run that ends within it does not depend on it.
    pub wall: Option<Duration>,
    /// Events pending after an event has been handled.
    pub pending: Option<usize>,
    /// Events handled at one simulated instant: more than any burst means that a model goes round for ever.
    pub instant: Option<u64>,
}

/// Which budget ran out, and how far the run had come.
///
/// Each stops the run between two events, so [`run`](super::run) can be called again with the same model and queue and
/// a larger budget, and continues as if it had not been stopped.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum BudgetError {
    /// More events than allowed: a larger budget continues, unless the model makes events without end.
    #[error("event budget of {limit} used up at {:.3} s simulated", .simulated.as_s())]
    Events {
        /// Events allowed, and handled.
        limit: u64,
        /// Time of the last event handled.
        simulated: Time,
    },
    /// The next event lies past the allowed time: a later limit continues.
    #[error(
        "simulated-time budget of {:.3} s used up after {events} events (at {:.3} s)",
        .limit.as_s(),
        .simulated.as_s()
    )]
    Simulated {
        /// Last instant allowed.
        limit: Time,
        /// Events handled.
        events: u64,
        /// Time of the last event handled.
        simulated: Time,
    },
    /// The machine took too long: calling again continues, and how far each call comes differs from run to run.
    #[error(
        "wall-clock budget of {:.1} s used up after {events} events at {:.3} s simulated",
        .limit.as_secs_f64(),
        .simulated.as_s()
    )]
    Wall {
        /// Time allowed.
        limit: Duration,
        /// Events handled.
        events: u64,
        /// Time of the last event handled.
        simulated: Time,
    },
    /// The event queue grew past its limit: a larger budget continues, but a queue that grows without bound means a
    /// model that schedules faster than it handles.
    #[error(
        "pending-event budget of {limit} exceeded after {events} events at {:.3} s simulated: {pending} pending",
        .simulated.as_s()
    )]
    Pending {
        /// Events that may be pending.
        limit: usize,
        /// Events that were.
        pending: usize,
        /// Events handled.
        events: u64,
        /// Time of the last event handled.
        simulated: Time,
    },
    /// Simulated time stands still: a larger budget continues, but most likely events bring each other about without end.
    #[error(
        "more than {limit} events at {:.3} s simulated without an end: of the last, {}",
        .simulated.as_s(),
        named(went_round)
    )]
    Instant {
        /// Events allowed at one instant.
        limit: u64,
        /// The instant.
        simulated: Time,
        /// What the last of them were and how often they came, most often first.
        went_round: Vec<(String, u64)>,
    },
}

/// How many kinds of events a message names.
const NAMED: usize = 6;

fn named(went_round: &[(String, u64)]) -> String {
    let (named, others) = went_round.split_at(went_round.len().min(NAMED));
    let mut parts: Vec<String> = named.iter().map(|(what, times)| format!("{times} {what}")).collect();
    if let Some(first) = parts.first_mut() {
        *first = first.replacen(' ', " were ", 1);
    }
    if !others.is_empty() {
        parts.push(format!("{} others", others.iter().map(|(_, times)| times).sum::<u64>()));
    }
    parts.join(", ")
}
