//! The figures of a run once more, from its `jobs.csv` alone, in the most literal way: an oracle for the streaming
//! metrics.

use std::io::Read;

use foretell_sim::log::{Distribution, JobCounts, JobStatus};

use crate::csv::{JOBS_HEADER, JOBS_HEADER_FAULTS, status_name};
use crate::error::ReportError;

/// What [`recompute`] finds.
#[derive(Clone, PartialEq, Debug)]
pub struct Recomputed {
    /// Jobs by how they ended.
    pub jobs: JobCounts,
    /// From submission to start, over jobs that started.
    pub queue_delay: Distribution,
    /// From submission to end, over jobs that ended.
    pub completion_time: Distribution,
    /// From the first submission to the last end of a job, in seconds; zero when no job ended.
    pub makespan_s: f64,
    /// From the first submission to the last submission, start or end of a job, in seconds.
    pub span_s: f64,
    /// GPU-seconds that jobs held within that span.
    pub gpu_s: f64,
}

impl Recomputed {
    /// Mean GPU allocation over the span on a cluster of `gpus` healthy GPUs, 0..1.
    pub fn gpu_allocation(&self, gpus: u64) -> f64 {
        let capacity_gpu_s = gpus as f64 * self.span_s;
        if capacity_gpu_s > 0.0 { self.gpu_s / capacity_gpu_s } else { 0.0 }
    }
}

const NANOS_PER_SECOND: f64 = 1e9;

/// One GPU request and the nanoseconds between which it was held.
struct Held {
    gpu_milli: u64,
    start: u64,
    end: u64,
}

/// Reads a `jobs.csv` and computes its figures. What a job held that was evicted or failed, or that may run with fewer tasks
/// than it has, cannot be told from its times: there the file's own figure is taken.
pub fn recompute(jobs_csv: impl Read) -> Result<Recomputed, ReportError> {
    let mut reader = csv::Reader::from_reader(jobs_csv);
    let header = reader.headers().map_err(|error| csv_error(&error))?;
    // More columns may follow.
    let header = header.iter().collect::<Vec<_>>().join(",");
    if header.strip_prefix(JOBS_HEADER).is_none_or(|more| !more.is_empty() && !more.starts_with(',')) {
        return Err(ReportError::Jobs { line: 1, message: format!("expected the header {JOBS_HEADER}") });
    }
    // How often a job failed is the last column, where anything does.
    let failures = header.ends_with(JOBS_HEADER_FAULTS).then(|| header.split(',').count() - 1);
    let mut jobs = JobCounts::default();
    let (mut delays, mut completions, mut held) = (Vec::new(), Vec::new(), Vec::new());
    let mut told_gpu_nanos = 0_u128;
    let (mut first_submit, mut last_finish, mut last_event) = (u64::MAX, 0, 0);
    for record in reader.records() {
        let record = record.map_err(|error| csv_error(&error))?;
        let row = Row { line: record.position().map_or(0, csv::Position::line), record: &record };
        let submit = row.nanos(6)?.ok_or_else(|| row.error("expected a submit_s"))?;
        let (start, finish) = (row.nanos(7)?, row.nanos(8)?);
        first_submit = first_submit.min(submit);
        last_event = last_event.max(submit).max(start.unwrap_or(0)).max(finish.unwrap_or(0));
        if let Some(start) = start {
            delays.push(start.saturating_sub(submit));
            if row.ran_once_and_whole(failures)? {
                let gpu_milli = row.units(14, 3)?.unwrap_or(0) as u64;
                held.push(Held { gpu_milli, start, end: finish.unwrap_or(u64::MAX) });
            } else {
                told_gpu_nanos += row.units(16, 9)?.unwrap_or(0);
            }
        }
        if let Some(finish) = finish {
            completions.push(finish.saturating_sub(submit));
            last_finish = last_finish.max(finish);
        }
        jobs.submitted += 1;
        *row.counter(&mut jobs)? += 1;
    }
    let seconds = |nanos: u64| nanos as f64 / NANOS_PER_SECOND;
    let computed_gpu_s: f64 = held
        .iter()
        .map(|held| {
            let span = held.end.min(last_event).saturating_sub(held.start.max(first_submit));
            held.gpu_milli as f64 / 1000.0 * seconds(span)
        })
        .sum();
    Ok(Recomputed {
        jobs,
        queue_delay: distribution(delays),
        completion_time: distribution(completions),
        makespan_s: seconds(last_finish.saturating_sub(first_submit)),
        span_s: seconds(last_event.saturating_sub(first_submit)),
        gpu_s: computed_gpu_s + told_gpu_nanos as f64 / NANOS_PER_SECOND,
    })
}

fn distribution(mut nanos: Vec<u64>) -> Distribution {
    nanos.sort_unstable();
    let values: Vec<f64> = nanos.into_iter().map(|nanos| nanos as f64 / NANOS_PER_SECOND).collect();
    let Some(&max_s) = values.last() else { return Distribution::default() };
    let percentile = |percent: usize| values[(percent * values.len()).div_ceil(100) - 1];
    Distribution {
        count: values.len() as u64,
        mean_s: values.iter().sum::<f64>() / values.len() as f64,
        p50_s: percentile(50),
        p90_s: percentile(90),
        p99_s: percentile(99),
        max_s,
    }
}

fn csv_error(error: &csv::Error) -> ReportError {
    ReportError::Jobs { line: error.position().map_or(1, csv::Position::line), message: error.to_string() }
}

struct Row<'a> {
    line: u64,
    record: &'a csv::StringRecord,
}

impl Row<'_> {
    fn error(&self, message: &str) -> ReportError {
        ReportError::Jobs { line: self.line, message: message.to_owned() }
    }

    fn integer(&self, column: usize) -> Result<u64, ReportError> {
        let cell = &self.record[column];
        cell.parse().map_err(|_| self.error(&format!("expected a whole number, not `{cell}`")))
    }

    /// Seconds to the nanosecond.
    fn nanos(&self, column: usize) -> Result<Option<u64>, ReportError> {
        let nanos = self.units(column, 9)?.map(u64::try_from).transpose();
        nanos.map_err(|_| self.error("expected fewer seconds"))
    }

    /// A number in units of its last decimal, without a detour through floats.
    fn units(&self, column: usize, decimals: usize) -> Result<Option<u128>, ReportError> {
        let cell = &self.record[column];
        if cell.is_empty() {
            return Ok(None);
        }
        let (whole, fraction) = cell.split_once('.').unwrap_or((cell, ""));
        let units =
            format!("{whole}{fraction:0<decimals$}").parse().ok().filter(|_| fraction.len() <= decimals);
        let what = if decimals == 9 { "seconds" } else { "GPUs" };
        units.map(Some).ok_or_else(|| self.error(&format!("expected {what}, not `{cell}`")))
    }

    /// Whether the job held its whole request from its start to its end.
    fn ran_once_and_whole(&self, failures: Option<usize>) -> Result<bool, ReportError> {
        let fails = failures.map(|column| self.integer(column)).transpose()?.is_some_and(|count| count > 0);
        Ok(!fails && self.integer(15)? == 0 && self.integer(3)? == self.integer(13)?)
    }

    fn counter<'c>(&self, jobs: &'c mut JobCounts) -> Result<&'c mut u64, ReportError> {
        let cell = &self.record[11];
        let counters = [
            (JobStatus::Completed, &mut jobs.completed),
            (JobStatus::Failed, &mut jobs.failed),
            (JobStatus::Cancelled, &mut jobs.cancelled),
            (JobStatus::Running, &mut jobs.running),
            (JobStatus::Queued, &mut jobs.queued),
            (JobStatus::NeverPlaced, &mut jobs.never_placed),
        ];
        counters
            .into_iter()
            .find_map(|(status, counter)| (status_name(status) == cell).then_some(counter))
            .ok_or_else(|| self.error(&format!("expected a status, not `{cell}`")))
    }
}
