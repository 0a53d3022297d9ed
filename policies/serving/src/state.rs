//! What a batcher decides over, and what it decides.

use alloc::vec::Vec;

use crate::adapters::Adapters;
use crate::kv::BlockPool;
use crate::sequence::{HandOver, Sequence, Sequences, Slot};
use crate::tiers::Fetch;
use crate::waiting::Waiting;

/// The requests and the memory of an engine.
#[derive(Clone, Debug)]
pub struct State {
    /// All of its sequences.
    pub sequences: Sequences,
    /// Those that wait, the next to be taken first.
    pub waiting: Waiting,
    /// Those that hold memory, in the order in which they were taken.
    pub running: Vec<Slot>,
    /// Memory for keys and values.
    pub blocks: BlockPool,
    /// Which adapters are at hand.
    pub adapters: Adapters,
    /// Those that had to give up their memory since the engine last looked.
    pub preempted: Vec<Slot>,
    /// Those that have all their tokens and gave up their memory later than that, since the engine last looked.
    pub released: Vec<Slot>,
    /// Contents that a batcher wants from tiers below or another replica, since the engine last looked. The engine calls [`Self::fetched`] when they are there.
    pub fetches: Vec<Fetch>,
    /// Tokens that an iteration computes of each sequence that decodes: with speculative decoding those that are drafted too, for which
    /// there must be blocks. Blocks of drafts that are not accepted are there for the next.
    pub decode_tokens: u32,
    /// Tokens of prompts that were looked for in the cache of beginnings, and those that were found.
    pub prefix_queried_tokens: u64,
    /// See there.
    pub prefix_hit_tokens: u64,
    /// Room left by sequences in their last block, counted; kept to spare its allocation.
    room: Vec<u32>,
}

impl State {
    /// An engine without requests.
    pub fn new(blocks: BlockPool) -> Self {
        Self {
            sequences: Sequences::default(),
            waiting: Waiting::default(),
            running: Vec::new(),
            blocks,
            adapters: Adapters::default(),
            preempted: Vec::new(),
            released: Vec::new(),
            fetches: Vec::new(),
            decode_tokens: 1,
            prefix_queried_tokens: 0,
            prefix_hit_tokens: 0,
            room: Vec::new(),
        }
    }

    /// Sends a sequence, which the caller has taken out of [`Self::running`], back to the front of those that wait: its memory is given up.
    pub fn preempt(&mut self, slot: Slot) {
        let sequence = &mut self.sequences[slot];
        self.blocks.release(slot, sequence);
        sequence.restart();
        self.waiting.push_front(slot, sequence);
        self.preempted.push(slot);
    }

    /// Contents from tiers below or another replica have come: their tokens count as computed.
    pub fn fetched(&mut self, fetch: &Fetch) {
        let sequence = &mut self.sequences[fetch.slot];
        self.blocks.fill(u64::from(fetch.computed_tokens - sequence.computed_tokens));
        self.waiting.alter(sequence, |sequence| sequence.computed_tokens = fetch.computed_tokens);
        sequence.in_flight = false;
        if fetch.handed_blocks.is_some() {
            sequence.hand_over = sequence.hand_over.awaited();
        }
        self.blocks.publish(fetch.slot, fetch.computed_tokens);
    }

    /// How often in a row the sequences may decode before one is done or blocks run out, `keep_blocks` left over; at least once, which
    /// their blocks allow already.
    pub fn repeats(&mut self, decodes: &[Slot], keep_blocks: u32) -> u32 {
        let most = self.until_done(decodes);
        if most == 1 {
            return 1;
        }
        let block_tokens = self.blocks.block_tokens();
        let free = self.blocks.free_blocks().saturating_sub(keep_blocks);
        let count = decodes.len() as u32;
        let whole_turns = (most - 1).div_ceil(block_tokens);
        if u64::from(count) * u64::from(whole_turns) <= u64::from(free) {
            return most;
        }
        self.room.clear();
        self.room.resize(block_tokens as usize, 0);
        for &slot in decodes {
            let sequence = &self.sequences[slot];
            let room = (sequence.blocks * block_tokens).saturating_sub(sequence.computed_tokens + 1);
            if let Some(counted) = self.room.get_mut(room as usize) {
                *counted += 1;
            }
        }
        // Turns of a whole block's tokens take one block of each sequence.
        let mut left = free % count;
        let mut repeats = 1 + (free / count) * block_tokens;
        for &crossing in self.room.iter().cycle() {
            if repeats >= most || crossing > left {
                break;
            }
            left -= crossing;
            repeats += 1;
        }
        repeats.min(most)
    }

    /// How often in a row the sequences may decode before one is done. Where drafts are accepted or not, nobody knows what comes after the next.
    pub fn until_done(&self, decodes: &[Slot]) -> u32 {
        if self.decode_tokens > 1 {
            return 1;
        }
        decodes.iter().map(|&slot| self.sequences[slot].remaining_tokens()).min().unwrap_or(1).max(1)
    }
}

/// Tokens of a sequence that an iteration reads in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PlannedChunk {
    /// The sequence.
    pub slot: Slot,
    /// Tokens.
    pub tokens: u32,
}

/// What an iteration does.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Plan {
    /// Sequences that decode: a token each, or [`State::decode_tokens`].
    pub decodes: Vec<Slot>,
    /// Sequences that read tokens in.
    pub chunks: Vec<PlannedChunk>,
    /// How many iterations like this one, itself included, are sure to follow one another while nothing arrives; more than one only where nothing
    /// is read in. The blocks for those after the first are not yet taken.
    pub repeats: u32,
    /// Which of its sequences got their last token by it, in their order. The engine says so.
    pub done: Vec<Slot>,
    /// Whether an arrival could change the next iteration, if it is no later than the end of this one.
    pub heeds_arrivals: bool,
}

impl Default for Plan {
    fn default() -> Self {
        Self { decodes: Vec::new(), chunks: Vec::new(), repeats: 1, done: Vec::new(), heeds_arrivals: true }
    }
}

impl Plan {
    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.decodes.is_empty() && self.chunks.is_empty()
    }

    /// Sequences in it.
    pub fn len(&self) -> usize {
        self.decodes.len() + self.chunks.len()
    }

    /// All sequences in it: those that decode first.
    pub fn slots(&self) -> impl Iterator<Item = Slot> + '_ {
        self.decodes.iter().copied().chain(self.chunks.iter().map(|chunk| chunk.slot))
    }

    /// Empties it.
    pub fn clear(&mut self) {
        self.decodes.clear();
        self.chunks.clear();
        self.repeats = 1;
        self.done.clear();
        self.heeds_arrivals = true;
    }

    /// Adds what a sequence computes.
    pub(crate) fn push(&mut self, slot: Slot, tokens: u32, decoding: bool) {
        if decoding {
            self.decodes.push(slot);
        } else {
            self.chunks.push(PlannedChunk { slot, tokens });
        }
    }
}

/// Who is part of the next iteration.
///
/// The engine calls [`Self::compose`] whenever a batch may be begun, carries the batch out, marks what it computed in the sequences, and calls
/// [`Self::conclude`]. Sequences that are part of a batch under way are marked `in_flight`: with stages of a pipeline several batches are under way.
pub trait Batcher {
    /// Whether it would ever be this sequence's turn, all others gone: one that must never be taken would stop those behind it. That it fits into memory
    /// to its end is known. Who asks may look at the end.
    fn can_take(&self, _state: &State, _sequence: &Sequence) -> bool {
        true
    }

    /// Takes a new request in: behind the others, unless priorities say otherwise.
    fn enqueue(&mut self, state: &mut State, slot: Slot) {
        state.waiting.push_back(slot, &state.sequences[slot]);
    }

    /// Says what the next iteration does, in an empty plan; leaves it empty where nothing can be done.
    fn compose(&mut self, state: &mut State, plan: &mut Plan);

    /// What becomes of the sequences of a plan that was carried out, as often as its `repeats` says now. Those that have all their tokens are taken out of [`State::running`], and
    /// their memory is released, now or later: whoever still holds blocks afterwards is put into [`State::released`] once it holds none, unless it
    /// keeps them for another replica.
    fn conclude(&mut self, state: &mut State, plan: &Plan);
}

/// Takes those of a plan that are done out of those that run, and releases their memory unless another replica is to read it.
pub(crate) fn release_done(state: &mut State, plan: &Plan) {
    if plan.done.is_empty() {
        return;
    }
    for &slot in &plan.done {
        if state.sequences[slot].hand_over != HandOver::Keeps {
            state.blocks.release(slot, &mut state.sequences[slot]);
        }
    }
    state.running.retain(|slot| !plan.done.contains(slot));
}
