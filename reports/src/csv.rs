//! `jobs.csv` and `timeline.csv`.
//!
//! Numbers are written from integers, digit by digit, so a value reads back exactly: `1.5`, never `1.4999999999`.

use std::io::{self, Write};

use foretell_sim::framework::EvictionReason;
use foretell_sim::log::{EvictionOutcome, JobResult, JobStatus, RunResult};
use foretell_sim::platform::FailureOutcome;

/// Header of `jobs.csv`.
pub const JOBS_HEADER: &str = "job_id,queue,user,tasks,gpus_per_task,gpu_milli,submit_s,start_s,finish_s,\
                               queue_delay_s,jct_s,status,reason,min_tasks,gpus,evictions,gpu_s,lost_gpu_s,\
                               resizes,deadline_s";

/// What follows in `jobs.csv` where jobs say what they communicate.
pub const COMMUNICATION_COLUMNS: &str = "step_slowdown,held_back_s,leaf_bytes,spine_bytes";
/// What the header of `jobs.csv` ends with where anything fails.
pub const JOBS_HEADER_FAULTS: &str = ",failures";

/// Header of `faults.csv`.
pub const FAULTS_HEADER: &str = "time_s,kind,node,gpu,repair_s,job_id,noticed_s,pods,outcome,lost_gpu_s";

/// Header of `evictions.csv`.
pub const EVICTIONS_HEADER: &str = "time_s,job_id,queue,node,pods,reason,beneficiary_id,outcome,lost_gpu_s";

/// Header of `timeline.csv`. Columns that begin with `gpu_` are in GPUs.
pub const TIMELINE_HEADER: &str = "time_s,gpu_capacity,gpu_allocated,gpu_utilised,gpu_fragmented,gpu_stranded,\
                                   gpu_arrived,jobs_queued,jobs_running,gpu_partial";

/// Rows are gathered up to this size between two writes.
const BUFFER_BYTES: usize = 1 << 18;

const NANO_DECIMALS: usize = 9;
const MILLI_DECIMALS: usize = 3;
const MICRO_DECIMALS: usize = 6;

/// Writes one row per job, in order of submission. Cells that do not apply are empty.
pub fn write_jobs(run: &RunResult, out: &mut impl Write) -> io::Result<()> {
    let queues: Vec<Vec<u8>> = run.queues.iter().map(|name| quoted(name)).collect();
    let users: Vec<Vec<u8>> = run.users.iter().map(|name| quoted(name)).collect();
    let communicates = run.summary.communication.is_some();
    let fails = run.summary.faults.is_some();
    let communication = if communicates { format!(",{COMMUNICATION_COLUMNS}") } else { String::new() };
    let header = format!("{JOBS_HEADER}{communication}{}", if fails { JOBS_HEADER_FAULTS } else { "" });
    let mut rows = Rows::new(out, &header);
    for job in &run.jobs {
        rows.text(&job.id);
        rows.raw(&queues[job.queue as usize]);
        rows.raw(&users[job.user as usize]);
        rows.decimal(u64::from(job.tasks), 0);
        rows.decimal(u64::from(job.gpus_per_task), 0);
        rows.decimal(u64::from(job.gpu_milli), 0);
        for time in [Some(job.submit), job.start, job.finish, job.queue_delay(), job.completion_time()] {
            match time {
                Some(time) => rows.seconds(time.as_nanos()),
                None => rows.raw(b""),
            }
        }
        rows.raw(status_name(job.status).as_bytes());
        rows.text(job.reason.as_deref().unwrap_or_default());
        rows.decimal(u64::from(job.min_tasks), 0);
        rows.decimal(job.gpu_milli_total, MILLI_DECIMALS);
        rows.decimal(u64::from(job.evictions), 0);
        rows.gpu_seconds(job.gpu_held);
        rows.gpu_seconds(job.gpu_lost);
        rows.decimal(u64::from(job.resizes), 0);
        match job.deadline {
            Some(deadline) => rows.seconds(deadline.as_nanos()),
            None => rows.raw(b""),
        }
        if communicates {
            communication_cells(&mut rows, job);
        }
        if fails {
            rows.decimal(u64::from(job.failures), 0);
        }
        rows.end()?;
    }
    rows.flush()
}

/// What communication did to a job; empty where it does not say what it communicates, or never ran.
fn communication_cells(rows: &mut Rows<'_, impl Write>, job: &JobResult) {
    let Some(communication) = &job.communication else {
        COMMUNICATION_COLUMNS.split(',').for_each(|_| rows.raw(b""));
        return;
    };
    match communication.slowdown_millionths() {
        Some(slowdown) => rows.decimal(slowdown, MICRO_DECIMALS),
        None => rows.raw(b""),
    }
    rows.seconds(communication.held_back().as_nanos());
    rows.raw(communication.leaf_bytes().to_string().as_bytes());
    rows.raw(communication.spine_bytes().to_string().as_bytes());
}

/// Writes one row per fault and job that it hit, or one where it hit none, in order of time.
pub fn write_faults(run: &RunResult, out: &mut impl Write) -> io::Result<()> {
    let mut rows = Rows::new(out, FAULTS_HEADER);
    for fault in &run.faults {
        let jobs = fault.jobs.iter().map(Some);
        let none = fault.jobs.is_empty().then_some(None);
        for hit in jobs.chain(none) {
            rows.seconds(fault.time.as_nanos());
            rows.raw(fault.kind.name().as_bytes());
            rows.text(&fault.node);
            match fault.device {
                Some(device) => rows.decimal(u64::from(device), 0),
                None => rows.raw(b""),
            }
            rows.seconds(fault.repair.as_nanos());
            match hit {
                Some(hit) => {
                    let job = usize::try_from(hit.job).ok().and_then(|index| run.jobs.get(index));
                    rows.text(job.map_or("", |job| &job.id));
                    rows.seconds(hit.noticed.as_nanos());
                    rows.decimal(u64::from(hit.pods), 0);
                    rows.raw(failure_outcome_name(hit.outcome).as_bytes());
                    rows.gpu_seconds(hit.lost);
                }
                None => (0..5).for_each(|_| rows.raw(b"")),
            }
            rows.end()?;
        }
    }
    rows.flush()
}

/// What became of a job of which pods failed, as the files spell it.
const fn failure_outcome_name(outcome: FailureOutcome) -> &'static str {
    match outcome {
        FailureOutcome::DidNotRun => "did_not_run",
        FailureOutcome::GoesOn { .. } => "goes_on",
        FailureOutcome::Restarts => "restarts",
        FailureOutcome::GivesUp => "gives_up",
    }
}

/// Writes one row per job and cycle in which pods of it were evicted, in order of time.
pub fn write_evictions(run: &RunResult, out: &mut impl Write) -> io::Result<()> {
    let mut rows = Rows::new(out, EVICTIONS_HEADER);
    let job = |index: u64| run.jobs.get(usize::try_from(index).ok()?);
    for eviction in &run.evictions {
        let evicted = job(eviction.job);
        rows.seconds(eviction.time.as_nanos());
        rows.text(evicted.map_or("", |job| &job.id));
        rows.text(evicted.map_or("", |job| &run.queues[job.queue as usize]));
        rows.text(&eviction.node);
        rows.decimal(u64::from(eviction.pods), 0);
        rows.raw(eviction_reason_name(eviction.reason).as_bytes());
        rows.text(eviction.beneficiary.and_then(job).map_or("", |job| &job.id));
        let (outcome, lost) = match eviction.outcome {
            EvictionOutcome::DidNotRun => ("did_not_run", 0),
            EvictionOutcome::GoesOn { .. } => ("goes_on", 0),
            EvictionOutcome::Stops { lost } => ("stops", lost),
        };
        rows.raw(outcome.as_bytes());
        rows.gpu_seconds(lost);
        rows.end()?;
    }
    rows.flush()
}

/// Writes one row per sample, in order of time.
pub fn write_timeline(run: &RunResult, out: &mut impl Write) -> io::Result<()> {
    let mut rows = Rows::new(out, TIMELINE_HEADER);
    for row in &run.timeline {
        rows.seconds(row.time.as_nanos());
        rows.decimal(row.gpu_capacity_milli, MILLI_DECIMALS);
        rows.decimal(row.gpu_allocated_milli, MILLI_DECIMALS);
        rows.decimal(row.gpu_utilised_milli, MILLI_DECIMALS);
        rows.decimal(micro_gpu(row.gpu_fragmented_milli), MICRO_DECIMALS);
        rows.decimal(micro_gpu(row.gpu_stranded_milli), MICRO_DECIMALS);
        rows.decimal(row.gpu_arrived_milli, MILLI_DECIMALS);
        rows.decimal(row.jobs_queued, 0);
        rows.decimal(row.jobs_running, 0);
        rows.decimal(row.gpu_partial_milli, MILLI_DECIMALS);
        rows.end()?;
    }
    rows.flush()
}

/// The status as `jobs.csv` spells it.
pub(crate) const fn status_name(status: JobStatus) -> &'static str {
    match status {
        JobStatus::Completed => "completed",
        JobStatus::Failed => "failed",
        JobStatus::Cancelled => "cancelled",
        JobStatus::Running => "running",
        JobStatus::Queued => "queued",
        JobStatus::NeverPlaced => "never_placed",
    }
}

/// Why pods were evicted, as the files spell it.
pub(crate) const fn eviction_reason_name(reason: EvictionReason) -> &'static str {
    match reason {
        EvictionReason::Preempted => "preempted",
        EvictionReason::Reclaimed => "reclaimed",
        EvictionReason::Consolidated => "consolidated",
        EvictionReason::GangTimedOut => "gang_timed_out",
        EvictionReason::NodeRevoked => "node_revoked",
        EvictionReason::Shrunk => "shrunk",
    }
}

/// Expected values are sums of floats: a millionth of a GPU is finer than what they mean and coarser than their noise.
fn micro_gpu(milli: f64) -> u64 {
    (milli * 1000.0).round() as u64
}

/// Cells gathered into rows in one reused buffer.
pub(crate) struct Rows<'a, W> {
    out: &'a mut W,
    buffer: Vec<u8>,
}

impl<'a, W: Write> Rows<'a, W> {
    pub(crate) fn new(out: &'a mut W, header: &str) -> Self {
        let mut buffer = Vec::with_capacity(BUFFER_BYTES + 4096);
        buffer.extend_from_slice(header.as_bytes());
        buffer.push(b'\n');
        Self { out, buffer }
    }

    /// A cell that needs no quoting.
    pub(crate) fn raw(&mut self, cell: &[u8]) {
        self.buffer.extend_from_slice(cell);
        self.buffer.push(b',');
    }

    pub(crate) fn text(&mut self, cell: &str) {
        push_quoted(&mut self.buffer, cell);
        self.buffer.push(b',');
    }

    pub(crate) fn decimal(&mut self, units: u64, decimals: usize) {
        push_decimal(&mut self.buffer, units, decimals);
        self.buffer.push(b',');
    }

    pub(crate) fn seconds(&mut self, nanos: u64) {
        self.decimal(nanos, NANO_DECIMALS);
    }

    /// Thousandths of a GPU times nanoseconds, in GPU-seconds to the nanosecond.
    fn gpu_seconds(&mut self, milli_nanos: u128) {
        const NANOS_PER_SECOND: u128 = 1_000_000_000;
        let nanos = milli_nanos / 1000;
        // A job of ten thousand GPUs holds more in a month than 64 bits of nanoseconds.
        if let Some(high) =
            u64::try_from(nanos / NANOS_PER_SECOND).ok().filter(|_| nanos > u128::from(u64::MAX))
        {
            push_decimal(&mut self.buffer, high, 0);
            let rest = (nanos % NANOS_PER_SECOND) as u64;
            if rest > 0 {
                // Behind the zero of `0.5`.
                let at = self.buffer.len();
                push_decimal(&mut self.buffer, rest, NANO_DECIMALS);
                self.buffer.remove(at);
            }
            self.buffer.push(b',');
            return;
        }
        self.seconds(nanos as u64);
    }

    pub(crate) fn end(&mut self) -> io::Result<()> {
        // The comma after the row's last cell.
        self.buffer.pop();
        self.buffer.push(b'\n');
        if self.buffer.len() >= BUFFER_BYTES { self.flush() } else { Ok(()) }
    }

    pub(crate) fn flush(&mut self) -> io::Result<()> {
        self.out.write_all(&self.buffer)?;
        self.buffer.clear();
        Ok(())
    }
}

fn quoted(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    push_quoted(&mut bytes, text);
    bytes
}

/// RFC 4180: a cell with a comma, a quote or a line break stands in quotes, quotes inside it doubled.
fn push_quoted(buffer: &mut Vec<u8>, text: &str) {
    let bytes = text.as_bytes();
    if !bytes.iter().any(|byte| matches!(byte, b',' | b'"' | b'\n' | b'\r')) {
        buffer.extend_from_slice(bytes);
        return;
    }
    buffer.push(b'"');
    for &byte in bytes {
        if byte == b'"' {
            buffer.push(b'"');
        }
        buffer.push(byte);
    }
    buffer.push(b'"');
}

/// `units` ÷ 10^`decimals`, exactly, without trailing zeros.
fn push_decimal(buffer: &mut Vec<u8>, units: u64, decimals: usize) {
    // A u64 has at most 20 digits, and at most 9 decimals are asked for.
    let mut digits = [b'0'; 20];
    let mut first = digits.len();
    let mut rest = units;
    while rest > 0 {
        first -= 1;
        digits[first] = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    let point = digits.len() - decimals;
    // At least one digit stands before the point.
    let (whole, fraction) = (&digits[first.min(point - 1)..point], &digits[point..]);
    buffer.extend_from_slice(whole);
    if let Some(last) = fraction.iter().rposition(|&digit| digit != b'0') {
        buffer.push(b'.');
        buffer.extend_from_slice(&fraction[..=last]);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn decimals_are_exact() {
        let check = |units, decimals, expected: &str| {
            let mut buffer = Vec::new();
            push_decimal(&mut buffer, units, decimals);
            assert_eq!(String::from_utf8(buffer).unwrap(), expected);
        };
        check(0, 0, "0");
        check(0, 9, "0");
        check(10, 0, "10");
        check(1, 9, "0.000000001");
        check(1_500_000_000, 9, "1.5");
        check(120_000_000_000, 9, "120");
        check(6_212_001, 3, "6212.001");
        check(u64::MAX, 9, "18446744073.709551615");
    }

    #[test]
    fn only_cells_that_need_quotes_get_them() {
        let check = |text, expected: &str| assert_eq!(quoted(text), expected.as_bytes());
        check("openb-pod-0001", "openb-pod-0001");
        check("", "");
        check("a,b", "\"a,b\"");
        check("say \"hi\"", "\"say \"\"hi\"\"\"");
        check("two\nlines", "\"two\nlines\"");
    }

    proptest! {
        #[test]
        fn a_csv_reader_gets_back_the_cell(text in any::<String>(), units: u64) {
            let mut line = b"x,".to_vec();
            push_quoted(&mut line, &text);
            line.push(b',');
            push_decimal(&mut line, units, 3);
            line.push(b'\n');
            let mut reader = ::csv::ReaderBuilder::new().has_headers(false).from_reader(line.as_slice());
            let record = reader.records().next().unwrap().unwrap();
            prop_assert_eq!(&record[1], text.as_str());
            let (whole, fraction) = record[2].split_once('.').unwrap_or((&record[2], ""));
            prop_assert_eq!(format!("{whole}{fraction:0<3}").parse::<u64>().unwrap(), units);
        }
    }
}
