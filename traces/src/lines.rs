//! Lines of JSON, plain or compressed, with errors that say where.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

use crate::error::TraceError;
use crate::rows::{BUFFER_BYTES, MAX_ROW_BYTES, open_bytes};

/// A file with an object of JSON on each line that is not blank.
pub(crate) struct JsonLines {
    reader: BufReader<Box<dyn Read + Send>>,
    path: PathBuf,
    line: u64,
    text: Vec<u8>,
}

impl JsonLines {
    pub(crate) fn open(path: &Path) -> Result<Self, TraceError> {
        let reader = BufReader::with_capacity(BUFFER_BYTES, open_bytes(path)?);
        Ok(Self { reader, path: path.to_owned(), line: 0, text: Vec::new() })
    }

    /// Does the file begin with an object?
    pub(crate) fn is_json(path: &Path) -> Result<bool, TraceError> {
        let mut reader = BufReader::new(open_bytes(path)?);
        let start = reader.fill_buf().map_err(|error| TraceError::io(path, &error))?;
        let mut text = start.strip_prefix(BYTE_ORDER_MARK).unwrap_or(start).iter();
        Ok(text.find(|byte| !byte.is_ascii_whitespace()) == Some(&b'{'))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Goes to the next line; `None` at the end of the file.
    pub(crate) fn advance<T: DeserializeOwned>(&mut self) -> Result<Option<T>, TraceError> {
        loop {
            self.text.clear();
            self.line += 1;
            let mut limited = (&mut self.reader).take(MAX_ROW_BYTES as u64 + 1);
            let count = limited.read_until(b'\n', &mut self.text);
            let count = count.map_err(|error| TraceError {
                line: (self.line > 1).then_some(self.line),
                ..TraceError::io(&self.path, &error)
            })?;
            if count == 0 {
                return Ok(None);
            }
            if count > MAX_ROW_BYTES {
                let message = format!("expected rows of at most {MAX_ROW_BYTES} bytes, got a longer one");
                return Err(TraceError::line(&self.path, self.line, message));
            }
            let text = self.text.as_slice();
            let text = text.strip_prefix(BYTE_ORDER_MARK).filter(|_| self.line == 1).unwrap_or(text);
            if !text.iter().all(u8::is_ascii_whitespace) {
                return serde_json::from_slice(text).map(Some).map_err(|_| self.json_error::<T>(text));
            }
        }
    }

    /// Reads the line again, slowly, to say which field is wrong.
    fn json_error<T: DeserializeOwned>(&self, text: &[u8]) -> TraceError {
        let mut json = serde_json::Deserializer::from_slice(text);
        let result = serde_path_to_error::deserialize::<_, T>(&mut json);
        let (column, error) = match result {
            Err(error) => {
                let path = error.path().to_string();
                (Some(path).filter(|path| path != "."), error.into_inner())
            }
            Ok(_) => match json.end() {
                Err(error) => (None, error),
                Ok(()) => return TraceError::line(&self.path, self.line, "expected an object of JSON"),
            },
        };
        // The line is that of the file, and a place in it helps where no field is named.
        let shown = error.to_string();
        let place = format!(" at line {} column {}", error.line(), error.column());
        let mut message = shown.strip_suffix(&place).unwrap_or(&shown).to_owned();
        if column.is_none() {
            message = format!("{message} at character {}", error.column());
        }
        TraceError { column, ..TraceError::line(&self.path, self.line, message) }
    }

    /// An error about a field of the present line.
    pub(crate) fn unexpected(&self, field: &str, expected: &str, got: &str) -> TraceError {
        let message = format!("expected {expected}, got {got:?}");
        TraceError { column: Some(field.to_owned()), ..TraceError::line(&self.path, self.line, message) }
    }
}

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
