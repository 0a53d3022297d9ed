//! What came of a run over the corpus.

use std::collections::BTreeMap;
use std::path::Path;

use foretell_manifests::ManifestError;
use serde_json::{Value, json};

use super::Outcome;
use crate::{Cell, Report, Row};

/// Cases that fail because of how the original test was built, with the reason.
const ARTEFACTS: &str = include_str!("../../data/conformance-artefacts.csv");

/// A case and what came of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CaseResult {
    /// The project whose tests state it.
    pub source: String,
    /// What it is about.
    pub area: String,
    /// Its name.
    pub name: String,
    /// What came of it.
    pub outcome: Outcome,
}

impl CaseResult {
    /// Of a file that cannot be read.
    pub(super) fn unreadable(path: &Path, error: &ManifestError) -> Self {
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let outcome = Outcome::Failed { expected: "a readable case".to_owned(), got: error.to_string() };
        Self { source: "unreadable".to_owned(), area: String::new(), name, outcome }
    }
}

/// The results of a run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConformanceReport {
    /// All results, in order of file.
    pub results: Vec<CaseResult>,
    /// Of the cases that failed, those that are artefacts of the original test, with the reason.
    artefacts: BTreeMap<String, String>,
}

#[derive(Default)]
struct Counts {
    passed: u64,
    failed: u64,
    artefacts: u64,
    unsupported: u64,
}

impl ConformanceReport {
    pub(super) fn new(results: Vec<CaseResult>) -> Self {
        let mut reader = csv::Reader::from_reader(ARTEFACTS.as_bytes());
        // The list is part of the program; what is amiss in it shows as a failure that it was to explain.
        let artefacts = reader.deserialize::<(String, String)>().filter_map(Result::ok).collect();
        Self { results, artefacts }
    }

    /// Why a case that failed is an artefact of the original test, if it is one.
    pub fn artefact(&self, result: &CaseResult) -> Option<&str> {
        let failed = matches!(result.outcome, Outcome::Failed { .. });
        self.artefacts.get(&result.name).filter(|_| failed).map(String::as_str)
    }

    /// Cases that failed and should not have.
    pub fn failures(&self) -> impl Iterator<Item = &CaseResult> {
        self.results.iter().filter(|result| {
            matches!(result.outcome, Outcome::Failed { .. }) && self.artefact(result).is_none()
        })
    }

    /// One row per source and area. What the original tests do not verify themselves (`uncertain`) passes whatever comes
    /// out.
    pub fn table(&self) -> Report {
        let mut counts: BTreeMap<(&str, &str), Counts> = BTreeMap::new();
        let mut total = Counts::default();
        for result in &self.results {
            let entry = counts.entry((&result.source, &result.area)).or_default();
            for counts in [entry, &mut total] {
                *match &result.outcome {
                    Outcome::Passed => &mut counts.passed,
                    Outcome::Failed { .. } if self.artefact(result).is_some() => &mut counts.artefacts,
                    Outcome::Failed { .. } => &mut counts.failed,
                    Outcome::Unsupported { .. } => &mut counts.unsupported,
                } += 1;
            }
        }
        let row = |((source, area), counts): ((&str, &str), &Counts)| {
            let Counts { passed, failed, artefacts, unsupported } = *counts;
            let numbers = [passed + failed + artefacts + unsupported, passed, failed, artefacts, unsupported];
            // In one column, so that names stay whole at 80 columns.
            let name = Cell::Text(format!("{source}/{area}"));
            Row {
                cells: [name].into_iter().chain(numbers.map(Cell::Count)).collect(),
                passed: failed == 0 || source.starts_with("uncertain"),
            }
        };
        let rows: Vec<_> = counts.iter().map(|(&key, counts)| row((key, counts))).collect();
        let Counts { passed, failed, artefacts, unsupported } = total;
        let cases = passed + failed + artefacts + unsupported;
        Report {
            suite: "conformance",
            columns: vec!["area", "cases", "pass", "fail", "artefacts", "not supported"],
            rows,
            summary: format!(
                "{passed} of {cases} cases pass, {failed} fail, {artefacts} are artefacts of the original tests, \
                 {unsupported} are not supported"
            ),
        }
    }

    /// Failures with expected and got, artefacts and what is not supported with the reasons, as text.
    pub fn details(&self) -> String {
        let mut text = String::new();
        let mut section = |title: &str, lines: Vec<String>| {
            if !lines.is_empty() {
                text = format!("{text}\n{title}\n{}", lines.concat());
            }
        };
        let failures = self.failures().filter_map(|result| match &result.outcome {
            Outcome::Failed { expected, got } => Some(format!(
                "  {}/{}\n    expected {}\n    got      {}\n",
                result.source,
                result.name,
                indented(expected),
                indented(got)
            )),
            _ => None,
        });
        section("Failed", failures.collect());
        let artefacts = self.results.iter().filter_map(|result| {
            let reason = self.artefact(result)?;
            Some(format!("  {}/{}: {reason}\n", result.source, result.name))
        });
        section("Artefacts of the original tests", artefacts.collect());
        let mut unsupported: BTreeMap<(&str, &str), u64> = BTreeMap::new();
        for result in &self.results {
            if let Outcome::Unsupported { reason } = &result.outcome {
                *unsupported.entry((&result.source, reason)).or_default() += 1;
            }
        }
        let unsupported = unsupported.iter();
        let unsupported =
            unsupported.map(|((source, reason), cases)| format!("  {source}: {cases} {reason}\n"));
        section("Not supported", unsupported.collect());
        text
    }

    /// The report as JSON: the table, and every case by name.
    pub fn to_json(&self) -> Value {
        let case = |result: &CaseResult| {
            let mut value = json!({ "source": result.source, "area": result.area, "name": result.name });
            let (outcome, details) = match &result.outcome {
                Outcome::Passed => ("passed", json!({})),
                Outcome::Failed { expected, got } => {
                    let artefact = self.artefact(result);
                    let outcome = if artefact.is_some() { "artefact" } else { "failed" };
                    (outcome, json!({ "expected": expected, "got": got, "artefact": artefact }))
                }
                Outcome::Unsupported { reason } => ("unsupported", json!({ "reason": reason })),
            };
            value["outcome"] = json!(outcome);
            if let (Some(value), Value::Object(details)) = (value.as_object_mut(), details) {
                value.extend(details.into_iter().filter(|(_, detail)| !detail.is_null()));
            }
            value
        };
        let mut report = self.table().to_json();
        report["results"] = self.results.iter().map(case).collect();
        report
    }
}

/// Lines after the first, in line with it.
fn indented(text: &str) -> String {
    text.trim_end().replace('\n', "\n             ")
}
