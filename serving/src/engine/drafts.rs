//! What engines do where sequences decode speculatively.

use foretell_serving_policies::{Batcher, Slot};

use super::{Engine, UnderWay};
use crate::batch::{Batch, StepLaw};
use crate::observer::Observer;
use crate::speculation::Speculation;

impl<L: StepLaw, B: Batcher + ?Sized> Engine<L, B> {
    /// Tokens that a sequence gets of an iteration in which it decodes.
    fn yielded_tokens(&self, slot: Slot) -> u32 {
        let sequence = &self.state.sequences[slot];
        let accepted =
            |drafts: Speculation| drafts.accepted_tokens(sequence.request, sequence.generated_tokens);
        (1 + self.speculation.map_or(0, accepted)).min(sequence.remaining_tokens())
    }

    /// Tokens that requests get of a batch.
    pub(super) fn generated_tokens(&self, ended: &UnderWay) -> u64 {
        if self.speculation.is_none() {
            return u64::from(ended.ends.count()) * u64::from(ended.sampled);
        }
        let decodes = &ended.plan.decodes;
        let read = ended.sampled - ended.decode_tokens * decodes.len() as u32;
        decodes.iter().map(|&slot| u64::from(self.yielded_tokens(slot))).sum::<u64>() + u64::from(read)
    }

    /// Marks what those that decode have got, of their drafts too: each gets what was accepted, all at once. Who is done.
    pub(super) fn credit_drafts(
        &mut self,
        ended: &UnderWay,
        done: &mut Vec<Slot>,
        observer: &mut impl Observer,
    ) {
        let now_ns = ended.ends.last_end_ns();
        for &slot in &ended.plan.decodes {
            let tokens = self.yielded_tokens(slot);
            let sequence = &mut self.state.sequences[slot];
            sequence.computed_tokens += tokens;
            sequence.generated_tokens += tokens;
            self.state.blocks.fill(u64::from(tokens));
            sequence.in_flight = false;
            if sequence.remaining_tokens() == 0 {
                done.push(slot);
            }
            let timing = &mut self.timings[slot.index()];
            observer.inter_token(now_ns - timing.last_token_ns, 1);
            if tokens > 1 {
                observer.inter_token(0, tokens - 1);
            }
            timing.last_token_ns = now_ns;
        }
    }

    /// What an iteration takes, with drafting.
    pub(crate) fn with_drafts_ns(&self, batch: &Batch<'_>, step_ns: f64) -> f64 {
        step_ns + self.speculation.map_or(0.0, |drafts| drafts.added_ns(batch.decodes, step_ns))
    }
}
