//! When something ends at which replica.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Beyond so many entries that hold no more for each that does, the heap is built anew.
const STALE: usize = 4;

/// When, and at which replica, as one number: that is compared in one step.
type Entry = Reverse<u128>;

const fn entry(end_ns: u64, replica: u32) -> Entry {
    Reverse((end_ns as u128) << u32::BITS | replica as u128)
}

const fn replica_of(entry: Entry) -> u32 {
    entry.0 as u32
}

/// When something ends at each replica: a heap, in which what was put off or brought forward stays until it comes to its head.
#[derive(Default, Debug)]
pub(super) struct Calendar {
    heap: BinaryHeap<Entry>,
    /// By replica, what holds.
    ends_ns: Vec<Option<u64>>,
}

impl Calendar {
    /// Sets when something next ends at a replica.
    #[inline]
    pub(super) fn set(&mut self, replica: usize, end_ns: Option<u64>) {
        if self.ends_ns.len() <= replica {
            self.ends_ns.resize(replica + 1, None);
        }
        if std::mem::replace(&mut self.ends_ns[replica], end_ns) == end_ns {
            return;
        }
        let Some(end_ns) = end_ns else { return };
        let new = entry(end_ns, replica as u32);
        // Whoever is looked at is mostly whoever was next.
        let is_next = self.heap.peek().is_some_and(|&head| replica_of(head) == replica as u32);
        if is_next && let Some(mut head) = self.heap.peek_mut() {
            *head = new;
            return;
        }
        self.heap.push(new);
        if self.heap.len() > STALE * self.ends_ns.len() {
            let ends = self.ends_ns.iter().zip(0..);
            self.heap = ends.filter_map(|(end_ns, replica)| Some(entry((*end_ns)?, replica))).collect();
        }
    }

    /// When something next ends, and at which replica: at the first of several.
    #[inline]
    pub(super) fn next(&mut self) -> Option<(u64, usize)> {
        loop {
            let head = *self.heap.peek()?;
            let (end_ns, replica) = ((head.0 >> u32::BITS) as u64, replica_of(head) as usize);
            if self.ends_ns[replica] == Some(end_ns) {
                return Some((end_ns, replica));
            }
            self.heap.pop();
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_finds_what_a_look_at_all_finds(
            changes in prop::collection::vec((0_usize..9, prop::option::of(0_u64..20)), 1..300),
        ) {
            let mut calendar = Calendar::default();
            let mut ends: Vec<Option<u64>> = vec![None; 9];
            for (replica, end_ns) in changes {
                calendar.set(replica, end_ns);
                ends[replica] = end_ns;
                let expected = ends.iter().zip(0..).filter_map(|(end_ns, replica)| Some(((*end_ns)?, replica))).min();
                prop_assert_eq!(calendar.next(), expected);
                prop_assert!(calendar.heap.len() <= STALE * 9 + 1);
            }
        }
    }
}
