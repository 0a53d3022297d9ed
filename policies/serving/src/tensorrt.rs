//! In-flight batching of TensorRT-LLM.

use crate::orca::Reservation;
use crate::sequence::Sequence;
use crate::state::{Batcher, Plan, State, release_done};

/// Who is taken, and what happens when memory runs out (`CapacitySchedulerPolicy`).
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Capacity {
    /// Whoever fits now is taken; the last that was taken pauses when blocks run out, and is computed anew.
    MaxUtilization,
    /// Only those are taken that fit to their end; nobody ever pauses.
    #[default]
    GuaranteedNoEvict,
    /// Nobody is taken before all of the last batch are done.
    StaticBatch,
}

/// TensorRT-LLM's in-flight batching: decodes first, then prompts in the order of arrival while tokens are left.
#[derive(Clone, Debug)]
pub struct TensorRtLlm {
    /// Who is taken.
    pub capacity: Capacity,
    /// Sequences of an iteration, at most (`max_batch_size`).
    pub max_sequences: u32,
    /// Tokens of an iteration, at most (`max_num_tokens`).
    pub max_batched_tokens: u32,
    /// Whether a prompt may be read in parts (`enable_chunked_context`).
    pub chunked_context: bool,
}

impl Default for TensorRtLlm {
    fn default() -> Self {
        Self {
            capacity: Capacity::GuaranteedNoEvict,
            max_sequences: 2048,
            max_batched_tokens: 8192,
            chunked_context: true,
        }
    }
}

impl TensorRtLlm {
    /// Makes room for the tokens that all who decode are about to compute; says whether somebody had to pause.
    fn make_room(state: &mut State) -> bool {
        let mut paused = false;
        let mut at = 0;
        while at < state.running.len() {
            let slot = state.running[at];
            let sequence = &mut state.sequences[slot];
            at += 1;
            if !sequence.decoding || sequence.in_flight {
                continue;
            }
            let tokens = sequence.tokens_while_decoding(state.decode_tokens);
            while !state.blocks.grow(slot, &mut state.sequences[slot], tokens) {
                // While the last is part of a batch under way, whoever lacks a block waits for it.
                let Some(victim) = state.running.pop_if(|last| !state.sequences[*last].in_flight) else {
                    return true;
                };
                state.preempt(victim);
                paused = true;
                if victim == slot {
                    break;
                }
            }
        }
        paused
    }

    /// Takes those that wait.
    fn admit(&self, state: &mut State) {
        if self.capacity == Capacity::StaticBatch && !state.running.is_empty() {
            return;
        }
        while state.running.len() < self.max_sequences as usize {
            let Some(&slot) = state.waiting.front() else { break };
            let sequence = &state.sequences[slot];
            let hit = state.blocks.hit(slot, sequence);
            let tokens = match self.capacity {
                Capacity::MaxUtilization => sequence.tokens(),
                Capacity::GuaranteedNoEvict | Capacity::StaticBatch => Reservation::Limit.tokens(sequence),
            };
            let needed = state.blocks.blocks_for(tokens) - hit.blocks + hit.vacant_blocks;
            if needed > state.blocks.free_blocks() {
                break;
            }
            if state.blocks.shares_prefixes() {
                state.prefix_queried_tokens += u64::from(sequence.tokens());
                state.prefix_hit_tokens += u64::from(hit.blocks * state.blocks.block_tokens());
            }
            state.waiting.remove(0, &state.sequences[slot]);
            let sequence = &mut state.sequences[slot];
            state.blocks.claim(slot, sequence, hit);
            // It was counted.
            let grown = state.blocks.grow(slot, sequence, tokens);
            debug_assert!(grown, "blocks for {tokens} tokens");
            state.running.push(slot);
        }
    }
}

impl Batcher for TensorRtLlm {
    fn can_take(&self, state: &State, sequence: &Sequence) -> bool {
        let reserves = self.capacity != Capacity::MaxUtilization;
        (self.chunked_context || sequence.end_tokens() <= self.max_batched_tokens)
            && (!reserves || Reservation::Limit.holds(state, sequence))
    }

    fn compose(&mut self, state: &mut State, plan: &mut Plan) {
        let paused = self.capacity == Capacity::MaxUtilization && Self::make_room(state);
        if !paused {
            self.admit(state);
        }
        let mut budget = self.max_batched_tokens;
        let block_tokens = state.blocks.block_tokens();
        for &slot in &state.running {
            let sequence = &state.sequences[slot];
            let has_room =
                sequence.blocks * block_tokens >= sequence.tokens_while_decoding(state.decode_tokens);
            if budget > 0 && sequence.decoding && !sequence.in_flight && has_room {
                state.blocks.publish(slot, sequence.computed_tokens + 1);
                plan.push(slot, 1, true);
                budget = budget.saturating_sub(state.decode_tokens);
            }
        }
        let mut whole = plan.decodes.len();
        for &slot in &state.running {
            let sequence = &state.sequences[slot];
            if sequence.decoding || sequence.in_flight {
                continue;
            }
            let uncomputed = sequence.uncomputed_tokens();
            if budget == 0 || (uncomputed > budget && !self.chunked_context) {
                break;
            }
            let tokens = uncomputed.min(budget);
            state.blocks.publish(slot, sequence.computed_tokens + tokens);
            plan.push(slot, tokens, false);
            budget -= tokens;
            whole += 1;
        }
        let full = state.running.len() >= self.max_sequences as usize;
        let closed = self.capacity == Capacity::StaticBatch && !state.running.is_empty();
        plan.heeds_arrivals = !full && !closed && state.waiting.is_empty();
        if plan.chunks.is_empty() && !plan.decodes.is_empty() && whole == state.running.len() && !paused {
            plan.repeats = match self.capacity {
                Capacity::MaxUtilization => state.repeats(&plan.decodes, 0),
                Capacity::GuaranteedNoEvict | Capacity::StaticBatch => state.until_done(&plan.decodes),
            };
        }
    }

    fn conclude(&mut self, state: &mut State, plan: &Plan) {
        release_done(state, plan);
    }
}
