//! The memory that rows of iterations take.

use foretell_serving_policies::{Batcher, Plan, State};

use super::Engine;
use crate::batch::StepLaw;

impl<L: StepLaw, B: Batcher + ?Sized> Engine<L, B> {
    /// Takes the blocks that a row of iterations needs after its first.
    pub(super) fn take_blocks(&mut self, plan: &Plan, count: u32) {
        let State { sequences, blocks, .. } = &mut self.state;
        // Blocks that nobody ever finds are as good as any other.
        if !plan.decodes.iter().any(|&slot| blocks.has_unpublished(slot)) {
            for &slot in &plan.decodes {
                let sequence = &mut sequences[slot];
                let tokens = sequence.computed_tokens + count;
                // The batcher promised that they are there.
                let grown = blocks.grow(slot, sequence, tokens);
                debug_assert!(grown, "blocks for {count} iterations");
            }
            return;
        }
        // The others have an identity: in the order in which iteration after iteration would take and fill them. In between nothing happens.
        let block_tokens = blocks.block_tokens();
        self.crossings.clear();
        for (place, &slot) in (0..).zip(&plan.decodes) {
            let computed = sequences[slot].computed_tokens;
            let full = (computed + 2).next_multiple_of(block_tokens) - computed;
            // A block is opened by the token after a full one.
            let opened = if full > block_tokens { 2 } else { full + 1 };
            let every = block_tokens as usize;
            if blocks.has_unpublished(slot) {
                self.crossings.extend((full..=count).step_by(every).map(|iteration| (iteration, place)));
            }
            self.crossings.extend((opened..=count).step_by(every).map(|iteration| (iteration, place)));
        }
        self.crossings.sort_unstable();
        for &(iteration, place) in &self.crossings {
            let slot = plan.decodes[place as usize];
            let sequence = &mut sequences[slot];
            let tokens = sequence.computed_tokens + iteration;
            let grown = blocks.grow(slot, sequence, tokens);
            debug_assert!(grown, "blocks for {count} iterations");
            blocks.publish(slot, tokens);
        }
    }
}
