//! Accounting dumps of Slurm: `sacct --parsable2` (or `-p`) with a header.

use std::collections::BTreeMap;
use std::path::Path;

use jiff::civil::DateTime;

use crate::error::TraceError;
use crate::record::{
    JobRecord, JobStatus, MAX_CPU_MILLI, MAX_GPUS_PER_TASK, MAX_MEMORY_BYTES, MAX_TASKS, MAX_TIME_S,
    WHOLE_GPU_MILLI,
};
use crate::rows::{Column, Rows};

/// Columns by which such a dump is known. Others are allowed and not read.
pub(crate) const COLUMNS: [&str; 16] = [
    "JobID",
    "User",
    "Account",
    "Partition",
    "QOS",
    "Submit",
    "Start",
    "End",
    "Elapsed",
    "ElapsedRaw",
    "Timelimit",
    "TimelimitRaw",
    "State",
    "NNodes",
    "AllocTRES",
    "ReqTRES",
];

pub(crate) const DELIMITER: u8 = b'|';

const TIMESTAMP_FORMAT: &str = "%Y-%m-%dT%H:%M:%S";
const EXPECTED_TIMESTAMP: &str = "a time such as 2024-03-01T12:00:00, or seconds since 1970";
const EXPECTED_SPAN: &str = "a span such as 1-12:30:00, 12:30:00 or 30:00";
const EXPECTED_STATE: &str = "a state of a Slurm job such as COMPLETED";

/// Reads the jobs, in order of submission, which is counted from the first of them.
///
/// One row is one job, an array's task, or a component of a heterogeneous job; steps (`123.batch`, `123.0`) are passed
/// over, and so are jobs that never started: how long they would have run nobody knows. Of a job that was requeued the
/// first submission and the last run count. Nodes become tasks, and what was allocated is divided evenly over them. The
/// partition becomes the queue.
pub fn read_jobs(path: &Path) -> Result<Vec<JobRecord>, TraceError> {
    jobs(Rows::open_delimited(path, DELIMITER)?)
}

pub(crate) fn jobs(mut rows: Rows) -> Result<Vec<JobRecord>, TraceError> {
    let columns = Columns::of(&rows)?;
    let mut jobs: BTreeMap<Box<str>, JobRecord> = BTreeMap::new();
    while rows.advance()? {
        let Some(job) = columns.job(&rows)? else { continue };
        match jobs.get_mut(&job.id) {
            Some(known) => {
                let submit_s = known.submit_s.min(job.submit_s);
                *known = JobRecord { submit_s, ..job };
            }
            None => {
                jobs.insert(job.id.clone(), job);
            }
        }
    }
    let mut jobs: Vec<JobRecord> = jobs.into_values().collect();
    jobs.sort_by(|job, other| {
        job.submit_s.total_cmp(&other.submit_s).then_with(|| by_number(&job.id, &other.id))
    });
    let start_s = jobs.first().map_or(0.0, |job| job.submit_s);
    for job in &mut jobs {
        job.submit_s -= start_s;
        if job.submit_s > MAX_TIME_S {
            let message = format!("job {} is submitted more than {MAX_TIME_S} s after the first", job.id);
            return Err(TraceError::file(rows.path(), message));
        }
    }
    Ok(jobs)
}

/// Names such as `123_4` in the order of their numbers.
fn by_number(one: &str, other: &str) -> std::cmp::Ordering {
    let numbers = |id: &str| -> Vec<u64> {
        id.split(|character: char| !character.is_ascii_digit()).filter_map(|part| part.parse().ok()).collect()
    };
    numbers(one).cmp(&numbers(other)).then_with(|| one.cmp(other))
}

struct Columns {
    id: Column,
    submit: Column,
    state: Column,
    start: Option<Column>,
    end: Option<Column>,
    elapsed: Option<Column>,
    elapsed_raw: Option<Column>,
    limit: Option<Column>,
    limit_raw: Option<Column>,
    user: Option<Column>,
    account: Option<Column>,
    partition: Option<Column>,
    qos: Option<Column>,
    nodes: Option<Column>,
    allocated: Option<Column>,
    requested: Option<Column>,
}

/// What a list of trackable resources says.
#[derive(Default)]
struct Tres {
    nodes: u32,
    cpus: u64,
    memory_bytes: u64,
    gpus: u32,
    models: Vec<String>,
}

impl Columns {
    fn of(rows: &Rows) -> Result<Self, TraceError> {
        let (allocated, requested) = (rows.optional("AllocTRES"), rows.optional("ReqTRES"));
        if allocated.is_none() {
            // Says what is missing.
            requested.map_or_else(|| rows.required("AllocTRES"), Ok)?;
        }
        let (elapsed, elapsed_raw) = (rows.optional("Elapsed"), rows.optional("ElapsedRaw"));
        let (start, end) = (rows.optional("Start"), rows.optional("End"));
        if elapsed.is_none() && elapsed_raw.is_none() && (start.is_none() || end.is_none()) {
            rows.required("Elapsed")?;
        }
        Ok(Self {
            id: rows.required("JobID")?,
            submit: rows.required("Submit")?,
            state: rows.required("State")?,
            start,
            end,
            elapsed,
            elapsed_raw,
            limit: rows.optional("Timelimit"),
            limit_raw: rows.optional("TimelimitRaw"),
            user: rows.optional("User"),
            account: rows.optional("Account"),
            partition: rows.optional("Partition"),
            qos: rows.optional("QOS"),
            nodes: rows.optional("NNodes"),
            allocated,
            requested,
        })
    }

    /// `None` for a step, and for a job that never started.
    fn job(&self, rows: &Rows) -> Result<Option<JobRecord>, TraceError> {
        let id = rows.identifier(self.id)?;
        if id.contains('.') {
            return Ok(None);
        }
        let Some(status) = self.status(rows)? else { return Ok(None) };
        let Some(duration_s) = self.duration(rows)? else { return Ok(None) };
        let submit = rows.text(self.submit);
        let submit_s =
            timestamp(submit).ok_or_else(|| rows.unexpected("Submit", EXPECTED_TIMESTAMP, submit))?;
        let tres = self.tres(rows)?;
        let listed = match self.nodes {
            Some(nodes) => rows.whole(nodes, 0, MAX_TASKS)?,
            None => 0,
        };
        let nodes = listed.max(tres.nodes).max(1);
        let (tasks, gpus_per_task) = equal_tasks(nodes, tres.gpus);
        // A job may be submitted to several partitions; it ran in the first that took it, which comes alone then.
        let partition = rows.name_or_empty(self.partition)?.split(',').next().unwrap_or_default();
        Ok(Some(JobRecord {
            id: id.into(),
            user: rows.name_or_empty(self.user)?.into(),
            account: rows.name_or_empty(self.account)?.into(),
            qos: rows.name_or_empty(self.qos)?.into(),
            queue: partition.into(),
            submit_s,
            duration_s,
            limit_s: self.limit(rows)?,
            scaling: None,
            deadline_s: None,
            tasks,
            gpus_per_task,
            gpu_milli: if gpus_per_task == 0 { 0 } else { WHOLE_GPU_MILLI },
            cpu_milli: (tres.cpus.saturating_mul(1000) / u64::from(tasks)).min(MAX_CPU_MILLI),
            memory_bytes: (tres.memory_bytes / u64::from(tasks)).min(MAX_MEMORY_BYTES),
            gpu_models: if gpus_per_task == 0 { Vec::new() } else { tres.models },
            priority: 0,
            status,
        }))
    }

    /// How it ended; `None` if it has not begun.
    fn status(&self, rows: &Rows) -> Result<Option<JobStatus>, TraceError> {
        let text = rows.text(self.state);
        // `CANCELLED by 1001`, and `+` where a narrow column cut a state short.
        let state = text.split_whitespace().next().unwrap_or_default().trim_end_matches('+');
        Ok(Some(match state {
            "COMPLETED" | "CD" | "RUNNING" | "R" | "COMPLETING" | "CG" | "SUSPENDED" | "S" | "RESIZING"
            | "RS" => JobStatus::Completed,
            "FAILED" | "F" | "NODE_FAIL" | "NF" | "BOOT_FAIL" | "BF" | "OUT_OF_MEMORY" | "OOM"
            | "TIMEOUT" | "TO" | "LAUNCH_FAILED" => JobStatus::Failed,
            "CANCELLED" | "CA" | "DEADLINE" | "DL" | "PREEMPTED" | "PR" | "REVOKED" | "RV" | "REQUEUED"
            | "RQ" => JobStatus::Cancelled,
            "PENDING" | "PD" | "CONFIGURING" | "CF" => return Ok(None),
            _ => return Err(rows.unexpected("State", EXPECTED_STATE, text)),
        }))
    }

    /// How long it ran; `None` if it never started.
    fn duration(&self, rows: &Rows) -> Result<Option<f64>, TraceError> {
        let is_unknown = |text: &str| matches!(text, "" | "Unknown" | "None");
        if self.start.is_some_and(|start| is_unknown(rows.text(start))) {
            return Ok(None);
        }
        if let Some(raw) = self.elapsed_raw {
            return rows.seconds(raw).map(Some);
        }
        if let Some(elapsed) = self.elapsed {
            let text = rows.text(elapsed);
            return span(text).map(Some).ok_or_else(|| rows.unexpected("Elapsed", EXPECTED_SPAN, text));
        }
        let (Some(start), Some(end)) = (self.start, self.end) else { return Ok(None) };
        if is_unknown(rows.text(end)) {
            return Ok(None);
        }
        let time = |column, name| {
            let text = rows.text(column);
            timestamp(text).ok_or_else(|| rows.unexpected(name, EXPECTED_TIMESTAMP, text))
        };
        let (start_s, end_s) = (time(start, "Start")?, time(end, "End")?);
        if end_s < start_s {
            return Err(rows.unexpected("End", "a time that is not before the start", rows.text(end)));
        }
        Ok(Some(end_s - start_s))
    }

    /// The time limit; `None` where there is none.
    fn limit(&self, rows: &Rows) -> Result<Option<f64>, TraceError> {
        let has_none = |text: &str| matches!(text, "" | "UNLIMITED" | "Partition_Limit" | "Unknown");
        if let Some(raw) = self.limit_raw {
            let text = rows.text(raw);
            if has_none(text) {
                return Ok(None);
            }
            let minutes = rows.whole(raw, 0, (MAX_TIME_S / 60.0) as u64)?;
            return Ok(Some(minutes as f64 * 60.0));
        }
        let Some(limit) = self.limit else { return Ok(None) };
        let text = rows.text(limit);
        if has_none(text) {
            return Ok(None);
        }
        span(text).map(Some).ok_or_else(|| {
            rows.unexpected("Timelimit", &format!("{EXPECTED_SPAN}, UNLIMITED or Partition_Limit"), text)
        })
    }

    /// What it got, or else what it asked for.
    fn tres(&self, rows: &Rows) -> Result<Tres, TraceError> {
        let columns = [(self.allocated, "AllocTRES"), (self.requested, "ReqTRES")];
        let mut known = columns.into_iter().filter_map(|(column, name)| Some((rows.text(column?), name)));
        let Some((text, name)) = known.find(|(text, _)| !text.is_empty()) else { return Ok(Tres::default()) };
        tres(text).ok_or_else(|| {
            let expected = "resources such as cpu=16,mem=64G,node=2,gres/gpu:a100=8";
            rows.unexpected(name, expected, text)
        })
    }
}

fn tres(text: &str) -> Option<Tres> {
    let mut tres = Tres::default();
    let mut typed = 0_u32;
    for item in text.split(',') {
        let (name, amount) = item.split_once('=')?;
        match name {
            "node" => tres.nodes = amount.parse().ok().filter(|&nodes| nodes <= MAX_TASKS)?,
            "cpu" => tres.cpus = amount.parse().ok()?,
            "mem" => tres.memory_bytes = memory(amount)?,
            "gres/gpu" => tres.gpus = amount.parse().ok()?,
            _ => {
                if let Some(model) = name.strip_prefix("gres/gpu:") {
                    let count: u32 = amount.parse().ok()?;
                    typed = typed.checked_add(count)?;
                    if count > 0 {
                        tres.models.push(model.to_owned());
                    }
                }
            }
        }
    }
    tres.gpus = tres.gpus.max(typed);
    let most = u64::from(MAX_TASKS) * u64::from(MAX_GPUS_PER_TASK);
    (u64::from(tres.gpus) <= most).then_some(tres)
}

/// Bytes of `64G`, `1.50T`, or megabytes without a unit.
fn memory(text: &str) -> Option<u64> {
    let units = [("K", 10), ("M", 20), ("G", 30), ("T", 40), ("P", 50)];
    let unit = units.into_iter().find_map(|(suffix, bits)| Some((text.strip_suffix(suffix)?, bits)));
    let (number, bits) = unit.unwrap_or((text, 20));
    let number: f64 = number.parse().ok().filter(|number| (0.0..1e15).contains(number))?;
    Some((number * (1_u64 << bits) as f64).round() as u64)
}

/// The smallest number of tasks, at least one per node, that share these GPUs equally; GPUs on fewer nodes than there
/// are become tasks of one each.
fn equal_tasks(nodes: u32, gpus: u32) -> (u32, u32) {
    if gpus == 0 {
        return (nodes, 0);
    }
    let fits = |tasks: &u32| gpus.is_multiple_of(*tasks) && gpus / tasks <= MAX_GPUS_PER_TASK;
    let tasks = (nodes..=gpus).find(fits).unwrap_or(gpus).min(MAX_TASKS);
    (tasks, gpus / tasks)
}

/// Seconds since 1970; times without a zone are taken as they stand.
fn timestamp(text: &str) -> Option<f64> {
    if let Ok(seconds) = text.parse::<f64>() {
        return (0.0..=MAX_TIME_S).contains(&seconds).then_some(seconds);
    }
    let time = DateTime::strptime(TIMESTAMP_FORMAT, text).ok()?;
    let seconds = DateTime::constant(1970, 1, 1, 0, 0, 0, 0).duration_until(time).as_secs_f64();
    (0.0..=MAX_TIME_S).contains(&seconds).then_some(seconds)
}

/// Seconds of `D-HH:MM:SS`, `D-HH:MM`, `D-HH`, `HH:MM:SS`, `MM:SS` or `MM`, with a fraction of a second at most.
fn span(text: &str) -> Option<f64> {
    let (days, rest) = match text.split_once('-') {
        Some((days, rest)) => (Some(days.parse::<u32>().ok()?), rest),
        None => (None, text),
    };
    let parts: Vec<&str> = rest.split(':').collect();
    let whole = |text: &str| text.parse::<u32>().ok().map(f64::from);
    let last = |text: &str| text.parse::<f64>().ok().filter(|seconds| (0.0..1e7).contains(seconds));
    let seconds = match (days, &*parts) {
        (_, [hours, minutes, seconds]) => whole(hours)? * 3600.0 + whole(minutes)? * 60.0 + last(seconds)?,
        (Some(_), [hours, minutes]) => whole(hours)? * 3600.0 + whole(minutes)? * 60.0,
        (Some(_), [hours]) => whole(hours)? * 3600.0,
        (None, [minutes, seconds]) => whole(minutes)? * 60.0 + last(seconds)?,
        (None, [minutes]) => whole(minutes)? * 60.0,
        _ => return None,
    };
    let seconds = f64::from(days.unwrap_or(0)) * 86_400.0 + seconds;
    (seconds <= MAX_TIME_S).then_some(seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_read_as_slurm_writes_them() {
        for (text, expected) in [
            ("00:00:10", Some(10.0)),
            ("1-02:03:04", Some(93_784.0)),
            ("2-12", Some(216_000.0)),
            ("1-00:30", Some(88_200.0)),
            ("30:00", Some(1800.0)),
            ("90", Some(5400.0)),
            ("05:10.250", Some(310.25)),
            ("", None),
            ("1:2:3:4", None),
            ("-1", None),
            ("UNLIMITED", None),
        ] {
            assert_eq!(span(text), expected, "{text}");
        }
    }

    #[test]
    fn resources_are_counted_once() {
        let check = |text: &str, expected: Option<(u32, u64, u64, u32, &[&str])>| {
            let got =
                tres(text).map(|tres| (tres.nodes, tres.cpus, tres.memory_bytes, tres.gpus, tres.models));
            let got = got.as_ref().map(|(nodes, cpus, memory, gpus, models)| {
                (*nodes, *cpus, *memory, *gpus, models.iter().map(String::as_str).collect::<Vec<_>>())
            });
            let expected = expected
                .map(|(nodes, cpus, memory, gpus, models)| (nodes, cpus, memory, gpus, models.to_vec()));
            assert_eq!(got, expected, "{text}");
        };
        check(
            "billing=64,cpu=64,gres/gpu=8,gres/gpu:a100=8,mem=1.5T,node=2",
            Some((2, 64, 3 << 39, 8, &["a100"])),
        );
        check("cpu=4,gres/gpu:v100=2,gres/gpu:a100=1,mem=4096M", Some((0, 4, 4 << 30, 3, &["v100", "a100"])));
        check("cpu=1,gres/shard=3,energy=5,mem=100", Some((0, 1, 100 << 20, 0, &[])));
        check("cpu", None);
        check("cpu=x", None);
        check("mem=4Q", None);
    }

    #[test]
    fn tasks_share_gpus_equally() {
        for (nodes, gpus, expected) in
            [(1, 0, (1, 0)), (3, 0, (3, 0)), (2, 8, (2, 4)), (2, 9, (3, 3)), (4, 2, (2, 1)), (1, 8, (1, 8))]
        {
            assert_eq!(equal_tasks(nodes, gpus), expected, "{nodes} nodes, {gpus} GPUs");
        }
    }
}
