//! Holds the policies against what the schedulers' own tests expect: a folder of cases, one YAML stream per file, the case
//! first and the objects that it is about after it.

mod case;
mod kai;
mod kube;
mod kueue;
mod report;
mod scheduler_plugins;
mod volcano;

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use rayon::prelude::*;

pub use case::{API_VERSION, Case};
pub use report::{CaseResult, ConformanceReport};

use crate::{DataError, Error, Progress};

/// What came of a case.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// As expected.
    Passed,
    /// Not as expected.
    Failed {
        /// What was expected.
        expected: String,
        /// What came out.
        got: String,
    },
    /// It was not tried.
    Unsupported {
        /// Why.
        reason: String,
    },
}

impl Outcome {
    /// Not tried, and why.
    pub fn unsupported(reason: impl Into<String>) -> Self {
        Self::Unsupported { reason: reason.into() }
    }

    /// Passed if what came out is what was expected.
    pub fn compare(expected: impl Into<String>, got: impl Into<String>) -> Self {
        let (expected, got) = (expected.into(), got.into());
        if expected == got { Self::Passed } else { Self::Failed { expected, got } }
    }
}

/// Runs every case under a folder whose path contains `filter`.
pub fn run(folder: &Path, filter: &str, progress: &Progress<'_>) -> Result<ConformanceReport, Error> {
    let mut paths = Vec::new();
    find(folder, &mut paths)?;
    paths.retain(|path| path.to_string_lossy().contains(filter));
    paths.sort();
    progress.begin(paths.len());
    let results = paths.par_iter().map(|path| {
        let result = run_file(path);
        progress.step();
        result
    });
    let results: Vec<_> = results.collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect();
    if results.is_empty() {
        return Err(Error::NothingSelected { path: folder.to_owned() });
    }
    Ok(ConformanceReport::new(results))
}

/// Files that may state cases.
fn find(folder: &Path, paths: &mut Vec<PathBuf>) -> Result<(), DataError> {
    let io = |error| DataError::io(folder, error);
    for entry in std::fs::read_dir(folder).map_err(io)? {
        let path = entry.map_err(io)?.path();
        if path.is_dir() {
            find(&path, paths)?;
        } else if path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml") {
            paths.push(path);
        }
    }
    Ok(())
}

fn run_file(path: &Path) -> Result<Option<CaseResult>, DataError> {
    let text = std::fs::read_to_string(path).map_err(|error| DataError::io(path, error))?;
    match Case::read(path, &text) {
        Ok(None) => Ok(None),
        Ok(Some(case)) => {
            let outcome = run_case(&case);
            Ok(Some(CaseResult { source: case.source, area: case.area, name: case.name, outcome }))
        }
        Err(error) => Ok(Some(CaseResult::unreadable(path, &error))),
    }
}

/// Runs one case. A case that panics is one that failed.
pub fn run_case(case: &Case) -> Outcome {
    let run = || match case.source.trim_start_matches("uncertain/") {
        "kube" => kube::run(case),
        "volcano" => volcano::run(case),
        "kai" => kai::run(case),
        "scheduler-plugins" => scheduler_plugins::run(case),
        "kueue" => kueue::run(case),
        _ => Outcome::unsupported("unknown source"),
    };
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|panic| Outcome::Failed {
        expected: "an answer".to_owned(),
        got: format!("a panic: {}", panic_message(&*panic)),
    })
}

fn panic_message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("unknown")
}
