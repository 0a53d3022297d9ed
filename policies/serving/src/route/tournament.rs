//! The least of many keys that change one by one.

use alloc::vec::Vec;

/// What nobody's key is.
const ABSENT: u64 = u64::MAX;

/// The least key below, and how many have it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Node {
    key: u64,
    count: u32,
}

const EMPTY: Node = Node { key: ABSENT, count: 0 };

/// A tournament tree: replicas are its leaves, each node has the least key of the two below it and how many have it. Changing a key takes a way
/// to the root; the least key is at hand, and those who have it are found in their order by one way down.
#[derive(Clone, Default, Debug)]
pub struct Tournament {
    /// The root at 1, the nodes below `node` at twice that and one more, the leaves in the second half.
    nodes: Vec<Node>,
}

impl Tournament {
    fn leaves(&self) -> usize {
        self.nodes.len() / 2
    }

    /// Sets somebody's key, or takes them out. The largest `u64` counts as no key.
    #[inline]
    pub fn set(&mut self, index: usize, key: Option<u64>) {
        let key = key.unwrap_or(ABSENT);
        if index >= self.leaves() {
            if key == ABSENT {
                return;
            }
            self.grow(index + 1);
        }
        let mut at = self.leaves() + index;
        self.nodes[at] = Node { key, count: u32::from(key != ABSENT) };
        while at > 1 {
            at /= 2;
            let node = better(self.nodes[2 * at], self.nodes[2 * at + 1]);
            if self.nodes[at] == node {
                break;
            }
            self.nodes[at] = node;
        }
    }

    fn grow(&mut self, least: usize) {
        let leaves = least.next_power_of_two();
        let mut nodes = alloc::vec![EMPTY; 2 * leaves];
        let old = self.leaves();
        nodes[leaves..leaves + old].copy_from_slice(&self.nodes[old..]);
        for at in (1..leaves).rev() {
            nodes[at] = better(nodes[2 * at], nodes[2 * at + 1]);
        }
        self.nodes = nodes;
    }

    /// Somebody's key.
    pub fn key(&self, index: usize) -> Option<u64> {
        let leaf = self.nodes.get(self.leaves() + index)?;
        (leaf.count > 0).then_some(leaf.key)
    }

    /// The least key and how many have it.
    #[inline]
    pub fn least(&self) -> Option<(u64, u32)> {
        self.nodes.get(1).filter(|node| node.count > 0).map(|node| (node.key, node.count))
    }

    /// Of those who have the least key, in their order, the one with `nth` before it.
    #[inline]
    pub fn nth(&self, mut nth: u32) -> Option<usize> {
        let root = self.nodes.get(1).filter(|node| nth < node.count)?;
        let mut at = 1;
        while at < self.leaves() {
            let left = self.nodes[2 * at];
            let count = if left.key == root.key { left.count } else { 0 };
            at *= 2;
            if nth >= count {
                nth -= count;
                at += 1;
            }
        }
        Some(at - self.leaves())
    }

    /// How many of those who have the least key are before `index`.
    pub fn before(&self, index: usize) -> u32 {
        let Some((key, count)) = self.least() else { return 0 };
        if index >= self.leaves() {
            return count;
        }
        let mut at = self.leaves() + index;
        let mut before = 0;
        while at > 1 {
            let left = self.nodes[at & !1];
            if at & 1 == 1 && left.key == key {
                before += left.count;
            }
            at /= 2;
        }
        before
    }
}

/// Without branches: which of the two is less cannot be foreseen.
#[inline]
fn better(left: Node, right: Node) -> Node {
    let key = left.key.min(right.key);
    let of = |node: Node| u32::from(node.key == key) * node.count;
    Node { key, count: of(left) + of(right) }
}
