//! Which nodes, or jobs, changed since one last looked: a list of them in order of their latest change.
//!
//! The list is intrusive (two indices per entry), so memory does not grow with the number of changes and what
//! changed many times is seen once. An observer remembers the stamp of its last look and walks from the newest
//! change until it meets a stamp that it has seen.

use alloc::vec::Vec;

/// A point in the sequence of changes. It only grows, through rollbacks too: two states with the same stamp of a
/// node (or job) have the same one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Stamp(u64);

impl Stamp {
    /// Before every change.
    pub const ZERO: Self = Self(0);
}

const NONE: u32 = u32::MAX;

#[derive(Clone, Debug)]
struct Entry {
    stamp: Stamp,
    newer: u32,
    older: u32,
}

#[derive(Clone, Debug)]
pub(crate) struct RecencyList {
    entries: Vec<Entry>,
    newest: u32,
    now: Stamp,
}

impl RecencyList {
    pub(crate) const fn new() -> Self {
        Self { entries: Vec::new(), newest: NONE, now: Stamp(0) }
    }

    /// Number of entries.
    pub(crate) const fn len(&self) -> usize {
        self.entries.len()
    }

    /// Appends an entry, which counts as changed.
    pub(crate) fn push(&mut self) {
        let position = self.entries.len() as u32;
        self.entries.push(Entry { stamp: Stamp(0), newer: NONE, older: NONE });
        self.link_newest(position);
    }

    /// Notes a change of the entry.
    pub(crate) fn touch(&mut self, position: usize) {
        if self.newest == position as u32 {
            self.now.0 += 1;
            self.entries[position].stamp = self.now;
            return;
        }
        let Entry { newer, older, .. } = self.entries[position];
        self.entries[newer as usize].older = older;
        if older != NONE {
            self.entries[older as usize].newer = newer;
        }
        self.link_newest(position as u32);
    }

    fn link_newest(&mut self, position: u32) {
        self.now.0 += 1;
        if self.newest != NONE {
            self.entries[self.newest as usize].newer = position;
        }
        self.entries[position as usize] = Entry { stamp: self.now, newer: NONE, older: self.newest };
        self.newest = position;
    }

    pub(crate) const fn now(&self) -> Stamp {
        self.now
    }

    pub(crate) fn stamp(&self, position: usize) -> Stamp {
        self.entries[position].stamp
    }

    /// Entries that changed after `seen`, latest first.
    pub(crate) fn since(&self, seen: Stamp) -> impl Iterator<Item = usize> {
        let mut next = self.newest;
        core::iter::from_fn(move || {
            let position = next as usize;
            let entry = self.entries.get(position).filter(|entry| entry.stamp > seen)?;
            next = entry.older;
            Some(position)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// The list tells the same as a full comparison of stamps, in order of the latest change.
        #[test]
        fn since_equals_a_scan(nodes in 1_usize..12, touches in prop::collection::vec((0_usize..12, any::<bool>()), 0..60)) {
            let mut list = RecencyList::new();
            (0..nodes).for_each(|_| list.push());
            let mut seen = list.now();
            for (node, look) in touches {
                list.touch(node % nodes);
                let mut expected: Vec<_> =
                    (0..nodes).filter(|&node| list.stamp(node) > seen).collect();
                expected.sort_by_key(|&node| core::cmp::Reverse(list.stamp(node)));
                prop_assert_eq!(list.since(seen).collect::<Vec<_>>(), expected);
                prop_assert_eq!(list.since(Stamp(0)).count(), nodes);
                if look {
                    seen = list.now();
                }
            }
        }
    }
}
