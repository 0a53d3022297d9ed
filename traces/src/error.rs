//! What can be wrong with a trace, and where.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// A trace that cannot be read or written. Its message is one line: `file:line: column "name": what is wrong`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct TraceError {
    /// The file.
    pub path: PathBuf,
    /// The line, from 1, where the problem has one.
    pub line: Option<u64>,
    /// The column, where the problem has one.
    pub column: Option<String>,
    /// What was expected, and what is there.
    pub message: String,
}

impl TraceError {
    pub(crate) fn file(path: &Path, message: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line: None, column: None, message: message.into() }
    }

    pub(crate) fn line(path: &Path, line: u64, message: impl Into<String>) -> Self {
        Self { line: Some(line), ..Self::file(path, message) }
    }

    pub(crate) fn io(path: &Path, error: &io::Error) -> Self {
        let message = match error.kind() {
            io::ErrorKind::NotFound => "no such file".to_owned(),
            io::ErrorKind::IsADirectory => "expected a file, got a directory".to_owned(),
            io::ErrorKind::UnexpectedEof => {
                "the compressed data end too early: the file is truncated".to_owned()
            }
            io::ErrorKind::InvalidInput => "the compressed data are damaged".to_owned(),
            _ => error.to_string(),
        };
        Self::file(path, message)
    }
}

impl fmt::Display for TraceError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // What is generated has no file.
        if !self.path.as_os_str().is_empty() {
            write!(formatter, "{}", self.path.display())?;
            if let Some(line) = self.line {
                write!(formatter, ":{line}")?;
            }
            formatter.write_str(": ")?;
        }
        if let Some(column) = &self.column {
            write!(formatter, "column {column:?}: ")?;
        }
        formatter.write_str(&self.message)
    }
}
