//! Who may have the beginning of a request.

use alloc::vec::Vec;

use hashbrown::HashMap;
use rustc_hash::FxBuildHasher;

use super::{Arrival, Caches, Load};

/// Replicas remembered of a beginning, and prompts remembered for each beginning.
const REPLICAS: usize = 16;

/// Which replicas are asked what of a request they have.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Candidates {
    /// The one that got the longest prompt with which this one begins, as far as 16 times as many prompts are remembered; and those that lately got a
    /// request with the same first block, the last 16 at most, as far as so many beginnings are. No other can have anything of it but what was
    /// forgotten.
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

/// What is known of some keys. Of more than it may keep it forgets one that was not asked for lately, by the clock algorithm (Corbató, "A paging
/// experiment with the Multics system", 1968).
#[derive(Clone, Debug)]
struct Remembered<T> {
    most: usize,
    places: HashMap<u64, u32, FxBuildHasher>,
    /// Key, what is known, and whether it was asked for since the hand of the clock last passed.
    entries: Vec<(u64, T, bool)>,
    hand: usize,
}

impl<T> Remembered<T> {
    fn new(most: usize) -> Self {
        Self { most, places: HashMap::default(), entries: Vec::new(), hand: 0 }
    }

    fn get(&mut self, key: u64) -> Option<&mut T> {
        let entry = &mut self.entries[*self.places.get(&key)? as usize];
        entry.2 = true;
        Some(&mut entry.1)
    }

    /// Remembers what is known of a key of which nothing is.
    fn insert(&mut self, key: u64, value: T) {
        if self.entries.len() < self.most {
            self.places.insert(key, self.entries.len() as u32);
            self.entries.push((key, value, false));
        } else if !self.entries.is_empty() {
            let place = self.give_up();
            self.places.insert(key, place as u32);
            self.entries[place] = (key, value, false);
        }
    }

    /// Forgets one; its place.
    fn give_up(&mut self) -> usize {
        loop {
            let place = self.hand;
            self.hand = (self.hand + 1) % self.entries.len();
            let entry = &mut self.entries[place];
            if !core::mem::take(&mut entry.2) {
                self.places.remove(&entry.0);
                return place;
            }
        }
    }
}

/// Who got requests with some beginning, the latest first.
#[derive(Clone, Copy, Debug)]
struct Latest {
    replicas: [u32; REPLICAS],
    count: u8,
}

/// Who may have something of a request, from what was sent to whom.
#[derive(Clone, Debug)]
pub(super) struct CacheIndex {
    candidates: Candidates,
    /// By the first block of requests.
    beginnings: Remembered<Latest>,
    /// Who got the latest request that ended with a block, by that block: the next turn of a conversation has it in its midst, where the first block
    /// may be that of thousands.
    prompts: Remembered<u32>,
    /// Open replicas that have something of the request last asked about, by their number, and how many blocks.
    found: Vec<(usize, u32)>,
}

impl CacheIndex {
    pub(super) fn new(candidates: Candidates) -> Self {
        let beginnings = match candidates {
            Candidates::Recent { beginnings } => beginnings as usize,
            Candidates::All => 0,
        };
        Self {
            candidates,
            beginnings: Remembered::new(beginnings),
            prompts: Remembered::new(REPLICAS * beginnings),
            found: Vec::new(),
        }
    }

    /// Open replicas that have something of a request, by their number, and how many blocks.
    pub(super) fn find(
        &mut self,
        arrival: &Arrival<'_>,
        loads: &[Load],
        caches: &dyn Caches,
    ) -> &[(usize, u32)] {
        self.found.clear();
        let Some((first, further)) = arrival.block_keys.split_first() else { return &self.found };
        let found = &mut self.found;
        let mut ask = |replica: usize| {
            let is_open = loads.get(replica).is_some_and(|load| load.open);
            let blocks = if is_open { caches.cached_blocks(replica, arrival) } else { 0 };
            if blocks > 0 && found.iter().all(|&(known, _)| known != replica) {
                found.push((replica, blocks));
            }
            blocks > 0
        };
        if self.candidates == Candidates::All {
            for replica in 0..loads.len() {
                ask(replica);
            }
            return &self.found;
        }
        for &key in further.iter().rev() {
            if self.prompts.get(key).is_some_and(|&mut replica| ask(replica as usize)) {
                break;
            }
        }
        if let Some(latest) = self.beginnings.get(*first) {
            for &replica in &latest.replicas[..usize::from(latest.count)] {
                ask(replica as usize);
            }
        }
        self.found.sort_unstable();
        &self.found
    }

    /// A replica gets a request.
    pub(super) fn sent(&mut self, arrival: &Arrival<'_>, replica: usize) {
        let Some((&first, further)) = arrival.block_keys.split_first() else { return };
        if self.candidates == Candidates::All {
            return;
        }
        let replica = replica as u32;
        if let Some(&last) = further.last() {
            match self.prompts.get(last) {
                Some(known) => *known = replica,
                None => self.prompts.insert(last, replica),
            }
        }
        let Some(latest) = self.beginnings.get(first) else {
            let mut replicas = [0; REPLICAS];
            replicas[0] = replica;
            self.beginnings.insert(first, Latest { replicas, count: 1 });
            return;
        };
        let count = usize::from(latest.count);
        let known = latest.replicas[..count].iter().position(|&other| other == replica);
        // Of too many the one that got none for longest goes.
        let moved = known.unwrap_or(count.min(REPLICAS - 1));
        latest.replicas.copy_within(..moved, 1);
        latest.replicas[0] = replica;
        latest.count = count.max(moved + 1) as u8;
    }
}
