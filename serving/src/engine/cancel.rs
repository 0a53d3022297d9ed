//! Requests that nobody waits for any more.

use foretell_serving_policies::{Batcher, Slot};

use super::Engine;
use crate::batch::StepLaw;

/// What becomes of a request that nobody waits for any more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cancelled {
    /// It is gone, and nothing more is heard of it.
    AtOnce,
    /// It is done when the iteration that it is part of is, or with its first token where its prompt is still read in.
    Soon,
}

impl<L: StepLaw, B: Batcher + ?Sized> Engine<L, B> {
    /// Gives a request up, as servers do when a connection is closed: one that waits is forgotten, one that runs gives its memory back at the end of
    /// an iteration. None if it is not here. [`Self::begin`] has to be called after that.
    pub fn cancel(&mut self, request: u32, now_ns: u64) -> Option<Cancelled> {
        let is_it = |slot: &Slot| self.state.sequences[*slot].request == request;
        let waiting = self.state.waiting.iter().position(is_it);
        let slot = waiting.map(|at| self.state.waiting[at]);
        let slot = slot.or_else(|| self.state.running.iter().copied().find(is_it))?;
        // Whoever waits for room may have it after the iteration that is under way.
        self.cut_row(now_ns);
        if let Some(at) = waiting.filter(|_| !self.state.sequences[slot].in_flight) {
            self.state.waiting.remove(at, &self.state.sequences[slot]);
            self.state.blocks.release(slot, &mut self.state.sequences[slot]);
            self.state.sequences.remove(slot);
            return Some(Cancelled::AtOnce);
        }
        let decodes = self.under_way.iter().find(|batch| batch.plan.decodes.contains(&slot));
        let under_way = decodes.map_or(0, |batch| batch.ends.count());
        let sequence = &mut self.state.sequences[slot];
        let ends = sequence.generated_tokens + under_way.max(1);
        sequence.output_tokens = sequence.output_tokens.min(ends);
        Some(Cancelled::Soon)
    }
}
