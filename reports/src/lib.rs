//! What a person reads after a run: terminal tables, plots, and the files of a run directory.
//!
//! Everything here is a function of [`foretell_sim::log::RunResult`]; nothing reads a clock, a random device, the
//! host's name or an environment variable, so the same run gives the same bytes.
//!
//! ```text
//!  RunResult ──► table      summary for the terminal
//!            ──► comparison one row per policy
//!            ──► plots      SVG: over time, distributions, fragmentation against load
//!            ──► csv, wire  jobs.csv, timeline.csv, evictions.csv, summary.json, manifest.json
//!            ──► run_dir    all of these, whole or not at all
//!  jobs.csv  ──► recompute  the figures once more, naively
//! ```
//!
//! `docs/outputs.md` is the data dictionary of every file.

mod adapters;
mod classical;
mod comparison;
mod csv;
mod error;
mod explain;
mod fleet;
mod pipeline;
mod plots;
mod recompute;
mod run_dir;
mod search;
mod service;
mod table;
mod units;
mod wire;

pub use adapters::{ADAPTERS_HEADER, AdaptersRecord, write_adapters};
pub use classical::{
    CLASSICAL_REQUESTS_HEADER, ClassicalRecord, ClassicalReplicaRecord, classical_overview, classical_table,
    write_classical_requests,
};
pub use comparison::comparison_table;
pub use csv::{
    COMMUNICATION_COLUMNS, EVICTIONS_HEADER, FAULTS_HEADER, JOBS_HEADER, JOBS_HEADER_FAULTS, TIMELINE_HEADER,
    write_evictions, write_faults, write_jobs, write_timeline,
};
pub use error::ReportError;
pub use explain::{explain_job, explain_node};
pub use fleet::{
    ATTAINMENT_HEADER, REPLICAS_HEADER, ROLLOUT_HEADER, SCALING_HEADER, write_attainment, write_replicas,
    write_rollout, write_scaling,
};
pub use pipeline::{
    PIPELINE_REQUESTS_HEADER, PIPELINE_STAGES_HEADER, PipelineRecord, pipeline_table,
    write_pipeline_requests, write_pipeline_stages,
};
pub use plots::{Curve, Plot, curve_plot, plots};
pub use recompute::{Recomputed, recompute};
pub use run_dir::{
    PolicyRuns, PolicyServed, check_target, read_run_dir, write_run_dir, write_search_dir, write_service_dir,
};
pub use search::{search_table, write_search, write_search_points};
pub use service::{
    BatchRecord, REQUESTS_HEADER, REQUESTS_HEADER_ADAPTERS, REQUESTS_HEADER_JOBS, REQUESTS_HEADER_MODELS,
    ReplicaRecord, SERVICE_TIMELINE_HEADER, ServiceRecord, service_overview, service_table, write_requests,
    write_service_timeline,
};
pub use table::{plain_table, summary_table};
pub use wire::{
    CommunicationRecord, DistributionRecord, FORMAT_VERSION, FaultKindRecord, FaultsRecord, GroupRecord,
    JobCountsRecord, Manifest, ManifestFile, PolicyRecord, ReasonRecord, RunRecord, SummaryFile, WaitRecord,
};
