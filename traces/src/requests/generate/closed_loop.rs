//! Users who ask, wait for the answer, think, and ask again.

use rand::rngs::ChaCha8Rng;

use crate::error::TraceError;
use crate::generate::{Duration, DurationSampler, GenerateError};
use crate::requests::record::{MAX_ARRIVAL_NS, RequestRecord};

use super::length::{LengthStreams, LengthsSampler};
use super::{LengthsLaw, Own, RequestSource, Target, own_stream, seconds_to_rounded_ns};

/// A fixed number of users, each with at most one request at a time.
#[derive(Debug, Clone, PartialEq)]
pub struct ClosedLoopConfig {
    /// Number of users, 1 to [`MAX_CLOSED_USERS`].
    pub users: u32,
    /// How long a user thinks before a request, the first one included: 0 makes all of them ask at the start.
    pub think: Duration,
    /// How long requests are. Pairs of a trace in its order are given to whoever asks next.
    pub lengths: LengthsLaw,
    /// Whom they ask.
    pub target: Target,
    /// Requests of all users together, after which no one asks any more; `None` = without end.
    pub requests: Option<u64>,
}

/// Most users of a closed loop.
pub const MAX_CLOSED_USERS: u32 = 100_000;

/// A running closed loop. A request's session is its user, 0 to `users - 1`. What a user draws does not depend on the others.
pub struct ClosedLoop {
    target: Target,
    think: DurationSampler,
    lengths: LengthsSampler,
    users: Vec<User>,
    /// First arrivals that are still to come, the last first.
    first: Vec<(u64, u32)>,
    left: u64,
}

struct User {
    think: ChaCha8Rng,
    lengths: LengthStreams,
}

impl ClosedLoop {
    /// Checks the configuration; the error names the first field that cannot be used.
    pub fn new(config: &ClosedLoopConfig, seed: u64) -> Result<Self, GenerateError> {
        if !(1..=MAX_CLOSED_USERS).contains(&config.users) {
            let expected = format!("a whole number from 1 to {MAX_CLOSED_USERS}");
            return Err(GenerateError::new("users", expected, config.users));
        }
        config.target.validate()?;
        config.think.validate("think")?;
        let think = DurationSampler::new(&config.think)?;
        let lengths = LengthsSampler::new(&config.lengths, config.target.max_model_tokens)?;
        let user = |number: u32| {
            let own = |purpose| own_stream(seed, u64::from(number), purpose);
            let lengths = LengthStreams { prompt: own(Own::Prompts), output: own(Own::Outputs) };
            User { think: own(Own::Thinking), lengths }
        };
        let mut users: Vec<User> = (0..config.users).map(user).collect();
        let mut first: Vec<(u64, u32)> = users
            .iter_mut()
            .zip(0..)
            .filter_map(|(user, number)| {
                Some((seconds_to_rounded_ns(think.sample(&mut user.think))?, number))
            })
            .collect();
        first.sort_unstable_by_key(|&first| std::cmp::Reverse(first));
        let left = config.requests.unwrap_or(u64::MAX);
        Ok(Self { target: config.target.clone(), think, lengths, users, first, left })
    }

    fn request(&mut self, user: u32, arrival_ns: u64) -> Option<RequestRecord> {
        self.left = self.left.checked_sub(1)?;
        let lengths = self.lengths.sample(&mut self.users.get_mut(user as usize)?.lengths);
        let request = self.target.request(arrival_ns, lengths);
        Some(RequestRecord { session: Some(u64::from(user)), ..request })
    }
}

impl RequestSource for ClosedLoop {
    fn next_open(&mut self) -> Option<Result<RequestRecord, TraceError>> {
        let (arrival_ns, user) = self.first.pop()?;
        self.request(user, arrival_ns).map(Ok)
    }

    fn on_finished(&mut self, session: u64, now_ns: u64) -> Option<RequestRecord> {
        let user = u32::try_from(session).ok()?;
        let think_s = self.think.sample(&mut self.users.get_mut(user as usize)?.think);
        let arrival_ns = now_ns.checked_add(seconds_to_rounded_ns(think_s)?)?;
        if arrival_ns > MAX_ARRIVAL_NS {
            return None;
        }
        self.request(user, arrival_ns)
    }
}
