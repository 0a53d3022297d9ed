//! Vidur's files: traces with arrivals, traces of lengths only, and what a run of it writes of its requests.

use crate::error::TraceError;
use crate::record::expected_seconds;
use crate::requests::record::{
    Lengths, MAX_ARRIVAL_NS, MAX_TOKENS, RequestRecord, parse_seconds_ns, seconds_to_ns,
};
use crate::requests::source::{Row, Source};
use crate::rows::{Column, Rows};

/// Of a trace: when requests arrive. Files of lengths do not have it.
pub(crate) const ARRIVAL: &str = "arrived_at";
pub(crate) const PROMPT: &str = "num_prefill_tokens";
const OUTPUT: &str = "num_decode_tokens";

/// Of a run: seconds since the request before.
pub(crate) const DELAY: &str = "request_inter_arrival_delay";
const RUN_PROMPT: &str = "request_num_prefill_tokens";
const RUN_OUTPUT: &str = "request_num_decode_tokens";

/// How a file says when requests arrive.
#[derive(Clone, Copy)]
enum Arrival {
    /// Seconds since the start of the trace.
    At(Column),
    /// Seconds since the request before.
    After(Column),
}

/// Other columns (ratios, results of the run) are allowed and not read.
pub(crate) struct Reader {
    rows: Rows,
    arrival: Arrival,
    prompt: Column,
    output: Column,
    /// Where delays are summed up: as Vidur does, in floating point.
    now_s: f64,
}

impl Reader {
    /// A trace with arrivals.
    pub(crate) fn trace(rows: Rows) -> Result<Self, TraceError> {
        let arrival = Arrival::At(rows.required(ARRIVAL)?);
        Self::new(rows, arrival, PROMPT, OUTPUT)
    }

    /// The requests of a run.
    pub(crate) fn run(rows: Rows) -> Result<Self, TraceError> {
        let arrival = Arrival::After(rows.required(DELAY)?);
        Self::new(rows, arrival, RUN_PROMPT, RUN_OUTPUT)
    }

    fn new(
        rows: Rows,
        arrival: Arrival,
        prompt: &'static str,
        output: &'static str,
    ) -> Result<Self, TraceError> {
        let (prompt, output) = (rows.required(prompt)?, rows.required(output)?);
        Ok(Self { rows, arrival, prompt, output, now_s: 0.0 })
    }
}

impl Source for Reader {
    fn advance(&mut self) -> Result<Row, TraceError> {
        let rows = &mut self.rows;
        if !rows.advance()? {
            return Ok(Row::End);
        }
        let arrival_ns = match self.arrival {
            Arrival::At(column) => {
                let text = rows.text(column);
                parse_seconds_ns(text).ok_or_else(|| rows.unexpected(ARRIVAL, &expected_seconds(), text))?
            }
            Arrival::After(column) => {
                self.now_s += rows.seconds(column)?;
                let too_late = || {
                    let expected = format!("a sum of delays up to {} s", MAX_ARRIVAL_NS / 1_000_000_000);
                    rows.unexpected(DELAY, &expected, rows.text(column))
                };
                seconds_to_ns(self.now_s).ok_or_else(too_late)?
            }
        };
        let Lengths { prompt_tokens, output_tokens } = lengths(rows, self.prompt, self.output)?;
        Ok(Row::Request(RequestRecord::new(arrival_ns, prompt_tokens, output_tokens)))
    }

    fn unexpected_arrival(&self, expected: &str) -> TraceError {
        let (Arrival::At(column) | Arrival::After(column)) = self.arrival;
        let name = if matches!(self.arrival, Arrival::At(_)) { ARRIVAL } else { DELAY };
        self.rows.unexpected(name, expected, self.rows.text(column))
    }
}

fn lengths(rows: &Rows, prompt: Column, output: Column) -> Result<Lengths, TraceError> {
    Ok(Lengths {
        prompt_tokens: rows.whole(prompt, 1, MAX_TOKENS)?,
        output_tokens: rows.whole(output, 1, MAX_TOKENS)?,
    })
}

/// Does this file have lengths, but no arrivals?
pub(crate) fn has_lengths_only(rows: &Rows) -> bool {
    rows.optional(PROMPT).is_some() && rows.optional(OUTPUT).is_some() && rows.optional(ARRIVAL).is_none()
}

/// Lengths of all rows.
pub(crate) fn read_lengths(mut rows: Rows) -> Result<Vec<Lengths>, TraceError> {
    let (prompt, output) = (rows.required(PROMPT)?, rows.required(OUTPUT)?);
    let mut all = Vec::new();
    while rows.advance()? {
        all.push(lengths(&rows, prompt, output)?);
    }
    Ok(all)
}
