//! Memory for keys and values, in blocks.

use alloc::vec::Vec;

use crate::prefix::PrefixCache;
use crate::sequence::{Sequence, Slot};

/// The blocks of an engine's KV cache.
///
/// A sequence holds the blocks of its computed tokens and of those that the coming iteration computes (`PagedAttention`), or, with a batcher that
/// reserves, of all tokens that it may ever have. With a [`PrefixCache`] blocks have an identity and may be shared; else they are counted.
#[derive(Clone, Debug)]
pub struct BlockPool {
    block_tokens: u32,
    total_blocks: u32,
    free_blocks: u32,
    /// Blocks of all sequences, a shared one once for each of them.
    owned_blocks: u64,
    /// Tokens in them.
    filled_tokens: u64,
    prefix: Option<PrefixCache>,
}

/// What of a sequence is in the cache already.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Hit {
    /// Blocks from the beginning that are there.
    pub blocks: u32,
    /// How many of them nobody holds: they count as free until claimed.
    pub vacant_blocks: u32,
    /// Blocks after those that are in tiers below.
    pub lower_blocks: u32,
}

impl BlockPool {
    /// Blocks that are counted, not shared.
    pub fn new(total_blocks: u32, block_tokens: u32) -> Self {
        Self {
            block_tokens: block_tokens.max(1),
            total_blocks,
            free_blocks: total_blocks,
            owned_blocks: 0,
            filled_tokens: 0,
            prefix: None,
        }
    }

    /// Blocks that sequences with the same beginning share, and that keep their contents until they are needed.
    pub fn with_prefix_cache(total_blocks: u32, block_tokens: u32) -> Self {
        Self { prefix: Some(PrefixCache::new(total_blocks)), ..Self::new(total_blocks, block_tokens) }
    }

    /// The same with memory below the GPU's: what a block contained when it was needed for something else goes to the first of these
    /// tiers, and from one to the next, each of so many blocks. Nothing without a cache of beginnings. Nobody waits for what is written;
    /// [`crate::Vllm`] lets requests wait for what is read, other batchers read nothing.
    #[must_use]
    pub fn with_tiers(mut self, capacities_blocks: &[u32]) -> Self {
        if let Some(prefix) = &mut self.prefix {
            prefix.set_tiers(capacities_blocks);
        }
        self
    }

    /// Tokens of a block.
    pub const fn block_tokens(&self) -> u32 {
        self.block_tokens
    }

    /// All blocks.
    pub const fn total_blocks(&self) -> u32 {
        self.total_blocks
    }

    /// Blocks that nobody holds, those with cached contents among them.
    pub const fn free_blocks(&self) -> u32 {
        self.free_blocks
    }

    /// Blocks that somebody holds.
    pub const fn used_blocks(&self) -> u32 {
        self.total_blocks - self.free_blocks
    }

    /// Tokens that the blocks of sequences have room for and do not contain: what the last block of each lacks (internal fragmentation), or with a
    /// batcher that reserves what has not come yet or never will. Shared blocks are full.
    pub const fn unfilled_tokens(&self) -> u64 {
        (self.owned_blocks * self.block_tokens as u64).saturating_sub(self.filled_tokens)
    }

    /// Tokens in blocks that somebody holds, each once however many share it.
    pub const fn held_tokens(&self) -> u64 {
        (self.used_blocks() as u64 * self.block_tokens as u64).saturating_sub(self.unfilled_tokens())
    }

    /// Keys and values of so many tokens more were computed. Whoever adds to [`Sequence::computed_tokens`] says so.
    #[inline]
    pub const fn fill(&mut self, tokens: u64) {
        self.filled_tokens += tokens;
    }

    /// Whether beginnings are shared.
    #[inline]
    pub const fn shares_prefixes(&self) -> bool {
        self.prefix.is_some()
    }

    /// Blocks for a number of tokens.
    #[inline]
    pub const fn blocks_for(&self, tokens: u32) -> u32 {
        tokens.div_ceil(self.block_tokens)
    }

    /// Blocks that a sequence lacks to hold a number of tokens.
    pub const fn lacking(&self, sequence: &Sequence, tokens: u32) -> u32 {
        self.blocks_for(tokens).saturating_sub(sequence.blocks)
    }

    /// Gives a sequence the blocks for a number of tokens, or says that there are too few.
    #[inline]
    pub fn grow(&mut self, slot: Slot, sequence: &mut Sequence, tokens: u32) -> bool {
        tokens <= sequence.blocks * self.block_tokens || self.take(slot, sequence, tokens)
    }

    fn take(&mut self, slot: Slot, sequence: &mut Sequence, tokens: u32) -> bool {
        let lacking = self.lacking(sequence, tokens);
        if lacking > self.free_blocks {
            return false;
        }
        if lacking > 0 {
            self.free_blocks -= lacking;
            sequence.blocks += lacking;
            self.owned_blocks += u64::from(lacking);
            if let Some(prefix) = &mut self.prefix {
                prefix.allocate(slot, lacking);
            }
        }
        true
    }

    /// Lets others find the blocks of a sequence that are full once its first so many tokens are computed.
    #[inline]
    pub fn publish(&mut self, slot: Slot, computed_tokens: u32) {
        if let Some(prefix) = &mut self.prefix {
            prefix.publish(slot, computed_tokens / self.block_tokens);
        }
    }

    /// Whether others may find blocks of a sequence that they do not find yet, once those are full.
    #[inline]
    pub fn has_unpublished(&self, slot: Slot) -> bool {
        self.prefix.as_ref().is_some_and(|prefix| prefix.has_unpublished(slot))
    }

    /// Takes back all that a sequence holds. What is cached stays until it is needed, the end of the sequence less long than its beginning.
    pub fn release(&mut self, slot: Slot, sequence: &mut Sequence) {
        self.owned_blocks -= u64::from(sequence.blocks);
        self.filled_tokens = self.filled_tokens.saturating_sub(u64::from(sequence.computed_tokens));
        match &mut self.prefix {
            Some(prefix) => self.free_blocks += prefix.release(slot),
            None => self.free_blocks += sequence.blocks,
        }
        sequence.blocks = 0;
    }

    /// What the blocks of a sequence contain: one key for each block from its beginning, and equal keys mean that all tokens up to there are equal.
    /// Blocks beyond the keys are like no other.
    pub fn set_keys(&mut self, slot: Slot, keys: &[u64]) {
        if let Some(prefix) = &mut self.prefix {
            prefix.set_keys(slot, keys);
        }
    }

    /// The longest beginning of a sequence that is cached, of whole blocks, one token at least left to compute.
    pub fn hit(&self, slot: Slot, sequence: &Sequence) -> Hit {
        let most_blocks = (sequence.tokens() - 1) / self.block_tokens;
        self.prefix.as_ref().map_or_else(Hit::default, |prefix| prefix.hit(slot, most_blocks))
    }

    /// Gives a sequence that has claimed its [`Hit`] blocks for what tiers below have of it, and reads that: how many blocks come from each tier.
    pub fn fetch(&mut self, slot: Slot, sequence: &mut Sequence, hit: Hit) -> Option<Vec<u32>> {
        // Read before room is made: what goes to the tiers for it may push these out.
        let blocks = self.prefix.as_mut()?.fetch(slot, hit.blocks, hit.lower_blocks);
        let tokens = (hit.blocks + hit.lower_blocks) * self.block_tokens;
        self.grow(slot, sequence, tokens).then_some(blocks)
    }

    /// Gives a sequence that holds nothing what is cached of it.
    pub fn claim(&mut self, slot: Slot, sequence: &mut Sequence, hit: Hit) {
        if let Some(prefix) = &mut self.prefix {
            prefix.claim(slot, hit.blocks);
            self.free_blocks -= hit.vacant_blocks;
            sequence.blocks = hit.blocks;
            sequence.computed_tokens = hit.blocks * self.block_tokens;
            self.owned_blocks += u64::from(hit.blocks);
            self.fill(u64::from(sequence.computed_tokens));
        }
    }

    /// How many of these blocks, from the first on, are cached.
    pub fn cached_blocks(&self, keys: &[u64]) -> u32 {
        self.prefix.as_ref().map_or(0, |prefix| prefix.cached_blocks(keys))
    }

    /// The cache of beginnings, where there is one.
    pub const fn prefix_cache(&self) -> Option<&PrefixCache> {
        self.prefix.as_ref()
    }
}
