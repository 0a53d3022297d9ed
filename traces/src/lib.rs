//! Readers, writers and generators of job traces; [`requests`] has those of requests to model servers.
//!
//! ```text
//!   openb, Philly, sacct, canonical (plain or .gz) ──► open ──┐
//!                                                          ├──► JobRecord in order of submission
//!   GeneratorConfig + seed ──► Generator ──────────────────┘        │
//!                                                                  ├──► canonical::Writer
//!                                                                  └──► TraceInfo
//! ```
//!
//! Whatever is wrong with a file comes out as one [`TraceError`] with file, line and column; rows have a limit, so no
//! input can take unbounded memory by way of one of them.

pub mod canonical;
mod error;
mod format;
pub mod generate;
pub mod info;
mod lines;
pub mod openb;
mod output;
pub mod philly;
pub mod record;
pub mod requests;
mod rows;
pub mod sacct;
pub mod scaling;

pub use error::TraceError;
pub use format::{Jobs, NodeFormat, TraceFormat, open, read_nodes};
pub use info::TraceInfo;
pub use record::{JobRecord, JobStatus, NodeRecord};
pub use scaling::{ScalingCurve, ScalingRecord, SpeedLaw};
