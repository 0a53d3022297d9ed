//! The least of many keys that change one by one.

use alloc::vec::Vec;

/// What nobody's key is.
const ABSENT: u64 = u64::MAX;

/// Nodes below a node: few levels, and what is looked through when the best of a node goes is short. A power of two.
const WAYS: usize = 16;

/// The least key below, how many have it, and which of the nodes below have it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Node {
    key: u64,
    count: u32,
    best: u16,
}

const EMPTY: Node = Node { key: ABSENT, count: 0, best: 0 };

/// A tournament tree: replicas are its leaves, each node has the least key of those below it and how many have it. Changing a key takes a way
/// to the root, or as far as something changes; the least key is at hand, and those who have it are found in their order by one way down.
#[derive(Clone, Default, Debug)]
pub struct Tournament {
    /// The root, then level by level; those below `node` begin at `node * WAYS + 1`. The leaves, as many as are needed, come last.
    nodes: Vec<Node>,
    first_leaf: usize,
}

impl Tournament {
    /// Sets somebody's key, or takes them out. The largest `u64` counts as no key.
    #[inline]
    pub fn set(&mut self, index: usize, key: Option<u64>) {
        let key = key.unwrap_or(ABSENT);
        if self.first_leaf + index >= self.nodes.len() {
            if key == ABSENT {
                return;
            }
            self.grow(index + 1);
        }
        let count = u32::from(key != ABSENT);
        self.change(self.first_leaf + index, Node { key, count, best: 0 });
    }

    fn change(&mut self, mut at: usize, mut new: Node) {
        loop {
            let old = core::mem::replace(&mut self.nodes[at], new);
            if at == 0 || (old.key, old.count) == (new.key, new.count) {
                return;
            }
            let (above, bit) = ((at - 1) / WAYS, 1 << ((at - 1) % WAYS));
            let mut node = self.nodes[above];
            let had = if old.key == node.key { old.count } else { 0 };
            if new.key < node.key {
                node = Node { key: new.key, count: new.count, best: bit };
            } else if new.key == node.key {
                node.count = node.count + new.count - had;
                node.best |= bit;
            } else if had == 0 {
                return;
            } else if node.best == bit {
                node = self.best_below(above);
            } else {
                node.count -= had;
                node.best &= !bit;
            }
            (at, new) = (above, node);
        }
    }

    fn below(&self, node: usize) -> &[Node] {
        self.nodes.get(node * WAYS + 1..(node + 1) * WAYS + 1).unwrap_or_default()
    }

    /// What a node is by those below it.
    fn best_below(&self, node: usize) -> Node {
        let below = self.below(node);
        let key = below.iter().fold(ABSENT, |least, one| least.min(one.key));
        let mut found = Node { key, ..EMPTY };
        for (place, one) in below.iter().enumerate() {
            // Without branches: who is best cannot be foreseen.
            let is_best = one.key == key;
            found.count += u32::from(is_best) * one.count;
            found.best |= u16::from(is_best) << place;
        }
        found
    }

    fn grow(&mut self, least: usize) {
        let old = self.nodes.get(self.first_leaf..).unwrap_or_default().to_vec();
        let (mut first_leaf, mut width) = (1, WAYS);
        while width < least {
            first_leaf += width;
            width *= WAYS;
        }
        // Twice as many as before at least: replicas come one by one.
        let leaves = least.max(2 * old.len()).next_multiple_of(WAYS).min(width);
        self.nodes.clear();
        self.nodes.resize(first_leaf + leaves, EMPTY);
        self.first_leaf = first_leaf;
        self.nodes[first_leaf..first_leaf + old.len()].copy_from_slice(&old);
        for node in (0..first_leaf).rev() {
            self.nodes[node] = self.best_below(node);
        }
    }

    /// Somebody's key.
    pub fn key(&self, index: usize) -> Option<u64> {
        let leaf = self.nodes.get(self.first_leaf + index)?;
        (leaf.count > 0).then_some(leaf.key)
    }

    /// The least key and how many have it.
    #[inline]
    pub fn least(&self) -> Option<(u64, u32)> {
        self.nodes.first().filter(|node| node.count > 0).map(|node| (node.key, node.count))
    }

    /// Of those who have the least key, in their order, the one with `nth` before it.
    #[inline]
    pub fn nth(&self, mut nth: u32) -> Option<usize> {
        self.nodes.first().filter(|node| nth < node.count)?;
        let mut at = 0;
        while at < self.first_leaf {
            let mut best = self.nodes[at].best;
            let below = at * WAYS + 1;
            loop {
                at = below + best.trailing_zeros() as usize;
                let count = self.nodes[at].count;
                if nth < count {
                    break;
                }
                nth -= count;
                best &= best - 1;
            }
        }
        Some(at - self.first_leaf)
    }

    /// How many of those who have the least key are before `index`.
    pub fn before(&self, index: usize) -> u32 {
        let Some((key, count)) = self.least() else { return 0 };
        let mut at = self.first_leaf + index;
        if at >= self.nodes.len() {
            return count;
        }
        let mut before = 0;
        while at > 0 {
            let (above, place) = ((at - 1) / WAYS, (at - 1) % WAYS);
            if self.nodes[above].key == key {
                let best = self.below(above)[..place].iter().filter(|one| one.key == key);
                before += best.map(|one| one.count).sum::<u32>();
            }
            at = above;
        }
        before
    }
}
