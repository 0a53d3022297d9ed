//! Why a suite could not be run. None of these says anything of the simulator: the data are unusable.

use std::path::{Path, PathBuf};

use foretell_traces::TraceError;
use thiserror::Error;

use crate::openb::ExperimentError;

/// Why a suite could not be run.
#[derive(Debug, Error)]
pub enum Error {
    /// A file of the suite's own formats.
    #[error(transparent)]
    Data(#[from] DataError),
    /// A trace.
    #[error(transparent)]
    Trace(#[from] TraceError),
    /// An experiment that the data describe and that cannot be run.
    #[error(transparent)]
    Experiment(#[from] ExperimentError),
    /// A workload that cannot be run on the cluster that the data describe.
    #[error("{}: {message}", .path.display())]
    Run {
        /// The file that states it.
        path: PathBuf,
        /// Why.
        message: String,
    },
    /// A policy that foretell does not have.
    #[error("unknown policy `{name}`: expected one of {known}")]
    UnknownPolicy {
        /// Its name.
        name: String,
        /// What there is.
        known: String,
    },
    /// Nothing is published for the wanted traces, policies and seeds.
    #[error("{}: nothing published there matches the selection", .path.display())]
    NothingSelected {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// Results are published for a seed that has no arrival order.
    #[error("{}: no arrival order or node rank for seed {seed}, for which results are published", .path.display())]
    NoSeed {
        /// The file of orders.
        path: PathBuf,
        /// The seed.
        seed: u64,
    },
    /// A pod or node that the trace does not have.
    #[error("{}: `{name}` is neither a pod nor a node of the trace", .path.display())]
    UnknownName {
        /// The file that names it.
        path: PathBuf,
        /// The name.
        name: String,
    },
}

/// A file that cannot be used.
#[derive(Debug, Error)]
pub enum DataError {
    /// It is not there.
    #[error("{}: not found, neither plain nor with .gz", .path.display())]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// It cannot be read.
    #[error("{}: {cause}", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        cause: std::io::Error,
    },
    /// It is not CSV.
    #[error("{}: {message}", .path.display())]
    Csv {
        /// The file.
        path: PathBuf,
        /// What is wrong, with the line.
        message: String,
    },
    /// Its name does not say what it is.
    #[error("{}: expected a name like {expected}", .path.display())]
    Name {
        /// The file.
        path: PathBuf,
        /// What names look like.
        expected: &'static str,
    },
    /// A run that another table has is missing from it.
    #[error("{}: no row for {run}, which another table has", .path.display())]
    NoRun {
        /// The file.
        path: PathBuf,
        /// Trace, policy and seed.
        run: String,
    },
    /// A document without the fields that it should have.
    #[error("{}: expected {expected}", .path.display())]
    Field {
        /// The file.
        path: PathBuf,
        /// What should be there.
        expected: String,
    },
    /// One of its lines is not what it should be.
    #[error("{}:{line}: expected {expected}", .path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: u64,
        /// What should be there.
        expected: String,
    },
}

impl DataError {
    pub(crate) fn io(path: &Path, cause: std::io::Error) -> Self {
        Self::Io { path: path.to_owned(), cause }
    }

    pub(crate) fn csv(path: &Path, error: &csv::Error) -> Self {
        Self::Csv { path: path.to_owned(), message: error.to_string() }
    }
}
