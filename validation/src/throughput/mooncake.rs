//! What of the prompts of Mooncake's traces a cache of beginnings has, by its size.

use std::path::Path;

use foretell_serving::policies::{Batcher, BlockPool, State, Vllm};
use foretell_serving::{Batch, Engine, Request, StepLaw};
use foretell_traces::requests::{self, RequestRecord};

use super::Line;
use super::published::HIT_RATES;
use crate::Error;
use crate::openb::existing;

/// Where they are below the data folder.
const TRACES: &str = "serving/mooncake-traces";

/// Their blocks.
const BLOCK_TOKENS: u32 = 512;

/// Blocks of caches that are shown beside one without limits.
const SIZES: [u32; 4] = [1_000, 10_000, 30_000, 100_000];

/// Points by which a rate may be off: as published, it is rounded to one decimal.
const HIT_POINTS: f64 = 0.1;

/// Iterations take no time to speak of.
struct Instant;

impl StepLaw for Instant {
    fn stage_ns(&self, _batch: &Batch<'_>, _stage: usize) -> f64 {
        1.0
    }
}

/// Hit rates of each trace: of a cache without limits, which is judged, and of finite ones.
pub(super) fn lines(data: &Path) -> Result<Vec<Line>, Error> {
    let mut lines = Vec::new();
    for (name, published) in HIT_RATES {
        let path = existing(&data.join(TRACES).join(format!("{name}_trace.jsonl")))?;
        let records = requests::open(&path, None)?.collect::<Result<Vec<_>, _>>()?;
        // One more each, as of `hit_percent`.
        let all: usize = records.iter().map(|record| record.prompt_blocks.len() + 1).sum();
        let mut line = Line::new(format!("Mooncake {name}"), "hits %");
        line.push(published, hit_percent(&records, all as u32));
        lines.push(line.within(100.0 * HIT_POINTS / published));
        for blocks in SIZES {
            let mut line = Line::new(format!("Mooncake {name}: {blocks}"), "hits %");
            line.show(hit_percent(&records, blocks));
            lines.push(line);
        }
    }
    Ok(lines)
}

/// Per cent of the blocks of prompts that are found in a cache of so many; one request after the other, each done before the next comes.
///
/// The last block of a prompt may be found even where it is not full: so the traces number them. A prompt has a token after it, the one of
/// which an engine must compute the answer.
fn hit_percent(records: &[RequestRecord], blocks: u32) -> f64 {
    let longest = records.iter().map(|record| record.prompt_blocks.len()).max().unwrap_or(1) as u32;
    let batcher: Box<dyn Batcher + Send> =
        Box::new(Vllm { max_batched_tokens: longest * BLOCK_TOKENS + 1, ..Vllm::default() });
    let pool = BlockPool::with_prefix_cache(blocks, BLOCK_TOKENS);
    let mut engine = Engine::new(Instant, batcher, State::new(pool));
    let mut wanted = 0;
    for (index, record) in (0_u32..).zip(records) {
        wanted += record.prompt_blocks.len();
        let request = Request {
            index,
            arrival_ns: u64::from(index),
            prompt_tokens: record.prompt_blocks.len() as u32 * BLOCK_TOKENS + 1,
            output_tokens: 1,
            limit_tokens: 1,
            priority: 0,
            adapter: 0,
            block_keys: &record.prompt_blocks,
        };
        // Who is too long for the cache finds nothing.
        if engine.enqueue(&request).is_ok() {
            engine.begin(2 * u64::from(index), u64::MAX, &mut ());
            while engine.next_ns().is_some() {
                engine.advance(u64::MAX, &mut ());
            }
        }
    }
    let found = engine.state().prefix_hit_tokens / u64::from(BLOCK_TOKENS);
    100.0 * found as f64 / wanted as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_found_depends_on_room() {
        let check = |prompts: &[&[u64]], blocks: u32, expected: f64| {
            let records: Vec<RequestRecord> = prompts
                .iter()
                .map(|&prompt| RequestRecord {
                    block_tokens: BLOCK_TOKENS,
                    prompt_blocks: prompt.into(),
                    ..RequestRecord::new(0, prompt.len() as u32 * BLOCK_TOKENS, 1)
                })
                .collect();
            let got = hit_percent(&records, blocks);
            assert!((got - expected).abs() < 1e-9, "{prompts:?} in {blocks}: {got}");
        };
        // Both of the second, the first of the third.
        check(&[&[1, 2], &[1, 2], &[1, 3]], 100, 50.0);
        check(&[&[1, 2], &[4, 5], &[1, 2]], 6, 100.0 / 3.0);
        // A prompt has a block more than keys: no room for two.
        check(&[&[1, 2], &[4, 5], &[1, 2]], 3, 0.0);
        // Too long for the cache.
        check(&[&[1, 2], &[1, 2]], 2, 0.0);
    }
}
