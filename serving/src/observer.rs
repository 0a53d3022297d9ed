//! What an engine tells of itself and of requests.

use foretell_serving_policies::State;

use crate::batch::Batch;
use crate::engine::Steps;

/// What became of a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Outcome {
    /// The caller's index.
    pub request: u32,
    /// When it arrived.
    pub arrival_ns: u64,
    /// When the first iteration that it was part of began.
    pub scheduled_ns: u64,
    /// When its first token was there.
    pub first_token_ns: u64,
    /// When its last token was there.
    pub last_token_ns: u64,
    /// Tokens submitted.
    pub prompt_tokens: u32,
    /// Tokens generated.
    pub output_tokens: u32,
    /// Tokens of the prompt that were in the cache when it was first taken.
    pub cached_tokens: u32,
    /// How often it had to give up its memory.
    pub preemptions: u32,
}

/// Memory for keys and values at an instant.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Occupancy {
    /// Blocks that somebody holds.
    pub used_blocks: u32,
    /// Tokens in them, each once.
    pub held_tokens: u64,
}

impl Occupancy {
    /// Of an engine, now.
    pub const fn of(state: &State) -> Self {
        Self { used_blocks: state.blocks.used_blocks(), held_tokens: state.blocks.held_tokens() }
    }
}

/// A number of like iterations.
#[derive(Clone, Copy, Debug)]
pub struct Iterations<'a> {
    /// When the first began.
    pub start_ns: u64,
    /// When the last ended.
    pub end_ns: u64,
    /// Since when this engine has told nothing: with stages batches overlap, and time counts once.
    pub since_ns: u64,
    /// How many.
    pub count: u32,
    /// What each computed; the context is that of the first.
    pub batch: Batch<'a>,
    /// Tokens that requests got by all of them together.
    pub generated_tokens: u64,
    /// Memory while the first was carried out, what it adds not yet in it.
    pub before: Occupancy,
    /// Memory when the last was done, before anybody gave theirs back. In between blocks and tokens grow evenly, but for whole blocks.
    pub after: Occupancy,
}

/// What an engine tells of itself.
pub trait Observer {
    /// Further tokens, each so long after the one before it of the same request. Of draft tokens that are accepted together all but the first come after no time.
    fn inter_token(&mut self, _latency_ns: u64, _tokens: u32) {}
    /// The same of iterations one after another: in each so many tokens after so long.
    fn inter_tokens(&mut self, steps: &Steps<'_>, tokens: u32) {
        for at in 0..steps.len() {
            self.inter_token(steps.latency_ns(at), tokens);
        }
    }
    /// A request gave up its memory.
    fn preempted(&mut self, _request: u32, _now_ns: u64) {}
    /// A request is done.
    fn finished(&mut self, _outcome: &Outcome) {}
    /// Iterations were carried out; who ran and who waited while they were.
    fn iterations(&mut self, _iterations: &Iterations<'_>, _state: &State) {}
}

/// Nobody looks.
impl Observer for () {}
