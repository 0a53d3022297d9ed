//! Capacity search: how much load a deployment holds within what is promised, or how little of a deployment holds a load.
//!
//! ```text
//!   "p99 ttft < 2s" ──► Slo                          what is demanded of a run
//!        a run with one seed ──► Sample              how far it stays below each demand, or exceeds it
//!             samples of several seeds ──► Verdict   held, missed, or neither with confidence
//!                  verdicts along a line ──► Border  the most that is held, the least that is missed
//!                       deployments ──► Found        with the frontier of those that no other beats
//! ```
//!
//! Nothing here knows what runs: whoever searches brings a function from a point and a seed to a [`Sample`].

mod border;
mod found;
mod sample;
mod slo;
mod student;
mod verdict;

pub use border::{Border, Point, Probe, Range, border};
pub use found::{Deployment, Found, FoundPoint, Goal, Searched, Unit, mark_frontier};
pub use sample::{EXCESS_CAP, Run, Sample, percentile};
pub use slo::{BACKLOG_GROWTH_MAX, Measure, Metric, Slo, SloError, Statistic, Term};
pub use student::quantile;
pub use verdict::{Confidence, Verdict, verdict};
