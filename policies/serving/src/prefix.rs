//! Blocks that sequences with the same beginning share.

use alloc::vec::Vec;

use crate::sequence::Slot;
use crate::tiers::{Tier, Tiers};

/// No block.
const NONE: u32 = u32::MAX;

/// In no chain: a block without contents that anybody may find.
const UNLISTED: u32 = NONE - 1;

/// A block of the cache.
#[derive(Clone, Copy, Debug)]
struct Block {
    /// Sequences that hold it.
    holders: u32,
    /// Its neighbours in the queue of blocks that nobody holds.
    previous: u32,
    next: u32,
}

/// A block that is taken for the first time.
const TAKEN: Block = Block { holders: 1, previous: NONE, next: NONE };

/// What a block contains, in four bytes' steps: keys are no wider aligned than what is beside them.
#[derive(Clone, Copy, Debug)]
struct Contents {
    key: [u32; 2],
    /// The next block of its chain, or that it is in none.
    chain: u32,
}

impl Contents {
    const NONE: Self = Self { key: [0; 2], chain: UNLISTED };

    const fn of(key: u64) -> Self {
        Self { key: [key as u32, (key >> 32) as u32], chain: NONE }
    }

    const fn key(self) -> u64 {
        self.key[0] as u64 | (self.key[1] as u64) << 32
    }
}

/// Blocks by what they contain, after vLLM V1's block pool: counted by holders; a block that nobody holds keeps its contents and waits in a
/// queue, from whose head blocks are taken when some are needed (least recently used first); the blocks of a sequence enter it last block
/// first, so that beginnings, which others are likelier to share, live longest.
#[derive(Clone, Debug)]
pub struct PrefixCache {
    /// Those that were ever taken: the others have nothing to be remembered, and come after them.
    blocks: Vec<Block>,
    total_blocks: u32,
    /// What blocks contain, as far as something was ever published.
    contents: Vec<Contents>,
    /// The first block of each chain. Contents have their chain by their key, in which blocks are in the order in which they were published: of several
    /// with the same contents the first is found. Chains go through the blocks, which are at hand whenever one is taken or given back. None before
    /// something is published.
    chains: Vec<u32>,
    /// Bits of a mixed key that do not say which chain.
    shift: u32,
    /// The queue of blocks that were taken before. Those that never were are taken before it.
    head: u32,
    tail: u32,
    /// Of each sequence: its blocks, its keys, and how many of its blocks can be found by others.
    held: Vec<Held>,
    /// Lists of blocks that nobody needs, kept to spare their allocation.
    spare: Vec<Vec<u32>>,
    tiers: Tiers,
}

#[derive(Clone, Default, Debug)]
struct Held {
    blocks: Vec<u32>,
    keys: Vec<u64>,
    published: usize,
}

impl PrefixCache {
    /// A cache without contents.
    pub(crate) fn new(total_blocks: u32) -> Self {
        let chains = (2 * total_blocks as usize).next_power_of_two().max(2);
        Self {
            blocks: Vec::new(),
            total_blocks,
            contents: Vec::new(),
            chains: Vec::new(),
            shift: u64::BITS - chains.trailing_zeros(),
            head: NONE,
            tail: NONE,
            held: Vec::new(),
            spare: Vec::new(),
            tiers: Tiers::default(),
        }
    }

    /// Memory below, the nearest first.
    pub fn tiers(&self) -> &[Tier] {
        self.tiers.as_slice()
    }

    pub(crate) fn set_tiers(&mut self, capacities_blocks: &[u32]) {
        self.tiers = Tiers::new(capacities_blocks);
    }

    /// The blocks that a sequence holds, from its beginning.
    pub fn held(&self, slot: Slot) -> &[u32] {
        self.held.get(slot.index()).map_or(&[], |held| &held.blocks)
    }

    /// How many hold a block.
    pub fn holders(&self, block: u32) -> u32 {
        self.blocks.get(block as usize).map_or(0, |block| block.holders)
    }

    /// Blocks that nobody holds, in the order in which they will be taken.
    pub fn vacant(&self) -> impl Iterator<Item = u32> + '_ {
        let queue = core::iter::successors((self.head != NONE).then_some(self.head), |&block| {
            let next = self.blocks[block as usize].next;
            (next != NONE).then_some(next)
        });
        (self.blocks.len() as u32..self.total_blocks).chain(queue)
    }

    pub(crate) fn set_keys(&mut self, slot: Slot, keys: &[u64]) {
        let held = self.held_mut(slot);
        held.published = 0;
        held.keys.clear();
        held.keys.extend_from_slice(keys);
    }

    /// What of the first `most_blocks` of a sequence is there.
    pub(crate) fn hit(&self, slot: Slot, most_blocks: u32) -> crate::kv::Hit {
        let mut hit = crate::kv::Hit::default();
        let Some(held) = self.held.get(slot.index()) else { return hit };
        for key in held.keys.iter().take(most_blocks as usize) {
            let Some(block) = self.find(*key) else { break };
            hit.blocks += 1;
            hit.vacant_blocks += u32::from(self.blocks[block as usize].holders == 0);
        }
        if !self.tiers().is_empty() {
            let further = held.keys.iter().take(most_blocks as usize).skip(hit.blocks as usize);
            hit.lower_blocks = further.take_while(|&&key| self.tiers.contain(key)).count() as u32;
        }
        hit
    }

    /// How many of these blocks, from the first on, are there, here or in the tiers below.
    pub(crate) fn cached_blocks(&self, keys: &[u64]) -> u32 {
        let here = keys.iter().take_while(|&&key| self.find(key).is_some()).count();
        let below = if self.tiers().is_empty() {
            0
        } else {
            keys.iter().skip(here).take_while(|&&key| self.tiers.contain(key)).count()
        };
        (here + below) as u32
    }

    /// Reads blocks of a sequence from the tiers below.
    pub(crate) fn fetch(&mut self, slot: Slot, first: u32, count: u32) -> Vec<u32> {
        let Some(held) = self.held.get(slot.index()) else { return Vec::new() };
        self.tiers.read(held.keys.get(first as usize..(first + count) as usize).unwrap_or_default())
    }

    /// Gives a sequence the first `count` blocks of what is cached of it.
    pub(crate) fn claim(&mut self, slot: Slot, count: u32) {
        if count == 0 {
            return;
        }
        if let Some(spare) = self.spare.pop() {
            self.held_mut(slot).blocks = spare;
        }
        for at in 0..count as usize {
            let key = self.held[slot.index()].keys[at];
            let Some(block) = self.find(key) else { break };
            if self.blocks[block as usize].holders == 0 {
                self.unlink(block);
            }
            self.blocks[block as usize].holders += 1;
            self.held_mut(slot).blocks.push(block);
        }
        self.held_mut(slot).published = count as usize;
    }

    /// Gives a sequence blocks without contents.
    pub(crate) fn allocate(&mut self, slot: Slot, count: u32) {
        let mut taken = core::mem::take(&mut self.held_mut(slot).blocks);
        if taken.capacity() == 0 {
            taken = self.spare.pop().unwrap_or_default();
        }
        let fresh = count.min(self.total_blocks - self.blocks.len() as u32);
        if fresh > 0 {
            let first = self.blocks.len() as u32;
            taken.extend(first..first + fresh);
            if first == 0 {
                // All at once: what is not written to is no memory yet, and nothing has to be moved.
                self.blocks.reserve_exact(self.total_blocks as usize);
            }
            self.blocks.resize((first + fresh) as usize, TAKEN);
        }
        for _ in fresh..count {
            let block = self.head;
            let entry = &mut self.blocks[block as usize];
            entry.holders = 1;
            self.head = entry.next;
            match self.head {
                NONE => self.tail = NONE,
                head => self.blocks[head as usize].previous = NONE,
            }
            if let Some(contents) = self.contents.get_mut(block as usize)
                && contents.chain != UNLISTED
            {
                let (key, after) = (contents.key(), contents.chain);
                contents.chain = UNLISTED;
                self.forget(block, key, after);
            }
            taken.push(block);
        }
        self.held_mut(slot).blocks = taken;
    }

    /// Lets others find the first `full` blocks of a sequence.
    #[inline]
    pub(crate) fn publish(&mut self, slot: Slot, full: u32) {
        let Some(held) = self.held.get_mut(slot.index()) else { return };
        let until = held.keys.len().min(full as usize).min(held.blocks.len());
        let from = held.published;
        if from < until {
            held.published = until;
            self.publish_blocks(slot, from, until);
        }
    }

    #[inline]
    pub(crate) fn has_unpublished(&self, slot: Slot) -> bool {
        self.held.get(slot.index()).is_some_and(|held| held.published < held.keys.len())
    }

    fn publish_blocks(&mut self, slot: Slot, from: usize, until: usize) {
        if self.chains.is_empty() {
            self.chains.resize(1 << (u64::BITS - self.shift), NONE);
        }
        if self.contents.len() < self.blocks.len() {
            self.contents.reserve_exact(self.total_blocks as usize - self.contents.len());
            self.contents.resize(self.blocks.len(), Contents::NONE);
        }
        let held = &self.held[slot.index()];
        for (&block, &key) in held.blocks[from..until].iter().zip(&held.keys[from..until]) {
            self.contents[block as usize] = Contents::of(key);
            let chain = chain_of(key, self.shift);
            match self.chains[chain] {
                NONE => self.chains[chain] = block,
                first => {
                    let mut last = first;
                    while self.contents[last as usize].chain != NONE {
                        last = self.contents[last as usize].chain;
                    }
                    self.contents[last as usize].chain = block;
                }
            }
        }
    }

    /// Takes back the blocks of a sequence; how many of them nobody holds now.
    pub(crate) fn release(&mut self, slot: Slot) -> u32 {
        let held = self.held_mut(slot);
        held.published = 0;
        let mut given_back = core::mem::take(&mut held.blocks);
        let mut vacant = 0;
        let mut tail = self.tail;
        for &block in given_back.iter().rev() {
            let entry = &mut self.blocks[block as usize];
            entry.holders -= 1;
            if entry.holders == 0 {
                vacant += 1;
                entry.previous = tail;
                entry.next = NONE;
                match tail {
                    NONE => self.head = block,
                    _ => self.blocks[tail as usize].next = block,
                }
                tail = block;
            }
        }
        self.tail = tail;
        if given_back.capacity() > 0 {
            given_back.clear();
            self.spare.push(given_back);
        }
        vacant
    }

    fn held_mut(&mut self, slot: Slot) -> &mut Held {
        if self.held.len() <= slot.index() {
            self.held.resize_with(slot.index() + 1, Held::default);
        }
        &mut self.held[slot.index()]
    }

    /// The block in which some contents are found.
    #[inline]
    fn find(&self, key: u64) -> Option<u32> {
        let mut block = *self.chains.get(chain_of(key, self.shift))?;
        while block != NONE {
            let contents = &self.contents[block as usize];
            if contents.key() == key {
                return Some(block);
            }
            block = contents.chain;
        }
        None
    }

    /// Takes a block out of its chain, in which `after` comes after it.
    fn forget(&mut self, block: u32, key: u64, after: u32) {
        let chain = chain_of(key, self.shift);
        let first = self.chains[chain];
        if first == block {
            self.chains[chain] = after;
        } else {
            let mut before = first;
            while self.contents[before as usize].chain != block {
                before = self.contents[before as usize].chain;
            }
            self.contents[before as usize].chain = after;
        }
        // Another block may have the same contents.
        if !self.tiers().is_empty() && self.find(key).is_none() {
            self.tiers.store(key);
        }
    }

    fn unlink(&mut self, block: u32) {
        let Block { previous, next, .. } = self.blocks[block as usize];
        match previous {
            NONE => self.head = next,
            _ => self.blocks[previous as usize].next = next,
        }
        match next {
            NONE => self.tail = previous,
            _ => self.blocks[next as usize].previous = previous,
        }
    }
}

/// The chain of contents: the highest bits of their key times 2^64 over the golden ratio, by which keys that follow one another spread (Knuth's
/// multiplicative hashing).
#[inline]
const fn chain_of(key: u64, shift: u32) -> usize {
    (key.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> shift) as usize
}
