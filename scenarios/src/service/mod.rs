//! Models that are served: what a scenario says of them, their pods, and what becomes of their requests.

mod autoscaler;
mod batch;
mod by_arrival;
mod classical;
mod classical_fleet;
mod controller;
mod link;
mod lora;
mod pipeline;
mod pipelines;
mod probe;
mod replica;
mod rollout;
mod router;
mod run;
mod source;
mod stream;
mod swap;
mod transport;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use foretell_serving::FleetOptions;
use foretell_serving::fleet::PROMPTS;
use foretell_serving::metrics::Objective;
use foretell_serving::speculation::Speculation;
use foretell_serving::{Model, Options, Parallelism};
use foretell_traces::record::WHOLE_GPU_MILLI;
use foretell_traces::requests::generate::{ClosedLoopConfig, RequestGeneratorConfig, SessionsConfig};
use foretell_traces::{JobRecord, JobStatus};

pub use crate::file::{
    AutoscalerFile, BatcherFile, CapacityFile, EngineFile, KvStoreFile, KvTierFile, RolloutFile, RouterFile,
    TransferFile,
};
pub use batch::BatchJob;
pub use classical::{ClassicalService, ClassicalServiceError, LatencyLaw, RooflineLaw};
pub(crate) use classical::{LEVEL_TOKENS_MAX, level_law, pods};
pub use controller::Placed;
pub(crate) use controller::Services;
pub use foretell_serving::classical_served::{ClassicalServed, ClassicalServedBy};
pub use foretell_serving::pipeline_served::PipelineServed;
pub use foretell_serving::served::{Role, Served, ServedBy};
pub use lora::Lora;
pub use pipeline::{Pipeline, Stage, StageLengths};
pub(crate) use probe::{Nobody, Placement};
pub use replica::ServiceError;
pub(crate) use replica::calibration_of;
pub(crate) use router::Estimates;
pub use run::ServedRun;
pub use swap::Swap;

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
    /// Adapters that requests ask for.
    pub lora: Option<Lora>,
    /// Further models on each of its replicas.
    pub swap: Option<Swap>,
    /// Where requests come from.
    pub requests: ServiceRequests,
    /// Jobs of requests with a deadline, behind the others.
    pub batches: Vec<BatchJob>,
    /// Which replica gets a request.
    pub router: RouterFile,
    /// Who says how many replicas there are, if anybody does.
    pub autoscaler: Option<AutoscalerFile>,
    /// Who waits where for how long, and what clients do then.
    pub admission: FleetOptions,
    /// Who reads prompts in and who generates answers, if these are not the same.
    pub disaggregation: Option<Disaggregation>,
    /// Memory for keys and values that its replicas share.
    pub kv_store: Option<KvStoreFile>,
    /// A new version that takes over, if there is one.
    pub rollout: Option<Rollout>,
    /// What is promised.
    pub objective: Objective,
}

/// A new version of a service, and when it gets what part of the requests.
#[derive(Debug, Clone, PartialEq)]
pub struct Rollout {
    /// Steps and when it is withdrawn.
    pub file: RolloutFile,
    /// The service as it will be.
    pub to: Box<Service>,
}

/// Prefill and decode apart.
#[derive(Debug, Clone, PartialEq)]
pub struct Disaggregation {
    /// Replicas that read prompts in. The others of the service generate answers.
    pub prefill_replicas: u32,
    /// Which of those gets a request whose prompt was read in.
    pub router: RouterFile,
    /// Tokens of prompts before it beyond which a prompt goes to a replica that generates answers.
    pub overflow_tokens: Option<u64>,
    /// What moving keys and values takes.
    pub transfer: TransferFile,
    /// The service as those are that generate answers.
    pub decode: Box<Service>,
}

/// Where requests come from.
#[derive(Debug, Clone, PartialEq)]
pub enum ServiceRequests {
    /// Stages of pipelines alone.
    None,
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
    /// Bytes of a block of keys and values over all GPUs together, each number once.
    pub(crate) fn block_bytes(&self) -> f64 {
        let whole = Parallelism::default();
        let token_bytes = self.model.kv_bytes_per_token(whole, self.options.cache_number_bytes);
        f64::from(self.engine.block_tokens) * token_bytes
    }

    /// Its kinds of replicas, by variant, with how many there are at the beginning: those that read prompts in and those that generate answers, or those
    /// of the old version and of the new one, or all.
    pub(crate) fn variants(&self) -> impl Iterator<Item = (&Self, u32)> {
        let apart = self.disaggregation.as_ref();
        let first = apart.map_or(self.replicas, |apart| apart.prefill_replicas);
        let answers = apart.map(|apart| (&*apart.decode, apart.decode.replicas));
        let version = self.rollout.as_ref().map(|rollout| (&*rollout.to, 0));
        std::iter::once((self, first)).chain(answers).chain(version)
    }

    /// What replicas of a variant do.
    pub(crate) const fn role_of(&self, variant: u32) -> Role {
        match (&self.disaggregation, &self.rollout, variant) {
            (Some(_), _, PROMPTS) => Role::Prefill,
            (Some(_), ..) => Role::Decode,
            (None, Some(_), 1) => Role::Canary,
            _ => Role::Whole,
        }
    }

    /// The jobs of the replicas that it has at the beginning; one of each variant at least, so that it is known what it looks like.
    pub(crate) fn replica_pods(&self) -> impl Iterator<Item = JobRecord> + '_ {
        self.variants()
            .flat_map(|(variant, replicas)| std::iter::repeat_n(variant.pod(), replicas.max(1) as usize))
    }

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
