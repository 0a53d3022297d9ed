//! The canonical records: what one job asks for, and what one node has.

use std::fmt::{self, Display};
use std::str::FromStr;
use std::sync::Arc;

use crate::scaling::ScalingRecord;

/// Thousandths of a GPU in a whole one.
pub const WHOLE_GPU_MILLI: u32 = 1000;

/// Largest submit time and run time in seconds (about 127 years). Unix time stamps fit below it, and a submit time
/// plus a run time fits in 64-bit nanoseconds.
pub const MAX_TIME_S: f64 = 4e9;
/// Most tasks of a job.
pub const MAX_TASKS: u32 = 100_000;
/// Most GPUs of a task.
pub const MAX_GPUS_PER_TASK: u32 = 1024;
/// Most thousandths of a core per task (one million cores).
pub const MAX_CPU_MILLI: u64 = 1_000_000_000;
/// Most bytes of memory per task (64 TiB): the sum over [`MAX_TASKS`] tasks fits in 64 bits.
pub const MAX_MEMORY_BYTES: u64 = 1 << 46;
/// Longest name (of a job, user, queue or list of models) in bytes.
pub const MAX_TEXT_BYTES: usize = 4096;

/// One job: a gang of equal tasks that is submitted at a time and runs for a while.
///
/// Every reader yields records that [`JobRecord::check`] accepts.
#[derive(Debug, Clone, PartialEq)]
pub struct JobRecord {
    /// Name of the job, not empty.
    pub id: Box<str>,
    /// Who submitted it; `""` = not known.
    pub user: Box<str>,
    /// Queue or virtual cluster; `""` = the default one.
    pub queue: Box<str>,
    /// Submit time in seconds since the start of the trace.
    pub submit_s: f64,
    /// Run time in seconds, queueing not included.
    pub duration_s: f64,
    /// Number of equal tasks (pods), placed all or none.
    pub tasks: u32,
    /// GPUs of each task; 0 = a job without GPUs.
    pub gpus_per_task: u32,
    /// Thousandths of each GPU: 1000 = whole GPUs, 1..=999 = a share, 0 = a job without GPUs.
    pub gpu_milli: u32,
    /// Thousandths of a core per task.
    pub cpu_milli: u64,
    /// Bytes of memory per task.
    pub memory_bytes: u64,
    /// GPU models that the job accepts, in the order and with the repetitions of the source; empty = any.
    pub gpu_models: Vec<String>,
    /// Scheduling priority; higher goes first, 0 is usual.
    pub priority: i32,
    /// How the job ended where it was recorded.
    pub status: JobStatus,
    /// Account that is charged; `""` = not known.
    pub account: Box<str>,
    /// Quality of service that was asked for; `""` = the default one.
    pub qos: Box<str>,
    /// Time limit that the user set, in seconds; `None` = none. It is what the user expects at most, not what is true.
    pub limit_s: Option<f64>,
    /// On how many tasks it may run and how fast it is then; `None` = on all of them. Its run time is that on `tasks`.
    pub scaling: Option<Arc<ScalingRecord>>,
    /// When it should be done, in seconds since the start of the trace; `None` = no deadline.
    pub deadline_s: Option<f64>,
}

impl JobRecord {
    /// GPUs of the whole job; a share counts as its fraction.
    pub fn gpus(&self) -> f64 {
        f64::from(self.tasks) * f64::from(self.gpus_per_task) * f64::from(self.gpu_milli) / 1000.0
    }

    /// GPUs times run time.
    pub fn gpu_seconds(&self) -> f64 {
        self.gpus() * self.duration_s
    }

    /// The accepted GPU models as one string, `A|B`.
    pub fn gpu_models_text(&self) -> String {
        self.gpu_models.join("|")
    }

    /// Checks every field against the limits of this module.
    pub fn check(&self) -> Result<(), InvalidField> {
        if self.id.is_empty() {
            return Err(InvalidField::new("job_id", "a name", ""));
        }
        check_text("job_id", &self.id)?;
        check_text("user", &self.user)?;
        check_text("queue", &self.queue)?;
        check_seconds("submit_s", self.submit_s)?;
        check_seconds("duration_s", self.duration_s)?;
        check_text("account", &self.account)?;
        check_text("qos", &self.qos)?;
        self.limit_s.map_or(Ok(()), |limit_s| check_seconds("limit_s", limit_s))?;
        self.deadline_s.map_or(Ok(()), |deadline_s| check_seconds("deadline_s", deadline_s))?;
        check_whole("tasks", self.tasks, 1, MAX_TASKS)?;
        if let Some(scaling) = &self.scaling {
            scaling.check(self.tasks)?;
            if self.gpus_per_task == 0 {
                return Err(InvalidField::new(
                    "scaling",
                    "nothing for a job without GPUs",
                    scaling.law_text(),
                ));
            }
        }
        check_whole("gpus_per_task", self.gpus_per_task, 0, MAX_GPUS_PER_TASK)?;
        if self.gpus_per_task == 0 {
            check_whole("gpu_milli", self.gpu_milli, 0, 0)?;
            if !self.gpu_models.is_empty() {
                let expected = "no models for a job without GPUs";
                return Err(InvalidField::new("gpu_models", expected, self.gpu_models_text()));
            }
        } else {
            check_whole("gpu_milli", self.gpu_milli, 1, WHOLE_GPU_MILLI)?;
        }
        check_whole("cpu_milli", self.cpu_milli, 0, MAX_CPU_MILLI)?;
        check_whole("memory_bytes", self.memory_bytes, 0, MAX_MEMORY_BYTES)?;
        if !self.gpu_models.is_empty() {
            if self.gpu_models.iter().any(|model| model.is_empty() || model.contains('|')) {
                let expected = "model names that are not empty and have no \"|\" in them";
                return Err(InvalidField::new("gpu_models", expected, self.gpu_models_text()));
            }
            check_text("gpu_models", &self.gpu_models_text())?;
        }
        Ok(())
    }
}

/// How a job ended where it was recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum JobStatus {
    /// It ran to its end (or to the end of the recording).
    #[default]
    Completed,
    /// It ended in an error.
    Failed,
    /// It was withdrawn.
    Cancelled,
}

impl JobStatus {
    /// All states, in the order of declaration.
    pub const ALL: [Self; 3] = [Self::Completed, Self::Failed, Self::Cancelled];

    /// The name in a canonical trace.
    pub fn name(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

impl Display for JobStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for JobStatus {
    type Err = ();

    fn from_str(name: &str) -> Result<Self, ()> {
        Self::ALL.into_iter().find(|status| status.name() == name).ok_or(())
    }
}

/// One node of a cluster as a trace describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeRecord {
    /// Name of the node.
    pub name: Box<str>,
    /// Thousandths of a core; 0 where the trace does not say.
    pub cpu_milli: u64,
    /// Bytes of memory; 0 where the trace does not say.
    pub memory_bytes: u64,
    /// GPU devices.
    pub gpus: u32,
    /// Model of all GPUs of the node; `""` = none or not known.
    pub gpu_model: Box<str>,
    /// Virtual cluster that owns the node; `""` = shared by all.
    pub virtual_cluster: Box<str>,
}

/// A field of a record that is out of its limits.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("column {column:?}: expected {expected}, got {got:?}")]
pub struct InvalidField {
    /// Canonical column name.
    pub column: &'static str,
    /// What would have been accepted.
    pub expected: String,
    /// What was given.
    pub got: String,
}

impl InvalidField {
    #[expect(clippy::needless_pass_by_value, reason = "most callers pass temporaries")]
    pub(crate) fn new(column: &'static str, expected: impl Into<String>, got: impl ToString) -> Self {
        Self { column, expected: expected.into(), got: got.to_string() }
    }
}

/// What a whole number must be, in words.
pub(crate) fn expected_whole(min: impl Display, max: impl Display) -> String {
    format!("a whole number from {min} to {max}")
}

/// What a time must be, in words.
pub(crate) fn expected_seconds() -> String {
    format!("a number of seconds from 0 to {MAX_TIME_S}")
}

/// What a name must be, in words.
pub(crate) fn expected_text() -> String {
    format!("at most {MAX_TEXT_BYTES} bytes of text without control characters")
}

/// Is `text` a name that can be written to and read back from one line?
pub(crate) fn is_text(text: &str) -> bool {
    text.len() <= MAX_TEXT_BYTES && !text.bytes().any(|byte| byte.is_ascii_control())
}

pub(crate) fn check_text(column: &'static str, text: &str) -> Result<(), InvalidField> {
    if is_text(text) { Ok(()) } else { Err(InvalidField::new(column, expected_text(), text)) }
}

fn check_seconds(column: &'static str, seconds: f64) -> Result<(), InvalidField> {
    if (0.0..=MAX_TIME_S).contains(&seconds) {
        Ok(())
    } else {
        Err(InvalidField::new(column, expected_seconds(), seconds))
    }
}

pub(crate) fn check_whole<T: PartialOrd + Display>(
    column: &'static str,
    value: T,
    min: T,
    max: T,
) -> Result<(), InvalidField> {
    if min <= value && value <= max {
        Ok(())
    } else {
        Err(InvalidField::new(column, expected_whole(min, max), value))
    }
}
