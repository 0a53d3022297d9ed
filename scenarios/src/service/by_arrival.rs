//! What arrives at known times.

use std::collections::BTreeMap;

/// What arrives at known times: at one instant in the order in which it became known.
pub(super) struct ByArrival<T> {
    waiting: BTreeMap<(u64, u64), T>,
    known: u64,
}

impl<T> Default for ByArrival<T> {
    fn default() -> Self {
        Self { waiting: BTreeMap::new(), known: 0 }
    }
}

impl<T> ByArrival<T> {
    pub(super) fn push(&mut self, arrival_ns: u64, what: T) {
        self.known += 1;
        self.waiting.insert((arrival_ns, self.known), what);
    }

    /// When the next one arrives.
    pub(super) fn next_ns(&self) -> Option<u64> {
        self.waiting.keys().next().map(|&(arrival_ns, _)| arrival_ns)
    }

    /// The next one, and when it arrives.
    pub(super) fn pop(&mut self) -> Option<(u64, T)> {
        self.waiting.pop_first().map(|((arrival_ns, _), what)| (arrival_ns, what))
    }
}
