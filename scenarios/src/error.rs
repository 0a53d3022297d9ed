//! What can be wrong with a scenario, and where it stands.

use std::fmt;
use std::ops::Range;
use std::path::PathBuf;

/// Why there is no scenario.
#[derive(Debug, thiserror::Error)]
pub enum ScenarioError {
    /// The file cannot be read.
    #[error("failed to read scenario {}: {cause}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        cause: std::io::Error,
    },
    /// The file, or an override, says something that cannot be.
    #[error(transparent)]
    Invalid(#[from] InvalidScenario),
}

/// All that was found wrong, in the order of the sources; at least one problem.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidScenario {
    /// The texts that the problems point into: the file first, then one per override.
    pub sources: Vec<Source>,
    /// The problems.
    pub problems: Vec<Problem>,
}

/// A text that problems point into.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// The file's path, or `--set`.
    pub name: String,
    /// The whole text.
    pub text: String,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Problem {
    /// The field, such as `cluster.nodes[0].type`; empty for the file as a whole.
    pub path: String,
    /// What is wrong.
    pub message: String,
    /// What would be right, where that is known.
    pub help: Option<String>,
    /// Which of [`InvalidScenario::sources`] holds it.
    pub source_index: usize,
    /// Where in that source, in bytes.
    pub span: Range<usize>,
}

impl InvalidScenario {
    /// Line and column of a problem, both from 1; columns count characters.
    pub fn line_and_column(&self, problem: &Problem) -> (usize, usize) {
        let text = self.sources[problem.source_index].text.as_bytes();
        let before = &text[..problem.span.start.min(text.len())];
        let line_start = before.iter().rposition(|&byte| byte == b'\n').map_or(0, |newline| newline + 1);
        let line = before.split(|&byte| byte == b'\n').count();
        (line, 1 + String::from_utf8_lossy(&before[line_start..]).chars().count())
    }
}

impl std::error::Error for InvalidScenario {}

impl fmt::Display for InvalidScenario {
    /// One line per problem: `file:line:column: field: what is wrong (what would be right)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, problem) in self.problems.iter().enumerate() {
            let source = &self.sources[problem.source_index];
            if i > 0 {
                writeln!(f)?;
            }
            if problem.source_index == 0 {
                let (line, column) = self.line_and_column(problem);
                write!(f, "{}:{line}:{column}: ", source.name)?;
            } else {
                write!(f, "{} {}: ", source.name, source.text)?;
            }
            if !problem.path.is_empty() {
                write!(f, "{}: ", problem.path)?;
            }
            write!(f, "{}", problem.message)?;
            if let Some(help) = &problem.help {
                write!(f, " ({help})")?;
            }
        }
        Ok(())
    }
}
