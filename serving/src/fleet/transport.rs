//! How keys and values get from one replica to another.

use std::collections::VecDeque;

/// Contents to be moved.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Move {
    /// By what the fleet calls it.
    pub id: u32,
    /// Where they are, by place in the fleet, or [`STORE`](super::STORE).
    pub from: usize,
    /// Where they are needed.
    pub to: usize,
    /// Blocks that are needed there.
    pub blocks: u32,
    /// How long it took to compute them: what is sent layer by layer is sent meanwhile.
    pub computed_ns: u64,
}

/// What moves contents.
pub trait Transport {
    /// Begins to move contents. Whatever is done by `now_ns` must have been taken.
    fn begin(&mut self, now_ns: u64, contents: &Move);

    /// When something is next done.
    fn next_ns(&self) -> Option<u64>;

    /// What is done by an instant, one after another.
    fn take_done(&mut self, now_ns: u64) -> Option<u32>;

    /// Contents are needed no more, or are there no more.
    fn cancel(&mut self, now_ns: u64, id: u32);
}

/// Contents are where they are needed at once.
#[derive(Clone, Default, Debug)]
pub struct AtOnce(VecDeque<(u64, u32)>);

impl Transport for AtOnce {
    fn begin(&mut self, now_ns: u64, contents: &Move) {
        self.0.push_back((now_ns, contents.id));
    }

    fn next_ns(&self) -> Option<u64> {
        self.0.front().map(|&(at_ns, _)| at_ns)
    }

    fn take_done(&mut self, now_ns: u64) -> Option<u32> {
        self.0.pop_front_if(|&mut (at_ns, _)| at_ns <= now_ns).map(|(_, id)| id)
    }

    fn cancel(&mut self, _now_ns: u64, id: u32) {
        self.0.retain(|&(_, other)| other != id);
    }
}
