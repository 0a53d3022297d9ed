//! Speculative decoding, worked out by hand.

use foretell_serving::policies::{BlockPool, State, Vllm};
use foretell_serving::{Batch, Engine, Observer, Outcome, Request, Speculation, StepLaw, replay};

fn drafts(draft_tokens: u32, acceptance: f64) -> Speculation {
    Speculation { draft_tokens, acceptance, draft_ns: 0.0, draft_share: 0.0, seed: 42 }
}

#[test]
fn as_many_drafts_are_accepted_as_is_likely() {
    let check = |draft_tokens, acceptance: f64, expected: f64| {
        let drafts = drafts(draft_tokens, acceptance);
        assert!((drafts.expected_tokens() - expected).abs() < 1e-12, "{drafts:?}");
        let draws = 40_000;
        let got: u32 = (0..draws).map(|draw| 1 + drafts.accepted_tokens(draw % 200, draw / 200)).sum();
        let mean = f64::from(got) / f64::from(draws);
        // The deviation of one draw is less than half the drafts.
        assert!((mean - expected).abs() <= 2.0 * f64::from(draft_tokens) / 200.0, "{drafts:?}: {mean}");
    };
    check(1, 0.5, 1.5);
    check(3, 0.8, 1.0 + 0.8 + 0.64 + 0.512);
    check(5, 0.0, 1.0);
    check(5, 1.0, 6.0);
}

#[test]
fn luck_is_of_a_request_and_a_place() {
    let draw = |seed, request, place| {
        let drafts = Speculation { seed, ..drafts(64, 0.9) };
        (0..8_u32).map(|further| drafts.accepted_tokens(request, place + further)).collect::<Vec<_>>()
    };
    assert_eq!(draw(1, 2, 3), draw(1, 2, 3));
    assert_ne!(draw(1, 2, 3), draw(2, 2, 3));
    assert_ne!(draw(1, 2, 3), draw(1, 3, 3));
    assert_ne!(draw(1, 2, 3), draw(1, 2, 4));
}

/// An iteration takes 100 ns, 10 for each token that is computed, 1 for each sequence or token whose successor is sampled, and none for context.
struct Law;

impl StepLaw for Law {
    fn stage_ns(&self, batch: &Batch<'_>, _stage: usize) -> f64 {
        100.0 + 10.0 * f64::from(batch.tokens()) + f64::from(batch.sampled)
    }
}

#[derive(Default)]
struct Seen {
    ends_ns: Vec<u64>,
    tokens: Vec<(u64, u32)>,
    blocks: Vec<u32>,
}

impl Observer for Seen {
    fn inter_token(&mut self, latency_ns: u64, tokens: u32) {
        self.tokens.push((latency_ns, tokens));
    }

    fn finished(&mut self, outcome: &Outcome) {
        self.ends_ns.push(outcome.last_token_ns);
    }

    fn iterations(&mut self, _: &foretell_serving::engine::Iterations<'_>, state: &State) {
        self.blocks.push(state.blocks.total_blocks() - state.blocks.free_blocks());
    }
}

fn run(drafts: Speculation, output_tokens: u32, limit_tokens: u32) -> Seen {
    let state = State::new(BlockPool::new(40, 1));
    let mut engine = [Engine::new(Law, Box::new(Vllm::default()), state).speculating(drafts)];
    let request = Request {
        index: 0,
        arrival_ns: 0,
        prompt_tokens: 4,
        output_tokens,
        limit_tokens,
        priority: 0,
        adapter: 0,
        block_keys: &[],
    };
    let mut seen = [Seen::default()];
    assert_eq!(replay(&mut engine, [request], |_, _| 0, &mut seen), []);
    let [seen] = seen;
    seen
}

#[test]
fn drafts_are_computed_and_accepted_ones_come_together() {
    // 141 ns for the prompt; then two iterations of one and three tokens: 144 each, and drafting: 20 and a quarter of that.
    let all = Speculation { draft_ns: 20.0, draft_share: 0.25, ..drafts(3, 1.0) };
    let seen = run(all, 9, 100);
    assert_eq!(seen.ends_ns, [141 + 2 * (144 + 20 + 36)]);
    assert_eq!(seen.tokens, [(200, 1), (0, 3), (200, 1), (0, 3)]);
    assert_eq!(seen.blocks, [4, 8, 12]);
    // None accepted: as many iterations as tokens, and blocks for drafts, which are there for the next.
    let none = run(drafts(3, 0.0), 4, 100);
    assert_eq!(none.ends_ns, [141 + 3 * 144]);
    assert_eq!(none.tokens, [(144, 1); 3]);
    assert_eq!(none.blocks, [4, 8, 9, 10]);
}

#[test]
fn nobody_gets_more_than_was_asked_for() {
    let seen = run(drafts(3, 1.0), 4, 4);
    assert_eq!(seen.ends_ns, [141 + 144]);
    assert_eq!(seen.tokens, [(144, 1), (0, 2)]);
    assert_eq!(seen.blocks, [4, 7], "room for three tokens more, not four");
}
