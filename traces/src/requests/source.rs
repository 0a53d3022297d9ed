//! Requests of a file, one at a time, and what all formats have in common.

use crate::error::TraceError;
use crate::requests::record::{RequestRecord, Seconds};

/// One row of a file.
pub(crate) enum Row {
    /// There are no more.
    End,
    /// A row that is no request to serve, such as one that failed.
    Skipped,
    /// A request.
    Request(RequestRecord),
}

/// A file in one of the formats.
pub(crate) trait Source: Send {
    /// Goes to the next row.
    fn advance(&mut self) -> Result<Row, TraceError>;

    /// An error about the arrival in the present row.
    fn unexpected_arrival(&self, expected: &str) -> TraceError;
}

/// Requests of a file in order of arrival, streamed. After an error there are no more.
pub struct Requests {
    source: Box<dyn Source>,
    previous_ns: u64,
    skipped: u64,
    ended: bool,
}

impl Requests {
    pub(crate) fn new(source: impl Source + 'static) -> Self {
        Self { source: Box::new(source), previous_ns: 0, skipped: 0, ended: false }
    }

    /// Rows so far that were passed over: requests without an answer, which failed.
    pub fn skipped(&self) -> u64 {
        self.skipped
    }

    fn read(&mut self) -> Result<Option<RequestRecord>, TraceError> {
        loop {
            let request = match self.source.advance()? {
                Row::End => return Ok(None),
                Row::Skipped => {
                    self.skipped += 1;
                    continue;
                }
                Row::Request(request) => request,
            };
            if request.arrival_ns < self.previous_ns {
                let expected =
                    format!("rows in order of arrival, at {} s or later", Seconds(self.previous_ns));
                return Err(self.source.unexpected_arrival(&expected));
            }
            self.previous_ns = request.arrival_ns;
            return Ok(Some(request));
        }
    }
}

impl Iterator for Requests {
    type Item = Result<RequestRecord, TraceError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let row = self.read().transpose();
        self.ended = !matches!(row, Some(Ok(_)));
        row
    }
}
