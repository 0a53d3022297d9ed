//! Alibaba's GPU cluster trace of 2023 ("openb"): nodes, pods, and the arrival orders of the FGD study.

use std::collections::BTreeMap;
use std::path::Path;

use crate::canonical::split_models;
use crate::error::TraceError;
use crate::record::{
    JobRecord, JobStatus, MAX_CPU_MILLI, MAX_GPUS_PER_TASK, MAX_MEMORY_BYTES, NodeRecord, WHOLE_GPU_MILLI,
};
use crate::rows::{Column, Rows};

const MIB: u64 = 1 << 20;

/// A node of the cluster.
pub type NodeRow = NodeRecord;

/// A pod as the file has it. Files of the `multigpu` family have neither models nor times.
#[derive(Debug, Clone, PartialEq)]
pub struct PodRow {
    /// Name.
    pub name: Box<str>,
    /// Thousandths of a core.
    pub cpu_milli: u64,
    /// Bytes of memory.
    pub memory_bytes: u64,
    /// Number of GPUs.
    pub gpus: u32,
    /// Thousandths of each GPU; 0 exactly where there are no GPUs.
    pub gpu_milli: u32,
    /// Allowed GPU models as written, such as `V100M16|V100M32`; empty = any, or no GPUs.
    pub gpu_spec: Box<str>,
    /// Service class: LS (latency sensitive), BE (best effort), Burstable, Guaranteed; empty if the file has none.
    pub qos: Box<str>,
    /// What the recording says of the pod's life; `None` if the file does not.
    pub life: Option<PodLife>,
}

/// When a pod lived.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PodLife {
    /// When it was created, in seconds since the start of the trace.
    pub creation_s: f64,
    /// When it was deleted, or when the recording ended.
    pub deletion_s: f64,
    /// When it was scheduled; `None` if it never was.
    pub scheduled_s: Option<f64>,
    /// How it ended.
    pub status: JobStatus,
}

const NODE_COLUMNS: [&str; 5] = ["sn", "cpu_milli", "memory_mib", "gpu", "model"];

/// Reads a list of nodes, in the order of the file.
pub fn read_nodes(path: &Path) -> Result<Vec<NodeRow>, TraceError> {
    let mut rows = Rows::open(path)?;
    rows.expect_known(&NODE_COLUMNS)?;
    let (name, cpu, memory) =
        (rows.required("sn")?, rows.required("cpu_milli")?, rows.required("memory_mib")?);
    let (gpu, model) = (rows.required("gpu")?, rows.required("model")?);
    let mut nodes = Vec::new();
    while rows.advance()? {
        let gpus = rows.whole(gpu, 0, MAX_GPUS_PER_TASK)?;
        let gpu_model = rows.name(model)?;
        if (gpus > 0) == gpu_model.is_empty() {
            let expected = "a GPU model exactly where there are GPUs";
            return Err(rows.unexpected("model", expected, gpu_model));
        }
        nodes.push(NodeRecord {
            name: rows.identifier(name)?.into(),
            cpu_milli: rows.whole(cpu, 0, MAX_CPU_MILLI)?,
            memory_bytes: rows.whole(memory, 0, MAX_MEMORY_BYTES / MIB)? * MIB,
            gpus,
            gpu_model: gpu_model.into(),
            virtual_cluster: Box::default(),
        });
    }
    Ok(nodes)
}

pub(crate) const POD_COLUMNS: [&str; 11] = [
    "name",
    "cpu_milli",
    "memory_mib",
    "num_gpu",
    "gpu_milli",
    "gpu_spec",
    "qos",
    "pod_phase",
    "creation_time",
    "deletion_time",
    "scheduled_time",
];

/// Reads a list of pods, in the order of the file.
pub fn read_pods(path: &Path) -> Result<Vec<PodRow>, TraceError> {
    pods(&mut Rows::open(path)?)
}

fn pods(rows: &mut Rows) -> Result<Vec<PodRow>, TraceError> {
    rows.expect_known(&POD_COLUMNS)?;
    let columns = PodColumns::of(rows)?;
    let mut pods = Vec::new();
    while rows.advance()? {
        pods.push(columns.pod(rows)?);
    }
    Ok(pods)
}

struct PodColumns {
    name: Column,
    cpu: Column,
    memory: Column,
    gpus: Column,
    gpu_milli: Column,
    gpu_spec: Option<Column>,
    qos: Option<Column>,
    life: Option<LifeColumns>,
}

struct LifeColumns {
    phase: Column,
    creation: Column,
    deletion: Column,
    scheduled: Column,
}

impl PodColumns {
    fn of(rows: &Rows) -> Result<Self, TraceError> {
        let life = match rows.optional("creation_time") {
            None => None,
            Some(creation) => Some(LifeColumns {
                phase: rows.required("pod_phase")?,
                creation,
                deletion: rows.required("deletion_time")?,
                scheduled: rows.required("scheduled_time")?,
            }),
        };
        Ok(Self {
            name: rows.required("name")?,
            cpu: rows.required("cpu_milli")?,
            memory: rows.required("memory_mib")?,
            gpus: rows.required("num_gpu")?,
            gpu_milli: rows.required("gpu_milli")?,
            gpu_spec: rows.optional("gpu_spec"),
            qos: rows.optional("qos"),
            life,
        })
    }

    fn pod(&self, rows: &Rows) -> Result<PodRow, TraceError> {
        let gpus = rows.whole(self.gpus, 0, MAX_GPUS_PER_TASK)?;
        let gpu_milli: u32 = rows.whole(self.gpu_milli, u32::from(gpus > 0), u32::MAX)?;
        let gpu_spec = rows.gpu_models(self.gpu_spec)?;
        let qos = rows.name_or_empty(self.qos)?;
        Ok(PodRow {
            name: rows.identifier(self.name)?.into(),
            cpu_milli: rows.whole(self.cpu, 0, MAX_CPU_MILLI)?,
            memory_bytes: rows.whole(self.memory, 0, MAX_MEMORY_BYTES / MIB)? * MIB,
            gpus,
            // A pod without GPUs asks for no share and no model, whatever its row says.
            gpu_milli: if gpus == 0 { 0 } else { gpu_milli.min(WHOLE_GPU_MILLI) },
            gpu_spec: if gpus == 0 { "" } else { gpu_spec }.into(),
            qos: qos.into(),
            life: self.life.as_ref().map(|life| life.read(rows)).transpose()?,
        })
    }
}

impl LifeColumns {
    fn read(&self, rows: &Rows) -> Result<PodLife, TraceError> {
        let (creation_s, deletion_s) = (rows.seconds(self.creation)?, rows.seconds(self.deletion)?);
        let scheduled = rows.text(self.scheduled);
        let scheduled_s = if scheduled.is_empty() { None } else { Some(rows.seconds(self.scheduled)?) };
        if deletion_s < scheduled_s.unwrap_or(creation_s) {
            let expected = "a time that is not before the pod was created or scheduled";
            return Err(rows.unexpected("deletion_time", expected, rows.text(self.deletion)));
        }
        let status = match rows.text(self.phase) {
            "Running" | "Succeeded" => JobStatus::Completed,
            "Failed" => JobStatus::Failed,
            // Withdrawn before it ran.
            "Pending" => JobStatus::Cancelled,
            phase => {
                let expected = "one of Running, Succeeded, Failed, Pending";
                return Err(rows.unexpected("pod_phase", expected, phase));
            }
        };
        Ok(PodLife { creation_s, deletion_s, scheduled_s, status })
    }
}

/// Reads the pods as jobs of one task each, in order of creation. The run time is from scheduling to deletion; for a
/// pod that was never scheduled, from creation to deletion. The service class becomes the queue.
pub fn read_jobs(path: &Path) -> Result<Vec<JobRecord>, TraceError> {
    jobs(Rows::open(path)?)
}

pub(crate) fn jobs(mut rows: Rows) -> Result<Vec<JobRecord>, TraceError> {
    let pods = pods(&mut rows)?;
    let job = |pod: PodRow| {
        let life = pod.life.ok_or_else(|| {
            let message = "missing: pods without times cannot be replayed, only used as arrivals in a study";
            TraceError {
                column: Some("creation_time".to_owned()),
                ..TraceError::line(rows.path(), 1, message)
            }
        })?;
        Ok(JobRecord {
            id: pod.name,
            user: Box::default(),
            queue: pod.qos,
            submit_s: life.creation_s,
            duration_s: life.deletion_s - life.scheduled_s.unwrap_or(life.creation_s),
            tasks: 1,
            gpus_per_task: pod.gpus,
            gpu_milli: pod.gpu_milli,
            cpu_milli: pod.cpu_milli,
            memory_bytes: pod.memory_bytes,
            gpu_models: split_models(&pod.gpu_spec),
            priority: 0,
            status: life.status,
            account: Box::default(),
            qos: Box::default(),
            limit_s: None,
            scaling: None,
            deadline_s: None,
        })
    };
    let mut jobs = pods.into_iter().map(job).collect::<Result<Vec<_>, TraceError>>()?;
    jobs.sort_by(|job, other| job.submit_s.total_cmp(&other.submit_s));
    Ok(jobs)
}

/// Reads arrival orders: per seed, the pods' rows in order of arrival, each below `pods`. Only the given seeds are
/// kept; a seed that the file lacks is absent from the result.
pub fn read_order(path: &Path, seeds: &[u64], pods: u32) -> Result<BTreeMap<u64, Vec<u32>>, TraceError> {
    read_seeds(path, seeds, pods)
}

/// Reads node ranks: per seed, one rank per node row, a permutation of `0..nodes`.
pub fn read_node_rank(path: &Path, seeds: &[u64], nodes: u32) -> Result<BTreeMap<u64, Vec<u32>>, TraceError> {
    let ranks = read_seeds(path, seeds, nodes)?;
    for (seed, ranks) in &ranks {
        let mut sorted = ranks.clone();
        sorted.sort_unstable();
        if !sorted.iter().copied().eq(0..nodes) {
            let message = format!("expected each rank from 0 to {} once", nodes.saturating_sub(1));
            return Err(TraceError { column: Some(format!("s{seed}")), ..TraceError::file(path, message) });
        }
    }
    Ok(ranks)
}

/// Columns `s42`, `s43`, ... of whole numbers below `bound`; a column may end early, in blank cells.
fn read_seeds(path: &Path, seeds: &[u64], bound: u32) -> Result<BTreeMap<u64, Vec<u32>>, TraceError> {
    let mut rows = Rows::open(path)?;
    let seed_of = |name: &String| name.strip_prefix('s').and_then(|seed| seed.parse::<u64>().ok());
    let mut columns: Vec<(usize, u64, Vec<u32>)> = rows
        .header()
        .iter()
        .enumerate()
        .filter_map(|(index, name)| Some((index, seed_of(name)?)))
        .filter(|(_, seed)| seeds.contains(seed))
        .map(|(index, seed)| (index, seed, Vec::new()))
        .collect();
    let mut row = 0;
    while rows.advance()? {
        for (index, seed, values) in &mut columns {
            let text = rows.text_at(*index);
            if text.is_empty() {
                continue;
            }
            let value = text.parse().ok().filter(|value| *value < bound && values.len() == row);
            let value = value.ok_or_else(|| {
                let expected = format!("a whole number below {bound}, and blank cells only at the end");
                rows.unexpected(&format!("s{seed}"), &expected, text)
            })?;
            values.push(value);
        }
        row += 1;
    }
    Ok(columns.into_iter().map(|(_, seed, values)| (seed, values)).collect())
}
