//! Which nodes changed since one last looked: a list of nodes in order of their latest change.
//!
//! The list is intrusive (two indices per node), so memory does not grow with the number of changes and a node that
//! changed many times is seen once. An observer remembers the stamp of its last look and walks from the newest
//! change until it meets a stamp that it has seen.

use alloc::vec::Vec;

use crate::id::NodeId;

/// A point in the sequence of changes. It only grows, through rollbacks too: two states with the same stamp of a
/// node have the same node.
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

    /// Appends a node, which counts as changed.
    pub(crate) fn push(&mut self) {
        let node = self.entries.len() as u32;
        self.entries.push(Entry { stamp: Stamp(0), newer: NONE, older: NONE });
        self.link_newest(node);
    }

    /// Notes a change of the node.
    pub(crate) fn touch(&mut self, node: NodeId) {
        let node = node.index() as u32;
        if self.newest == node {
            self.now.0 += 1;
            self.entries[node as usize].stamp = self.now;
            return;
        }
        let Entry { newer, older, .. } = self.entries[node as usize];
        self.entries[newer as usize].older = older;
        if older != NONE {
            self.entries[older as usize].newer = newer;
        }
        self.link_newest(node);
    }

    fn link_newest(&mut self, node: u32) {
        self.now.0 += 1;
        if self.newest != NONE {
            self.entries[self.newest as usize].newer = node;
        }
        self.entries[node as usize] = Entry { stamp: self.now, newer: NONE, older: self.newest };
        self.newest = node;
    }

    pub(crate) const fn now(&self) -> Stamp {
        self.now
    }

    pub(crate) fn stamp(&self, node: NodeId) -> Stamp {
        self.entries[node.index()].stamp
    }

    /// Nodes that changed after `seen`, latest first.
    pub(crate) fn since(&self, seen: Stamp) -> impl Iterator<Item = NodeId> {
        let mut next = self.newest;
        core::iter::from_fn(move || {
            let entry = self.entries.get(next as usize).filter(|entry| entry.stamp > seen)?;
            let node = NodeId::new(next as usize);
            next = entry.older;
            Some(node)
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
                list.touch(NodeId::new(node % nodes));
                let mut expected: Vec<_> =
                    (0..nodes).map(NodeId::new).filter(|&node| list.stamp(node) > seen).collect();
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
