//! Blocks that sequences with the same beginning share.

use alloc::vec::Vec;

use hashbrown::HashMap;
use rustc_hash::FxBuildHasher;

use crate::sequence::Slot;
use crate::tiers::{Tier, Tiers};

/// No block.
const NONE: u32 = u32::MAX;

/// A block of the cache.
#[derive(Clone, Copy, Debug)]
struct Block {
    /// Sequences that hold it.
    holders: u32,
    /// What it contains, where anybody may find it.
    key: Option<u64>,
    /// The next block with the same contents.
    twin: u32,
    /// Its neighbours in the queue of blocks that nobody holds.
    previous: u32,
    next: u32,
}

/// Blocks by what they contain, after vLLM V1's block pool: counted by holders; a block that nobody holds keeps its contents and waits in a
/// queue, from whose head blocks are taken when some are needed (least recently used first); the blocks of a sequence enter it last block
/// first, so that beginnings, which others are likelier to share, live longest.
#[derive(Clone, Debug)]
pub struct PrefixCache {
    blocks: Vec<Block>,
    /// The first block with some contents. Never iterated over.
    by_key: HashMap<u64, u32, FxBuildHasher>,
    head: u32,
    tail: u32,
    /// Of each sequence: its blocks, its keys, and how many of its blocks can be found by others.
    held: Vec<Held>,
    evicted_blocks: u64,
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
        let blocks: Vec<Block> = (0..total_blocks)
            .map(|block| Block {
                holders: 0,
                key: None,
                twin: NONE,
                previous: block.checked_sub(1).unwrap_or(NONE),
                next: if block + 1 < total_blocks { block + 1 } else { NONE },
            })
            .collect();
        let (head, tail) = if total_blocks == 0 { (NONE, NONE) } else { (0, total_blocks - 1) };
        Self {
            blocks,
            by_key: HashMap::default(),
            head,
            tail,
            held: Vec::new(),
            evicted_blocks: 0,
            tiers: Tiers::default(),
        }
    }

    /// Blocks whose contents were given up for others.
    pub const fn evicted_blocks(&self) -> u64 {
        self.evicted_blocks
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
        self.blocks[block as usize].holders
    }

    /// Blocks that nobody holds, in the order in which they will be taken.
    pub fn vacant(&self) -> impl Iterator<Item = u32> + '_ {
        core::iter::successors((self.head != NONE).then_some(self.head), |&block| {
            let next = self.blocks[block as usize].next;
            (next != NONE).then_some(next)
        })
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
            let Some(&block) = self.by_key.get(key) else { break };
            hit.blocks += 1;
            hit.vacant_blocks += u32::from(self.blocks[block as usize].holders == 0);
        }
        if !self.tiers().is_empty() {
            let further = held.keys.iter().take(most_blocks as usize).skip(hit.blocks as usize);
            hit.lower_blocks = further.take_while(|&&key| self.tiers.contain(key)).count() as u32;
        }
        hit
    }

    /// Reads blocks of a sequence from the tiers below.
    pub(crate) fn fetch(&mut self, slot: Slot, first: u32, count: u32) -> Vec<u32> {
        let Some(held) = self.held.get(slot.index()) else { return Vec::new() };
        self.tiers.read(held.keys.get(first as usize..(first + count) as usize).unwrap_or_default())
    }

    /// Gives a sequence the first `count` blocks of what is cached of it.
    pub(crate) fn claim(&mut self, slot: Slot, count: u32) {
        for at in 0..count as usize {
            let key = self.held[slot.index()].keys[at];
            let block = self.by_key[&key];
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
        for _ in 0..count {
            let block = self.head;
            self.unlink(block);
            self.forget(block);
            self.blocks[block as usize].holders = 1;
            self.held_mut(slot).blocks.push(block);
        }
    }

    /// Lets others find the first `full` blocks of a sequence.
    pub(crate) fn publish(&mut self, slot: Slot, full: u32) {
        let Some(held) = self.held.get(slot.index()) else { return };
        let until = held.keys.len().min(full as usize).min(held.blocks.len());
        for at in held.published..until {
            let held = &self.held[slot.index()];
            let (block, key) = (held.blocks[at], held.keys[at]);
            self.blocks[block as usize].key = Some(key);
            self.blocks[block as usize].twin = NONE;
            match self.by_key.get(&key) {
                None => {
                    self.by_key.insert(key, block);
                }
                Some(&first) => {
                    // Computed a second time: the last block of a prompt that is cached as a whole, of which a token must be left.
                    let mut last = first;
                    while self.blocks[last as usize].twin != NONE {
                        last = self.blocks[last as usize].twin;
                    }
                    self.blocks[last as usize].twin = block;
                }
            }
        }
        let held = self.held_mut(slot);
        held.published = held.published.max(until);
    }

    /// Takes back the blocks of a sequence; how many of them nobody holds now.
    pub(crate) fn release(&mut self, slot: Slot) -> u32 {
        let mut vacant = 0;
        while let Some(block) = self.held_mut(slot).blocks.pop() {
            let entry = &mut self.blocks[block as usize];
            entry.holders -= 1;
            if entry.holders == 0 {
                vacant += 1;
                self.append(block);
            }
        }
        self.held_mut(slot).published = 0;
        vacant
    }

    fn held_mut(&mut self, slot: Slot) -> &mut Held {
        if self.held.len() <= slot.index() {
            self.held.resize_with(slot.index() + 1, Held::default);
        }
        &mut self.held[slot.index()]
    }

    /// Makes a block one without contents.
    fn forget(&mut self, block: u32) {
        let Some(key) = self.blocks[block as usize].key.take() else { return };
        self.evicted_blocks += 1;
        let twin = core::mem::replace(&mut self.blocks[block as usize].twin, NONE);
        let first = self.by_key[&key];
        if first == block {
            if twin == NONE {
                self.by_key.remove(&key);
                self.tiers.store(key);
            } else {
                self.by_key.insert(key, twin);
            }
        } else {
            let mut before = first;
            while self.blocks[before as usize].twin != block {
                before = self.blocks[before as usize].twin;
            }
            self.blocks[before as usize].twin = twin;
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

    fn append(&mut self, block: u32) {
        self.blocks[block as usize].previous = self.tail;
        self.blocks[block as usize].next = NONE;
        match self.tail {
            NONE => self.head = block,
            tail => self.blocks[tail as usize].next = block,
        }
        self.tail = block;
    }
}
