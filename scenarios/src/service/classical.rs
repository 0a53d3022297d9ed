//! Servers of classical models: what a scenario says of them, their pods, and what becomes of their requests.

use std::time::Duration;

use foretell_serving::Series;
use foretell_serving::classical::{
    BatchLaw, ClassicalError, ClassicalObserver, ClassicalOutcome, ClassicalRequest, ClassicalServer,
    Execution, Fate, Instances, Roofline,
};
use foretell_serving::classical_served::{
    ClassicalEnd, ClassicalServed, ClassicalServedBy, ClassicalSummary, Ending, Executed,
};
use foretell_serving::policies::DynamicBatching;
use foretell_traces::JobRecord;
use foretell_traces::requests::generate::{CountLaw, RequestGenerator, RequestGeneratorConfig};
use thiserror::Error;

use super::controller::Placed;
use super::{Service, ServiceError, replica_job};
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
    /// Where requests come from. What is drawn as the tokens of a prompt decides the level of a request.
    pub requests: RequestGeneratorConfig,
    /// How many of them.
    pub count: u64,
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
const LEVEL_DRAWS: u32 = 1_000_000;

/// The law of the number that decides the level of a request.
pub(crate) const fn level_law() -> CountLaw {
    CountLaw::Uniform { min: 1, max: LEVEL_DRAWS }
}

/// The most that requests may come to whose tokens are drawn so.
pub(crate) const LEVEL_TOKENS_MAX: u32 = 2 * LEVEL_DRAWS;

/// The level that was drawn, from 1; 0 where there are none.
fn level(draw: u32, weights: &[f64]) -> u32 {
    let mut left = (f64::from(draw) - 0.5) / f64::from(LEVEL_DRAWS) * weights.iter().sum::<f64>();
    let reached = weights.iter().position(|weight| {
        left -= weight;
        left < 0.0
    });
    reached.map_or(weights.len(), |index| index + 1) as u32
}

/// Notes what a replica does.
struct Watch {
    replica: u32,
    ends: Vec<ClassicalEnd>,
    executed: Executed,
}

impl ClassicalObserver for Watch {
    fn finished(&mut self, outcome: &ClassicalOutcome) {
        self.ends.push(ClassicalEnd {
            request: outcome.request,
            replica: self.replica,
            priority_level: 0,
            arrival_ns: outcome.arrival_ns,
            finished_ns: outcome.finished_ns,
            ending: match outcome.fate {
                Fate::Served { dispatched_ns, batch_items, .. } => {
                    Ending::Done { dispatched_ns, batch_size: batch_items }
                }
                Fate::TimedOut => Ending::TimedOut,
            },
        });
    }

    fn executed(&mut self, execution: &Execution) {
        self.executed.batches += 1;
        self.executed.requests += u64::from(execution.requests);
        self.executed.gpu_ns += execution.gpu_ns.round() as u64;
    }
}

/// A replica on what it has of a GPU.
fn server(service: &ClassicalService, gpu: &str) -> Result<ClassicalServer, ClassicalServiceError> {
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

/// Serves the requests of a classical model by the replicas that were placed. The seed of the scenario decides what is drawn.
pub fn serve_classical(
    scenario: &Scenario,
    service: &ClassicalService,
    placed: &[Placed],
) -> Result<ClassicalServed, ServiceError> {
    let mut servers = Vec::with_capacity(placed.len());
    let mut replicas = Vec::with_capacity(placed.len());
    let mut ready_ns = Vec::with_capacity(placed.len());
    for one in placed {
        let kind = group_of(scenario, one.node).map(|kind| &scenario.nodes[kind].node_type);
        let gpus = kind.and_then(|kind| kind.gpus.as_ref());
        let gpu = gpus.map_or("", |gpus| gpus.model.as_str()).to_owned();
        let ready = one.at + service.startup;
        let watch = Watch { replica: replicas.len() as u32, ends: Vec::new(), executed: Executed::default() };
        servers.push((server(service, &gpu)?, watch));
        ready_ns.push(u64::try_from(ready.as_nanos()).unwrap_or(u64::MAX));
        replicas.push(ClassicalServedBy { replica: one.replica, ready_s: ready.as_secs_f64(), gpu });
    }
    let Some(&first_ns) = ready_ns.iter().min() else {
        let why = "the cluster has no room for them, or other jobs keep it".to_owned();
        return Err(ServiceError::NotPlaced { service: service.name.clone(), why });
    };
    let count = servers.len();
    let mut levels = Vec::new();
    let mut turn = 0;
    let requests = RequestGenerator::new(&service.requests, scenario.seed)?;
    for (index, record) in (0..).zip(requests.take(usize::try_from(service.count).unwrap_or(usize::MAX))) {
        // Who comes before anybody serves waits outside. Then in turn, among those that are there.
        let now_ns = record.arrival_ns.max(first_ns);
        let next = (0..count).map(|step| (turn + step) % count).find(|&one| ready_ns[one] <= now_ns);
        let next = next.unwrap_or(0);
        turn = (next + 1) % count;
        let priority_level = level(record.prompt_tokens, &service.level_weights);
        levels.push(priority_level);
        let (server, watch) = &mut servers[next];
        while server.next_ns().is_some_and(|next_ns| next_ns <= now_ns) {
            server.advance(watch);
        }
        let request = ClassicalRequest {
            index,
            arrival_ns: record.arrival_ns,
            items: 1,
            priority_level,
            timeout_ns: 0,
        };
        if let Err(refusal) = server.arrive(now_ns, &request, watch) {
            watch.ends.push(ClassicalEnd {
                request: index,
                replica: watch.replica,
                priority_level,
                arrival_ns: record.arrival_ns,
                finished_ns: now_ns,
                ending: Ending::Refused(refusal),
            });
        }
    }
    let mut ends = Vec::with_capacity(levels.len());
    let mut executed = Executed::default();
    for (mut server, mut watch) in servers {
        while server.next_ns().is_some() {
            server.advance(&mut watch);
        }
        ends.append(&mut watch.ends);
        executed.batches += watch.executed.batches;
        executed.requests += watch.executed.requests;
        executed.gpu_ns += watch.executed.gpu_ns;
    }
    ends.sort_unstable_by_key(|end| end.request);
    for end in &mut ends {
        end.priority_level = levels[end.request as usize];
    }
    let levels = service.level_weights.len() as u32;
    let summary =
        ClassicalSummary::new(&ends, &executed, replicas.len(), levels, service.latency_objective_s);
    Ok(ClassicalServed {
        service: service.name.clone(),
        instances: service.instances,
        max_batch_size: service.batching.max_batch_size,
        gpu_milli: service.gpu_milli,
        latency_objective_s: service.latency_objective_s,
        summary,
        ends,
        replicas,
    })
}
