//! Which format a file of requests has.

use std::path::Path;

use serde_json::{Map, Value};

use crate::error::TraceError;
use crate::lines::JsonLines;
use crate::requests::record::Lengths;
use crate::requests::source::Requests;
use crate::requests::{azure, burstgpt, canonical, json, vidur};
use crate::rows::Rows;

/// Formats of request traces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestFormat {
    /// foretell's own CSV.
    Canonical,
    /// Azure's inference traces of 2023 and 2024.
    Azure,
    /// `BurstGPT`, both releases.
    BurstGpt,
    /// Mooncake's lines of JSON.
    Mooncake,
    /// A trace of Vidur's with arrivals.
    Vidur,
    /// The requests that a run of Vidur reports.
    VidurRun,
    /// `LLMServingSim`'s lines of JSON.
    LlmServingSim,
}

impl RequestFormat {
    /// All formats, in the order of declaration.
    pub const ALL: [Self; 7] = [
        Self::Canonical,
        Self::Azure,
        Self::BurstGpt,
        Self::Mooncake,
        Self::Vidur,
        Self::VidurRun,
        Self::LlmServingSim,
    ];

    /// The name in scenarios and on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Canonical => "canonical",
            Self::Azure => "azure",
            Self::BurstGpt => "burstgpt",
            Self::Mooncake => "mooncake",
            Self::Vidur => "vidur",
            Self::VidurRun => "vidur-run",
            Self::LlmServingSim => "llmservingsim",
        }
    }

    const fn is_json(self) -> bool {
        matches!(self, Self::Mooncake | Self::LlmServingSim)
    }

    /// A column or field that only this format has.
    const fn mark(self) -> &'static [&'static str] {
        match self {
            Self::Canonical => &["arrival_s", "prompt_tokens"],
            Self::Azure => &["ContextTokens", "GeneratedTokens"],
            Self::BurstGpt => &["Request tokens", "Response tokens"],
            Self::Mooncake => &["hash_ids", "input_length", "output_length"],
            Self::Vidur => &[vidur::ARRIVAL, vidur::PROMPT],
            Self::VidurRun => &[vidur::DELAY],
            Self::LlmServingSim => &["arrival_time_ns", "input_toks", "output_toks"],
        }
    }

    /// The format that has one of these columns or fields.
    fn of_names(names: &[&str], is_json: bool) -> Option<Self> {
        let has = |format: &Self| {
            format.is_json() == is_json && names.iter().any(|name| format.mark().contains(name))
        };
        Self::ALL.into_iter().find(has)
    }

    /// Told from the header or the first line; `None` if it is no file of requests with arrivals, such as one of jobs.
    pub fn detect(path: &Path) -> Result<Option<Self>, TraceError> {
        if JsonLines::is_json(path)? {
            let first: Option<Map<String, Value>> = JsonLines::open(path)?.advance()?;
            let fields = first.unwrap_or_default();
            let names: Vec<&str> = fields.keys().map(String::as_str).collect();
            return Ok(Self::of_names(&names, true));
        }
        let rows = Rows::open(path)?;
        Ok(if vidur::has_lengths_only(&rows) { None } else { Self::of_header(&rows) })
    }

    fn of_header(rows: &Rows) -> Option<Self> {
        let names: Vec<&str> = rows.header().iter().map(String::as_str).collect();
        Self::of_names(&names, false)
    }
}

/// Opens a file of requests, plain or compressed; without a format it is told from the header or the first line. Rows must
/// be in order of arrival.
pub fn open(path: &Path, format: Option<RequestFormat>) -> Result<Requests, TraceError> {
    let is_json = match format {
        Some(format) => format.is_json(),
        None => JsonLines::is_json(path)?,
    };
    if is_json {
        let format = match format {
            Some(format) => Some(format),
            None => RequestFormat::detect(path)?,
        };
        let lines = JsonLines::open(path)?;
        return match format {
            Some(RequestFormat::Mooncake) => Ok(Requests::new(json::Reader::<json::Mooncake>::new(lines))),
            Some(RequestFormat::LlmServingSim) => {
                Ok(Requests::new(json::Reader::<json::LlmServingSim>::new(lines)))
            }
            _ => {
                let message = "expected the fields of a mooncake or llmservingsim trace";
                Err(TraceError::line(lines.path(), 1, message))
            }
        };
    }
    let rows = Rows::open(path)?;
    let Some(format) = format.or_else(|| RequestFormat::of_header(&rows)) else {
        let header: String = rows.header().join(",").chars().take(200).collect();
        let message = format!(
            "expected the header of a canonical, azure, burstgpt, vidur or vidur-run trace of requests, got {header:?}"
        );
        return Err(TraceError::line(path, 1, message));
    };
    if matches!(format, RequestFormat::Vidur) && vidur::has_lengths_only(&rows) {
        let message = "expected arrivals, got lengths only: take them as lengths of generated requests";
        return Err(TraceError::line(path, 1, message));
    }
    Ok(match format {
        RequestFormat::Azure => Requests::new(azure::Reader::new(rows)?),
        RequestFormat::BurstGpt => Requests::new(burstgpt::Reader::new(rows)?),
        RequestFormat::Vidur => Requests::new(vidur::Reader::trace(rows)?),
        RequestFormat::VidurRun => Requests::new(vidur::Reader::run(rows)?),
        RequestFormat::Canonical | RequestFormat::Mooncake | RequestFormat::LlmServingSim => {
            Requests::new(canonical::Reader::new(rows)?)
        }
    })
}

/// Lengths of the requests of a file in their order: of one in Vidur's format that has nothing else, or of any that
/// [`open`] reads.
pub fn read_lengths(path: &Path, format: Option<RequestFormat>) -> Result<Vec<Lengths>, TraceError> {
    if matches!(format, None | Some(RequestFormat::Vidur)) && !JsonLines::is_json(path)? {
        let rows = Rows::open(path)?;
        if vidur::has_lengths_only(&rows) {
            return vidur::read_lengths(rows);
        }
    }
    open(path, format)?.map(|request| request.map(|request| request.lengths())).collect()
}
