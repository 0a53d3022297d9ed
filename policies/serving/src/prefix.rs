//! Blocks that sequences with the same beginning share.

use alloc::vec::Vec;

use crate::sequence::Slot;
use crate::tiers::{Tier, Tiers};

/// No block.
const NONE: u32 = u32::MAX;

/// A block with contents that others may find.
#[derive(Clone, Copy, Debug)]
struct Block {
    key: u64,
    /// The next block of its chain.
    chain: u32,
    /// Sequences that hold it.
    holders: u32,
    /// Its neighbours in the queue of blocks that nobody holds.
    previous: u32,
    next: u32,
    /// Blocks without contents that come right before it in the queue.
    blank_before: u32,
}

/// Blocks by what they contain, after vLLM V1's block pool: counted by holders; a block that nobody holds keeps its contents and waits in a
/// queue, from whose head blocks are taken when some are needed (least recently used first); the blocks of a sequence enter it last block
/// first, so that beginnings, which others are likelier to share, live longest.
///
/// One block without contents that anybody may find is as good as another: only how many a sequence holds, and how many there are at which place of the
/// queue, is kept of them. Prompts without common beginnings cost nothing by the block.
#[derive(Clone, Debug)]
pub struct PrefixCache {
    /// Those with contents.
    blocks: Vec<Block>,
    /// Places in `blocks` that are no block any more.
    unused: Vec<u32>,
    /// All blocks, with contents or without.
    total_blocks: u32,
    /// The first block of each chain. Contents have their chain by their key, in which blocks are in the order in which they were published: of several
    /// with the same contents the first is found. Chains go through the blocks, which are at hand whenever one is taken or given back. None before
    /// something is published.
    chains: Vec<u32>,
    /// Bits of a mixed key that do not say which chain.
    shift: u32,
    /// The queue of blocks with contents that nobody holds, and how many without contents come after the last.
    head: u32,
    tail: u32,
    blank_last: u32,
    held: Vec<Held>,
    /// Lists of blocks that nobody needs, kept to spare their allocation.
    spare: Vec<Vec<u32>>,
    tiers: Tiers,
}

/// What a sequence has.
#[derive(Clone, Default, Debug)]
struct Held {
    keys: Vec<u64>,
    /// Its blocks that others can find, from its beginning: as many of its keys are published.
    found: Vec<u32>,
    /// How many come after them.
    blank: u32,
}

impl PrefixCache {
    /// A cache without contents.
    pub(crate) fn new(total_blocks: u32) -> Self {
        let chains = (2 * total_blocks as usize).next_power_of_two().max(2);
        Self {
            blocks: Vec::new(),
            unused: Vec::new(),
            total_blocks,
            chains: Vec::new(),
            shift: u64::BITS - chains.trailing_zeros(),
            head: NONE,
            tail: NONE,
            blank_last: total_blocks,
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

    /// How many hold the block in which some contents are found; none if they are not.
    pub fn holders(&self, key: u64) -> Option<u32> {
        self.find(key).map(|block| self.blocks[block as usize].holders)
    }

    /// Blocks that nobody holds, in the order in which they will be taken: the keys of their contents, if they have any that can be found.
    pub fn vacant(&self) -> impl Iterator<Item = Option<u64>> + '_ {
        let blank = |count: u32| core::iter::repeat_n(None, count as usize);
        let queue = core::iter::successors(self.block_at(self.head), |block| self.block_at(block.next));
        let queue = queue.flat_map(move |block| blank(block.blank_before).chain([Some(block.key)]));
        queue.chain(blank(self.blank_last))
    }

    fn block_at(&self, at: u32) -> Option<&Block> {
        self.blocks.get(at as usize)
    }

    pub(crate) fn set_keys(&mut self, slot: Slot, keys: &[u64]) {
        let held = self.held_mut(slot);
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

    /// Gives a sequence that holds nothing the first `count` blocks of what is cached of it.
    pub(crate) fn claim(&mut self, slot: Slot, count: u32) {
        let mut found = self.room_for_found(slot, count);
        for at in 0..count as usize {
            let key = self.held[slot.index()].keys[at];
            let Some(block) = self.find(key) else { break };
            if self.blocks[block as usize].holders == 0 {
                self.unlink(block);
            }
            self.blocks[block as usize].holders += 1;
            found.push(block);
        }
        self.held_mut(slot).found = found;
    }

    /// Its list of blocks that others can find, with memory if some are to be added.
    fn room_for_found(&mut self, slot: Slot, count: u32) -> Vec<u32> {
        let found = core::mem::take(&mut self.held_mut(slot).found);
        if found.capacity() == 0 && count > 0 { self.spare.pop().unwrap_or_default() } else { found }
    }

    /// Gives a sequence blocks without contents.
    pub(crate) fn allocate(&mut self, slot: Slot, count: u32) {
        self.held_mut(slot).blank += count;
        let mut left = count;
        while left > 0 && self.head != NONE {
            let block = self.head;
            let Block { blank_before, key, chain, .. } = self.blocks[block as usize];
            if blank_before >= left {
                self.blocks[block as usize].blank_before -= left;
                return;
            }
            left -= blank_before + 1;
            self.blocks[block as usize].blank_before = 0;
            self.unlink(block);
            self.unused.push(block);
            self.forget(block, key, chain);
        }
        // The caller has counted them.
        self.blank_last = self.blank_last.saturating_sub(left);
    }

    /// Lets others find the first `full` blocks of a sequence.
    #[inline]
    pub(crate) fn publish(&mut self, slot: Slot, full: u32) {
        let Some(held) = self.held.get(slot.index()) else { return };
        let all = held.found.len() + held.blank as usize;
        let until = held.keys.len().min(full as usize).min(all);
        if held.found.len() < until {
            self.publish_blocks(slot, until);
        }
    }

    #[inline]
    pub(crate) fn has_unpublished(&self, slot: Slot) -> bool {
        self.held.get(slot.index()).is_some_and(|held| held.found.len() < held.keys.len())
    }

    fn publish_blocks(&mut self, slot: Slot, until: usize) {
        if self.chains.is_empty() {
            self.chains.resize(1 << (u64::BITS - self.shift), NONE);
        }
        let mut found = self.room_for_found(slot, until as u32);
        let held = &mut self.held[slot.index()];
        held.blank -= (until - found.len()) as u32;
        for &key in &held.keys[found.len()..until] {
            let entry = Block { key, chain: NONE, holders: 1, previous: NONE, next: NONE, blank_before: 0 };
            let block = if let Some(unused) = self.unused.pop() {
                self.blocks[unused as usize] = entry;
                unused
            } else {
                if self.blocks.is_empty() {
                    // All at once: what is not written to is no memory yet, and nothing has to be moved.
                    self.blocks.reserve_exact(self.total_blocks as usize);
                }
                self.blocks.push(entry);
                self.blocks.len() as u32 - 1
            };
            found.push(block);
            let chain = chain_of(key, self.shift);
            match self.chains[chain] {
                NONE => self.chains[chain] = block,
                first => {
                    let mut last = first;
                    while self.blocks[last as usize].chain != NONE {
                        last = self.blocks[last as usize].chain;
                    }
                    self.blocks[last as usize].chain = block;
                }
            }
        }
        held.found = found;
    }

    /// Takes back the blocks of a sequence; how many of them nobody holds now.
    pub(crate) fn release(&mut self, slot: Slot) -> u32 {
        let held = self.held_mut(slot);
        let mut vacant = core::mem::take(&mut held.blank);
        let mut found = core::mem::take(&mut held.found);
        self.blank_last += vacant;
        for &block in found.iter().rev() {
            let entry = &mut self.blocks[block as usize];
            entry.holders -= 1;
            if entry.holders == 0 {
                vacant += 1;
                self.append(block);
            }
        }
        if found.capacity() > 0 {
            found.clear();
            self.spare.push(found);
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
            let entry = &self.blocks[block as usize];
            if entry.key == key {
                return Some(block);
            }
            block = entry.chain;
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
            while self.blocks[before as usize].chain != block {
                before = self.blocks[before as usize].chain;
            }
            self.blocks[before as usize].chain = after;
        }
        // Another block may have the same contents.
        if !self.tiers().is_empty() && self.find(key).is_none() {
            self.tiers.store(key);
        }
    }

    /// Takes a block out of the queue, in which those without contents before it stay where they are.
    fn unlink(&mut self, block: u32) {
        let Block { previous, next, blank_before, .. } = self.blocks[block as usize];
        match previous {
            NONE => self.head = next,
            _ => self.blocks[previous as usize].next = next,
        }
        if next == NONE {
            self.tail = previous;
            self.blank_last += blank_before;
        } else {
            self.blocks[next as usize].previous = previous;
            self.blocks[next as usize].blank_before += blank_before;
        }
    }

    fn append(&mut self, block: u32) {
        let (tail, blank_before) = (self.tail, core::mem::take(&mut self.blank_last));
        let entry = &mut self.blocks[block as usize];
        (entry.previous, entry.next, entry.blank_before) = (tail, NONE, blank_before);
        match tail {
            NONE => self.head = block,
            _ => self.blocks[tail as usize].next = block,
        }
        self.tail = block;
    }
}

/// The chain of contents: the highest bits of their key times 2^64 over the golden ratio, by which keys that follow one another spread (Knuth's
/// multiplicative hashing).
#[inline]
const fn chain_of(key: u64, shift: u32) -> usize {
    (key.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> shift) as usize
}
