//! The pending set under the event queue: a hierarchical timing wheel whose current bucket is sorted.
//!
//! The wheel reads a time as eleven digits of six bits. An entry is filed under the highest digit in which its time
//! differs from the reference instant `last`, so the lowest occupied bucket of the lowest occupied level
//! always holds the earliest entries:
//!
//! ```text
//!  level 10  [ ][ ] ...            64 buckets of 2^60 ns       an entry moves down, one level or more at a
//!     ...                                                       time, and costs the same at any number pending
//!  level  1  [ ][x][ ][x] ...      64 buckets of 64 ns
//!  level  0  [ ][ ][x] ...         64 buckets of one instant
//!                │
//!                ▼  a bucket of one chunk is sorted; a fuller one is spread over the levels below
//!            ready (sorted)  +  late (heap of what came for the same range afterwards)  ──► pop
//! ```
//!
//! Buckets are lists of fixed-size chunks from one pool, so moving entries is sequential in memory, no bucket keeps
//! room that another could use, and the steady state allocates nothing. The wheel is that of Varghese and Lauck
//! (SOSP 1987); sorting only the current bucket is the idea of the ladder queue (Tang, Goh and Thng, TOMACS 2005).

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::mem;

/// Bits in a digit: 64 buckets a level, so one word says which are occupied.
const DIGIT_BITS: u32 = 6;
const BUCKETS: usize = 1 << DIGIT_BITS;
const LEVELS: usize = u64::BITS.div_ceil(DIGIT_BITS) as usize;

/// Entries in a chunk, and so the most that are sorted at once (but for a burst at one instant). Between 16 and 64 the
/// bench shows no clear difference; sorting some 200 at once is slower.
const CHUNK_LEN: usize = 32;

/// Late entries above which the range they cover is spread over the wheel after all.
const LATE_LEN_MAX: usize = 4 * CHUNK_LEN;

/// The end of a list of chunks.
const NIL: u32 = u32::MAX;

/// One pending event. `(time, rank)` is unique and gives the order.
#[derive(Clone, Debug)]
pub(super) struct Entry<E> {
    pub(super) time: u64,
    /// Class in the top byte, sequence number below.
    pub(super) rank: u64,
    pub(super) slot: u32,
    pub(super) event: E,
}

impl<E> Entry<E> {
    /// Both halves as one number: one comparison without a branch.
    fn key(&self) -> u128 {
        u128::from(self.time) << u64::BITS | u128::from(self.rank)
    }
}

/// The earliest entry is the greatest, for the standard max-heap.
impl<E> Ord for Entry<E> {
    fn cmp(&self, other: &Self) -> Ordering {
        other.key().cmp(&self.key())
    }
}

impl<E> PartialOrd for Entry<E> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<E> PartialEq for Entry<E> {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl<E> Eq for Entry<E> {}

#[derive(Debug)]
struct Chunk<E> {
    entries: Vec<Entry<E>>,
    next: u32,
}

/// Entries in order of `(time, rank)`, for use where no entry is ever older than the last one popped.
#[derive(Debug)]
pub(super) struct Wheel<E> {
    /// The current bucket, earliest entry at the end.
    ready: Vec<Entry<E>>,
    /// Entries not after `last` that arrived when `ready` was already sorted.
    late: BinaryHeap<Entry<E>>,
    /// First instant of the current bucket.
    first: u64,
    /// Last instant of the current bucket: later entries are in `buckets`, all others in `ready` and `late`.
    last: u64,
    /// Bit per level: some bucket is occupied.
    occupied_levels: u16,
    /// Bit per bucket of each level.
    occupied: [u64; LEVELS],
    /// Head of each bucket's list of chunks. Only the head may be less than full.
    buckets: [[u32; BUCKETS]; LEVELS],
    chunks: Vec<Chunk<E>>,
    /// Head of the list of unused chunks.
    unused: u32,
}

impl<E> Wheel<E> {
    pub(super) const fn new() -> Self {
        Self {
            ready: Vec::new(),
            late: BinaryHeap::new(),
            first: 0,
            last: 0,
            occupied_levels: 0,
            occupied: [0; LEVELS],
            buckets: [[NIL; BUCKETS]; LEVELS],
            chunks: Vec::new(),
            unused: NIL,
        }
    }

    pub(super) fn push(&mut self, entry: Entry<E>) {
        if entry.time > self.last {
            self.file(entry);
        } else {
            self.late.push(entry);
            if self.late.len() > LATE_LEN_MAX && self.first < self.last {
                self.spread_current();
            }
        }
    }

    /// Takes the earliest entry unless it is later than `limit`.
    pub(super) fn pop_through(&mut self, limit: u64) -> Option<Entry<E>> {
        if self.ready.is_empty() && self.late.is_empty() && !self.advance() {
            return None;
        }
        if let Some(late) = self.late.peek()
            && self.ready.last().is_none_or(|ready| late.key() < ready.key())
        {
            return if late.time <= limit { self.late.pop() } else { None };
        }
        self.ready.pop_if(|ready| ready.time <= limit)
    }

    /// Keeps the entries for which `keep` holds; the chunks of the others become free for any bucket.
    pub(super) fn retain(&mut self, keep: impl Fn(&Entry<E>) -> bool) {
        self.ready.retain(&keep);
        self.late.retain(&keep);
        for level in 0..LEVELS {
            let mut digits = self.occupied[level];
            while digits != 0 {
                let list = self.detach(level, digits.trailing_zeros() as usize);
                digits &= digits - 1;
                self.for_each(list, |wheel, entry| {
                    if keep(&entry) {
                        wheel.file(entry);
                    }
                });
            }
        }
    }

    /// Entries for which memory is held.
    #[cfg(test)]
    pub(super) fn entries_room(&self) -> usize {
        self.ready.capacity() + self.late.capacity() + self.chunks.len() * CHUNK_LEN
    }

    /// Puts an entry later than `last` into its bucket.
    fn file(&mut self, entry: Entry<E>) {
        let level = ((entry.time ^ self.last).ilog2() / DIGIT_BITS) as usize;
        let digit = (entry.time >> (level as u32 * DIGIT_BITS)) as usize % BUCKETS;
        let head = self.buckets[level][digit];
        if let Some(chunk) = self.chunks.get_mut(head as usize)
            && chunk.entries.len() < CHUNK_LEN
        {
            chunk.entries.push(entry);
            return;
        }
        let chunk = self.acquire(head);
        self.chunks[chunk as usize].entries.push(entry);
        self.buckets[level][digit] = chunk;
        self.occupied[level] |= 1 << digit;
        self.occupied_levels |= 1 << level;
    }

    /// Makes the earliest bucket the current one; false if there is none.
    fn advance(&mut self) -> bool {
        while self.ready.is_empty() && self.late.is_empty() {
            if self.occupied_levels == 0 {
                return false;
            }
            let level = self.occupied_levels.trailing_zeros() as usize;
            let digit = self.occupied[level].trailing_zeros() as usize;
            let shift = level as u32 * DIGIT_BITS;
            let below = (1 << shift) - 1;
            self.first = self.last & !below & !((BUCKETS as u64 - 1) << shift) | (digit as u64) << shift;
            let list = self.detach(level, digit);
            if level == 0 || self.chunks[list as usize].next == NIL {
                self.last = self.first | below;
                self.sort_into_ready(list);
            } else {
                self.last = self.first;
                self.for_each(list, Self::push);
            }
        }
        true
    }

    fn sort_into_ready(&mut self, mut list: u32) {
        while list != NIL {
            let chunk = &mut self.chunks[list as usize];
            self.ready.append(&mut chunk.entries);
            list = self.release(list);
        }
        self.ready.sort_unstable();
    }

    /// Shrinks the current bucket to one instant and files the rest again: a sparse bucket was made current and then
    /// drew many entries. Never twice without a new current bucket, so the cost is shared by those entries.
    fn spread_current(&mut self) {
        let earliest = self.ready.last().into_iter().chain(self.late.peek()).map(|entry| entry.time).min();
        self.first = earliest.map_or(self.first, |time| time.max(self.first));
        self.last = self.first;
        let mut current = mem::take(&mut self.ready);
        current.extend(self.late.drain());
        current.drain(..).for_each(|entry| self.push(entry));
        self.ready = current;
    }

    /// Empties a list of chunks into `each`, returning every chunk to the pool as soon as it is empty.
    fn for_each(&mut self, mut list: u32, mut each: impl FnMut(&mut Self, Entry<E>)) {
        while list != NIL {
            let mut entries = mem::take(&mut self.chunks[list as usize].entries);
            entries.drain(..).for_each(|entry| each(self, entry));
            self.chunks[list as usize].entries = entries;
            list = self.release(list);
        }
    }

    /// Empties a bucket and returns its list of chunks.
    fn detach(&mut self, level: usize, digit: usize) -> u32 {
        self.occupied[level] &= !(1 << digit);
        if self.occupied[level] == 0 {
            self.occupied_levels &= !(1 << level);
        }
        mem::replace(&mut self.buckets[level][digit], NIL)
    }

    /// An empty chunk in front of `next`.
    fn acquire(&mut self, next: u32) -> u32 {
        let chunk = self.unused;
        if let Some(reused) = self.chunks.get_mut(chunk as usize) {
            self.unused = mem::replace(&mut reused.next, next);
            return chunk;
        }
        let index = u32::try_from(self.chunks.len()).ok().filter(|&index| index != NIL);
        self.chunks.push(Chunk { entries: Vec::with_capacity(CHUNK_LEN), next });
        index.expect("a pool of 2^32 chunks is beyond any memory")
    }

    /// Returns an empty chunk to the pool; the result is the one that followed it.
    fn release(&mut self, chunk: u32) -> u32 {
        let next = mem::replace(&mut self.chunks[chunk as usize].next, self.unused);
        self.unused = chunk;
        next
    }
}
