//! Heaps: the standard library's, implicit heaps of a higher arity, and one of bare keys.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

use foretell_sim::engine::Classed;

use crate::{Payload, PendingSet};

/// Time, then class and sequence in one word.
pub(crate) fn key(time: u64, class: u8, sequence: u64) -> u128 {
    u128::from(time) << 64 | u128::from(class) << 56 | u128::from(sequence)
}

pub(crate) fn time_of(key: u128) -> u64 {
    (key >> 64) as u64
}

/// Two words rather than one of 128 bits: an entry needs no padding.
#[derive(Clone, Copy)]
struct Entry {
    time: u64,
    rank: u64,
    payload: Payload,
}

impl Entry {
    fn new(time: u64, payload: Payload, sequence: &mut u64) -> Self {
        *sequence += 1;
        Self { time, rank: u64::from(payload.class()) << 56 | *sequence, payload }
    }

    fn key(&self) -> u128 {
        u128::from(self.time) << 64 | u128::from(self.rank)
    }
}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key().cmp(&other.key())
    }
}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for Entry {}

#[derive(Default)]
pub(crate) struct StdHeap {
    heap: BinaryHeap<Reverse<Entry>>,
    sequence: u64,
}

impl PendingSet for StdHeap {
    fn schedule(&mut self, time: u64, payload: Payload) {
        self.heap.push(Reverse(Entry::new(time, payload, &mut self.sequence)));
    }

    fn pop(&mut self) -> Option<(u64, Payload)> {
        self.heap.pop().map(|Reverse(entry)| (entry.time, entry.payload))
    }
}

/// Moves the last item of an implicit heap of arity `D` up to its place.
fn sift_up<const D: usize, T: Copy>(items: &mut [T], key: impl Fn(&T) -> u128) {
    let Some(mut hole) = items.len().checked_sub(1) else { return };
    let item = items[hole];
    while hole > 0 {
        let parent = (hole - 1) / D;
        if key(&items[parent]) <= key(&item) {
            break;
        }
        items[hole] = items[parent];
        hole = parent;
    }
    items[hole] = item;
}

/// Moves the first item of an implicit heap of arity `D` down to its place.
fn sift_down<const D: usize, T: Copy>(items: &mut [T], key: impl Fn(&T) -> u128) {
    let Some(&item) = items.first() else { return };
    let mut hole = 0;
    loop {
        let first = hole * D + 1;
        if first >= items.len() {
            break;
        }
        let children = &items[first..items.len().min(first + D)];
        let mut least = 0;
        let mut least_key = key(&children[0]);
        for (index, child) in children.iter().enumerate().skip(1) {
            let child_key = key(child);
            // Written so that it compiles to conditional moves.
            least = if child_key < least_key { index } else { least };
            least_key = least_key.min(child_key);
        }
        if key(&item) <= least_key {
            break;
        }
        items[hole] = items[first + least];
        hole = first + least;
    }
    items[hole] = item;
}

fn pop_first<const D: usize, T: Copy>(items: &mut Vec<T>, key: impl Fn(&T) -> u128) -> Option<T> {
    if items.is_empty() {
        return None;
    }
    let first = items.swap_remove(0);
    sift_down::<D, T>(items, key);
    Some(first)
}

#[derive(Default)]
pub(crate) struct DaryHeap<const D: usize> {
    entries: Vec<Entry>,
    sequence: u64,
}

impl<const D: usize> PendingSet for DaryHeap<D> {
    fn schedule(&mut self, time: u64, payload: Payload) {
        self.entries.push(Entry::new(time, payload, &mut self.sequence));
        sift_up::<D, _>(&mut self.entries, Entry::key);
    }

    fn pop(&mut self) -> Option<(u64, Payload)> {
        pop_first::<D, _>(&mut self.entries, Entry::key).map(|entry| (entry.time, entry.payload))
    }
}

const SLOT_BITS: u32 = 24;

/// A 4-ary heap of 16-byte keys: time, then class (4 bits), sequence (36 bits) and the payload's slot (24 bits).
#[derive(Default)]
pub(crate) struct PackedHeap {
    keys: Vec<u128>,
    payloads: Vec<Payload>,
    free: Vec<u32>,
    sequence: u64,
}

impl PendingSet for PackedHeap {
    fn schedule(&mut self, time: u64, payload: Payload) {
        let slot = if let Some(slot) = self.free.pop() {
            self.payloads[slot as usize] = payload;
            slot
        } else {
            self.payloads.push(payload);
            self.payloads.len() as u32 - 1
        };
        self.sequence += 1;
        let rank = u64::from(payload.class()) << 60 | self.sequence << SLOT_BITS | u64::from(slot);
        self.keys.push(u128::from(time) << 64 | u128::from(rank));
        sift_up::<4, _>(&mut self.keys, |&key| key);
    }

    fn pop(&mut self) -> Option<(u64, Payload)> {
        let key = pop_first::<4, _>(&mut self.keys, |&key| key)?;
        let slot = key as u32 & ((1 << SLOT_BITS) - 1);
        self.free.push(slot);
        Some((time_of(key), self.payloads[slot as usize]))
    }
}
