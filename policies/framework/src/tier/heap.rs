//! The priority queue of the actions.

use alloc::vec::Vec;
use core::cmp::Ordering;

/// A binary heap whose order is handed in at each use, since it may move while items wait: the share of a queue grows with
/// every task placed. As in Volcano, items that wait are not sorted anew; an item that was taken out and put back is.
#[derive(Clone, Debug)]
pub struct PriorityQueue<T> {
    items: Vec<T>,
}

impl<T> Default for PriorityQueue<T> {
    fn default() -> Self {
        Self { items: Vec::new() }
    }
}

impl<T: Copy> PriorityQueue<T> {
    /// Whether nothing waits.
    pub const fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Number of items that wait.
    pub const fn len(&self) -> usize {
        self.items.len()
    }

    /// The items that wait, in no order that means anything.
    pub fn iter(&self) -> impl Iterator<Item = T> {
        self.items.iter().copied()
    }

    /// The first item, which stays.
    pub fn peek(&self) -> Option<T> {
        self.items.first().copied()
    }

    /// Forgets all items, and keeps the memory.
    pub fn clear(&mut self) {
        self.items.clear();
    }

    /// Puts an item in.
    pub fn push(&mut self, item: T, compare: impl Fn(T, T) -> Ordering) {
        self.items.push(item);
        let mut child = self.items.len() - 1;
        while child > 0 {
            let parent = (child - 1) / 2;
            if compare(self.items[child], self.items[parent]).is_ge() {
                break;
            }
            self.items.swap(child, parent);
            child = parent;
        }
    }

    /// Takes the first item out.
    pub fn pop(&mut self, compare: impl Fn(T, T) -> Ordering) -> Option<T> {
        let last = self.items.len().checked_sub(1)?;
        self.items.swap(0, last);
        let mut parent = 0;
        loop {
            let mut child = 2 * parent + 1;
            if child >= last {
                break;
            }
            if child + 1 < last && compare(self.items[child + 1], self.items[child]).is_lt() {
                child += 1;
            }
            if compare(self.items[child], self.items[parent]).is_ge() {
                break;
            }
            self.items.swap(parent, child);
            parent = child;
        }
        self.items.pop()
    }
}
