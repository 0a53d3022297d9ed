//! Servers of classical models: what a scenario says of them, their pods and what is on them.

use std::time::Duration;

use foretell_serving::Series;
use foretell_serving::classical::{BatchLaw, ClassicalError, ClassicalServer, Instances, Roofline};
use foretell_serving::policies::DynamicBatching;
use foretell_traces::JobRecord;
use foretell_traces::requests::generate::{CountLaw, RequestGeneratorConfig};
use thiserror::Error;

use super::{Service, replica_job};
use crate::catalog::Catalog;
use crate::file::TrainPrecision;
use crate::scenario::Scenario;

/// A model that answers a request in one execution, and is served.
#[derive(Debug, Clone, PartialEq)]
pub struct ClassicalService {
    /// Its name.
    pub name: String,
    /// Number of replicas.
    pub replicas: u32,
    /// GPU models that they may have, as the catalogue calls them; any if empty.
    pub gpu_models: Vec<String>,
    /// What each has of a GPU, in thousandths.
    pub gpu_milli: u32,
    /// What a batch takes.
    pub latency: LatencyLaw,
    /// Instances of a replica.
    pub instances: u32,
    /// Share of its time in which an instance that is alone leaves its GPU idle.
    pub host_share: f64,
    /// How batches are made, and how requests wait.
    pub batching: DynamicBatching,
    /// How many requests are of each level, beside those of the others.
    pub level_weights: Vec<f64>,
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
    /// Where requests of its own come from, and how many; none if stages of pipelines alone send it some. What is drawn as the tokens of a prompt decides the
    /// level of a request.
    pub requests: Option<(RequestGeneratorConfig, u64)>,
    /// Time to the answer that is promised.
    pub latency_objective_s: Option<f64>,
}

/// What a batch takes, on whatever GPU.
#[derive(Debug, Clone, PartialEq)]
pub enum LatencyLaw {
    /// Seconds by requests, as measured on what a replica has of a GPU.
    Measured(Series),
    /// Reckoned by the peaks of the GPU.
    Roofline(RooflineLaw),
}

/// A roofline, on whatever GPU.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RooflineLaw {
    /// Operations of a request.
    pub item_flops: f64,
    /// Bytes that a batch moves whatever its size.
    pub weight_bytes: f64,
    /// Bytes that a request moves.
    pub item_bytes: f64,
    /// Numbers to compute with.
    pub precision: TrainPrecision,
    /// Share of both peaks that kernels reach.
    pub efficiency: f64,
    /// Seconds of a batch apart from that.
    pub overhead_s: f64,
}

impl LatencyLaw {
    /// On this share of this GPU of the catalogue; `None` if that does not publish the peaks.
    pub fn of_gpu(&self, gpu: &str, share: f64) -> Option<BatchLaw> {
        let law = match self {
            Self::Measured(series) => return Some(BatchLaw::Measured(series.clone())),
            Self::Roofline(law) => law,
        };
        let gpu = Catalog::builtin().gpu(gpu)?;
        let flops = match law.precision {
            TrainPrecision::Fp32 => gpu.fp32_flops,
            TrainPrecision::Fp16 => gpu.fp16_flops,
            TrainPrecision::Bf16 => gpu.bf16_flops,
            TrainPrecision::Fp8 => gpu.fp8_flops,
        };
        let reached = law.efficiency * share;
        Some(BatchLaw::Roofline(Roofline {
            item_flops: law.item_flops,
            item_bytes: law.item_bytes,
            weight_bytes: law.weight_bytes,
            flops_per_s: flops? * reached,
            bytes_per_s: gpu.memory_bytes_per_s? * reached,
            overhead_s: law.overhead_s,
        }))
    }
}

/// Why a classical model could not be served.
#[derive(Debug, Error)]
pub enum ClassicalServiceError {
    /// A server that cannot be.
    #[error("classical_service `{service}`: {cause}")]
    Server {
        /// The service.
        service: String,
        /// Why.
        cause: ClassicalError,
    },
    /// A GPU whose peaks are not known.
    #[error("classical_service `{service}`: the catalogue has no such peak of {gpu}")]
    NoPeak {
        /// The service.
        service: String,
        /// The GPU.
        gpu: String,
    },
}

impl ClassicalService {
    /// The job of a replica: for good.
    pub(crate) fn pod(&self) -> JobRecord {
        JobRecord {
            gpu_milli: self.gpu_milli,
            cpu_milli: self.cpu_milli,
            memory_bytes: self.memory_bytes,
            ..replica_job(&self.name, &self.queue, self.priority, &self.gpu_models)
        }
    }
}

/// The jobs of all replicas that a scenario has at the beginning: those of services, then those of classical ones.
pub(crate) fn pods(scenario: &Scenario) -> impl Iterator<Item = JobRecord> + '_ {
    let several = |count: u32, pod: JobRecord| std::iter::repeat_n(pod, count as usize);
    let classical = scenario.classical_services.iter().flat_map(move |one| several(one.replicas, one.pod()));
    scenario.services.iter().flat_map(Service::replica_pods).chain(classical)
}

/// Equally likely numbers, of which one is drawn for each request.
pub(super) const LEVEL_DRAWS: u32 = 1_000_000;

/// The law of the number that decides the level of a request.
pub(crate) const fn level_law() -> CountLaw {
    CountLaw::Uniform { min: 1, max: LEVEL_DRAWS }
}

/// The most that requests may come to whose tokens are drawn so.
pub(crate) const LEVEL_TOKENS_MAX: u32 = 2 * LEVEL_DRAWS;

/// The level that was drawn, from 1; 0 where there are none.
pub(super) fn level(draw: u32, weights: &[f64]) -> u32 {
    let mut left = (f64::from(draw) - 0.5) / f64::from(LEVEL_DRAWS) * weights.iter().sum::<f64>();
    let reached = weights.iter().position(|weight| {
        left -= weight;
        left < 0.0
    });
    reached.map_or(weights.len(), |index| index + 1) as u32
}

/// A replica on what it has of a GPU.
pub(super) fn server(
    service: &ClassicalService,
    gpu: &str,
) -> Result<ClassicalServer, ClassicalServiceError> {
    let share = f64::from(service.gpu_milli) / f64::from(foretell_traces::record::WHOLE_GPU_MILLI);
    let name = || service.name.clone();
    let law = service
        .latency
        .of_gpu(gpu, share)
        .ok_or_else(|| ClassicalServiceError::NoPeak { service: name(), gpu: gpu.to_owned() })?;
    let instances = Instances { gpus: 1, per_gpu: service.instances, idle_share: service.host_share };
    ClassicalServer::new(law, instances, service.batching.clone())
        .map_err(|cause| ClassicalServiceError::Server { service: name(), cause })
}

/// The kind of a node, by its place in the cluster: its place among the kinds of nodes.
pub(super) fn group_of(scenario: &Scenario, node: usize) -> Option<usize> {
    let mut before = 0;
    scenario.nodes.iter().position(|group| {
        before += group.names.len();
        node < before
    })
}
