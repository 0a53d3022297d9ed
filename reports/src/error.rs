//! Everything that can go wrong between a run's results and its files.

use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

/// Why a report could not be made.
#[derive(Debug, Error)]
pub enum ReportError {
    /// The file system refused.
    #[error("failed to {action} {}: {source}", path.display())]
    Io {
        /// What was tried: `write`, `read`, `create`, `rename`.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// The refusal.
        source: io::Error,
    },
    /// The target is neither absent, nor empty, nor wholly written by a previous run. Nothing was touched.
    #[error("failed to replace {}: {reason}", path.display())]
    Occupied {
        /// The target.
        path: PathBuf,
        /// What is in the way.
        reason: String,
    },
    /// A directory that no run wrote.
    #[error("{} is not a run directory: expected a manifest.json that `foretell run` wrote", path.display())]
    NoRun {
        /// The directory.
        path: PathBuf,
    },
    /// A plot could not be drawn.
    #[error("failed to draw {file}: {message}")]
    Plot {
        /// The plot's file name.
        file: &'static str,
        /// What the plotting library said.
        message: String,
    },
    /// A JSON document could not be made.
    #[error("failed to write {file}: {source}")]
    Json {
        /// The document's file name.
        file: &'static str,
        /// What the serialiser said.
        source: serde_json::Error,
    },
    /// A row of a `jobs.csv` is not what `write_jobs` writes.
    #[error("failed to read jobs.csv: line {line}: {message}")]
    Jobs {
        /// Line, from 1; the header is line 1.
        line: u64,
        /// What was expected.
        message: String,
    },
}

impl ReportError {
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { action, path: path.to_owned(), source }
    }
}
