//! Sarathi-Serve.

use alloc::vec::Vec;

use crate::pool::{Limits, Pool, admit, repeat, while_a_block_is_free};
use crate::sequence::{Sequence, Slot};
use crate::state::{Batcher, Plan, State, release_done};

/// Sarathi-Serve (OSDI'24), as Vidur has it: each batch has a budget of tokens; decodes come first and are never put off, then prompts that are read
/// in part, then new ones.
#[derive(Clone, Debug)]
pub struct Sarathi {
    limits: Limits,
    chunk_tokens: u32,
    pool: Pool,
    /// Kept to spare their allocation.
    prefills: Vec<Slot>,
    skipped: Vec<Slot>,
}

impl Sarathi {
    /// With a budget of tokens for each batch.
    pub fn new(limits: Limits, chunk_tokens: u32) -> Self {
        Self { limits, chunk_tokens, pool: Pool::default(), prefills: Vec::new(), skipped: Vec::new() }
    }
}

impl Batcher for Sarathi {
    fn can_take(&self, state: &State, sequence: &Sequence) -> bool {
        self.limits.admit(state, sequence)
    }

    fn compose(&mut self, state: &mut State, plan: &mut Plan) {
        let mut tokens = 0;
        self.prefills.clear();
        self.skipped.clear();
        while !self.limits.fill_batch(plan) {
            let Some(slot) = self.pool.0.pop_front() else { break };
            if !state.sequences[slot].decoding {
                self.prefills.push(slot);
            } else if self.pool.make_room(state, slot) {
                plan.push(slot, 1, true);
                tokens += state.decode_tokens;
            }
        }
        for &slot in &self.prefills {
            let chunk =
                state.sequences[slot].uncomputed_tokens().min(self.chunk_tokens.saturating_sub(tokens));
            if chunk == 0 {
                self.skipped.push(slot);
            } else {
                plan.push(slot, chunk, false);
                tokens += chunk;
            }
        }
        for &slot in self.skipped.iter().rev() {
            self.pool.0.push_front(slot);
        }
        self.pool.sort(state);
        while let Some(&slot) = state.waiting.front() {
            let whole = state.sequences[slot].tokens();
            let room = state.blocks.free_blocks().saturating_sub(self.limits.watermark_blocks);
            let chunk = whole.min(self.chunk_tokens.saturating_sub(tokens));
            if self.limits.are_reached(state, plan)
                || state.blocks.blocks_for(whole) > room
                || chunk == 0
                || !admit(state, slot, whole)
            {
                break;
            }
            plan.push(slot, chunk, false);
            tokens += chunk;
        }
        repeat(state, plan, while_a_block_is_free);
    }

    fn conclude(&mut self, state: &mut State, plan: &Plan) {
        self.pool.take_back(state, plan);
        release_done(state, plan);
    }
}
