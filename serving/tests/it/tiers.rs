//! What reading from memory below the GPU's costs requests, worked out by hand.

use foretell_serving::policies::{BlockPool, State, Vllm};
use foretell_serving::{
    Batch, Engine, Group, Observer, Outcome, Replica, Request, StepLaw, TierLink, replay,
};

/// An iteration takes 100 ns, and 10 for each token that is computed.
struct Law;

impl StepLaw for Law {
    fn stage_ns(&self, batch: &Batch<'_>, _stage: usize) -> f64 {
        100.0 + 10.0 * f64::from(batch.tokens())
    }
}

#[derive(Default)]
struct Seen(Vec<Outcome>);

impl Observer for Seen {
    fn finished(&mut self, outcome: &Outcome) {
        self.0.push(*outcome);
    }
}

/// An engine of six blocks of four tokens, with as many below.
fn engine(link: TierLink) -> Engine<Law, Vllm> {
    let pool = BlockPool::with_prefix_cache(6, 4).with_tiers(&[6]);
    Engine::new(Law, Box::new(Vllm::default()), State::new(pool)).reading_over(vec![link])
}

/// Requests for a token, which arrive at an instant with a prompt of these blocks and a token more: of each, when it was taken, when it had
/// its token, and the tokens that were there.
fn check<R: Replica>(replica: R, requests: &[(u64, &[u64])], expected: &[(u64, u64, u32)]) {
    let requests = requests.iter().zip(0..).map(|(&(arrival_ns, block_keys), index)| Request {
        index,
        arrival_ns,
        prompt_tokens: 4 * block_keys.len() as u32 + 1,
        output_tokens: 1,
        limit_tokens: 1,
        priority: 0,
        adapter: 0,
        block_keys,
    });
    let mut seen = [Seen::default()];
    assert_eq!(replay(&mut [replica], requests, |_, _| 0, &mut seen), []);
    let [Seen(mut outcomes)] = seen;
    outcomes.sort_by_key(|outcome| outcome.request);
    let found: Vec<(u64, u64, u32)> = outcomes
        .iter()
        .map(|outcome| (outcome.scheduled_ns, outcome.first_token_ns, outcome.cached_tokens))
        .collect();
    assert_eq!(found, expected);
}

const LINK: TierLink = TierLink { latency_ns: 100.0, block_ns: 10.0, exposed_share: 1.0 };

/// Two pairs of blocks, then what pushes them out.
const BEFORE: [(u64, &[u64]); 3] = [(0, &[1, 2]), (1_000, &[3, 4]), (2_000, &[5, 6, 7, 8, 9])];
const BEFORE_FOUND: [(u64, u64, u32); 3] = [(0, 190, 0), (1_000, 1_190, 0), (2_000, 2_310, 0)];

#[test]
fn reads_take_their_time_one_after_another() {
    let requests = [&BEFORE[..], &[(3_000, &[1, 2]), (3_000, &[3, 4])]].concat();
    // 120 ns for two blocks; the second read waits for the first; then a token is computed.
    let expected = [&BEFORE_FOUND[..], &[(3_120, 3_230, 8), (3_240, 3_350, 8)]].concat();
    check(engine(LINK), &requests, &expected);
    // Layer by layer the first of four is waited for; the link is no faster. The second waits for the iteration of the first.
    let expected = [&BEFORE_FOUND[..], &[(3_030, 3_140, 8), (3_150, 3_260, 8)]].concat();
    check(engine(LINK.by_layer(4)), &requests, &expected);
}

#[test]
fn who_reads_does_not_hold_up_others() {
    let requests = [&BEFORE[..], &[(3_000, &[1, 2]), (3_000, &[11])]].concat();
    // The other is computed meanwhile, in 150 ns; contents that come before that are looked at then.
    let expected = [&BEFORE_FOUND[..], &[(3_150, 3_260, 8), (3_000, 3_150, 0)]].concat();
    check(engine(LINK), &requests, &expected);
}

#[test]
fn engines_that_share_experts_wait_too() {
    let requests = [&BEFORE[..], &[(3_000, &[1, 2])]].concat();
    let expected = [&BEFORE_FOUND[..], &[(3_120, 3_230, 8)]].concat();
    check(Group::new(vec![engine(LINK)]), &requests, &expected);
}

#[test]
fn links_are_reckoned_from_bytes() {
    // 2 MiB at 20 GB/s.
    let link = TierLink::new(2_097_152.0, 20e9, 1e-5);
    assert!((link.block_ns - 104_857.6).abs() < 1e-6 && (link.latency_ns - 10_000.0).abs() < 1e-9);
}
