//! Who may have the beginning of a request.

use alloc::vec::Vec;

use hashbrown::HashMap;
use rustc_hash::FxBuildHasher;

use super::{Arrival, Caches, Load};

/// Replicas remembered of a beginning.
const REPLICAS: usize = 16;

/// Which replicas are asked what of a request they have.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Candidates {
    /// Those that lately got a request that began alike, the last 16 at most, as far as so many beginnings are remembered. No other can have
    /// anything of it but what was forgotten.
    Recent {
        /// How many.
        beginnings: u32,
    },
    /// All of them: exact, and slow where there are many.
    All,
}

impl Default for Candidates {
    /// 65,536 beginnings.
    fn default() -> Self {
        Self::Recent { beginnings: 1 << 16 }
    }
}

/// Who got requests with some beginning.
#[derive(Clone, Copy, Debug)]
struct Beginning {
    key: u64,
    replicas: [u32; REPLICAS],
    count: u8,
    /// Whether it was asked for since the hand of the clock last passed.
    used: bool,
}

/// From the first block of requests to the replicas that lately got such requests. Of more beginnings than it may keep it forgets one that was not
/// asked for lately, by the clock algorithm (Corbató, "A paging experiment with the Multics system", 1968).
#[derive(Clone, Default, Debug)]
pub(super) struct CacheIndex {
    candidates: Candidates,
    places: HashMap<u64, u32, FxBuildHasher>,
    beginnings: Vec<Beginning>,
    hand: usize,
    /// Open replicas that have something of the request last asked about, by their number, and how many blocks.
    found: Vec<(usize, u32)>,
}

impl CacheIndex {
    pub(super) fn new(candidates: Candidates) -> Self {
        Self { candidates, ..Self::default() }
    }

    /// Open replicas that have something of a request, by their number, and how many blocks.
    pub(super) fn find(
        &mut self,
        arrival: &Arrival<'_>,
        loads: &[Load],
        caches: &dyn Caches,
    ) -> &[(usize, u32)] {
        self.found.clear();
        let Some(key) = arrival.block_keys.first() else { return &self.found };
        let mut ask = |replica: usize| {
            if loads.get(replica).is_some_and(|load| load.open) {
                let blocks = caches.cached_blocks(replica, arrival);
                if blocks > 0 {
                    self.found.push((replica, blocks));
                }
            }
        };
        if self.candidates == Candidates::All {
            (0..loads.len()).for_each(ask);
        } else if let Some(&place) = self.places.get(key) {
            let beginning = &mut self.beginnings[place as usize];
            beginning.used = true;
            for &replica in &beginning.replicas[..usize::from(beginning.count)] {
                ask(replica as usize);
            }
            self.found.sort_unstable();
        }
        &self.found
    }

    /// A replica gets a request.
    pub(super) fn sent(&mut self, arrival: &Arrival<'_>, replica: usize) {
        let (Candidates::Recent { beginnings }, Some(&key)) = (self.candidates, arrival.block_keys.first())
        else {
            return;
        };
        let replica = replica as u32;
        if let Some(&place) = self.places.get(&key) {
            let beginning = &mut self.beginnings[place as usize];
            beginning.used = true;
            let count = usize::from(beginning.count);
            let known = beginning.replicas[..count].iter().position(|&other| other == replica);
            // The latest first; of too many the one that got none for longest goes.
            let moved = known.unwrap_or(count.min(REPLICAS - 1));
            beginning.replicas.copy_within(..moved, 1);
            beginning.replicas[0] = replica;
            beginning.count = count.max(moved + 1) as u8;
            return;
        }
        let mut replicas = [0; REPLICAS];
        replicas[0] = replica;
        let beginning = Beginning { key, replicas, count: 1, used: false };
        if self.beginnings.len() < beginnings as usize {
            self.places.insert(key, self.beginnings.len() as u32);
            self.beginnings.push(beginning);
        } else if !self.beginnings.is_empty() {
            let place = self.give_up();
            self.places.insert(key, place as u32);
            self.beginnings[place] = beginning;
        }
    }

    /// Forgets a beginning; its place.
    fn give_up(&mut self) -> usize {
        loop {
            let place = self.hand;
            self.hand = (self.hand + 1) % self.beginnings.len();
            let beginning = &mut self.beginnings[place];
            if !core::mem::take(&mut beginning.used) {
                self.places.remove(&beginning.key);
                return place;
            }
        }
    }
}
