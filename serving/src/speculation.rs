//! Speculative decoding, by how often drafts are accepted.

use foretell_serving_policies::route::{GOLDEN, mixed};

/// A small model, or a head, drafts tokens; the model computes them all with the one that is due, and keeps those before the first that it would not
/// have said itself. An iteration thus computes one token and `draft_tokens` more of each sequence that decodes, and gives it one token and those accepted.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Speculation {
    /// Tokens drafted for each sequence and iteration (`num_speculative_tokens`), at least one.
    pub draft_tokens: u32,
    /// How likely a draft token is accepted whose predecessors were.
    pub acceptance: f64,
    /// What drafting adds to an iteration in which anybody decodes.
    pub draft_ns: f64,
    /// What drafting adds besides, as a share of the iteration.
    pub draft_share: f64,
    /// Of the stream from which is drawn what is accepted.
    pub seed: u64,
}

impl Speculation {
    /// Tokens that an iteration computes of a sequence that decodes.
    pub const fn decode_tokens(&self) -> u32 {
        self.draft_tokens + 1
    }

    /// Tokens that a sequence gets on average of an iteration: `1 + a + a^2 + ... + a^k` (Leviathan et al. 2023, equation 1).
    pub fn expected_tokens(&self) -> f64 {
        let mut likely = 1.0;
        let mut expected = 1.0;
        for _ in 0..self.draft_tokens {
            likely *= self.acceptance;
            expected += likely;
        }
        expected
    }

    /// Draft tokens that are accepted after `generated_tokens` of a request.
    ///
    /// They are drawn, since what a mean hides is felt by those who wait: sequences that began together end apart. The draw depends on the
    /// request and its place alone, not on batches: batchers are compared over equal luck, and who gives up its memory keeps its own.
    pub fn accepted_tokens(&self, request: u32, generated_tokens: u32) -> u32 {
        let place = u64::from(request) << 32 | u64::from(generated_tokens);
        let mut state = mixed(self.seed ^ mixed(place));
        let mut accepted = 0;
        while accepted < self.draft_tokens {
            state = state.wrapping_add(GOLDEN);
            let uniform = (mixed(state) >> 11) as f64 / (1_u64 << 53) as f64;
            if uniform >= self.acceptance {
                break;
            }
            accepted += 1;
        }
        accepted
    }

    /// What drafting adds to iterations that take so long, where anybody decodes.
    pub(crate) fn added_ns(&self, decodes: u32, step_ns: f64) -> f64 {
        if decodes == 0 { 0.0 } else { self.draft_ns + self.draft_share * step_ns }
    }
}
