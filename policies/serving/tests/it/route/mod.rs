//! Which replica gets a request.

mod cached;
mod properties;
mod simple;
mod tournament;
mod variants;

use foretell_serving_policies::{Arrival, Caches, Load, Routed, Router};

/// An open replica with so many requests that wait and run.
fn busy(waiting: u32, running: u32) -> Load {
    Load { open: true, waiting, running, total_blocks: 100, ..Load::default() }
}

/// An open replica with so many tokens to be read in, and in all.
fn holding(prefill_tokens: u64, tokens: u64) -> Load {
    Load { open: true, prefill_tokens, tokens, total_blocks: 100, ..Load::default() }
}

const CLOSED: Load = Load {
    open: false,
    waiting: 0,
    running: 0,
    prefill_tokens: 0,
    tokens: 0,
    used_blocks: 0,
    total_blocks: 100,
    variant: 0,
};

/// A request without a prompt that anybody could have.
fn arrival(session: u64, random: u64) -> Arrival<'static> {
    prompt(&[], 16, 100, session, random)
}

fn prompt(
    block_keys: &[u64],
    block_tokens: u32,
    prompt_tokens: u32,
    session: u64,
    random: u64,
) -> Arrival<'_> {
    let (index, now_ns, limit_tokens) = (0, 0, 100);
    Arrival {
        index,
        now_ns,
        prompt_tokens,
        limit_tokens,
        block_keys,
        block_tokens,
        session,
        adapter: 0,
        random,
    }
}

/// Blocks that each replica has of any request.
struct Have<'a>(&'a [u32]);

impl Caches for Have<'_> {
    fn cached_blocks(&self, replica: usize, arrival: &Arrival<'_>) -> u32 {
        self.0.get(replica).copied().unwrap_or(0).min(arrival.block_keys.len() as u32)
    }
}

fn told(router: &mut dyn Router, loads: &[Load]) {
    for (replica, load) in loads.iter().enumerate() {
        router.changed(replica, load);
    }
}

fn to(replica: usize) -> Routed {
    Routed::To { replica, from: None }
}

fn replica(answer: Routed) -> usize {
    match answer {
        Routed::To { replica, .. } => replica,
        other => panic!("{other:?}"),
    }
}

/// That of `draws` each of `probabilities` came as often as its own, within five standard deviations.
fn assert_shares(counts: &[u32], probabilities: &[f64]) {
    let draws = f64::from(counts.iter().sum::<u32>());
    assert_eq!(counts.len(), probabilities.len());
    for (&count, &probability) in counts.iter().zip(probabilities) {
        let deviation = (draws * probability * (1.0 - probability)).sqrt();
        let distance = (f64::from(count) - draws * probability).abs();
        assert!(distance <= 5.0 * deviation, "{counts:?} are not {probabilities:?}");
    }
}
