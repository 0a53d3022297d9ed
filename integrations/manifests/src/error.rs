//! What is wrong with a manifest, and where.

use std::fmt;

/// A manifest or configuration file that cannot be used.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ManifestError {
    /// The file.
    pub file: String,
    /// The line, from 1; of the object where the line of the field is not known; 0 where there is none.
    pub line: u64,
    /// The object, such as `Pod team-a/worker-0`; empty where there is none.
    pub object: String,
    /// The field, such as `spec.containers[0].resources.requests.cpu`; empty where it is the object as a whole.
    pub field: String,
    /// What is wrong, and what was expected.
    pub message: String,
}

impl ManifestError {
    /// An error without object and field.
    pub fn new(file: impl Into<String>, line: u64, message: impl Into<String>) -> Self {
        Self { file: file.into(), line, object: String::new(), field: String::new(), message: message.into() }
    }
}

impl fmt::Display for ManifestError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:", self.file)?;
        if self.line > 0 {
            write!(formatter, "{}:", self.line)?;
        }
        for part in [&self.object, &self.field] {
            if !part.is_empty() {
                write!(formatter, " {part}:")?;
            }
        }
        write!(formatter, " {}", self.message)
    }
}

impl std::error::Error for ManifestError {}
