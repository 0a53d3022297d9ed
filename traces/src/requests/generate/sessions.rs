//! Conversations of several turns, whose prompts repeat what was said before.

use std::collections::BTreeMap;

use rand_distr::{Distribution, Zipf};

use crate::error::TraceError;
use crate::generate::{Duration, DurationSampler, GenerateError, check_range};
use crate::requests::record::{MAX_ARRIVAL_NS, MAX_BLOCK_TOKENS, MAX_TOKENS, RequestRecord};

use super::arrival::RequestArrivals;
use super::length::{CountSampler, clip};
use super::{
    CountLaw, Own, RequestArrival, RequestSource, Stream, Target, own_stream, seconds_to_rounded_ns, stream,
};

/// Conversations. The prompt of the first turn is the system prompt of its group and what the user says; that of each later
/// turn is the prompt before it, its answer and what the user says then. A conversation ends after its turns, or when its
/// prompt leaves no room for an answer.
#[derive(Debug, Clone, PartialEq)]
pub struct SessionsConfig {
    /// When conversations begin.
    pub arrival: RequestArrival,
    /// Number of turns, up to [`MAX_TURNS`].
    pub turns: CountLaw,
    /// Who shares a system prompt.
    pub groups: Groups,
    /// New tokens of the user in each turn.
    pub user: CountLaw,
    /// Tokens of each answer.
    pub output: CountLaw,
    /// From the end of an answer to the next turn.
    pub think: Duration,
    /// Tokens of each block of a prompt; 0 = say nothing of shared prefixes.
    pub block_tokens: u32,
    /// Whom they ask.
    pub target: Target,
    /// Number of conversations; `None` = without end.
    pub sessions: Option<u64>,
}

/// Most turns of a conversation.
pub const MAX_TURNS: u32 = 10_000;

/// Groups of conversations with the same system prompt, such as the applications that ask a model. Group `k` has
/// conversations in proportion to `(k + 1)^-zipf_exponent`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Groups {
    /// Number of groups, 1 to 1,000,000.
    pub count: u32,
    /// Skew: 0 = all alike, up to 10.
    pub zipf_exponent: f64,
    /// Tokens of each group's system prompt, which may be 0.
    pub system_tokens: u32,
}

/// Most groups.
const MAX_GROUPS: u32 = 1_000_000;

/// Blocks of one group or one conversation: block `j` of owner `k` is `k * BLOCKS_OF_OWNER + j`. More than a prompt of
/// [`MAX_TOKENS`] tokens has.
const BLOCKS_OF_OWNER: u64 = MAX_TOKENS as u64;

/// Most conversations: the ids of their blocks stay below 2^58, so that cutting blocks leaves them apart.
const MAX_SESSIONS: u64 = (1 << 32) - MAX_GROUPS as u64;

/// Conversations that run. A request's session is the number of its conversation, and what a conversation draws does not
/// depend on the others.
pub struct Sessions {
    config: SessionsConfig,
    seed: u64,
    arrivals: RequestArrivals,
    turns: CountSampler,
    user: CountSampler,
    output: CountSampler,
    think: DurationSampler,
    group: Zipf<f64>,
    /// Conversations that have turns left.
    running: BTreeMap<u64, Session>,
    next_number: u64,
}

/// A conversation.
struct Session {
    group: u64,
    /// Tokens that the next prompt repeats.
    history_tokens: u32,
    /// Turns to come, the last first.
    turns: Vec<Turn>,
}

struct Turn {
    user_tokens: u32,
    output_tokens: u32,
    think_ns: u64,
}

impl Sessions {
    /// Checks the configuration; the error names the first field that cannot be used.
    pub fn new(config: SessionsConfig, seed: u64) -> Result<Self, GenerateError> {
        config.target.validate()?;
        config.think.validate("think")?;
        let groups = config.groups;
        check_range("groups.count", f64::from(groups.count), 1.0..=f64::from(MAX_GROUPS))?;
        check_range("groups.zipf_exponent", groups.zipf_exponent, 0.0..=10.0)?;
        let most_system = config.target.max_model_tokens - 2;
        check_range("groups.system_tokens", f64::from(groups.system_tokens), 0.0..=f64::from(most_system))?;
        check_range("block_tokens", f64::from(config.block_tokens), 0.0..=f64::from(MAX_BLOCK_TOKENS))?;
        Ok(Self {
            arrivals: RequestArrivals::new(&config.arrival, stream(seed, Stream::Arrivals as u64))?,
            turns: CountSampler::new(&config.turns, "turns")?,
            user: CountSampler::new(&config.user, "user")?,
            output: CountSampler::new(&config.output, "output")?,
            think: DurationSampler::new(&config.think)?,
            group: Zipf::new(f64::from(groups.count), groups.zipf_exponent)
                .map_err(|error| GenerateError::new("groups", "a usable Zipf law", error))?,
            running: BTreeMap::new(),
            next_number: 0,
            config,
            seed,
        })
    }

    /// All that a conversation draws.
    fn session(&self, number: u64) -> Session {
        let own = |purpose| own_stream(self.seed, number, purpose);
        let [mut shape, mut user, mut output, mut think] =
            [Own::Shape, Own::Prompts, Own::Outputs, Own::Thinking].map(own);
        // Zipf draws a rank from 1.
        let group = self.group.sample(&mut shape) as u64 - 1;
        let count = self.turns.sample(&mut shape).min(MAX_TURNS);
        let draw = |_| Turn {
            user_tokens: self.user.sample(&mut user),
            output_tokens: self.output.sample(&mut output),
            think_ns: seconds_to_rounded_ns(self.think.sample(&mut think)).unwrap_or(MAX_ARRIVAL_NS),
        };
        let mut turns: Vec<Turn> = (0..count).map(draw).collect();
        turns.reverse();
        Session { group, history_tokens: self.config.groups.system_tokens, turns }
    }

    /// The next turn of a conversation.
    fn request(&self, number: u64, session: &mut Session, arrival_ns: u64) -> Option<RequestRecord> {
        let turn = session.turns.pop()?;
        let max_model_tokens = self.config.target.max_model_tokens;
        if session.history_tokens >= max_model_tokens - 1 {
            return None;
        }
        let prompt_tokens = session.history_tokens.saturating_add(turn.user_tokens);
        let lengths = clip(prompt_tokens, turn.output_tokens, max_model_tokens);
        session.history_tokens = lengths.prompt_tokens + lengths.output_tokens;
        let full = |tokens: u32| u64::from(tokens.checked_div(self.config.block_tokens).unwrap_or(0));
        let (of_prompt, of_both) = (full(lengths.prompt_tokens), full(session.history_tokens));
        let shared = full(self.config.groups.system_tokens);
        // Those of the system prompt are the group's. The rest are the conversation's own, as it only ever grows.
        let group_start = session.group * BLOCKS_OF_OWNER;
        let own_start = (u64::from(self.config.groups.count) + number) * BLOCKS_OF_OWNER;
        let id = |block| if block < shared { group_start + block } else { own_start + block };
        Some(RequestRecord {
            session: Some(number),
            block_tokens: self.config.block_tokens,
            prompt_blocks: (0..of_prompt).map(id).collect(),
            output_blocks: (of_prompt..of_both).map(id).collect(),
            ..self.config.target.request(arrival_ns, lengths)
        })
    }
}

impl RequestSource for Sessions {
    fn next_open(&mut self) -> Option<Result<RequestRecord, TraceError>> {
        let number = self.next_number;
        if number >= self.config.sessions.unwrap_or(MAX_SESSIONS).min(MAX_SESSIONS) {
            return None;
        }
        let arrival_ns = seconds_to_rounded_ns(self.arrivals.next_s())?;
        self.next_number += 1;
        let mut session = self.session(number);
        let request = self.request(number, &mut session, arrival_ns)?;
        if !session.turns.is_empty() {
            self.running.insert(number, session);
        }
        Some(Ok(request))
    }

    fn on_finished(&mut self, session: u64, now_ns: u64) -> Option<RequestRecord> {
        let mut running = self.running.remove(&session)?;
        let think_ns = running.turns.last()?.think_ns;
        let arrival_ns = now_ns.checked_add(think_ns).filter(|&ns| ns <= MAX_ARRIVAL_NS)?;
        let request = self.request(session, &mut running, arrival_ns)?;
        if !running.turns.is_empty() {
            self.running.insert(session, running);
        }
        Some(request)
    }
}
