//! Traces with one object of JSON on a line and blocks of prompts that say what prefixes are shared: Mooncake's (Qin et al.,
//! FAST 2025) and `LLMServingSim`'s (Cho et al., IISWC 2024).

use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::error::TraceError;
use crate::lines::JsonLines;
use crate::requests::record::{
    MAX_ARRIVAL_NS, MAX_TOKENS, RequestRecord, check_block_count, expected_tokens,
};
use crate::requests::source::{Row, Source};

/// The fields of a line, and what they are called.
pub(crate) trait Fields: DeserializeOwned + Send {
    const ARRIVAL: &'static str;
    const EXPECTED_ARRIVAL: &'static str;
    const PROMPT: &'static str;
    const OUTPUT: &'static str;
    const BLOCKS: &'static str;
    const BLOCK_TOKENS: u32;

    /// Nanoseconds; `None` out of bounds.
    fn arrival_ns(&self) -> Option<u64>;
    /// The arrival as it stands in the file.
    fn arrival_text(&self) -> String;
    /// Tokens of the prompt and of the answer.
    fn lengths(&self) -> [u64; 2];
    fn into_blocks(self) -> Vec<u64>;
}

/// A line of Mooncake's traces.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Mooncake {
    /// Milliseconds; a whole number in the published traces.
    timestamp: f64,
    input_length: u64,
    output_length: u64,
    #[serde(default)]
    hash_ids: Vec<u64>,
}

impl Fields for Mooncake {
    const ARRIVAL: &'static str = "timestamp";
    const EXPECTED_ARRIVAL: &'static str = "a number of milliseconds from 0 to 4000000000000";
    const PROMPT: &'static str = "input_length";
    const OUTPUT: &'static str = "output_length";
    const BLOCKS: &'static str = "hash_ids";
    const BLOCK_TOKENS: u32 = 512;

    fn arrival_ns(&self) -> Option<u64> {
        let ns = self.timestamp * 1e6;
        (0.0..=MAX_ARRIVAL_NS as f64).contains(&ns).then(|| ns.round() as u64)
    }

    fn arrival_text(&self) -> String {
        self.timestamp.to_string()
    }

    fn lengths(&self) -> [u64; 2] {
        [self.input_length, self.output_length]
    }

    fn into_blocks(self) -> Vec<u64> {
        self.hash_ids
    }
}

/// A line of `LLMServingSim`'s workloads.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LlmServingSim {
    arrival_time_ns: u64,
    input_toks: u64,
    output_toks: u64,
    #[serde(default)]
    block16_hash_ids: Vec<u64>,
}

impl Fields for LlmServingSim {
    const ARRIVAL: &'static str = "arrival_time_ns";
    const EXPECTED_ARRIVAL: &'static str = "a whole number of nanoseconds from 0 to 4000000000000000000";
    const PROMPT: &'static str = "input_toks";
    const OUTPUT: &'static str = "output_toks";
    const BLOCKS: &'static str = "block16_hash_ids";
    const BLOCK_TOKENS: u32 = 16;

    fn arrival_ns(&self) -> Option<u64> {
        Some(self.arrival_time_ns).filter(|&ns| ns <= MAX_ARRIVAL_NS)
    }

    fn arrival_text(&self) -> String {
        self.arrival_time_ns.to_string()
    }

    fn lengths(&self) -> [u64; 2] {
        [self.input_toks, self.output_toks]
    }

    fn into_blocks(self) -> Vec<u64> {
        self.block16_hash_ids
    }
}

/// Arrivals are taken as they stand.
pub(crate) struct Reader<F> {
    lines: JsonLines,
    /// The present line's arrival, for messages.
    arrival: String,
    fields: std::marker::PhantomData<fn() -> F>,
}

impl<F: Fields> Reader<F> {
    pub(crate) fn new(lines: JsonLines) -> Self {
        Self { lines, arrival: String::new(), fields: std::marker::PhantomData }
    }
}

impl<F: Fields> Source for Reader<F> {
    fn advance(&mut self) -> Result<Row, TraceError> {
        let lines = &mut self.lines;
        let Some(fields) = lines.advance::<F>()? else { return Ok(Row::End) };
        self.arrival = fields.arrival_text();
        let arrival_ns = fields
            .arrival_ns()
            .ok_or_else(|| lines.unexpected(F::ARRIVAL, F::EXPECTED_ARRIVAL, &self.arrival))?;
        let [prompt, output] = fields.lengths();
        let tokens = |field: &str, tokens: u64| {
            let within = u32::try_from(tokens).ok().filter(|&tokens| tokens <= MAX_TOKENS);
            within.ok_or_else(|| lines.unexpected(field, &expected_tokens(0), &tokens.to_string()))
        };
        let prompt_tokens = tokens(F::PROMPT, prompt)?;
        let output_tokens = tokens(F::OUTPUT, output)?;
        if prompt_tokens == 0 || output_tokens == 0 {
            return Ok(Row::Skipped);
        }
        let blocks = fields.into_blocks();
        check_block_count(prompt_tokens, F::BLOCK_TOKENS, blocks.len())
            .map_err(|(expected, got)| lines.unexpected(F::BLOCKS, &expected, &got))?;
        Ok(Row::Request(RequestRecord {
            block_tokens: F::BLOCK_TOKENS,
            prompt_blocks: blocks.into_boxed_slice(),
            ..RequestRecord::new(arrival_ns, prompt_tokens, output_tokens)
        }))
    }

    fn unexpected_arrival(&self, expected: &str) -> TraceError {
        self.lines.unexpected(F::ARRIVAL, expected, &self.arrival)
    }
}
