//! foretell's own CSV of requests: one row per request, units in the header.

use std::fmt::{self, Display};
use std::path::Path;

use crate::error::TraceError;
use crate::output::{Fields, RowWriter};
use crate::record::expected_seconds;
use crate::requests::record::{
    Lengths, MAX_BLOCK_TOKENS, MAX_TOKENS, RequestRecord, Seconds, most_blocks, parse_seconds_ns,
};
use crate::requests::source::{Row, Source};
use crate::rows::{Column, Rows};

/// The columns, in the order in which they are written. A file may leave out all but the first three, and may have
/// them in any order; what is left out, or blank in a row, has its default.
pub const COLUMNS: [&str; 9] = [
    ARRIVAL,
    "prompt_tokens",
    "output_tokens",
    "session",
    "priority",
    "model",
    "block_tokens",
    BLOCKS,
    OUTPUT_BLOCKS,
];

pub(crate) const ARRIVAL: &str = "arrival_s";
const BLOCKS: &str = "prompt_blocks";
const OUTPUT_BLOCKS: &str = "output_blocks";

pub(crate) struct Reader {
    rows: Rows,
    arrival: Column,
    prompt: Column,
    output: Column,
    session: Option<Column>,
    priority: Option<Column>,
    model: Option<Column>,
    block_tokens: Option<Column>,
    blocks: Option<Column>,
    output_blocks: Option<Column>,
}

impl Reader {
    pub(crate) fn new(rows: Rows) -> Result<Self, TraceError> {
        rows.expect_known(&COLUMNS)?;
        Ok(Self {
            arrival: rows.required(ARRIVAL)?,
            prompt: rows.required("prompt_tokens")?,
            output: rows.required("output_tokens")?,
            session: rows.optional("session"),
            priority: rows.optional("priority"),
            model: rows.optional("model"),
            block_tokens: rows.optional("block_tokens"),
            blocks: rows.optional(BLOCKS),
            output_blocks: rows.optional(OUTPUT_BLOCKS),
            rows,
        })
    }
}

impl Source for Reader {
    fn advance(&mut self) -> Result<Row, TraceError> {
        let rows = &mut self.rows;
        if !rows.advance()? {
            return Ok(Row::End);
        }
        let text = rows.text(self.arrival);
        let arrival_ns =
            parse_seconds_ns(text).ok_or_else(|| rows.unexpected(ARRIVAL, &expected_seconds(), text))?;
        let prompt_tokens = rows.whole(self.prompt, 1, MAX_TOKENS)?;
        let block_tokens = rows.whole_or(self.block_tokens, 0, 0, MAX_BLOCK_TOKENS)?;
        let lengths = Lengths { prompt_tokens, output_tokens: rows.whole(self.output, 1, MAX_TOKENS)? };
        let most = most_blocks(prompt_tokens, block_tokens);
        let prompt_blocks = blocks(rows, self.blocks, BLOCKS, most)?;
        let most = lengths.most_output_blocks(block_tokens);
        let output_blocks = blocks(rows, self.output_blocks, OUTPUT_BLOCKS, most)?;
        let session = self.session.filter(|&column| !rows.text(column).is_empty());
        Ok(Row::Request(RequestRecord {
            arrival_ns,
            prompt_tokens,
            output_tokens: lengths.output_tokens,
            session: session.map(|column| rows.whole(column, 0, u64::MAX)).transpose()?,
            priority: rows.whole_or(self.priority, 0, i32::MIN, i32::MAX)?,
            model: rows.name_or_empty(self.model)?.into(),
            block_tokens,
            prompt_blocks,
            output_blocks,
        }))
    }

    fn unexpected_arrival(&self, expected: &str) -> TraceError {
        self.rows.unexpected(ARRIVAL, expected, self.rows.text(self.arrival))
    }
}

/// The ids in a column, at most so many; none where it is absent or its cell blank.
fn blocks(
    rows: &Rows,
    column: Option<Column>,
    name: &'static str,
    most: usize,
) -> Result<Box<[u64]>, TraceError> {
    let text = column.map_or("", |column| rows.text(column));
    let mut ids = Vec::new();
    if text.is_empty() || parse_blocks(text, most, &mut ids) {
        return Ok(ids.into());
    }
    Err(rows.unexpected(name, &format!("at most {most} ids of blocks such as `7 12-40`"), text))
}

/// Reads at most so many ids, single ones and ranges with both ends, separated by spaces. `false` if it is anything else.
fn parse_blocks(text: &str, most: usize, ids: &mut Vec<u64>) -> bool {
    for part in text.split(' ') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (Ok(first), Ok(last)) = (first.parse::<u64>(), last.parse::<u64>()) else { return false };
        if last < first || last - first >= (most - ids.len()) as u64 {
            return false;
        }
        ids.extend(first..=last);
    }
    true
}

/// Ids as they are written: runs of consecutive ones as ranges.
struct Blocks<'a>(&'a [u64]);

impl Display for Blocks<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let runs = self.0.chunk_by(|&one, &next| one.checked_add(1) == Some(next));
        for (position, run) in runs.enumerate() {
            if position > 0 {
                formatter.write_str(" ")?;
            }
            match *run {
                [first, .., last] => write!(formatter, "{first}-{last}")?,
                [only] => write!(formatter, "{only}")?,
                [] => {}
            }
        }
        Ok(())
    }
}

/// Writes a canonical file of requests, compressed if its name ends in `.gz`. The file appears under its name only when
/// it is whole.
pub struct Writer {
    rows: RowWriter,
}

fn write_row(fields: &mut Fields<'_>, request: &RequestRecord) -> csv::Result<()> {
    fields.number(Seconds(request.arrival_ns))?;
    fields.number(request.prompt_tokens)?;
    fields.number(request.output_tokens)?;
    fields.number_or_blank(request.session)?;
    fields.number(request.priority)?;
    fields.text(&request.model)?;
    fields.number(request.block_tokens)?;
    fields.number(Blocks(&request.prompt_blocks))?;
    fields.number(Blocks(&request.output_blocks))
}

impl Writer {
    /// Begins a file.
    pub fn create(path: &Path) -> Result<Self, TraceError> {
        Ok(Self { rows: RowWriter::create(path, &COLUMNS)? })
    }

    /// Appends a request. It must be valid, else the file would not read back.
    pub fn write(&mut self, request: &RequestRecord) -> Result<(), TraceError> {
        self.rows.write(request.check(), |fields| write_row(fields, request))
    }

    /// Puts the file in place.
    pub fn finish(self) -> Result<(), TraceError> {
        self.rows.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_in_few_words() {
        for (ids, expected) in [
            (&[][..], ""),
            (&[7], "7"),
            (&[7, 8], "7-8"),
            (&[0, 12, 13, 14, 3, 2, 2], "0 12-14 3 2 2"),
            (&[u64::MAX, 0], "18446744073709551615 0"),
        ] {
            assert_eq!(Blocks(ids).to_string(), expected);
            let mut read = Vec::new();
            assert!(ids.is_empty() || parse_blocks(expected, ids.len(), &mut read));
            assert_eq!(read, ids);
        }
        for bad in ["1  2", "a", "3-1", "1-3-5", "0-18446744073709551615", "1 2 3 4", "-1"] {
            assert!(!parse_blocks(bad, 3, &mut Vec::new()), "{bad:?}");
        }
    }
}
