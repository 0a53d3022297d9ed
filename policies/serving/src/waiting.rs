//! Those that wait, and what they have to compute.

use alloc::collections::VecDeque;
use core::ops::Deref;

use crate::sequence::{Sequence, Slot};

/// Sequences that wait, the next to be taken first. How many tokens they have is kept: routers ask after every change, with thousands waiting.
#[derive(Clone, Debug, Default)]
pub struct Waiting {
    slots: VecDeque<Slot>,
    tokens: u64,
    prefill_tokens: u64,
}

impl Deref for Waiting {
    type Target = VecDeque<Slot>;

    fn deref(&self) -> &Self::Target {
        &self.slots
    }
}

impl Waiting {
    /// Tokens that they have together.
    pub const fn tokens(&self) -> u64 {
        self.tokens
    }

    /// Tokens of prompts that are still to be read in.
    pub const fn prefill_tokens(&self) -> u64 {
        self.prefill_tokens
    }

    /// Puts a sequence behind all others.
    pub fn push_back(&mut self, slot: Slot, sequence: &Sequence) {
        self.insert(self.slots.len(), slot, sequence);
    }

    /// Puts a sequence before all others.
    pub fn push_front(&mut self, slot: Slot, sequence: &Sequence) {
        self.insert(0, slot, sequence);
    }

    /// Puts a sequence at a place.
    pub fn insert(&mut self, at: usize, slot: Slot, sequence: &Sequence) {
        self.slots.insert(at, slot);
        self.tokens += u64::from(sequence.tokens());
        self.prefill_tokens += u64::from(sequence.prefill_tokens());
    }

    /// Takes the sequence at a place out, which is as it was when it came or was altered.
    pub fn remove(&mut self, at: usize, sequence: &Sequence) {
        if self.slots.remove(at).is_some() {
            self.tokens -= u64::from(sequence.tokens());
            self.prefill_tokens -= u64::from(sequence.prefill_tokens());
        }
    }

    /// Changes what is computed of a sequence that waits.
    pub fn alter(&mut self, sequence: &mut Sequence, change: impl FnOnce(&mut Sequence)) {
        self.prefill_tokens -= u64::from(sequence.prefill_tokens());
        change(sequence);
        self.prefill_tokens += u64::from(sequence.prefill_tokens());
    }
}
