//! Rows of a CSV file, plain or compressed, with errors that say where.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use csv::{ErrorKind, StringRecord};
use flate2::bufread::MultiGzDecoder;

use crate::error::TraceError;
use crate::record::{MAX_TEXT_BYTES, MAX_TIME_S};
use crate::record::{expected_seconds, expected_text, expected_whole, is_text};

/// Longest row in bytes. Without a limit one missing newline or closing quote would take all memory.
pub(crate) const MAX_ROW_BYTES: usize = 1 << 20;

/// Bytes read at a time.
pub(crate) const BUFFER_BYTES: usize = 1 << 16;

/// The first two bytes of gzip data.
const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

/// A file, decompressed if its first bytes say that it is compressed.
pub(crate) fn open_bytes(path: &Path) -> Result<Box<dyn Read + Send>, TraceError> {
    let io_error = |error| TraceError::io(path, &error);
    let file = File::open(path).map_err(io_error)?;
    let mut file = BufReader::with_capacity(BUFFER_BYTES, file);
    let compressed = file.fill_buf().map_err(io_error)?.starts_with(&GZIP_MAGIC);
    Ok(if compressed { Box::new(MultiGzDecoder::new(file)) } else { Box::new(file) })
}

/// Passes bytes on until one row has taken too many.
struct LimitedRows {
    inner: Box<dyn Read + Send>,
    /// Read since the present row began, which whoever counts the rows sets back to 0.
    row_bytes: usize,
}

#[derive(Debug, thiserror::Error)]
#[error("expected rows of at most {MAX_ROW_BYTES} bytes, got a longer one")]
struct RowTooLong;

impl Read for LimitedRows {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        // A row may begin late in a buffer that was read before, and end early in one that is read now.
        if self.row_bytes > MAX_ROW_BYTES {
            return Err(io::Error::other(RowTooLong));
        }
        let count = self.inner.read(buffer)?;
        self.row_bytes += count;
        Ok(count)
    }
}

/// A column of a file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Column {
    index: usize,
    name: &'static str,
}

/// The rows of a CSV file, one at a time.
pub(crate) struct Rows {
    reader: csv::Reader<LimitedRows>,
    path: PathBuf,
    header: Vec<String>,
    record: StringRecord,
    line: u64,
}

impl Rows {
    /// Opens a file of comma-separated values and reads its header.
    pub(crate) fn open(path: &Path) -> Result<Self, TraceError> {
        Self::open_delimited(path, b',')
    }

    /// Opens a file and reads its header. Only where the delimiter is a comma have quotes a meaning.
    pub(crate) fn open_delimited(path: &Path, delimiter: u8) -> Result<Self, TraceError> {
        let reader = csv::ReaderBuilder::new()
            .has_headers(false)
            .delimiter(delimiter)
            .quoting(delimiter == b',')
            .buffer_capacity(1 << 16)
            .from_reader(LimitedRows { inner: open_bytes(path)?, row_bytes: 0 });
        let (path, record) = (path.to_owned(), StringRecord::new());
        let mut rows = Self { reader, path, header: Vec::new(), record, line: 0 };
        if !rows.advance()? {
            return Err(TraceError::line(&rows.path, 1, "expected a header, got an empty file"));
        }
        rows.header = rows.record.iter().map(str::to_owned).collect();
        for (position, name) in rows.header.iter().enumerate() {
            if rows.header[..position].contains(name) {
                return Err(rows.header_error(name, "expected each column once, got it twice"));
            }
        }
        Ok(rows)
    }

    pub(crate) fn header(&self) -> &[String] {
        &self.header
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    fn header_error(&self, column: &str, message: impl Into<String>) -> TraceError {
        TraceError { column: Some(column.to_owned()), ..TraceError::line(&self.path, 1, message) }
    }

    /// Every column must be one of these.
    pub(crate) fn expect_known(&self, known: &[&str]) -> Result<(), TraceError> {
        match self.header.iter().find(|name| !known.contains(&name.as_str())) {
            Some(name) => {
                let expected = format!("unknown column; expected only {}", known.join(", "));
                Err(self.header_error(name, expected))
            }
            None => Ok(()),
        }
    }

    /// A column that may be absent.
    pub(crate) fn optional(&self, name: &'static str) -> Option<Column> {
        self.header.iter().position(|header| header == name).map(|index| Column { index, name })
    }

    /// A column that must be there.
    pub(crate) fn required(&self, name: &'static str) -> Result<Column, TraceError> {
        self.optional(name).ok_or_else(|| {
            let got = self.header.join(",");
            let got: String = got.chars().take(200).collect();
            self.header_error(name, format!("missing; the header is {got:?}"))
        })
    }

    /// Goes to the next row; `false` at the end of the file.
    pub(crate) fn advance(&mut self) -> Result<bool, TraceError> {
        let next_line = self.reader.position().line();
        self.reader.get_mut().row_bytes = 0;
        match self.reader.read_record(&mut self.record) {
            Ok(more) => {
                self.line = self.record.position().map_or(self.line, csv::Position::line);
                Ok(more)
            }
            Err(error) => Err(self.csv_error(&error, next_line)),
        }
    }

    fn csv_error(&self, error: &csv::Error, next_line: u64) -> TraceError {
        match error.kind() {
            ErrorKind::Io(cause)
                if cause.get_ref().is_some_and(<dyn std::error::Error + Send + Sync>::is::<RowTooLong>) =>
            {
                TraceError::line(&self.path, next_line, cause.to_string())
            }
            ErrorKind::Io(cause) => {
                TraceError { line: (self.line > 0).then_some(self.line), ..TraceError::io(&self.path, cause) }
            }
            ErrorKind::UnequalLengths { pos, expected_len, len } => {
                let line = pos.as_ref().map_or(next_line, csv::Position::line);
                TraceError::line(&self.path, line, format!("expected {expected_len} fields, got {len}"))
            }
            ErrorKind::Utf8 { pos, err } => {
                let line = pos.as_ref().map_or(next_line, csv::Position::line);
                let column = self.header.get(err.field()).cloned();
                TraceError { column, ..TraceError::line(&self.path, line, "expected UTF-8 text") }
            }
            _ => TraceError::line(&self.path, next_line, error.to_string()),
        }
    }

    /// The text of a field.
    pub(crate) fn text(&self, column: Column) -> &str {
        self.record.get(column.index).unwrap_or("")
    }

    /// The text of a field at a position of the header.
    pub(crate) fn text_at(&self, index: usize) -> &str {
        self.record.get(index).unwrap_or("")
    }

    /// An error about a field of the present row.
    pub(crate) fn unexpected(&self, column: &str, expected: &str, got: &str) -> TraceError {
        let shown: String = got.chars().take(60).collect();
        let ellipsis = if shown.len() < got.len() { "..." } else { "" };
        let message = format!("expected {expected}, got {shown:?}{ellipsis}");
        TraceError { column: Some(column.to_owned()), ..TraceError::line(&self.path, self.line, message) }
    }

    /// A whole number within bounds.
    pub(crate) fn whole<T: FromStr + PartialOrd + std::fmt::Display>(
        &self,
        column: Column,
        min: T,
        max: T,
    ) -> Result<T, TraceError> {
        let text = self.text(column);
        let value = text.parse().ok().filter(|value| min <= *value && *value <= max);
        value.ok_or_else(|| self.unexpected(column.name, &expected_whole(min, max), text))
    }

    /// A whole number within bounds, or the default where the column is absent or its cell blank.
    pub(crate) fn whole_or<T: FromStr + PartialOrd + std::fmt::Display>(
        &self,
        column: Option<Column>,
        default: T,
        min: T,
        max: T,
    ) -> Result<T, TraceError> {
        match column {
            Some(column) if !self.text(column).is_empty() => self.whole(column, min, max),
            _ => Ok(default),
        }
    }

    /// A time or a span in seconds.
    pub(crate) fn seconds(&self, column: Column) -> Result<f64, TraceError> {
        let text = self.text(column);
        let value = text.parse().ok().filter(|value| (0.0..=MAX_TIME_S).contains(value));
        value.ok_or_else(|| self.unexpected(column.name, &expected_seconds(), text))
    }

    /// A time or a span in seconds, `None` where the column is absent or its cell blank.
    pub(crate) fn seconds_or_none(&self, column: Option<Column>) -> Result<Option<f64>, TraceError> {
        let column = column.filter(|&column| !self.text(column).is_empty());
        column.map(|column| self.seconds(column)).transpose()
    }

    /// A name, which may be empty.
    pub(crate) fn name(&self, column: Column) -> Result<&str, TraceError> {
        let text = self.text(column);
        if is_text(text) { Ok(text) } else { Err(self.unexpected(column.name, &expected_text(), text)) }
    }

    /// A name, empty where the column is absent.
    pub(crate) fn name_or_empty(&self, column: Option<Column>) -> Result<&str, TraceError> {
        column.map_or(Ok(""), |column| self.name(column))
    }

    /// Names of GPU models, separated by `|`; empty for none, and where the column is absent.
    pub(crate) fn gpu_models(&self, column: Option<Column>) -> Result<&str, TraceError> {
        let Some(column) = column else { return Ok("") };
        let models = self.name(column)?;
        if !models.is_empty() && models.split('|').any(str::is_empty) {
            return Err(self.unexpected(column.name, "names of GPU models separated by \"|\"", models));
        }
        Ok(models)
    }

    /// A name that is not empty.
    pub(crate) fn identifier(&self, column: Column) -> Result<&str, TraceError> {
        let name = self.name(column)?;
        if name.is_empty() {
            let expected = format!("a name of 1 to {MAX_TEXT_BYTES} bytes");
            return Err(self.unexpected(column.name, &expected, name));
        }
        Ok(name)
    }
}
