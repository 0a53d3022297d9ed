//! The public derivative of Microsoft's Philly trace: one row per job, and virtual clusters of 8-GPU nodes.

use std::ops::RangeInclusive;
use std::path::Path;

use jiff::civil::DateTime;

use crate::error::TraceError;
use crate::record::{JobRecord, JobStatus, NodeRecord, WHOLE_GPU_MILLI};
use crate::rows::Rows;

/// GPUs of a node.
pub const GPUS_PER_NODE: u32 = 8;

/// The model that nodes are given: the trace does not name it.
pub const GPU_MODEL: &str = "P100";

/// Most GPUs of a job.
const MAX_GPUS: u32 = 1 << 16;

/// Most nodes of all virtual clusters.
const MAX_NODES: u32 = 1 << 16;

pub(crate) const JOB_COLUMNS: [&str; 5] = ["timestamp", "duration", "num_gpus", "gpu_time", "cluster"];
pub(crate) const NODE_COLUMNS: [&str; 2] = ["vc", "node num"];

const TIMESTAMP_FORMAT: &str = "%Y-%m-%d %H:%M:%S";

/// Years that a trace may span: fewer than [`MAX_TIME_S`](crate::record::MAX_TIME_S).
const YEARS: RangeInclusive<i16> = 1970..=2069;

const EXPECTED_TIMESTAMP: &str = "a time such as 2017-10-09 07:01:55 in the years 1970 to 2069";

/// Reads the jobs, in order of submission, which is counted from the first of them. Timestamps are local time and
/// taken as they stand. The virtual cluster becomes the queue. A job of more than 8 GPUs becomes the smallest number
/// of equal tasks of at most 8 GPUs: 12 GPUs are two tasks of 6.
pub fn read_jobs(path: &Path) -> Result<Vec<JobRecord>, TraceError> {
    jobs(Rows::open(path)?)
}

pub(crate) fn jobs(mut rows: Rows) -> Result<Vec<JobRecord>, TraceError> {
    rows.expect_known(&JOB_COLUMNS)?;
    let (timestamp, duration) = (rows.required("timestamp")?, rows.required("duration")?);
    let (gpus, cluster) = (rows.required("num_gpus")?, rows.required("cluster")?);
    let mut jobs: Vec<(DateTime, JobRecord)> = Vec::new();
    while rows.advance()? {
        let text = rows.text(timestamp);
        let submitted =
            DateTime::strptime(TIMESTAMP_FORMAT, text).ok().filter(|time| YEARS.contains(&time.year()));
        let submitted = submitted.ok_or_else(|| rows.unexpected("timestamp", EXPECTED_TIMESTAMP, text))?;
        let gpus = rows.whole(gpus, 1, MAX_GPUS)?;
        let (tasks, gpus_per_task) = equal_tasks(gpus);
        let job = JobRecord {
            id: format!("philly-{}", jobs.len() + 1).into(),
            user: Box::default(),
            queue: rows.identifier(cluster)?.into(),
            submit_s: 0.0,
            duration_s: rows.seconds(duration)?,
            tasks,
            gpus_per_task,
            gpu_milli: WHOLE_GPU_MILLI,
            cpu_milli: 0,
            memory_bytes: 0,
            gpu_models: Vec::new(),
            priority: 0,
            status: JobStatus::Completed,
            account: Box::default(),
            qos: Box::default(),
            limit_s: None,
            scaling: None,
            deadline_s: None,
        };
        jobs.push((submitted, job));
    }
    jobs.sort_by_key(|&(submitted, _)| submitted);
    let Some(&(start, _)) = jobs.first() else { return Ok(Vec::new()) };
    let relative = |(submitted, job): (DateTime, JobRecord)| JobRecord {
        submit_s: start.duration_until(submitted).as_secs_f64(),
        ..job
    };
    Ok(jobs.into_iter().map(relative).collect())
}

/// The smallest number of tasks of at most 8 GPUs that share these GPUs equally.
fn equal_tasks(gpus: u32) -> (u32, u32) {
    let fits = |tasks: &u32| gpus.is_multiple_of(*tasks) && gpus / tasks <= GPUS_PER_NODE;
    let tasks = (gpus.div_ceil(GPUS_PER_NODE)..=gpus).find(fits).unwrap_or(gpus);
    (tasks, gpus / tasks)
}

/// Reads the virtual clusters: so many nodes of 8 GPUs each, with nothing said of CPU and memory.
pub fn read_nodes(path: &Path) -> Result<Vec<NodeRecord>, TraceError> {
    let mut rows = Rows::open(path)?;
    rows.expect_known(&NODE_COLUMNS)?;
    let (cluster, count) = (rows.required("vc")?, rows.required("node num")?);
    let mut nodes = Vec::new();
    while rows.advance()? {
        let cluster = rows.identifier(cluster)?;
        let count = rows.whole(count, 0, MAX_NODES - nodes.len() as u32)?;
        nodes.extend((0..count).map(|index| NodeRecord {
            name: format!("{cluster}-{index:03}").into(),
            cpu_milli: 0,
            memory_bytes: 0,
            gpus: GPUS_PER_NODE,
            gpu_model: GPU_MODEL.into(),
            virtual_cluster: cluster.into(),
        }));
    }
    Ok(nodes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_jobs_become_equal_tasks() {
        for (gpus, expected) in
            [(1, (1, 1)), (8, (1, 8)), (12, (2, 6)), (16, (2, 8)), (24, (3, 8)), (9, (3, 3)), (13, (13, 1))]
        {
            assert_eq!(equal_tasks(gpus), expected, "{gpus} GPUs");
        }
    }
}
