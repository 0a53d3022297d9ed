//! Requests inside an engine.

use alloc::vec::Vec;

/// What becomes of a sequence's keys and values where one replica reads prompts in and another generates answers.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum HandOver {
    /// It stays where it is.
    #[default]
    None,
    /// Its memory is kept once it is done, until another replica has read it.
    Keeps,
    /// Another replica has computed its first tokens: their keys and values come into its blocks once it has some.
    Awaits {
        /// How many tokens.
        tokens: u32,
        /// Whether it then keeps its memory for a third.
        keeps: bool,
    },
}

impl HandOver {
    /// What is left of it once what it awaited has come, or will not come.
    #[must_use]
    pub const fn awaited(self) -> Self {
        match self {
            Self::Keeps | Self::Awaits { keeps: true, .. } => Self::Keeps,
            Self::None | Self::Awaits { keeps: false, .. } => Self::None,
        }
    }
}

/// A request that an engine has accepted, as a batcher sees it. Kept small: batchers walk over all that run.
///
/// Of its tokens (prompt and generated), `computed_tokens` have their keys and values in memory. Once all have, the next token is sampled;
/// from then on the sequence is one token behind, and *decodes*: it computes that token, and gets the next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sequence {
    /// When it arrived.
    pub arrival_ns: u64,
    /// The caller's index of the request.
    pub request: u32,
    /// Lower goes first, where priorities are heeded.
    pub priority: i32,
    /// The adapter that it needs, from 1; 0 where it needs none.
    pub adapter: u32,
    /// Tokens that were submitted.
    pub prompt_tokens: u32,
    /// Tokens that it will generate. No batcher may look at it: it is what the model will say. (Reservations that stand for oracles do.)
    pub output_tokens: u32,
    /// Tokens that it may generate at most, as the request says.
    pub limit_tokens: u32,
    /// Tokens generated.
    pub generated_tokens: u32,
    /// Tokens whose keys and values are in memory.
    pub computed_tokens: u32,
    /// Blocks that it holds.
    pub blocks: u32,
    /// Whether all but its last token are computed, so that one token is computed and one generated at a time.
    pub decoding: bool,
    /// Whether it is part of a batch that is under way, or waits for contents of its blocks that are.
    pub in_flight: bool,
    /// Whether its keys and values go to another replica, or come from one.
    pub hand_over: HandOver,
}

impl Sequence {
    /// One that has just come, of which nothing is computed.
    pub const fn new(prompt_tokens: u32, output_tokens: u32) -> Self {
        Self {
            arrival_ns: 0,
            request: 0,
            priority: 0,
            adapter: 0,
            prompt_tokens,
            output_tokens,
            limit_tokens: output_tokens,
            generated_tokens: 0,
            computed_tokens: 0,
            blocks: 0,
            decoding: false,
            in_flight: false,
            hand_over: HandOver::None,
        }
    }

    /// Tokens so far.
    #[inline]
    pub const fn tokens(&self) -> u32 {
        self.prompt_tokens + self.generated_tokens
    }

    /// Tokens that are not computed.
    #[inline]
    pub const fn uncomputed_tokens(&self) -> u32 {
        self.tokens() - self.computed_tokens
    }

    /// Tokens that are read in before it decodes.
    #[inline]
    pub const fn prefill_tokens(&self) -> u32 {
        if self.decoding { 0 } else { self.uncomputed_tokens() }
    }

    /// Tokens whose keys and values it may have to hold at most. The last token is generated, never computed.
    #[inline]
    pub const fn most_tokens(&self) -> u32 {
        self.prompt_tokens.saturating_add(self.limit_tokens - 1)
    }

    /// Tokens whose keys and values it will hold at its end.
    #[inline]
    pub const fn end_tokens(&self) -> u32 {
        self.prompt_tokens.saturating_add(self.output_tokens - 1)
    }

    /// Tokens that it holds while it decodes, if so many are computed at once: it is never given room for more than it may generate.
    #[inline]
    pub const fn tokens_while_decoding(&self, decode_tokens: u32) -> u32 {
        let may = self.limit_tokens.saturating_sub(self.generated_tokens);
        let at_once = if decode_tokens < may { decode_tokens } else { may };
        self.computed_tokens + if at_once > 1 { at_once } else { 1 }
    }

    /// Tokens that it still generates.
    #[inline]
    pub const fn remaining_tokens(&self) -> u32 {
        self.output_tokens - self.generated_tokens
    }

    /// Gives up what is computed: it must be read in again, with what it has generated.
    pub const fn restart(&mut self) {
        self.computed_tokens = 0;
        self.decoding = false;
        self.in_flight = false;
        self.hand_over = self.hand_over.awaited();
    }
}

/// Where a sequence is kept.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Slot(pub u32);

impl Slot {
    /// As an index.
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// The sequences of an engine. Places are used again, so that they stay close together.
#[derive(Clone, Default, Debug)]
pub struct Sequences {
    slots: Vec<Sequence>,
    vacant: Vec<Slot>,
}

impl Sequences {
    /// Takes a sequence in.
    pub fn insert(&mut self, sequence: Sequence) -> Slot {
        if let Some(slot) = self.vacant.pop() {
            self.slots[slot.index()] = sequence;
            slot
        } else {
            self.slots.push(sequence);
            Slot(self.slots.len() as u32 - 1)
        }
    }

    /// Lets a sequence go.
    pub fn remove(&mut self, slot: Slot) -> Sequence {
        self.vacant.push(slot);
        self.slots[slot.index()]
    }

    /// How many places there are, used or not.
    pub fn capacity(&self) -> usize {
        self.slots.len()
    }
}

impl core::ops::Index<Slot> for Sequences {
    type Output = Sequence;

    #[inline]
    fn index(&self, slot: Slot) -> &Sequence {
        &self.slots[slot.index()]
    }
}

impl core::ops::IndexMut<Slot> for Sequences {
    #[inline]
    fn index_mut(&mut self, slot: Slot) -> &mut Sequence {
        &mut self.slots[slot.index()]
    }
}
