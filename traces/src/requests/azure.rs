//! Traces of Azure's inference services: those of 2023 (Patel et al., ISCA 2024) and those of 2024, which are larger.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::Offset;

use crate::error::TraceError;
use crate::requests::record::{MAX_ARRIVAL_NS, MAX_TOKENS, RequestRecord};
use crate::requests::source::{Row, Source};
use crate::rows::{Column, Rows};

pub(crate) const COLUMNS: [&str; 3] = [TIMESTAMP, "ContextTokens", "GeneratedTokens"];

const TIMESTAMP: &str = "TIMESTAMP";

const EXPECTED_TIMESTAMP: &str = "a time such as 2023-11-16 18:17:03.9799600 or 2024-05-10 00:00:00.009930+00:00, UTC if it names no offset";

/// Arrivals are counted from the first row.
pub(crate) struct Reader {
    rows: Rows,
    timestamp: Column,
    prompt: Column,
    output: Column,
    start_ns: Option<i128>,
}

impl Reader {
    pub(crate) fn new(rows: Rows) -> Result<Self, TraceError> {
        rows.expect_known(&COLUMNS)?;
        Ok(Self {
            timestamp: rows.required(TIMESTAMP)?,
            prompt: rows.required("ContextTokens")?,
            output: rows.required("GeneratedTokens")?,
            rows,
            start_ns: None,
        })
    }
}

/// Nanoseconds since 1970.
fn parse(text: &str) -> Option<i128> {
    // A sign after the date is that of an offset.
    let has_offset = text.get(10..).is_some_and(|time| time.contains(['+', '-', 'Z', 'z']));
    let timestamp = if has_offset {
        text.parse::<Timestamp>().ok()?
    } else {
        Offset::UTC.to_timestamp(text.parse::<DateTime>().ok()?).ok()?
    };
    Some(timestamp.as_nanosecond())
}

impl Source for Reader {
    fn advance(&mut self) -> Result<Row, TraceError> {
        let rows = &mut self.rows;
        if !rows.advance()? {
            return Ok(Row::End);
        }
        let text = rows.text(self.timestamp);
        let unexpected = || rows.unexpected(TIMESTAMP, EXPECTED_TIMESTAMP, text);
        let time_ns = parse(text).ok_or_else(unexpected)?;
        let start_ns = *self.start_ns.get_or_insert(time_ns);
        if time_ns < start_ns {
            return Err(self.unexpected_arrival("rows in order of arrival, none before the first"));
        }
        let arrival_ns = u64::try_from(time_ns - start_ns).ok().filter(|&ns| ns <= MAX_ARRIVAL_NS);
        let arrival_ns = arrival_ns.ok_or_else(unexpected)?;
        let prompt_tokens = rows.whole(self.prompt, 0, MAX_TOKENS)?;
        let output_tokens = rows.whole(self.output, 0, MAX_TOKENS)?;
        if prompt_tokens == 0 || output_tokens == 0 {
            return Ok(Row::Skipped);
        }
        Ok(Row::Request(RequestRecord::new(arrival_ns, prompt_tokens, output_tokens)))
    }

    fn unexpected_arrival(&self, expected: &str) -> TraceError {
        self.rows.unexpected(TIMESTAMP, expected, self.rows.text(self.timestamp))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_of_both_years() {
        let second = 1_700_158_623;
        for (text, expected) in [
            ("2023-11-16 18:17:03.9799600", Some(second * 1_000_000_000 + 979_960_000)),
            ("2023-11-16 18:17:03", Some(second * 1_000_000_000)),
            ("2023-11-16 18:17:03.979960+00:00", Some(second * 1_000_000_000 + 979_960_000)),
            ("2023-11-16T20:17:03+02:00", Some(second * 1_000_000_000)),
            ("2023-11-16 18:17:03Z", Some(second * 1_000_000_000)),
            ("2023-11-31 18:17:03", None),
            ("17:03", None),
            ("", None),
        ] {
            assert_eq!(parse(text), expected, "{text:?}");
        }
    }
}
