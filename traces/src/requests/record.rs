//! The canonical record: what one request to a model server asks for.

use std::fmt::{self, Display};

use crate::record::{InvalidField, check_text, check_whole, expected_whole};

/// Nanoseconds in a second.
pub const SECOND_NS: u64 = 1_000_000_000;
/// Latest arrival in nanoseconds (about 127 years), the same as [`MAX_TIME_S`](crate::record::MAX_TIME_S).
pub const MAX_ARRIVAL_NS: u64 = 4_000_000_000 * SECOND_NS;
/// Most tokens of a prompt, and most of an output.
pub const MAX_TOKENS: u32 = 1 << 26;
/// Most tokens of a block.
pub const MAX_BLOCK_TOKENS: u32 = 1 << 20;

/// One request: a prompt that arrives, and the number of tokens that the model answers with.
///
/// Every reader and generator yields records that [`RequestRecord::check`] accepts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestRecord {
    /// When it arrives, in nanoseconds since the start of the trace.
    pub arrival_ns: u64,
    /// Tokens of the prompt, 1 or more.
    pub prompt_tokens: u32,
    /// Tokens of the answer, 1 or more.
    pub output_tokens: u32,
    /// The conversation or user that it belongs to, where there is one.
    pub session: Option<u64>,
    /// Priority; higher goes first, 0 is usual.
    pub priority: i32,
    /// The model or service that is asked; `""` = the only one.
    pub model: Box<str>,
    /// Tokens of each of `prompt_blocks`; 0 = nothing is known of shared prefixes.
    pub block_tokens: u32,
    /// Identities of the prompt's blocks from its start on. Equal ids at the same position mean that the prompts are
    /// equal up to the end of that block, so that a cache can serve it. What follows the last block is shared with no
    /// one; the last block of Mooncake's prompts need not be full.
    pub prompt_blocks: Box<[u64]>,
    /// Identities of the full blocks that follow in prompt and answer together, so that the prompt of a later turn can
    /// find them in a cache; none where nothing is known of them, as in all published traces. The prompt's blocks are
    /// then all its full ones.
    pub output_blocks: Box<[u64]>,
}

impl RequestRecord {
    /// A request of these lengths with nothing else said.
    pub fn new(arrival_ns: u64, prompt_tokens: u32, output_tokens: u32) -> Self {
        Self {
            arrival_ns,
            prompt_tokens,
            output_tokens,
            session: None,
            priority: 0,
            model: Box::default(),
            block_tokens: 0,
            prompt_blocks: Box::default(),
            output_blocks: Box::default(),
        }
    }

    /// Its lengths.
    pub fn lengths(&self) -> Lengths {
        Lengths { prompt_tokens: self.prompt_tokens, output_tokens: self.output_tokens }
    }

    /// Seconds since the start of the trace.
    pub fn arrival_s(&self) -> f64 {
        self.arrival_ns as f64 / SECOND_NS as f64
    }

    /// The ids of the full blocks where blocks have another size, those of the prompt and then those that are known of the
    /// answer: each block is cut into smaller ones, or several make a larger one, which the last of them identifies.
    /// `None` if neither size divides the other; nothing if nothing is known of shared prefixes. Only records that were
    /// cut alike can be compared.
    pub fn blocks_of(&self, block_tokens: u32) -> Option<Vec<u64>> {
        if self.block_tokens == 0 {
            return Some(Vec::new());
        }
        let answer = if self.output_blocks.is_empty() { 0 } else { self.output_tokens };
        let full = (self.prompt_tokens + answer).checked_div(block_tokens)? as usize;
        let blocks = self.prompt_blocks.iter().chain(&self.output_blocks).copied();
        if self.block_tokens.is_multiple_of(block_tokens) {
            let parts = u64::from(self.block_tokens / block_tokens);
            // Ids that are numbered from 0 stay apart; hashes of 64 bits lose their upper ones.
            let cut = |block: u64| (0..parts).map(move |part| block.wrapping_mul(parts).wrapping_add(part));
            return Some(blocks.flat_map(cut).take(full).collect());
        }
        if block_tokens.is_multiple_of(self.block_tokens) {
            let each = (block_tokens / self.block_tokens) as usize;
            return Some(blocks.skip(each - 1).step_by(each).take(full).collect());
        }
        None
    }

    /// Checks every field against the limits of this module.
    pub fn check(&self) -> Result<(), InvalidField> {
        if self.arrival_ns > MAX_ARRIVAL_NS {
            return Err(InvalidField::new(
                "arrival_s",
                crate::record::expected_seconds(),
                Seconds(self.arrival_ns),
            ));
        }
        check_whole("prompt_tokens", self.prompt_tokens, 1, MAX_TOKENS)?;
        check_whole("output_tokens", self.output_tokens, 1, MAX_TOKENS)?;
        check_text("model", &self.model)?;
        check_whole("block_tokens", self.block_tokens, 0, MAX_BLOCK_TOKENS)?;
        check_block_count(self.prompt_tokens, self.block_tokens, self.prompt_blocks.len())
            .map_err(|(expected, got)| InvalidField::new("prompt_blocks", expected, got))?;
        let (blocks, most) = (self.output_blocks.len(), self.lengths().most_output_blocks(self.block_tokens));
        if blocks > most {
            let expected = format!("at most {most} blocks of the answer");
            return Err(InvalidField::new("output_blocks", expected, format!("{blocks} blocks")));
        }
        Ok(())
    }
}

/// Most blocks that a prompt can have.
pub(crate) fn most_blocks(prompt_tokens: u32, block_tokens: u32) -> usize {
    if block_tokens == 0 { 0 } else { prompt_tokens.div_ceil(block_tokens) as usize }
}

/// Are these no more blocks than the prompt has? Else what was expected, and what is there.
pub(crate) fn check_block_count(
    prompt_tokens: u32,
    block_tokens: u32,
    blocks: usize,
) -> Result<(), (String, String)> {
    let most = most_blocks(prompt_tokens, block_tokens);
    if blocks <= most { Ok(()) } else { Err((expected_blocks(most), format!("{blocks} blocks"))) }
}

/// What a list of blocks must be, in words.
pub(crate) fn expected_blocks(most: usize) -> String {
    format!("at most {most} blocks of the prompt")
}

/// What a number of tokens must be, in words.
pub(crate) fn expected_tokens(least: u32) -> String {
    expected_whole(least, MAX_TOKENS)
}

/// Lengths of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lengths {
    /// Tokens of the prompt, 1 or more.
    pub prompt_tokens: u32,
    /// Tokens of the answer, 1 or more.
    pub output_tokens: u32,
}

impl Lengths {
    /// Full blocks of prompt and answer together that are not full blocks of the prompt.
    pub(crate) fn most_output_blocks(self, block_tokens: u32) -> usize {
        let full = |tokens: u32| tokens.checked_div(block_tokens).unwrap_or(0) as usize;
        full(self.prompt_tokens + self.output_tokens) - full(self.prompt_tokens)
    }
}

/// Nanoseconds that are shown as seconds, without loss.
#[derive(Clone, Copy)]
pub(crate) struct Seconds(pub(crate) u64);

impl Display for Seconds {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, fraction) = (self.0 / SECOND_NS, self.0 % SECOND_NS);
        if fraction == 0 {
            return write!(formatter, "{whole}");
        }
        let digits = format!("{fraction:09}");
        write!(formatter, "{whole}.{}", digits.trim_end_matches('0'))
    }
}

/// Nanoseconds of a decimal number of seconds, rounded; exact for up to nine decimals.
pub(crate) fn parse_seconds_ns(text: &str) -> Option<u64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let is_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let ns = if !whole.is_empty()
        && whole.len() <= 10
        && fraction.len() <= 9
        && is_digits(whole)
        && is_digits(fraction)
    {
        let digits = |text: &str| text.bytes().fold(0, |sum, byte| sum * 10 + u64::from(byte - b'0'));
        digits(whole) * SECOND_NS + digits(fraction) * 10_u64.pow(9 - fraction.len() as u32)
    } else {
        seconds_to_ns(text.parse().ok()?)?
    };
    (ns <= MAX_ARRIVAL_NS).then_some(ns)
}

/// Whole nanoseconds of a number of seconds; `None` out of bounds.
pub(crate) fn seconds_to_ns(seconds: f64) -> Option<u64> {
    (0.0..=crate::record::MAX_TIME_S).contains(&seconds).then(|| (seconds * SECOND_NS as f64).round() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_are_exact() {
        for (text, expected) in [
            ("0", Some(0)),
            ("0.046926808", Some(46_926_808)),
            ("12.5", Some(12_500_000_000)),
            ("5.8926549999999995", Some(5_892_655_000)),
            ("1e-3", Some(1_000_000)),
            ("4000000000", Some(MAX_ARRIVAL_NS)),
            ("4000000000.000000001", None),
            ("3999999999.999999999", Some(MAX_ARRIVAL_NS - 1)),
            ("99999999999", None),
            ("-1", None),
            ("NaN", None),
            ("", None),
            (".", None),
            ("1.2.3", None),
        ] {
            assert_eq!(parse_seconds_ns(text), expected, "{text:?}");
        }
        for ns in [0, 1, 999_999_999, 1_000_000_000, 46_926_808, MAX_ARRIVAL_NS - 1] {
            assert_eq!(parse_seconds_ns(&Seconds(ns).to_string()), Some(ns));
        }
    }

    #[test]
    fn blocks_of_another_size() {
        let record = |prompt_tokens, blocks: &[u64]| RequestRecord {
            block_tokens: 512,
            prompt_blocks: blocks.into(),
            ..RequestRecord::new(0, prompt_tokens, 1)
        };
        let check = |prompt_tokens, blocks: &[u64], size, expected: Option<&[u64]>| {
            let got = record(prompt_tokens, blocks).blocks_of(size);
            assert_eq!(got.as_deref(), expected, "{prompt_tokens} tokens in {blocks:?}, by {size}");
        };
        // Two full blocks, and a last one that is not.
        check(1100, &[7, 8, 9], 512, Some(&[7, 8]));
        check(1100, &[7, 8, 9], 256, Some(&[14, 15, 16, 17]));
        check(1300, &[7, 8, 9], 256, Some(&[14, 15, 16, 17, 18]));
        check(2100, &[7, 8, 9, 10, 11], 1024, Some(&[8, 10]));
        check(1100, &[7, 8, 9], 500, None);
        check(1100, &[7, 8, 9], 0, None);
        assert_eq!(RequestRecord::new(0, 100, 1).blocks_of(16), Some(Vec::new()));
        // 600 tokens of the prompt and 500 of an answer whose blocks are known.
        let turn = RequestRecord { output_tokens: 500, output_blocks: [8].into(), ..record(600, &[7]) };
        assert_eq!(turn.blocks_of(512), Some(vec![7, 8]));
        assert_eq!(turn.blocks_of(256), Some(vec![14, 15, 16, 17]));
        assert_eq!(turn.blocks_of(1024), Some(vec![8]));
    }
}
