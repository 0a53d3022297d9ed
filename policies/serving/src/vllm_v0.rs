//! vLLM before its V1.

use crate::pool::{Limits, Pool, admit, fits_batch, repeat, while_a_block_is_free};
use crate::sequence::Sequence;
use crate::state::{Batcher, Plan, State, release_done};

/// vLLM's first scheduler (SOSP'23), as Vidur has it: prompts are read in before anybody decodes, in batches of their own. All prompts of a batch
/// count as long as the longest.
#[derive(Clone, Debug)]
pub struct VllmV0 {
    limits: Limits,
    max_batched_tokens: u32,
    pool: Pool,
}

impl VllmV0 {
    /// With a number of tokens that a batch of prompts may have at most.
    pub fn new(limits: Limits, max_batched_tokens: u32) -> Self {
        Self { limits, max_batched_tokens, pool: Pool::default() }
    }
}

impl Batcher for VllmV0 {
    fn can_take(&self, state: &State, sequence: &Sequence) -> bool {
        sequence.prompt_tokens <= self.max_batched_tokens && self.limits.admit(state, sequence)
    }

    fn compose(&mut self, state: &mut State, plan: &mut Plan) {
        let mut longest = 0;
        while let Some(&slot) = state.waiting.front() {
            let tokens = state.sequences[slot].tokens();
            let room = state.blocks.free_blocks().saturating_sub(self.limits.watermark_blocks);
            let padded = u64::from(tokens.max(longest)) * (plan.len() as u64 + 1);
            if state.blocks.blocks_for(tokens) > room
                || !fits_batch(state, slot, plan, padded, self.max_batched_tokens)
                || self.limits.are_reached(state, plan)
                || !admit(state, slot, tokens)
            {
                break;
            }
            longest = longest.max(tokens);
            plan.push(slot, tokens, false);
        }
        if !plan.is_empty() {
            return;
        }
        self.pool.sort(state);
        while !self.limits.fill_batch(plan) {
            let Some(slot) = self.pool.0.pop_front() else { break };
            if self.pool.make_room(state, slot) {
                plan.push(slot, 1, true);
            }
        }
        repeat(state, plan, while_a_block_is_free);
    }

    fn conclude(&mut self, state: &mut State, plan: &Plan) {
        self.pool.take_back(state, plan);
        release_done(state, plan);
    }
}
