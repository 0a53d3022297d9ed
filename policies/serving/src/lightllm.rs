//! `LightLLM`.

use alloc::vec::Vec;

use crate::pool::{Limits, Pool, admit, fits_batch, repeat};
use crate::sequence::{Sequence, Slot};
use crate::state::{Batcher, Plan, State, release_done};

/// `LightLLM`'s router, as Vidur has it: prompts are read in by batches of their own, when nobody decodes or after a number of iterations; a request is taken if
/// the tokens that all will hold at the worst instant fit.
#[derive(Clone, Debug)]
pub struct LightLlm {
    limits: Limits,
    max_batched_tokens: u32,
    max_waiting_iterations: u32,
    waiting_iterations: u32,
    pool: Pool,
    /// Of each sequence: tokens still to come, and tokens held. Kept to spare its allocation.
    lengths: Vec<(u32, u32)>,
}

impl LightLlm {
    /// With the tokens that a batch of prompts may have, and the iterations after which prompts are looked for.
    pub fn new(limits: Limits, max_batched_tokens: u32, max_waiting_iterations: u32) -> Self {
        Self {
            limits,
            max_batched_tokens,
            max_waiting_iterations,
            waiting_iterations: 0,
            pool: Pool::default(),
            lengths: Vec::new(),
        }
    }

    /// What is to come of a sequence, at most, and what it holds.
    fn length(state: &State, slot: Slot) -> (u32, u32) {
        let sequence = &state.sequences[slot];
        // The first token comes with the prompt.
        let generated = sequence.generated_tokens.max(1);
        (sequence.limit_tokens.saturating_sub(generated), sequence.prompt_tokens + sequence.generated_tokens)
    }

    /// Whether a request fits beside those in `lengths`, whom it joins: sequences end one after another, and each end is a peak.
    fn fits(&mut self, state: &State, slot: Slot) -> bool {
        self.lengths.push(Self::length(state, slot));
        self.lengths.sort_by_key(|&(to_come, _)| core::cmp::Reverse(to_come));
        let mut held_before = 0_u64;
        let mut most = 0;
        for (before, &(to_come, held)) in self.lengths.iter().enumerate() {
            held_before += u64::from(held);
            most = most.max(u64::from(to_come) * (before as u64 + 1) + held_before);
        }
        most < u64::from(state.blocks.total_blocks()) * u64::from(state.blocks.block_tokens())
    }

    fn read_in(&mut self, state: &mut State, plan: &mut Plan) {
        self.lengths.clear();
        self.lengths.extend(self.pool.0.iter().map(|&slot| Self::length(state, slot)));
        let mut batched = 0;
        while let Some(&slot) = state.waiting.front() {
            let tokens = state.sequences[slot].tokens();
            if !fits_batch(state, slot, plan, u64::from(batched + tokens), self.max_batched_tokens)
                || self.limits.are_reached(state, plan)
                || !self.fits(state, slot)
                || !admit(state, slot, tokens)
            {
                break;
            }
            batched += tokens;
            plan.push(slot, tokens, false);
        }
    }
}

impl Batcher for LightLlm {
    fn can_take(&self, state: &State, sequence: &Sequence) -> bool {
        let blocks = &state.blocks;
        sequence.prompt_tokens <= self.max_batched_tokens
            && u64::from(sequence.most_tokens())
                < u64::from(blocks.total_blocks()) * u64::from(blocks.block_tokens())
    }

    fn compose(&mut self, state: &mut State, plan: &mut Plan) {
        let turn = self.waiting_iterations >= self.max_waiting_iterations;
        if self.pool.0.is_empty() || turn {
            self.waiting_iterations = 0;
            self.read_in(state, plan);
            if !plan.is_empty() || self.pool.0.is_empty() {
                return;
            }
        }
        while !self.limits.fill_batch(plan) {
            let Some(slot) = self.pool.0.pop_front() else { break };
            let sequence = &mut state.sequences[slot];
            let tokens = sequence.tokens_while_decoding(state.decode_tokens);
            if !state.blocks.grow(slot, sequence, tokens) {
                // Admission counts on limits; it cannot happen unless a request generates more than it said.
                state.running.retain(|&running| running != slot);
                state.preempt(slot);
                continue;
            }
            plan.push(slot, 1, true);
        }
        repeat(state, plan, |state, decodes| state.repeats(decodes, 0));
        self.waiting_iterations += 1;
        plan.repeats =
            plan.repeats.min(1 + self.max_waiting_iterations.saturating_sub(self.waiting_iterations));
        // It looks at those that wait by its own count.
        plan.heeds_arrivals = false;
    }

    fn conclude(&mut self, state: &mut State, plan: &Plan) {
        self.waiting_iterations += plan.repeats - 1;
        self.pool.take_back(state, plan);
        release_done(state, plan);
    }
}
