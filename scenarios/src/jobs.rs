//! The jobs of a scenario.

use foretell_traces::generate::Generator;
use foretell_traces::{JobRecord, TraceError, TraceFormat};

use crate::assemble::RunError;
use crate::scenario::{JobTrace, JobTraceFormat, JobTraits, Scenario, Synthetic, Workload};
use crate::service;

/// Jobs, with what they are beyond what a trace tells.
pub(crate) type TraitJobs<'a> =
    Box<dyn Iterator<Item = Result<(JobRecord, Option<&'a JobTraits>), TraceError>> + 'a>;

/// Replicas of services, then the jobs of the workload in order of submission; times count from where the scenario begins, or from the first job.
pub(crate) fn jobs(scenario: &Scenario) -> Result<TraitJobs<'_>, RunError> {
    let replicas = service::pods(scenario);
    Ok(Box::new(replicas.map(|pod| Ok((pod, None))).chain(workload(scenario)?)))
}

/// The jobs of the workload.
pub(crate) fn workload(scenario: &Scenario) -> Result<TraitJobs<'_>, RunError> {
    match &scenario.workload {
        Workload::None => Ok(Box::new(std::iter::empty())),
        Workload::Synthetic(Synthetic { config, jobs, traits }) => {
            let mut generator = Generator::new(config.clone(), scenario.seed)?;
            let jobs = std::iter::from_fn(move || generator.next_with_size()).take(limit(*jobs));
            Ok(Box::new(jobs.map(|(job, size)| Ok((job, traits.get(size))))))
        }
        Workload::Trace(JobTrace { format, path, limit_jobs, from, to, .. }) => {
            let (from_s, to_s) = (from.as_secs_f64(), to.as_secs_f64());
            let mut jobs = foretell_traces::open(path, trace_format(*format))?
                .skip_while(move |job| job.as_ref().is_ok_and(|job| job.submit_s < from_s))
                .take_while(move |job| job.as_ref().map_or(true, |job| job.submit_s < to_s))
                .take(limit(*limit_jobs))
                .peekable();
            // A trace may count from an epoch of its own.
            let start_s = match jobs.peek() {
                Some(Ok(first)) if from_s <= 0.0 => first.submit_s,
                _ => from_s,
            };
            let jobs = jobs.map(move |job| job.map(|job| (counted_from(start_s, job), None)));
            Ok(Box::new(jobs))
        }
    }
}

fn counted_from(start_s: f64, job: JobRecord) -> JobRecord {
    let deadline_s = job.deadline_s.map(|deadline_s| (deadline_s - start_s).max(0.0));
    JobRecord { submit_s: job.submit_s - start_s, deadline_s, ..job }
}

fn limit(jobs: u64) -> usize {
    usize::try_from(jobs).unwrap_or(usize::MAX)
}

/// `None` is told from the file.
const fn trace_format(format: JobTraceFormat) -> Option<TraceFormat> {
    match format {
        JobTraceFormat::Auto => None,
        JobTraceFormat::Canonical => Some(TraceFormat::Canonical),
        JobTraceFormat::Openb => Some(TraceFormat::Openb),
        JobTraceFormat::Philly => Some(TraceFormat::Philly),
        JobTraceFormat::Sacct => Some(TraceFormat::Sacct),
    }
}
