//! Orca.

use crate::pool::{Limits, Pool, admit, repeat};
use crate::sequence::Sequence;
use crate::state::{Batcher, Plan, State, release_done};

/// How much memory a request is given when it is taken, for good.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reservation {
    /// What it may need at most: its prompt and the tokens that it asks for.
    Limit,
    /// What a request may need at most, of whatever length it is: so many tokens (Orca (Max) of the vLLM paper, SOSP'23, section 6.1).
    Longest(u32),
    /// What it will need, as nobody knows: Orca (Oracle) there, a bound on what reserving can reach.
    Oracle,
    /// The same, with its answer rounded up to a power of two: Orca (Pow2) there.
    PowerOfTwo,
}

impl Reservation {
    /// Tokens for a sequence that waits.
    pub(crate) fn tokens(self, sequence: &Sequence) -> u32 {
        match self {
            Self::Limit => sequence.most_tokens(),
            Self::Longest(tokens) => tokens,
            Self::Oracle => sequence.end_tokens(),
            Self::PowerOfTwo => {
                let answer = sequence.output_tokens.checked_next_power_of_two().unwrap_or(u32::MAX);
                sequence.prompt_tokens.saturating_add(answer - 1)
            }
        }
    }

    /// Whether a sequence ends within what is reserved for it, and that fits.
    pub(crate) fn holds(self, state: &State, sequence: &Sequence) -> bool {
        let reserved = self.tokens(sequence);
        sequence.end_tokens() <= reserved && state.blocks.blocks_for(reserved) <= state.blocks.total_blocks()
    }
}

/// Orca (OSDI'22): after each iteration those that are done leave and others join, first come first served; prompts are read in whole, beside those that
/// decode; memory is reserved for the longest that a sequence may become.
#[derive(Clone, Debug)]
pub struct Orca {
    limits: Limits,
    reservation: Reservation,
    pool: Pool,
}

impl Orca {
    /// With the memory that each request reserves.
    pub fn new(limits: Limits, reservation: Reservation) -> Self {
        Self { limits, reservation, pool: Pool::default() }
    }
}

impl Batcher for Orca {
    fn can_take(&self, state: &State, sequence: &Sequence) -> bool {
        self.reservation.holds(state, sequence)
    }

    fn compose(&mut self, state: &mut State, plan: &mut Plan) {
        while !self.limits.fill_batch(plan) {
            let Some(slot) = self.pool.0.pop_front() else { break };
            let sequence = &state.sequences[slot];
            plan.push(slot, sequence.uncomputed_tokens(), sequence.decoding);
        }
        while !self.limits.fill_batch(plan) {
            let Some(&slot) = state.waiting.front() else { break };
            let reserved = self.reservation.tokens(&state.sequences[slot]);
            if !admit(state, slot, reserved) {
                break;
            }
            plan.push(slot, state.sequences[slot].tokens(), false);
        }
        // All is reserved: nobody takes blocks.
        repeat(state, plan, |state, decodes| state.until_done(decodes));
    }

    fn conclude(&mut self, state: &mut State, plan: &Plan) {
        self.pool.take_back(state, plan);
        release_done(state, plan);
    }
}
