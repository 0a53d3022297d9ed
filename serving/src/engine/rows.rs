//! What rows of iterations take, and when they end.

use foretell_serving_policies::{Batcher, Plan, State};

use super::Engine;
use crate::batch::StepLaw;

/// Numbers from there on are whole, so that adding it to lesser ones rounds them, halves to the even one.
const WHOLE: f64 = (1_u64 << 52) as f64;

/// The nearest whole number of nanoseconds, halves upwards, as [`f64::round`] has it.
#[inline]
pub(super) fn rounded(elapsed_ns: f64) -> u64 {
    if elapsed_ns < WHOLE { rounded_below(elapsed_ns) } else { elapsed_ns.round() as u64 }
}

/// The same of what is less than [`WHOLE`]; without branches, so that several are rounded at once.
#[inline]
fn rounded_below(elapsed_ns: f64) -> u64 {
    let even = (elapsed_ns + WHOLE) - WHOLE;
    let up = if elapsed_ns - even >= 0.5 { 1.0 } else { 0.0 };
    (even + up + WHOLE).to_bits() - WHOLE.to_bits()
}

/// From each of ascending instants to the next, rounded before.
pub(super) fn differences(elapsed_ns: &[f64], differences_ns: &mut Vec<u64>) {
    let Some((&last, before)) = elapsed_ns.split_last() else { return };
    let pairs = elapsed_ns[1..].iter().zip(before);
    if last < WHOLE {
        differences_ns.extend(pairs.map(|(&end, &before)| rounded_below(end) - rounded_below(before)));
    } else {
        differences_ns.extend(pairs.map(|(&end, &before)| rounded(end) - rounded(before)));
    }
}

impl<L: StepLaw, B: Batcher + ?Sized> Engine<L, B> {
    /// Takes the blocks that a row of iterations needs after its first.
    pub(super) fn take_blocks(&mut self, plan: &Plan, count: u32) {
        let State { sequences, blocks, .. } = &mut self.state;
        if !blocks.shares_prefixes() {
            for &slot in &plan.decodes {
                let sequence = &mut sequences[slot];
                let tokens = sequence.computed_tokens + count;
                // The batcher promised that they are there.
                let grown = blocks.grow(slot, sequence, tokens);
                debug_assert!(grown, "blocks for {count} iterations");
            }
            return;
        }
        // Blocks have an identity: in the order in which iteration after iteration would take and fill them. In between nothing happens.
        // One alone takes them one after another anyhow.
        if let [slot] = *plan.decodes
            && !blocks.has_unpublished(slot)
        {
            let sequence = &mut sequences[slot];
            let tokens = sequence.computed_tokens + count;
            let grown = blocks.grow(slot, sequence, tokens);
            debug_assert!(grown, "blocks for {count} iterations");
            return;
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounding_is_that_of_numbers() {
        let check =
            |elapsed_ns: f64| assert_eq!(rounded(elapsed_ns), elapsed_ns.round() as u64, "{elapsed_ns}");
        for whole in
            [0.0, 1.0, 2.0, 3.0, 1e6, 12_345_677.0, 1e12, WHOLE / 2.0 - 1.0, WHOLE - 1.0, WHOLE, 4.0 * WHOLE]
        {
            for part in [0.0, 0.25, 0.499_999_9, 0.5, 0.500_000_1, 0.75] {
                check(whole + part);
            }
        }
        check(0.5_f64.next_down());
        let mut found = Vec::new();
        differences(&[0.5, 1.5, 1.5, 2.25, 1e6 + 0.5], &mut found);
        assert_eq!(found, [1, 0, 0, 999_999]);
        differences(&[WHOLE, WHOLE + 2.0], &mut found);
        assert_eq!(found.last(), Some(&2));
    }
}
