//! What a scenario means: validated, resolved, with every default filled in.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use foretell_fabric::collectives;
use foretell_fabric::hardware::Machine;
use foretell_fabric::network::{HealthError, LinkId, Network, NetworkSpec, Routing, SpecError};
use foretell_manifests::SchedulerConfig;
use foretell_sim::platform::{CheckpointCost, Checkpoints, Colocation, FailurePolicy, Faults, Storage};
use foretell_traces::generate::GeneratorConfig;
use foretell_training::plan::Recompute;
use foretell_training::{Device, Model, Precision};

use crate::catalog::{Catalog, NodeType};
pub use crate::file::{
    GpuChoice, JobTraceFormat, LateJobs, QueueNodes, Retry, TaintEffect, TaintFile as Taint,
};
pub use crate::service::{ClassicalService, Pipeline, Service, ServiceRequests};

/// Everything that a run needs to know, but for the policies' code.
#[derive(Debug, Clone, PartialEq)]
pub struct Scenario {
    /// Name, used in outputs.
    pub name: String,
    /// What it is for; may be empty.
    pub description: String,
    /// Seed of every random stream.
    pub seed: u64,
    /// With how many seeds each policy runs, from `seed` on; one at least.
    pub seeds: u64,
    /// The nodes, in the order of the cluster.
    pub nodes: Vec<NodeGroup>,
    /// Tiers of the network, lowest first.
    pub tiers: Vec<Tier>,
    /// The network between nodes, if it is described.
    pub fabric: Option<Fabric>,
    /// Storage that checkpoints of all jobs share.
    pub storage: Option<Storage>,
    /// Names of nodes that take no tasks.
    pub blocked_nodes: BTreeSet<String>,
    /// Queues and what they are entitled to.
    pub queues: Vec<ClusterQueue>,
    /// What is kept over windows of time.
    pub reservations: Vec<Reservation>,
    /// Where the jobs come from.
    pub workload: Workload,
    /// Models that are served.
    pub services: Vec<Service>,
    /// Models that answer a request in one execution, and are served.
    pub classical_services: Vec<ClassicalService>,
    /// Requests that go through several of these.
    pub pipelines: Vec<Pipeline>,
    /// What jobs communicate, if that is said.
    pub communication: Option<Communication>,
    /// How jobs that share a GPU slow each other, if they do.
    pub colocation: Option<Colocation>,
    /// Which nodes the jobs of a queue may use.
    pub queue_nodes: QueueNodes,
    /// The policies and how they run.
    pub scheduler: Scheduler,
    /// What evicting a job costs.
    pub preemption: Preemption,
    /// What fails, if anything does.
    pub faults: Option<Faults>,
    /// What is measured.
    pub metrics: Metrics,
    /// Where a run stops at the latest.
    pub budget: Budget,
}

impl Scenario {
    /// Number of nodes.
    pub fn node_count(&self) -> usize {
        self.nodes.iter().map(|group| group.names.len()).sum()
    }

    /// GPU devices by model.
    pub fn gpus_by_model(&self) -> BTreeMap<&str, u64> {
        let mut devices = BTreeMap::new();
        for group in &self.nodes {
            if let Some(gpus) = &group.node_type.gpus {
                *devices.entry(gpus.model.as_str()).or_default() +=
                    u64::from(gpus.count) * group.names.len() as u64;
            }
        }
        devices
    }

    /// GPU devices of all models.
    pub fn gpu_count(&self) -> u64 {
        self.gpus_by_model().values().sum()
    }
}

/// Nodes that differ in nothing but their names.
#[derive(Debug, Clone, PartialEq)]
pub struct NodeGroup {
    /// What each of them has.
    pub node_type: NodeType,
    /// Their names, unique in the cluster; not empty.
    pub names: Vec<String>,
    /// Labels, among them the zone ([`ZONE_LABEL`]) and the virtual cluster ([`VIRTUAL_CLUSTER_LABEL`]) if there is one.
    pub labels: BTreeMap<String, String>,
    /// Taints.
    pub taints: Vec<Taint>,
    /// Dollars for an hour of one of their GPUs, where the scenario says so.
    pub price_per_gpu_hour: Option<f64>,
}

impl NodeGroup {
    /// What one of its GPUs can do, where that is known.
    pub fn device(&self) -> Option<Device> {
        Catalog::builtin().gpu(&self.node_type.gpus.as_ref()?.model)?.device()
    }

    /// One of its nodes as NCCL sees it in a fabric: by the slower of its cards and the ports that they hang on. `None` as for
    /// [`NodeType::machine`].
    pub fn machine(&self, fabric: Option<&Fabric>) -> Option<Machine> {
        let machine = self.node_type.machine()?;
        let ports = fabric.map(|fabric| f64::from(fabric.spec.nics_per_node) * fabric.spec.nic_gb_per_s);
        let of_port = ports.map_or(f64::INFINITY, |ports| ports / f64::from(machine.nics.max(1)));
        Some(Machine { nic_gb_per_s: machine.nic_gb_per_s.min(of_port), ..machine })
    }
}

/// A tier of the network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tier {
    /// Its name.
    pub name: String,
    /// Nodes of one domain, neighbours in the order of the cluster.
    pub nodes: u32,
}

/// The network between nodes. Its nodes are those of the cluster, in their order.
#[derive(Debug, Clone, PartialEq)]
pub struct Fabric {
    /// Switches and links.
    pub spec: NetworkSpec,
    /// How flows choose among equal ways.
    pub routing: Routing,
    /// What NCCL is told in all jobs.
    pub environment: collectives::Environment,
    /// Links that are not whole, and what is left of them; above 0.
    pub degraded: Vec<(LinkId, f64)>,
}

impl Fabric {
    /// The network, with its links as they are. A scenario that was read has one that can be built.
    pub fn network(&self) -> Result<Network, FabricError> {
        let mut network = Network::new(&self.spec)?;
        for &(link, factor) in &self.degraded {
            network.degrade(link, factor)?;
        }
        Ok(network)
    }
}

/// Why a fabric is no network.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum FabricError {
    /// It cannot be built.
    #[error(transparent)]
    Spec(#[from] SpecError),
    /// A link that is not there.
    #[error(transparent)]
    Health(#[from] HealthError),
}

/// A queue and what it is entitled to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterQueue {
    /// Its name.
    pub name: String,
    /// The queue that contains it.
    pub parent: Option<String>,
    /// Its share, relative to its siblings.
    pub weight: u32,
    /// Larger goes first.
    pub priority: i32,
    /// The most that it may hold.
    pub capability: Amount,
    /// What it should have when all ask for theirs.
    pub deserved: Amount,
    /// What is kept for it.
    pub guarantee: Amount,
    /// Whether others may take back what it borrowed.
    pub reclaimable: bool,
}

/// Nodes or GPUs that are kept over a window of time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reservation {
    /// Its name.
    pub name: String,
    /// When the window opens.
    pub start: Duration,
    /// When it closes.
    pub end: Duration,
    /// What is kept.
    pub kept: Kept,
    /// Queues whose jobs may use it.
    pub queues: Vec<String>,
    /// Users whose jobs may use it.
    pub users: Vec<String>,
}

/// What a reservation keeps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kept {
    /// Nodes, by name.
    Nodes(Vec<String>),
    /// So many GPUs, on the last nodes of the cluster.
    Gpus(u32),
}

/// An amount of resources; what is `None` is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Amount {
    /// Thousandths of GPUs.
    pub gpu_milli: Option<u64>,
    /// Thousandths of CPUs.
    pub cpu_milli: Option<u64>,
    /// Bytes of memory.
    pub memory_bytes: Option<u64>,
}

/// The label that holds a node's zone, as in Kubernetes.
pub const ZONE_LABEL: &str = "topology.kubernetes.io/zone";

/// The label that holds the name of the virtual cluster that owns a node.
pub const VIRTUAL_CLUSTER_LABEL: &str = "foretell.dev/virtual-cluster";

/// Where the jobs come from.
#[derive(Debug, Clone, PartialEq)]
pub enum Workload {
    /// There are none.
    None,
    /// Read from a file.
    Trace(JobTrace),
    /// Drawn from distributions.
    Synthetic(Synthetic),
}

/// What jobs with several GPUs communicate.
#[derive(Debug, Clone, PartialEq)]
pub struct Communication {
    /// Whether all jobs that share links communicate at the same time; else each finds the gaps of the others.
    pub is_synchronised: bool,
    /// Kinds of jobs, of which one is drawn per job; not empty.
    pub classes: Vec<CommunicationClass>,
}

/// A kind of jobs.
#[derive(Debug, Clone, PartialEq)]
pub struct CommunicationClass {
    /// Its name.
    pub name: String,
    /// Relative frequency.
    pub weight: f64,
    /// What its steps are made of.
    pub steps: Steps,
}

/// What the steps of a job are made of.
#[derive(Debug, Clone, PartialEq)]
pub enum Steps {
    /// Computation and communication.
    Profile {
        /// Computation of a step.
        compute_s: f64,
        /// How much a step communicates.
        size: CommunicationSize,
        /// Share of the computation beside which jobs communicate.
        overlap: f64,
        /// What they communicate with.
        collective: collectives::Collective,
    },
    /// Those of training a model.
    Trained(Arc<TrainedModel>),
}

/// What a strategy is called that is searched for.
pub(crate) const AUTO: &str = "auto";

/// A model that jobs train.
#[derive(Debug, Clone, PartialEq)]
pub struct TrainedModel {
    /// Of the catalogue.
    pub model: &'static Model,
    /// How jobs are split over their GPUs; `auto` for what is fastest.
    pub strategy: String,
    /// Sequences or samples that a replica computes at a time.
    pub micro_batch: Option<u32>,
    /// Sequences or samples of a step for each GPU.
    pub samples_per_gpu: Option<u32>,
    /// Tokens of a sequence.
    pub sequence_length: Option<u32>,
    /// Numbers to compute with.
    pub precision: Option<Precision>,
    /// What is computed again.
    pub recompute: Option<Recompute>,
    /// How long jobs train.
    pub length: TrainingLength,
}

/// How long a job trains.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TrainingLength {
    /// As long as the workload says that it runs.
    OfWorkload,
    /// So many steps.
    Steps(u64),
    /// So many tokens, in whole steps.
    Tokens(u64),
}

/// How much a step communicates.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum CommunicationSize {
    /// As much as takes this share of computation and communication on so many full nodes, alone.
    Share {
        /// From 0 to below 1.
        share: f64,
        /// Number of nodes.
        nodes: u32,
    },
    /// So many bytes, as nccl-tests counts them.
    Bytes(u64),
}

/// Jobs read from a file.
#[derive(Debug, Clone, PartialEq)]
pub struct JobTrace {
    /// Its format.
    pub format: JobTraceFormat,
    /// The file, which was there when the scenario was read.
    pub path: PathBuf,
    /// Take at most this many jobs; `u64::MAX` = all.
    pub limit_jobs: u64,
    /// Skip jobs submitted before.
    pub from: Duration,
    /// Skip jobs submitted at this time or later; `Duration::MAX` = never.
    pub to: Duration,
    /// Jobs never finish.
    pub arrivals_only: bool,
    /// Jobs come this many times as fast as in the trace.
    pub rate_factor: f64,
}

/// Jobs drawn from distributions.
#[derive(Debug, Clone, PartialEq)]
pub struct Synthetic {
    /// The distributions, valid for the generator.
    pub config: GeneratorConfig,
    /// Number of jobs.
    pub jobs: u64,
    /// What jobs of each size are beyond what the distributions tell; none for the sizes of a preset.
    pub traits: Vec<JobTraits>,
}

/// What a job is beyond what a trace tells.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct JobTraits {
    /// Tasks that it needs to run; all if `None`.
    pub min_tasks: Option<u32>,
    /// Larger goes first.
    pub priority: i32,
    /// Whether it must not displace others.
    pub never_preempts: bool,
    /// Whether its running tasks may be displaced; left to the policy if `None`.
    pub preemptable: Option<bool>,
    /// What it does when pods of it fail; as the scenario has it if `None`.
    pub on_failure: Option<Arc<FailurePolicy>>,
    /// How close together its tasks must or should be.
    pub network_topology: Option<NetworkTopology>,
    /// The role of its tasks; empty if there are no others.
    pub worker_role: String,
    /// Pods beside its tasks.
    pub roles: Vec<Role>,
}

/// How close together tasks must or should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NetworkTopology {
    /// Whether it is a demand.
    pub hard: bool,
    /// The highest tier, from 1.
    pub highest_tier: Option<u32>,
}

/// Pods of a job beside its tasks, all of which it needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Role {
    /// Its name.
    pub name: String,
    /// Number of pods.
    pub tasks: u32,
    /// Thousandths of CPUs of each.
    pub cpu_milli: u64,
    /// Bytes of memory of each.
    pub memory_bytes: u64,
}

/// The policies and how they run.
#[derive(Debug, Clone, PartialEq)]
pub struct Scheduler {
    /// Names of the policies to compare; not empty, no name twice.
    pub policies: Vec<String>,
    /// Those of them that configurations of real schedulers describe.
    pub profiles: BTreeMap<String, SchedulerConfig>,
    /// What of the configurations has no effect, one line each.
    pub warnings: Vec<String>,
    /// When scheduling cycles start.
    pub cycle: Cycle,
    /// From the start of a cycle until its decisions take effect.
    pub decision_latency: Duration,
    /// What becomes of a job that does not fit.
    pub retry: Retry,
    /// Who chooses the GPUs on the chosen node.
    pub gpu_choice: GpuChoice,
    /// Jobs behind the head of each queue that backfilling looks at.
    pub backfill_depth: Option<u32>,
    /// Waiting that aging counts as one point of priority.
    pub aging_per_point: Option<Duration>,
    /// Standard deviation of the logarithm of estimated over true durations.
    pub estimate_error: f64,
    /// Parameters of policies that order jobs by what they have had.
    pub ordering: Ordering,
}

/// Parameters of policies that order jobs by what they have had.
#[derive(Debug, Clone, PartialEq)]
pub struct Ordering {
    /// How often running jobs are compared with waiting ones.
    pub quantum: Duration,
    /// GPU-seconds at which a job leaves each queue for the next, ascending.
    pub queue_limits_gpu_s: Vec<u64>,
    /// How many times as long as it ran a job waits before it returns to the first queue; 0 for never.
    pub promote_after: u64,
    /// `themis`: how long GPUs are given for.
    pub lease: Duration,
    /// How often GPUs are divided anew among elastic jobs; each policy at its own interval if `None`.
    pub interval: Option<Duration>,
    /// What becomes of jobs whose deadline cannot be met.
    pub late_jobs: LateJobs,
    /// What an hour of a GPU costs, by model.
    pub gpu_cost_per_h: BTreeMap<String, f64>,
    /// `kai`: how what queues had in the past lowers what they get.
    pub past_usage: Option<PastUsage>,
}

/// How what queues had in the past lowers what they get.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PastUsage {
    /// How much it counts.
    pub factor: f64,
    /// After how long what was held counts half; all of the window counts alike if `None`.
    pub half_life: Option<Duration>,
    /// How far back anything counts.
    pub window: Duration,
}

/// When scheduling cycles start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cycle {
    /// Whenever something changed.
    OnChange,
    /// At fixed times.
    Every(Duration),
}

/// What evicting a job costs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Preemption {
    /// When checkpoints come.
    pub checkpoints: Checkpoints,
    /// What checkpoints take.
    pub checkpoint_cost: CheckpointCost,
    /// Time that a job which starts again holds its GPUs before it computes.
    pub restart_cost: Duration,
    /// The same for jobs of more than so many GPUs, ascending.
    pub restart_cost_by_gpus: Vec<(u32, Duration)>,
    /// Time that an elastic job computes nothing when tasks join or leave it while it runs.
    pub resize_cost: Duration,
    /// Time from being told to stop until a pod has left its node.
    pub termination_grace: Duration,
}

/// What is measured.
#[derive(Debug, Clone, PartialEq)]
pub struct Metrics {
    /// Distance of the points of the timeline.
    pub timeline: Timeline,
    /// Share of jobs that fragmentation is measured against, above 0 and up to 1.
    pub typical_share: f64,
    /// Whether to find out what jobs wait for.
    pub wait_reasons: bool,
}

/// Distance of the points of the timeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Timeline {
    /// A thousandth of the run.
    Auto,
    /// A fixed interval.
    Every(Duration),
}

/// Where a run stops at the latest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// Events handled.
    pub max_events: u64,
    /// Events at one simulated instant.
    pub max_events_at_instant: u64,
    /// Simulated time.
    pub max_simulated: Duration,
    /// Time on the clock of the machine that runs it.
    pub max_wall: Duration,
    /// Jobs waiting at once.
    pub max_queued_jobs: u64,
}
