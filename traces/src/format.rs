//! Which format a file has.

use std::path::Path;

use crate::error::TraceError;
use crate::record::{JobRecord, NodeRecord};
use crate::rows::Rows;
use crate::{canonical, openb, philly, sacct};

/// Formats of job traces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TraceFormat {
    /// foretell's own CSV.
    Canonical,
    /// Pods of Alibaba's GPU cluster trace of 2023.
    Openb,
    /// The derivative of Microsoft's Philly trace with one row per job.
    Philly,
    /// Slurm's accounting: `sacct --parsable2` with a header.
    Sacct,
}

impl TraceFormat {
    /// All formats, in the order of declaration.
    pub const ALL: [Self; 4] = [Self::Canonical, Self::Openb, Self::Philly, Self::Sacct];

    /// The name in scenarios and on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Canonical => "canonical",
            Self::Openb => "openb",
            Self::Philly => "philly",
            Self::Sacct => "sacct",
        }
    }

    /// Told from the header: the format with the most columns of that name.
    fn detect(rows: &Rows) -> Result<Self, TraceError> {
        let known =
            |columns: &[&str]| rows.header().iter().filter(|name| columns.contains(&name.as_str())).count();
        let candidates = [
            (known(&canonical::COLUMNS), Self::Canonical),
            (known(&openb::POD_COLUMNS), Self::Openb),
            (known(&philly::JOB_COLUMNS), Self::Philly),
            (known(&sacct::COLUMNS), Self::Sacct),
        ];
        // The first of the best, so that the order above breaks ties.
        let (columns, format) =
            candidates.into_iter().rev().max_by_key(|&(columns, _)| columns).unwrap_or((0, Self::Canonical));
        if columns == 0 {
            let header: String = rows.header().join(",").chars().take(200).collect();
            let message =
                format!("expected the header of a canonical, openb, philly or sacct trace, got {header:?}");
            return Err(TraceError::line(rows.path(), 1, message));
        }
        Ok(format)
    }
}

/// Jobs in order of submission.
pub type Jobs = Box<dyn Iterator<Item = Result<JobRecord, TraceError>> + Send>;

/// Opens a job trace; without a format it is told from the header. Canonical files are streamed; the others are not in
/// order of submission, so they are read whole and sorted.
pub fn open(path: &Path, format: Option<TraceFormat>) -> Result<Jobs, TraceError> {
    let mut rows = Rows::open(path)?;
    // What no other format has: the delimiter tells.
    let is_delimited =
        |rows: &Rows| matches!(rows.header(), [header] if header.contains(char::from(sacct::DELIMITER)));
    if format == Some(TraceFormat::Sacct) || format.is_none() && is_delimited(&rows) {
        rows = Rows::open_delimited(path, sacct::DELIMITER)?;
    }
    let format = format.map_or_else(|| TraceFormat::detect(&rows), Ok)?;
    Ok(match format {
        TraceFormat::Canonical => Box::new(canonical::Reader::new(rows)?),
        TraceFormat::Openb => Box::new(openb::jobs(rows)?.into_iter().map(Ok)),
        TraceFormat::Philly => Box::new(philly::jobs(rows)?.into_iter().map(Ok)),
        TraceFormat::Sacct => Box::new(sacct::jobs(rows)?.into_iter().map(Ok)),
    })
}

/// Formats of node lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NodeFormat {
    /// Nodes of Alibaba's GPU cluster trace of 2023.
    Openb,
    /// Virtual clusters of the Philly derivative.
    Philly,
}

/// Reads a list of nodes.
pub fn read_nodes(path: &Path, format: NodeFormat) -> Result<Vec<NodeRecord>, TraceError> {
    match format {
        NodeFormat::Openb => openb::read_nodes(path),
        NodeFormat::Philly => philly::read_nodes(path),
    }
}
