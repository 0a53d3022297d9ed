//! foretell's own CSV: one row per job, units in the header.

use std::path::Path;
use std::sync::Arc;

use crate::error::TraceError;
use crate::output::{Fields, RowWriter};
use crate::record::{
    JobRecord, JobStatus, MAX_CPU_MILLI, MAX_GPUS_PER_TASK, MAX_MEMORY_BYTES, MAX_TASKS, WHOLE_GPU_MILLI,
};
use crate::rows::{Column, Rows};
use crate::scaling::{EXPECTED as EXPECTED_LAW, MAX_SCALING_BYTES, MAX_SCALING_TASKS, ScalingRecord};

/// The columns, in the order in which they are written. A file may leave out all but `job_id`, `submit_s`,
/// `duration_s` and `gpus_per_task`, and may have them in any order; what is left out, or blank in a row, has its
/// default.
pub const COLUMNS: [&str; 20] = [
    "job_id",
    "user",
    "queue",
    "submit_s",
    "duration_s",
    "tasks",
    "gpus_per_task",
    "gpu_milli",
    "cpu_milli",
    "memory_bytes",
    "gpu_models",
    "priority",
    "status",
    "account",
    "qos",
    "limit_s",
    "min_tasks",
    "max_tasks",
    "scaling",
    "deadline_s",
];

/// Jobs of a canonical file, streamed. Rows must be in order of submission.
pub struct Reader {
    rows: Rows,
    columns: Columns,
    previous_s: f64,
    ended: bool,
}

struct Columns {
    id: Column,
    user: Option<Column>,
    queue: Option<Column>,
    submit: Column,
    duration: Column,
    tasks: Option<Column>,
    gpus: Column,
    gpu_milli: Option<Column>,
    cpu: Option<Column>,
    memory: Option<Column>,
    models: Option<Column>,
    priority: Option<Column>,
    status: Option<Column>,
    account: Option<Column>,
    qos: Option<Column>,
    limit: Option<Column>,
    min_tasks: Option<Column>,
    max_tasks: Option<Column>,
    scaling: Option<Column>,
    deadline: Option<Column>,
}

impl Reader {
    /// Opens a file and reads its header.
    pub fn open(path: &Path) -> Result<Self, TraceError> {
        Self::new(Rows::open(path)?)
    }

    pub(crate) fn new(rows: Rows) -> Result<Self, TraceError> {
        rows.expect_known(&COLUMNS)?;
        let columns = Columns {
            id: rows.required("job_id")?,
            user: rows.optional("user"),
            queue: rows.optional("queue"),
            submit: rows.required("submit_s")?,
            duration: rows.required("duration_s")?,
            tasks: rows.optional("tasks"),
            gpus: rows.required("gpus_per_task")?,
            gpu_milli: rows.optional("gpu_milli"),
            cpu: rows.optional("cpu_milli"),
            memory: rows.optional("memory_bytes"),
            models: rows.optional("gpu_models"),
            priority: rows.optional("priority"),
            status: rows.optional("status"),
            account: rows.optional("account"),
            qos: rows.optional("qos"),
            limit: rows.optional("limit_s"),
            min_tasks: rows.optional("min_tasks"),
            max_tasks: rows.optional("max_tasks"),
            scaling: rows.optional("scaling"),
            deadline: rows.optional("deadline_s"),
        };
        Ok(Self { rows, columns, previous_s: 0.0, ended: false })
    }

    fn read(&mut self) -> Result<Option<JobRecord>, TraceError> {
        let Self { rows, columns, previous_s, .. } = self;
        if !rows.advance()? {
            return Ok(None);
        }
        let submit_s = rows.seconds(columns.submit)?;
        if submit_s < *previous_s {
            let expected = format!("rows in order of submission, at {previous_s} or later");
            return Err(rows.unexpected("submit_s", &expected, rows.text(columns.submit)));
        }
        let gpus_per_task = rows.whole(columns.gpus, 0, MAX_GPUS_PER_TASK)?;
        let (gpu_milli, models) = if gpus_per_task == 0 {
            // No share and no model to ask for, whatever the row says.
            (0, "")
        } else {
            let gpu_milli = rows.whole_or(columns.gpu_milli, WHOLE_GPU_MILLI, 1, WHOLE_GPU_MILLI)?;
            (gpu_milli, rows.gpu_models(columns.models)?)
        };
        let status = match columns.status.map(|column| rows.text(column)) {
            None | Some("") => JobStatus::Completed,
            Some(text) => text
                .parse()
                .map_err(|()| rows.unexpected("status", "one of completed, failed, cancelled", text))?,
        };
        let tasks = rows.whole_or(columns.tasks, 1, 1, MAX_TASKS)?;
        let record = JobRecord {
            id: rows.identifier(columns.id)?.into(),
            user: rows.name_or_empty(columns.user)?.into(),
            queue: rows.name_or_empty(columns.queue)?.into(),
            submit_s,
            duration_s: rows.seconds(columns.duration)?,
            tasks,
            gpus_per_task,
            gpu_milli,
            cpu_milli: rows.whole_or(columns.cpu, 0, 0, MAX_CPU_MILLI)?,
            memory_bytes: rows.whole_or(columns.memory, 0, 0, MAX_MEMORY_BYTES)?,
            gpu_models: split_models(models),
            priority: rows.whole_or(columns.priority, 0, i32::MIN, i32::MAX)?,
            status,
            account: rows.name_or_empty(columns.account)?.into(),
            qos: rows.name_or_empty(columns.qos)?.into(),
            limit_s: rows.seconds_or_none(columns.limit)?,
            scaling: if gpus_per_task == 0 { None } else { columns.scaling(rows, tasks)? },
            deadline_s: rows.seconds_or_none(columns.deadline)?,
        };
        *previous_s = submit_s;
        Ok(Some(record))
    }
}

impl Columns {
    /// How a job of so many tasks scales, if one of the columns says so.
    fn scaling(&self, rows: &Rows, tasks: u32) -> Result<Option<Arc<ScalingRecord>>, TraceError> {
        let columns = [self.min_tasks, self.max_tasks, self.scaling];
        if columns.iter().flatten().all(|&column| rows.text(column).is_empty()) {
            return Ok(None);
        }
        let law = self.scaling.map_or("", |column| rows.text(column));
        let unexpected = || rows.unexpected("scaling", EXPECTED_LAW, law);
        if law.len() > MAX_SCALING_BYTES {
            return Err(unexpected());
        }
        let scaling = ScalingRecord {
            min_tasks: rows.whole_or(self.min_tasks, 1, 1, tasks)?,
            max_tasks: rows.whole_or(self.max_tasks, tasks, tasks, MAX_SCALING_TASKS)?,
            curves: ScalingRecord::parse_law(law).ok_or_else(unexpected)?,
        };
        scaling.check(tasks).map_err(|error| rows.unexpected(error.column, &error.expected, &error.got))?;
        Ok(Some(Arc::new(scaling)))
    }
}

/// The names in `A|B`.
pub(crate) fn split_models(models: &str) -> Vec<String> {
    models.split('|').filter(|model| !model.is_empty()).map(str::to_owned).collect()
}

impl Iterator for Reader {
    type Item = Result<JobRecord, TraceError>;

    /// After an error there are no more rows.
    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let row = self.read().transpose();
        self.ended = !matches!(row, Some(Ok(_)));
        row
    }
}

/// Writes a canonical file, compressed if its name ends in `.gz`. The file appears under its name only when it is
/// whole.
pub struct Writer {
    rows: RowWriter,
}

fn write_row(fields: &mut Fields<'_>, job: &JobRecord) -> csv::Result<()> {
    fields.text(&job.id)?;
    fields.text(&job.user)?;
    fields.text(&job.queue)?;
    fields.number(job.submit_s)?;
    fields.number(job.duration_s)?;
    fields.number(job.tasks)?;
    fields.number(job.gpus_per_task)?;
    fields.number(job.gpu_milli)?;
    fields.number(job.cpu_milli)?;
    fields.number(job.memory_bytes)?;
    fields.text(&job.gpu_models_text())?;
    fields.number(job.priority)?;
    fields.text(job.status.name())?;
    fields.text(&job.account)?;
    fields.text(&job.qos)?;
    fields.number_or_blank(job.limit_s)?;
    let scaling = job.scaling.as_deref();
    fields.number_or_blank(scaling.map(|scaling| scaling.min_tasks))?;
    fields.number_or_blank(scaling.map(|scaling| scaling.max_tasks))?;
    fields.text(&scaling.map(ScalingRecord::law_text).unwrap_or_default())?;
    fields.number_or_blank(job.deadline_s)
}

impl Writer {
    /// Begins a file.
    pub fn create(path: &Path) -> Result<Self, TraceError> {
        Ok(Self { rows: RowWriter::create(path, &COLUMNS)? })
    }

    /// Appends a job. It must be valid, else the file would not read back.
    pub fn write(&mut self, job: &JobRecord) -> Result<(), TraceError> {
        self.rows.write(job.check(), |fields| write_row(fields, job))
    }

    /// Puts the file in place.
    pub fn finish(self) -> Result<(), TraceError> {
        self.rows.finish()
    }
}
