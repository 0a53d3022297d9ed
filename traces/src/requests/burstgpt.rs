//! `BurstGPT` (Wang et al., KDD 2025): requests to `ChatGPT` and GPT-4 on Azure over months, with their failures.

use std::collections::HashMap;

use crate::error::TraceError;
use crate::record::expected_seconds;
use crate::requests::record::{MAX_TOKENS, RequestRecord, parse_seconds_ns};
use crate::requests::source::{Row, Source};
use crate::rows::{Column, Rows};

/// Of both releases; `Session ID` and `Elapsed time` are only in the second.
pub(crate) const COLUMNS: [&str; 8] = [
    TIMESTAMP,
    "Session ID",
    "Elapsed time",
    "Model",
    "Request tokens",
    "Response tokens",
    "Total tokens",
    "Log Type",
];

const TIMESTAMP: &str = "Timestamp";

/// Arrivals are taken as they stand. Requests without an answer failed, and are skipped.
pub(crate) struct Reader {
    rows: Rows,
    timestamp: Column,
    session: Option<Column>,
    model: Option<Column>,
    prompt: Column,
    output: Column,
    /// Sessions by name, numbered in the order in which they begin.
    sessions: HashMap<Box<str>, u64>,
}

impl Reader {
    pub(crate) fn new(rows: Rows) -> Result<Self, TraceError> {
        rows.expect_known(&COLUMNS)?;
        Ok(Self {
            timestamp: rows.required(TIMESTAMP)?,
            session: rows.optional("Session ID"),
            model: rows.optional("Model"),
            prompt: rows.required("Request tokens")?,
            output: rows.required("Response tokens")?,
            rows,
            sessions: HashMap::new(),
        })
    }
}

impl Source for Reader {
    fn advance(&mut self) -> Result<Row, TraceError> {
        let rows = &mut self.rows;
        if !rows.advance()? {
            return Ok(Row::End);
        }
        let text = rows.text(self.timestamp);
        let arrival_ns =
            parse_seconds_ns(text).ok_or_else(|| rows.unexpected(TIMESTAMP, &expected_seconds(), text))?;
        let prompt_tokens = rows.whole(self.prompt, 0, MAX_TOKENS)?;
        let output_tokens = rows.whole(self.output, 0, MAX_TOKENS)?;
        if prompt_tokens == 0 || output_tokens == 0 {
            return Ok(Row::Skipped);
        }
        let name = rows.name_or_empty(self.session)?;
        let session = match self.sessions.get(name) {
            _ if name.is_empty() => None,
            Some(&number) => Some(number),
            None => {
                let number = self.sessions.len() as u64;
                self.sessions.insert(name.into(), number);
                Some(number)
            }
        };
        Ok(Row::Request(RequestRecord {
            session,
            model: rows.name_or_empty(self.model)?.into(),
            ..RequestRecord::new(arrival_ns, prompt_tokens, output_tokens)
        }))
    }

    fn unexpected_arrival(&self, expected: &str) -> TraceError {
        self.rows.unexpected(TIMESTAMP, expected, self.rows.text(self.timestamp))
    }
}
