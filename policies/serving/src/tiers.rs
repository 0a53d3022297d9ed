//! Memory below the GPU's, to which contents of blocks go when their blocks are needed.

use alloc::vec::Vec;

use hashbrown::HashMap;
use rustc_hash::FxBuildHasher;

use crate::sequence::Slot;

/// No place.
const NONE: u32 = u32::MAX;

#[derive(Clone, Copy, Debug)]
struct Place {
    key: u64,
    /// Its neighbours, from the least to the most recently used.
    previous: u32,
    next: u32,
}

/// Memory of a host, or one further away: contents of blocks, of which the least recently used are given up first. Whoever reads contents leaves them there.
#[derive(Clone, Debug)]
pub struct Tier {
    capacity_blocks: u32,
    places: Vec<Place>,
    /// Never iterated over.
    by_key: HashMap<u64, u32, FxBuildHasher>,
    oldest: u32,
    newest: u32,
    hit_blocks: u64,
    stored_blocks: u64,
}

impl Tier {
    /// An empty one of so many blocks.
    pub fn new(capacity_blocks: u32) -> Self {
        Self {
            capacity_blocks,
            places: Vec::new(),
            by_key: HashMap::default(),
            oldest: NONE,
            newest: NONE,
            hit_blocks: 0,
            stored_blocks: 0,
        }
    }

    /// Blocks that it holds at most.
    pub const fn capacity_blocks(&self) -> u32 {
        self.capacity_blocks
    }

    /// Blocks that it holds.
    pub const fn used_blocks(&self) -> u32 {
        self.places.len() as u32
    }

    /// Blocks that were read from it.
    pub const fn hit_blocks(&self) -> u64 {
        self.hit_blocks
    }

    /// Blocks that were written to it.
    pub const fn stored_blocks(&self) -> u64 {
        self.stored_blocks
    }

    /// What it holds, the least recently used first.
    pub fn contents(&self) -> impl Iterator<Item = u64> + '_ {
        let at = |place: u32| self.places.get(place as usize).map(|found| (found.key, found.next));
        core::iter::successors(at(self.oldest), move |&(_, next)| at(next)).map(|(key, _)| key)
    }

    fn unlink(&mut self, place: u32) {
        let Place { previous, next, .. } = self.places[place as usize];
        match previous {
            NONE => self.oldest = next,
            _ => self.places[previous as usize].next = next,
        }
        match next {
            NONE => self.newest = previous,
            _ => self.places[next as usize].previous = previous,
        }
    }

    fn append(&mut self, place: u32) {
        self.places[place as usize].previous = self.newest;
        self.places[place as usize].next = NONE;
        match self.newest {
            NONE => self.oldest = place,
            newest => self.places[newest as usize].next = place,
        }
        self.newest = place;
    }

    /// Makes what it holds the most recently used; whether it holds it.
    pub fn touch(&mut self, key: u64) -> bool {
        let Some(&place) = self.by_key.get(&key) else { return false };
        self.unlink(place);
        self.append(place);
        true
    }

    /// Whether it holds contents.
    pub fn contains(&self, key: u64) -> bool {
        self.by_key.contains_key(&key)
    }

    /// Takes contents in; what had to go for them.
    pub fn store(&mut self, key: u64) -> Option<u64> {
        if self.touch(key) {
            return None;
        }
        if self.capacity_blocks == 0 {
            return Some(key);
        }
        self.stored_blocks += 1;
        let mut given_up = None;
        let place = if self.used_blocks() < self.capacity_blocks {
            self.places.push(Place { key, previous: NONE, next: NONE });
            self.used_blocks() - 1
        } else {
            let place = self.oldest;
            self.unlink(place);
            let before = core::mem::replace(&mut self.places[place as usize].key, key);
            self.by_key.remove(&before);
            given_up = Some(before);
            place
        };
        self.by_key.insert(key, place);
        self.append(place);
        given_up
    }
}

/// Tiers, the nearest first. What one gives up goes to the next, and is lost after the last.
#[derive(Clone, Default, Debug)]
pub(crate) struct Tiers(Vec<Tier>);

impl Tiers {
    pub(crate) fn new(capacities_blocks: &[u32]) -> Self {
        Self(capacities_blocks.iter().map(|&capacity| Tier::new(capacity)).collect())
    }

    pub(crate) fn as_slice(&self) -> &[Tier] {
        &self.0
    }

    /// Takes in what the GPU gives up.
    pub(crate) fn store(&mut self, key: u64) {
        let mut given_up = key;
        for tier in &mut self.0 {
            let Some(further) = tier.store(given_up) else { return };
            given_up = further;
        }
    }

    /// Whether any holds it.
    pub(crate) fn contain(&self, key: u64) -> bool {
        self.0.iter().any(|tier| tier.contains(key))
    }

    /// Reads contents, the last first, so that beginnings live longest: how many blocks each tier gave.
    pub(crate) fn read(&mut self, keys: &[u64]) -> Vec<u32> {
        let mut blocks = alloc::vec![0; self.0.len()];
        for &key in keys.iter().rev() {
            for (tier, blocks) in self.0.iter_mut().zip(&mut blocks) {
                if tier.touch(key) {
                    tier.hit_blocks += 1;
                    *blocks += 1;
                    break;
                }
            }
        }
        blocks
    }
}

/// Contents on their way from tiers or another replica to the blocks of a sequence, which waits for them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fetch {
    /// The sequence. It stays among those that wait, marked `in_flight`.
    pub slot: Slot,
    /// Blocks from each tier.
    pub blocks: Vec<u32>,
    /// Blocks from another replica, where contents come from one.
    pub handed_blocks: Option<u32>,
    /// Tokens that are computed once they are there.
    pub computed_tokens: u32,
}
