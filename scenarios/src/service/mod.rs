//! Models that are served: what a scenario says of them, their pods, and what becomes of their requests.

mod autoscaler;
mod classical;
mod controller;
mod link;
mod replica;
mod router;
mod run;
mod source;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use foretell_serving::FleetOptions;
use foretell_serving::metrics::Objective;
use foretell_serving::speculation::Speculation;
use foretell_serving::{Model, Options, Parallelism};
use foretell_traces::record::WHOLE_GPU_MILLI;
use foretell_traces::requests::generate::{ClosedLoopConfig, RequestGeneratorConfig, SessionsConfig};
use foretell_traces::{JobRecord, JobStatus};

pub use crate::file::{AutoscalerFile, BatcherFile, CapacityFile, EngineFile, KvTierFile, RouterFile};
pub use classical::{ClassicalService, ClassicalServiceError, LatencyLaw, RooflineLaw, serve_classical};
pub(crate) use classical::{LEVEL_TOKENS_MAX, level_law, pods};
pub use controller::Placed;
pub(crate) use controller::Services;
pub use foretell_serving::classical_served::{ClassicalServed, ClassicalServedBy};
pub use foretell_serving::served::{Served, ServedBy};
pub use replica::ServiceError;
pub(crate) use replica::calibration_of;

/// A model that is served.
#[derive(Debug, Clone, PartialEq)]
pub struct Service {
    /// Its name.
    pub name: String,
    /// The model.
    pub model: Arc<Model>,
    /// Number of replicas.
    pub replicas: u32,
    /// GPU models that they may have, as the catalogue calls them; any if empty.
    pub gpu_models: Vec<String>,
    /// How a replica is spread over GPUs.
    pub parallelism: Parallelism,
    /// Pods of a replica, and GPUs of each.
    pub pods: (u32, u32),
    /// CPUs of a pod, thousandths.
    pub cpu_milli: u64,
    /// Memory of a pod.
    pub memory_bytes: u64,
    /// The queue of its pods.
    pub queue: String,
    /// Their priority.
    pub priority: i32,
    /// Time from when a replica is placed until it serves.
    pub startup: Duration,
    /// Numbers, kernels and overheads.
    pub options: Options,
    /// Batcher and memory.
    pub engine: EngineFile,
    /// Tokens that are drafted and checked.
    pub speculation: Option<Speculation>,
    /// Where requests come from.
    pub requests: ServiceRequests,
    /// Which replica gets a request.
    pub router: RouterFile,
    /// Who says how many replicas there are, if anybody does.
    pub autoscaler: Option<AutoscalerFile>,
    /// Who waits where for how long, and what clients do then.
    pub admission: FleetOptions,
    /// What is promised.
    pub objective: Objective,
}

/// Where requests come from.
#[derive(Debug, Clone, PartialEq)]
pub enum ServiceRequests {
    /// A file.
    Trace {
        /// Which.
        path: PathBuf,
        /// Requests of it, at most.
        limit: u64,
        /// How much faster than in the file they arrive.
        rate_factor: f64,
    },
    /// Drawn, and arriving whatever becomes of the others.
    Open {
        /// From what.
        config: RequestGeneratorConfig,
        /// How many.
        count: u64,
    },
    /// Conversations.
    Sessions(SessionsConfig),
    /// Users who wait.
    Users(ClosedLoopConfig),
}

impl Service {
    /// The job of a replica: for good, unless it is deleted.
    pub(crate) fn pod(&self) -> JobRecord {
        let (tasks, gpus_per_task) = self.pods;
        JobRecord {
            tasks,
            gpus_per_task,
            cpu_milli: self.cpu_milli,
            memory_bytes: self.memory_bytes,
            ..replica_job(&self.name, &self.queue, self.priority, &self.gpu_models)
        }
    }
}

/// A job of one pod with one GPU, for good.
fn replica_job(name: &str, queue: &str, priority: i32, gpu_models: &[String]) -> JobRecord {
    JobRecord {
        id: name.into(),
        user: "".into(),
        queue: queue.into(),
        submit_s: 0.0,
        duration_s: f64::INFINITY,
        tasks: 1,
        gpus_per_task: 1,
        gpu_milli: WHOLE_GPU_MILLI,
        cpu_milli: 0,
        memory_bytes: 0,
        gpu_models: gpu_models.to_vec(),
        priority,
        status: JobStatus::Completed,
        account: "".into(),
        qos: "".into(),
        limit_s: None,
        scaling: None,
        deadline_s: None,
    }
}
