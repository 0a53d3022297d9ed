//! What batchers share that keep those that run in a pool, from which each batch is taken.

use alloc::collections::VecDeque;

use crate::sequence::{Sequence, Slot};
use crate::state::{Plan, State};

/// Limits that all of them have.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Sequences that hold memory at once, at most.
    pub max_sequences: u32,
    /// Sequences of one batch, at most: with a pipeline of several stages, that share of [`Self::max_sequences`].
    pub max_batch_sequences: u32,
    /// Blocks that must stay free when a waiting request is taken.
    pub watermark_blocks: u32,
}

impl Limits {
    /// Limits of a replica with stages.
    pub const fn of_stages(max_sequences: u32, stages: u32, watermark_blocks: u32) -> Self {
        Self { max_sequences, max_batch_sequences: max_sequences / stages, watermark_blocks }
    }

    /// Whether a batch or the engine has all that it may have.
    pub(crate) fn are_reached(&self, state: &State, plan: &Plan) -> bool {
        state.running.len() == self.max_sequences as usize || self.fill_batch(plan)
    }

    /// Whether a sequence is let in beside the watermark, and still would be if it had to be read in anew shortly before its end.
    pub(crate) fn admit(&self, state: &State, sequence: &Sequence) -> bool {
        let blocks = &state.blocks;
        blocks.blocks_for(sequence.end_tokens()).saturating_add(self.watermark_blocks)
            <= blocks.total_blocks()
    }

    /// Whether a batch has all that it may have.
    pub(crate) fn fill_batch(&self, plan: &Plan) -> bool {
        plan.len() == self.max_batch_sequences as usize
    }
}

/// Those that run and are not part of a batch.
#[derive(Clone, Default, Debug)]
pub(crate) struct Pool(pub(crate) VecDeque<Slot>);

impl Pool {
    /// In the order of arrival.
    pub(crate) fn sort(&mut self, state: &State) {
        let key = |slot: &Slot| state.sequences[*slot].arrival_ns;
        if !self.0.iter().is_sorted_by_key(key) {
            self.0.make_contiguous().sort_by_key(key);
        }
    }

    /// Gives a sequence the blocks that its next tokens may need. At least one must be free, needed or not; those at the end of the pool give up
    /// theirs for it, and in the end the sequence itself does.
    pub(crate) fn make_room(&mut self, state: &mut State, slot: Slot) -> bool {
        let tokens = state.sequences[slot].tokens_while_decoding(state.decode_tokens);
        while state.blocks.free_blocks() < state.blocks.lacking(&state.sequences[slot], tokens).max(1) {
            let victim = self.0.pop_back().unwrap_or(slot);
            state.running.retain(|&running| running != victim);
            state.preempt(victim);
            if victim == slot {
                return false;
            }
        }
        let sequence = &mut state.sequences[slot];
        state.blocks.grow(slot, sequence, tokens)
    }

    /// Takes back those of a plan that have tokens left.
    pub(crate) fn take_back(&mut self, state: &State, plan: &Plan) {
        self.0.extend(plan.slots().filter(|&slot| state.sequences[slot].remaining_tokens() > 0));
    }
}

/// Takes the head of those that wait, with blocks for a number of tokens.
pub(crate) fn admit(state: &mut State, slot: Slot, tokens: u32) -> bool {
    let fits = state.blocks.grow(slot, &mut state.sequences[slot], tokens);
    if fits {
        state.waiting.remove(0, &state.sequences[slot]);
        state.running.push(slot);
    }
    fits
}

/// Whether a batch may have so many tokens with this sequence. Who gave up its memory may have grown beyond the limit: it is read in anew alone.
pub(crate) fn fits_batch(
    state: &State,
    slot: Slot,
    plan: &Plan,
    tokens: u64,
    max_batched_tokens: u32,
) -> bool {
    tokens <= u64::from(max_batched_tokens) || (plan.is_empty() && state.sequences[slot].generated_tokens > 0)
}

/// Says of a plan in which all that run decode how often it comes again.
pub(crate) fn repeat(state: &mut State, plan: &mut Plan, repeats: impl FnOnce(&mut State, &[Slot]) -> u32) {
    plan.heeds_arrivals = state.waiting.is_empty();
    let all = plan.chunks.is_empty() && !plan.decodes.is_empty() && plan.decodes.len() == state.running.len();
    if all {
        plan.repeats = repeats(state, &plan.decodes);
    }
}

/// How often sequences may decode of which each must find a block free before it does, needed or not.
pub(crate) fn while_a_block_is_free(state: &mut State, decodes: &[Slot]) -> u32 {
    if state.blocks.free_blocks() == 0 { 1 } else { state.repeats(decodes, 1) }
}
