//! vLLM's V1 scheduler.

use crate::kv::Hit;
use crate::sequence::{HandOver, Sequence, Slot};
use crate::state::{Batcher, Plan, State, release_done};
use crate::tiers::Fetch;

/// Who goes first.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Order {
    /// Whoever came first.
    #[default]
    FirstCome,
    /// The lowest priority, then whoever came first.
    Priority,
}

/// vLLM V1: no phases; each iteration has a budget of tokens, which goes to those that run, in the order in which they were taken, then to those
/// that wait. Who finds no memory takes it from the last that was taken, which is computed anew later.
#[derive(Clone, Debug)]
pub struct Vllm {
    /// Sequences that run, at most (`max_num_seqs`).
    pub max_sequences: u32,
    /// Tokens of an iteration, at most (`max_num_batched_tokens`).
    pub max_batched_tokens: u32,
    /// Whether a prompt may be read in parts (`enable_chunked_prefill`).
    pub chunked_prefill: bool,
    /// Tokens of one sequence in an iteration, at most (`long_prefill_token_threshold`); none if 0.
    pub long_prefill_tokens: u32,
    /// Who goes first.
    pub order: Order,
    /// Blocks that are left free when a waiting request is taken beside others (`watermark`).
    pub watermark_blocks: u32,
    /// Whether the whole of a waiting request must fit, not its first chunk alone.
    pub whole_prompt_must_fit: bool,
}

impl Default for Vllm {
    fn default() -> Self {
        Self {
            max_sequences: 256,
            max_batched_tokens: 2048,
            chunked_prefill: true,
            long_prefill_tokens: 0,
            order: Order::FirstCome,
            watermark_blocks: 0,
            whole_prompt_must_fit: true,
        }
    }
}

impl Vllm {
    /// Tokens that a sequence with so many uncomputed ones may compute.
    const fn share(&self, uncomputed_tokens: u32) -> u32 {
        if self.long_prefill_tokens > 0 && self.long_prefill_tokens < uncomputed_tokens {
            self.long_prefill_tokens
        } else {
            uncomputed_tokens
        }
    }

    /// Where in [`State::running`] is whoever must give up its memory. None while that one is part of a batch under way: to take another's instead
    /// would let those ahead lose what they have read in, again and again, to those behind.
    fn victim(&self, state: &State) -> Option<usize> {
        let mut running = state.running.iter().enumerate();
        let (at, &slot) = match self.order {
            Order::FirstCome => running.next_back(),
            Order::Priority => running.max_by_key(|&(_, &slot)| {
                let sequence = &state.sequences[slot];
                (sequence.priority, sequence.arrival_ns, sequence.request)
            }),
        }?;
        (!state.sequences[slot].in_flight).then_some(at)
    }

    /// Puts a sequence among those that wait, by priority.
    fn line_up(state: &mut State, slot: Slot) {
        let key = |slot: Slot| {
            let sequence = &state.sequences[slot];
            (sequence.priority, sequence.arrival_ns, sequence.request)
        };
        let at = state.waiting.partition_point(|&waiting| key(waiting) <= key(slot));
        state.waiting.insert(at, slot, &state.sequences[slot]);
    }

    /// Gives those that run what they may compute; the budget that is left, or none if somebody had to give up memory.
    fn continue_running(&self, state: &mut State, plan: &mut Plan) -> Option<u32> {
        let mut budget = self.max_batched_tokens;
        let mut preempted = false;
        let (block_tokens, decode_tokens) = (state.blocks.block_tokens(), state.decode_tokens);
        let mut at = 0;
        'running: while at < state.running.len() && budget > 0 {
            if decode_tokens == 1 {
                let decodes = decode_in_place(state, plan, at, budget);
                at += decodes;
                budget -= decodes as u32;
                if at == state.running.len() || budget == 0 {
                    break;
                }
            }
            let slot = state.running[at];
            let sequence = &mut state.sequences[slot];
            if sequence.in_flight {
                at += 1;
                continue;
            }
            // With drafts, who decodes is not cut short: the last of a budget may be overdrawn by them.
            let (tokens, after) = if sequence.decoding {
                (decode_tokens.min(budget), sequence.tokens_while_decoding(decode_tokens))
            } else {
                let tokens = self.share(sequence.uncomputed_tokens()).min(budget);
                (tokens, sequence.computed_tokens + tokens)
            };
            if sequence.blocks * block_tokens < after {
                while !state.blocks.grow(slot, &mut state.sequences[slot], after) {
                    preempted = true;
                    let Some(victim_at) = self.victim(state) else { break 'running };
                    let victim = state.running.remove(victim_at);
                    if victim_at < at {
                        at -= 1;
                        budget += withdraw(plan, victim, decode_tokens);
                    }
                    state.preempt(victim);
                    if self.order == Order::Priority {
                        state.waiting.remove(0, &state.sequences[victim]);
                        Self::line_up(state, victim);
                    }
                    if victim == slot {
                        break 'running;
                    }
                }
            }
            let sequence = &state.sequences[slot];
            // What is drafted may not stay.
            state.blocks.publish(slot, after.min(sequence.tokens()));
            budget -= tokens;
            plan.push(slot, tokens, sequence.decoding);
            at += 1;
        }
        (!preempted).then_some(budget)
    }

    /// Takes those that wait, one after another, while there is room. Whoever has contents in tiers below waits for them, and others go before it; so they do
    /// before whoever needs an adapter that has no room.
    fn admit(&self, state: &mut State, plan: &mut Plan, mut budget: u32) {
        let mut at = 0;
        while budget > 0 && state.running.len() < self.max_sequences as usize {
            let Some(&slot) = state.waiting.get(at) else { break };
            let sequence = &state.sequences[slot];
            if sequence.in_flight || !state.adapters.prepare(slot, sequence.adapter) {
                at += 1;
                continue;
            }
            // Who holds blocks already had them filled from below.
            let filled = sequence.blocks > 0;
            let hit = if filled { Hit::default() } else { state.blocks.hit(slot, sequence) };
            let found = hit.blocks + hit.lower_blocks;
            let cached = sequence.computed_tokens + found * state.blocks.block_tokens();
            // What another replica has computed comes at once. Nobody waits for a beginning that is here already.
            let awaited = match sequence.hand_over {
                HandOver::Awaits { tokens, .. } if !filled => Some(tokens.min(sequence.tokens() - 1)),
                _ => None,
            };
            let awaited = awaited.filter(|&tokens| sequence.decoding || tokens > cached);
            let computed_tokens = awaited.map_or(cached, |tokens| tokens.max(cached));
            let wanted = self.share(sequence.tokens() - cached);
            if awaited.is_none() && !self.chunked_prefill && wanted > budget {
                break;
            }
            let tokens = wanted.min(budget);
            let whole = awaited.is_some() || self.whole_prompt_must_fit;
            let must_fit = if whole { sequence.tokens() } else { cached + tokens };
            let kept = if state.running.is_empty() { 0 } else { self.watermark_blocks };
            let needed = state.blocks.lacking(sequence, must_fit) - hit.blocks + hit.vacant_blocks;
            if needed + kept > state.blocks.free_blocks() {
                if state.running.is_empty() && Self::empty(state, at) {
                    continue;
                }
                break;
            }
            if state.blocks.shares_prefixes() && !filled && !sequence.decoding {
                state.prefix_queried_tokens += u64::from(sequence.tokens());
                state.prefix_hit_tokens += u64::from(computed_tokens);
            }
            let sequence = &mut state.sequences[slot];
            if !filled {
                state.waiting.alter(sequence, |sequence| state.blocks.claim(slot, sequence, hit));
            }
            let read = if hit.lower_blocks > 0 { state.blocks.fetch(slot, sequence, hit) } else { None };
            if awaited.is_some() && state.blocks.grow(slot, sequence, computed_tokens) {
                let handed_blocks = Some(state.blocks.blocks_for(computed_tokens).saturating_sub(found));
                sequence.in_flight = true;
                let blocks = read.unwrap_or_default();
                state.fetches.push(Fetch { slot, blocks, handed_blocks, computed_tokens });
                at += 1;
                continue;
            }
            if let Some(blocks) = read {
                sequence.in_flight = true;
                state.fetches.push(Fetch { slot, blocks, handed_blocks: None, computed_tokens });
                at += 1;
                continue;
            }
            sequence.hand_over = sequence.hand_over.awaited();
            state.waiting.remove(at, sequence);
            let after = sequence.computed_tokens + tokens;
            if !state.blocks.grow(slot, sequence, after) {
                // Cannot be: it was counted. Should it be, the request waits on.
                state.blocks.release(slot, sequence);
                sequence.restart();
                state.waiting.push_front(slot, sequence);
                break;
            }
            state.blocks.publish(slot, after);
            state.adapters.take(sequence.adapter);
            state.running.push(slot);
            // Whoever was read in elsewhere decodes at once.
            plan.push(slot, tokens, sequence.decoding);
            budget -= tokens;
        }
    }

    /// Takes the blocks of the last behind a place that waits with blocks filled from below; whether there was one.
    fn empty(state: &mut State, head: usize) -> bool {
        let idle = |&slot: &Slot| state.sequences[slot].blocks > 0 && !state.sequences[slot].in_flight;
        let Some(at) = state.waiting.iter().rposition(idle).filter(|&at| at != head) else { return false };
        let slot = state.waiting[at];
        let sequence = &mut state.sequences[slot];
        state.blocks.release(slot, sequence);
        state.waiting.alter(sequence, Sequence::restart);
        true
    }
}

/// Plans those from a place on, as far as the budget goes, who decode in a block that they have, until somebody needs more thought: how many they are.
fn decode_in_place(state: &mut State, plan: &mut Plan, at: usize, budget: u32) -> usize {
    let State { sequences, blocks, running, .. } = state;
    let (block_tokens, shares) = (blocks.block_tokens(), blocks.shares_prefixes());
    let candidates = &running[at..running.len().min(at + budget as usize)];
    let mut count = 0;
    for &slot in candidates {
        let sequence = &sequences[slot];
        let (after, room) = (sequence.computed_tokens + 1, sequence.blocks * block_tokens);
        if !sequence.decoding || sequence.in_flight || room < after {
            break;
        }
        if shares && room == after {
            blocks.publish(slot, after);
        }
        count += 1;
    }
    plan.decodes.extend_from_slice(&candidates[..count]);
    count
}

/// Takes a sequence out of a plan; the tokens that it was to compute.
fn withdraw(plan: &mut Plan, slot: Slot, decode_tokens: u32) -> u32 {
    if let Some(at) = plan.decodes.iter().position(|&planned| planned == slot) {
        plan.decodes.remove(at);
        decode_tokens
    } else if let Some(at) = plan.chunks.iter().position(|chunk| chunk.slot == slot) {
        plan.chunks.remove(at).tokens
    } else {
        0
    }
}

impl Batcher for Vllm {
    fn can_take(&self, _state: &State, sequence: &Sequence) -> bool {
        self.chunked_prefill || sequence.end_tokens() <= self.max_batched_tokens
    }

    fn enqueue(&mut self, state: &mut State, slot: Slot) {
        match self.order {
            Order::FirstCome => state.waiting.push_back(slot, &state.sequences[slot]),
            Order::Priority => Self::line_up(state, slot),
        }
    }

    fn compose(&mut self, state: &mut State, plan: &mut Plan) {
        state.adapters.begin(&state.sequences, &state.running);
        let Some(budget) = self.continue_running(state, plan) else { return };
        self.admit(state, plan, budget);
        let full = state.running.len() >= self.max_sequences as usize;
        // Who waits for an adapter stands in nobody's way.
        let is_ready = |slot: &Slot| {
            let sequence = &state.sequences[*slot];
            !sequence.in_flight && state.adapters.is_ready(sequence.adapter)
        };
        let blocked = state.waiting.iter().any(is_ready);
        plan.heeds_arrivals = !full && (!blocked || self.order == Order::Priority);
        // All that run decode, and who waits finds no room before one of them is done: free blocks only become fewer.
        if plan.chunks.is_empty() && !plan.decodes.is_empty() && plan.decodes.len() == state.running.len() {
            plan.repeats = state.repeats(&plan.decodes, 0);
        }
    }

    fn conclude(&mut self, state: &mut State, plan: &Plan) {
        release_done(state, plan);
    }
}
