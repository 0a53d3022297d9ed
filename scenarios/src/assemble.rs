//! From a scenario to the thing that runs: cluster state, workload, policy.

mod cluster;
mod options;
mod pods;
mod steps;
mod trained;

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;

use foretell_fabric::collectives::EstimateError;
use foretell_fabric::sharing::{SharingError, TransferError};
use foretell_manifests::SchedulerConfig;
use foretell_registry::{
    BackfillConfig, DomainPlacement, OrderingConfig, PolicyConfig, PolicyError, SlurmConfig, VolcanoError,
};
use foretell_sim::engine::{Budget, Progress};
use foretell_sim::framework::spec::NodeAffinity;
use foretell_sim::framework::state::{ACCOUNT_ANNOTATION, NetworkTopology, QOS_ANNOTATION, TopologyMode};
use foretell_sim::framework::{
    ClusterState, FULL_SPEED, GpuModelId, GpuRequest, Profile, Resources, Scaling, ScalingPhase, SpeedCurve,
    StateError, TaskShape, TaskSpec, Time, TypicalTasks, WHOLE_GPU_MILLI, WHOLE_WORK,
};
use foretell_sim::log::{JobStatus, Metrics, Observer, RunResult, Sampling};
use foretell_sim::platform::{
    self, Config, Inspector, PreemptionCost, Simulation, SimulationError, Submission,
};
use foretell_traces::generate::GenerateError;
use foretell_traces::{JobRecord, ScalingRecord, SpeedLaw, TraceError};
use thiserror::Error;

use self::options::{kai, ordering, reservation, restart_cost};
use self::pods::{own_or_shared_nodes, roles};
use self::steps::{Classes, JobSteps, StepModels};
use crate::catalog::Catalog;
use crate::jobs::{jobs, workload};
use crate::scenario::{
    Cycle, FabricError, GpuChoice, JobTraits, QueueNodes, Retry, Scenario, Timeline, Workload,
};
use crate::service::{ServiceError, Services};
use crate::solver::simplex;

/// Why a scenario could not be run.
#[derive(Debug, Error)]
pub enum RunError {
    /// A policy that does not exist.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// A scheduler's configuration that names what does not exist.
    #[error(transparent)]
    Configuration(#[from] VolcanoError),
    /// A partition of which the cluster has no node: its jobs would wait for ever.
    #[error(
        "policy `{policy}`: partition `{partition}` names nodes that the cluster does not have, such as `{node}` (the cluster's are called like `{known}`)"
    )]
    NoPartitionNodes {
        /// The policy that a `slurm.conf` describes.
        policy: String,
        /// The partition.
        partition: String,
        /// The first of its nodes.
        node: String,
        /// A node of the cluster.
        known: String,
    },
    /// A job that a policy would let wait for ever.
    #[error(
        "policy `{policy}` gives whole GPUs only: job `{job}` asks for a share of one and would wait for ever"
    )]
    ShareOfGpu {
        /// The policy.
        policy: String,
        /// The first such job.
        job: String,
    },
    /// A cluster that cannot be described.
    #[error(transparent)]
    Cluster(#[from] StateError),
    /// A trace that cannot be read.
    #[error(transparent)]
    Trace(#[from] TraceError),
    /// Distributions that are not valid.
    #[error(transparent)]
    Generator(#[from] GenerateError),
    /// More jobs than the budget has events for.
    #[error("the workload has more jobs than budget.max_events allows events ({limit})")]
    TooManyJobs {
        /// The budget.
        limit: u64,
    },
    /// A fabric that is no network.
    #[error(transparent)]
    Fabric(#[from] FabricError),
    /// Links that cannot be shared.
    #[error(transparent)]
    Sharing(#[from] SharingError),
    /// Storage that cannot be shared.
    #[error(transparent)]
    Storage(#[from] TransferError),
    /// Collectives of which nothing is known.
    #[error(transparent)]
    Collective(#[from] EstimateError),
    /// A service that cannot be served.
    #[error(transparent)]
    Service(#[from] Box<ServiceError>),
    /// The simulation broke off.
    #[error(transparent)]
    Simulation(SimulationError<TraceError>),
}

impl From<SimulationError<TraceError>> for RunError {
    fn from(error: SimulationError<TraceError>) -> Self {
        match error {
            // The trace's own message names file, line and column: nothing to add.
            SimulationError::Workload(error) => Self::Trace(error),
            error => Self::Simulation(error),
        }
    }
}

/// A policy by name: one that the scenario describes, or a built-in one.
fn build_policy(scenario: &Scenario, name: &str, config: &PolicyConfig) -> Result<Profile, RunError> {
    match scenario.scheduler.profiles.get(name) {
        Some(profile) => Ok(profile.profile(name, config)?.0),
        None => Ok(foretell_registry::build(name, config)?),
    }
}

/// Whether a policy gives nothing to jobs that ask for shares of GPUs: Pollux, Sia and those of Gavel.
fn gives_whole_gpus_only(policy: &str) -> bool {
    let order = policy.split('+').next().unwrap_or_default();
    matches!(order, "pollux" | "sia") || order.starts_with("gavel")
}

/// Of every partition that names its nodes the cluster has one at least.
fn check_partitions(policy: &str, config: &SlurmConfig, state: &ClusterState) -> Result<(), RunError> {
    let exists = |name: &str| state.nodes().iter().any(|node| *node.spec.name == *name);
    for partition in &config.partitions {
        let Some(nodes) = &partition.nodes else { continue };
        if !nodes.iter().any(|node| exists(node)) {
            return Err(RunError::NoPartitionNodes {
                policy: policy.to_owned(),
                partition: partition.name.to_string(),
                node: nodes.first().map_or_else(String::new, ToString::to_string),
                known: state.nodes().first().map_or_else(String::new, |node| node.spec.name.to_string()),
            });
        }
    }
    Ok(())
}

/// Laws of scaling that were worked out lately: most jobs share theirs with others.
#[derive(Default)]
pub(crate) struct Laws {
    /// With the tasks that a job asks for.
    latest: VecDeque<(Arc<ScalingRecord>, u32, Arc<Scaling>)>,
}

impl Laws {
    const KEPT: usize = 16;

    fn of(
        &mut self,
        plan: &Plan,
        record: &Arc<ScalingRecord>,
        asked: u32,
    ) -> Result<Arc<Scaling>, TraceError> {
        let is_same = |(known, tasks, _): &&(Arc<ScalingRecord>, u32, Arc<Scaling>)| {
            *tasks == asked && (Arc::ptr_eq(known, record) || known == record)
        };
        if let Some((.., law)) = self.latest.iter().find(is_same) {
            return Ok(Arc::clone(law));
        }
        let law = Arc::new(plan.scaling(record, asked)?);
        if self.latest.len() == Self::KEPT {
            self.latest.pop_front();
        }
        self.latest.push_back((Arc::clone(record), asked, Arc::clone(&law)));
        Ok(law)
    }
}

/// A scenario, ready to run under any of its policies.
pub struct Plan {
    scenario: Scenario,
    state: ClusterState,
    gpu_models: BTreeMap<String, GpuModelId>,
    policy_config: PolicyConfig,
    /// What jobs communicate.
    classes: Option<Classes>,
    jobs: u64,
}

impl Plan {
    /// Builds the cluster, and reads the workload once to learn its typical tasks.
    pub fn new(scenario: Scenario) -> Result<Self, RunError> {
        // Every job takes more than one event: reading them all would be in vain.
        let max_jobs = scenario.budget.max_events;
        let too_many = || RunError::TooManyJobs { limit: max_jobs };
        if matches!(&scenario.workload, Workload::Synthetic(synthetic) if synthetic.jobs > max_jobs) {
            return Err(too_many());
        }
        let mut state = cluster::build(&scenario)?;
        let mut gpu_models = BTreeMap::new();
        let mut shapes: BTreeMap<TaskShape, u64> = BTreeMap::new();
        let mut job_count = 0;
        let mut sharing_job = None;
        for job in jobs(&scenario)? {
            let (job, _) = job?;
            job_count += 1;
            if job_count > max_jobs {
                return Err(too_many());
            }
            let scales_on =
                job.scaling.iter().flat_map(|scaling| &scaling.curves).flat_map(|curve| &curve.models);
            for model in job.gpu_models.iter().chain(scales_on) {
                if !gpu_models.contains_key(model) {
                    // A trace may have names of its own for models that the catalogue has.
                    let id = state.gpu_model(Catalog::builtin().canonical_gpu(model))?;
                    gpu_models.insert(model.clone(), id);
                }
            }
            if sharing_job.is_none() && job.gpus_per_task > 0 && job.gpu_milli < WHOLE_GPU_MILLI {
                sharing_job = Some(job.id.to_string());
            }
            let shape = TaskShape {
                cpu_milli: job.cpu_milli,
                gpu_milli: job.gpu_milli,
                gpus: job.gpus_per_task,
                gpu_models_text: job.gpu_models_text(),
                gpu_models: job.gpu_models.iter().map(|model| gpu_models[model]).collect(),
            };
            *shapes.entry(shape).or_default() += u64::from(job.tasks);
        }
        let costs = scenario.scheduler.ordering.gpu_cost_per_h.iter();
        let gpu_cost_per_h = costs
            .map(|(model, &cost)| Ok((state.gpu_model(Catalog::builtin().canonical_gpu(model))?, cost)))
            .collect::<Result<_, StateError>>()?;
        let typical = TypicalTasks::of_tasks(shapes, scenario.metrics.typical_share);
        let interconnect = scenario.scheduler.gpu_choice == GpuChoice::Interconnect;
        let blocked_nodes = scenario.blocked_nodes.iter().map(|name| name.as_str().into()).collect();
        let policy_config = PolicyConfig {
            typical: Arc::new(typical),
            topology: DomainPlacement {
                costs: cluster::placement_costs(&scenario, &state)?,
                ..DomainPlacement::default()
            },
            interconnect,
            blocked_nodes,
            backfill: scenario
                .scheduler
                .backfill_depth
                .map(|depth| BackfillConfig { depth })
                .unwrap_or_default(),
            aging: scenario.scheduler.aging_per_point.map(time),
            reservations: scenario.reservations.iter().map(reservation).collect(),
            ordering: OrderingConfig { gpu_cost_per_h, ..ordering(&scenario) },
            kai: kai(&scenario),
            solver: Some(simplex),
            ..PolicyConfig::default()
        };
        for policy in &scenario.scheduler.policies {
            build_policy(&scenario, policy, &policy_config)?;
            if let Some(job) = sharing_job.as_ref().filter(|_| gives_whole_gpus_only(policy)) {
                return Err(RunError::ShareOfGpu { policy: policy.clone(), job: job.clone() });
            }
            if let Some(SchedulerConfig::Slurm(slurm)) = scenario.scheduler.profiles.get(policy) {
                check_partitions(policy, slurm, &state)?;
            }
        }
        let classes = Classes::new(&scenario, |model| Ok(state.gpu_model(model)?))?;
        Ok(Self { scenario, state, gpu_models, policy_config, classes, jobs: job_count })
    }

    /// Number of jobs in the workload.
    pub const fn jobs(&self) -> u64 {
        self.jobs
    }

    /// Whether a run of this policy with another seed may decide otherwise than the one that gave `result`. If not, only what is
    /// sampled of reasons to wait may differ.
    ///
    /// What the seed has a say on: jobs that are made up, what fails, what shares links and GPUs, requests, the errors of estimates where
    /// somebody looks at them, and what the policy draws.
    pub fn depends_on_seed(&self, policy: &str, result: &RunResult) -> bool {
        let Scenario { scheduler, workload, reservations, services, classical_services, .. } = &self.scenario;
        let Scenario { fabric, communication, colocation, faults, .. } = &self.scenario;
        let is_told = scheduler.profiles.contains_key(policy)
            || foretell_registry::durations(policy) == foretell_registry::Durations::Told
            || !reservations.is_empty();
        result.has_drawn
            || is_told && scheduler.estimate_error > 0.0
            || !matches!(workload, Workload::Trace(_))
            || !(services.is_empty() && classical_services.is_empty())
            || fabric.is_some()
            || communication.is_some()
            || colocation.is_some()
            || faults.is_some()
    }

    /// The scenario.
    pub const fn scenario(&self) -> &Scenario {
        &self.scenario
    }

    /// Runs the scenario under one policy, with `observer` listening beside the metrics.
    pub fn run(
        &self,
        policy: &str,
        observer: &mut dyn Observer,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<RunResult, RunError> {
        self.run_inspected(policy, observer, None, progress)
    }

    /// Runs the scenario under one policy, with someone looking into the run.
    pub fn run_inspected(
        &self,
        policy: &str,
        observer: &mut dyn Observer,
        inspector: Option<&mut dyn Inspector>,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<RunResult, RunError> {
        Ok(self.run_services(policy, observer, inspector, progress)?.0)
    }

    /// The same, with the controllers of its services as the run left them.
    pub(crate) fn run_services(
        &self,
        policy: &str,
        observer: &mut dyn Observer,
        inspector: Option<&mut dyn Inspector>,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<(RunResult, Services<'_>), RunError> {
        let scenario = &self.scenario;
        let mut services = Services::new(self)?;
        let profile = build_policy(scenario, policy, &self.policy_config)?;
        let sampling = match scenario.metrics.timeline {
            Timeline::Auto => Sampling::Auto,
            Timeline::Every(interval) => Sampling::Every(time(interval)),
        };
        let chooses_sizes = foretell_registry::scaling(policy) == foretell_registry::Scaling::Chosen;
        let mut metrics = Metrics::new(Arc::clone(&self.policy_config.typical), sampling);
        let mut laws = Laws::default();
        let mut step_models = StepModels::default();
        let workload = workload(scenario)?.zip(0..).map(|(job, sequence)| {
            let (job, traits) = job?;
            let steps = self.steps(sequence, &job, &mut step_models)?;
            let submission = self.submission(job, traits, chooses_sizes, &mut laws)?;
            Ok(match steps {
                None => submission,
                // Jobs of which only arrivals count never end, whatever they train.
                Some(JobSteps::Known { model, duration, scaling, checkpoint }) => Submission {
                    checkpoint,
                    duration: submission.duration.map(|told| duration.unwrap_or(told)),
                    step_model: Some(model),
                    scaling: scaling.or(submission.scaling),
                    ..submission
                },
                Some(JobSteps::DoesNotFit(why)) => Submission {
                    duration: submission.duration.map(|_| steps::OUT_OF_MEMORY_AFTER),
                    end: JobStatus::Failed,
                    defect: Some(why),
                    ..submission
                },
            })
        });
        let mut observers: [&mut dyn Observer; 2] = [&mut metrics, observer];
        let mut simulation =
            Simulation::new(self.config(), self.state.clone(), profile, workload, &mut observers);
        if let Some(traffic) = steps::traffic(scenario)? {
            simulation = simulation.over(traffic);
        }
        if let Some(storage) = scenario.storage {
            simulation = simulation.storing_on(storage)?;
        }
        if let Some(inspector) = inspector {
            simulation = simulation.inspected_by(inspector);
        }
        if services.any() {
            simulation = simulation.controlled_by(&mut services);
        }
        let counts = simulation.run(progress);
        // What stopped a service is the cause of what came of the run.
        if let Some(error) = services.error.take() {
            return Err(Box::new(error).into());
        }
        let counts = counts?;
        if let Some(message) = step_models.none_fits() {
            return Err(self.trace_error(message).into());
        }
        let (nodes, gpus) = (scenario.node_count() as u64, scenario.gpu_count());
        Ok((metrics.finish(policy, scenario.seed, nodes, gpus, counts), services))
    }

    fn config(&self) -> Config {
        let Scenario { scheduler, preemption, faults, metrics, budget, seed, .. } = &self.scenario;
        Config {
            seed: *seed,
            cycle_period: match scheduler.cycle {
                Cycle::OnChange => Time::ZERO,
                Cycle::Every(period) => time(period),
            },
            decision_latency: time(scheduler.decision_latency),
            retry: match scheduler.retry {
                Retry::Always => platform::Retry::Always,
                Retry::Never => platform::Retry::Never,
            },
            budget: Budget {
                events: Some(budget.max_events),
                simulated: Some(time(budget.max_simulated)),
                wall: Some(budget.max_wall),
                pending: None,
                instant: Some(budget.max_events_at_instant),
            },
            max_queued_jobs: Some(budget.max_queued_jobs),
            idle_wake_until: self
                .scenario
                .reservations
                .iter()
                .map(|kept| time(kept.end))
                .max()
                .unwrap_or_default(),
            explain_waits: metrics.wait_reasons,
            estimate_error: scheduler.estimate_error,
            faults: faults.clone(),
            colocation: self.scenario.colocation.clone(),
            preemption: PreemptionCost {
                checkpoints: preemption.checkpoints,
                checkpoint_cost: preemption.checkpoint_cost,
                restart_cost: restart_cost(preemption),
                resize_cost: time(preemption.resize_cost),
                termination_grace: time(preemption.termination_grace),
            },
        }
    }

    /// A job as the simulation takes it. Only policies that choose sizes have a say on them: under others a job that says
    /// how it scales has what it asks for.
    pub(crate) fn submission(
        &self,
        job: JobRecord,
        traits: Option<&JobTraits>,
        chooses_size: bool,
        laws: &mut Laws,
    ) -> Result<Submission, TraceError> {
        let models = job.gpu_models.iter().map(|model| self.gpu_models.get(model).copied());
        let models = models.collect::<Option<_>>().ok_or_else(|| self.changed())?;
        let gpus = GpuRequest { count: job.gpus_per_task, milli: job.gpu_milli, models };
        let node_affinity = match self.scenario.queue_nodes {
            QueueNodes::Any => NodeAffinity::default(),
            QueueNodes::VirtualCluster => own_or_shared_nodes(&job.queue),
        };
        let spec = TaskSpec {
            requests: Resources::new(job.cpu_milli, job.memory_bytes),
            gpus,
            node_affinity,
            ..TaskSpec::default()
        };
        let endless = job.duration_s.is_infinite()
            || matches!(&self.scenario.workload, Workload::Trace(trace) if trace.arrivals_only);
        let scaling = job.scaling.as_ref();
        let sizes = scaling.filter(|_| chooses_size).map(|scaling| (scaling.min_tasks, scaling.max_tasks));
        let scaling = scaling.map(|scaling| laws.of(self, scaling, job.tasks)).transpose()?;
        let submit_s = job.submit_s / self.rate_factor();
        Ok(Submission {
            id: job.id,
            user: job.user,
            queue: job.queue,
            submit: Time::from_s(submit_s),
            duration: (!endless).then(|| Time::from_s(job.duration_s)),
            roles: roles(job.tasks, sizes, spec, traits),
            priority: traits.map_or(job.priority, |traits| traits.priority),
            preemptable: traits.and_then(|traits| traits.preemptable),
            network_topology: traits.and_then(|traits| traits.network_topology).map(|topology| {
                NetworkTopology {
                    mode: if topology.hard { TopologyMode::Hard } else { TopologyMode::Soft },
                    highest_tier: topology.highest_tier,
                    highest_tier_name: None,
                }
            }),
            scaling,
            step_model: None,
            // As long after submission as in the trace.
            deadline: job
                .deadline_s
                .map(|deadline_s| Time::from_s(submit_s + (deadline_s - job.submit_s).max(0.0))),
            time_limit: job.limit_s.map(Time::from_s),
            checkpoint: None,
            on_failure: traits.and_then(|traits| traits.on_failure.clone()),
            defect: None,
            annotations: [(ACCOUNT_ANNOTATION, job.account), (QOS_ANNOTATION, job.qos)]
                .into_iter()
                .filter(|(_, value)| !value.is_empty())
                .map(|(key, value)| (key.into(), value))
                .collect(),
            end: match job.status {
                foretell_traces::JobStatus::Completed => JobStatus::Completed,
                foretell_traces::JobStatus::Failed => JobStatus::Failed,
                foretell_traces::JobStatus::Cancelled => JobStatus::Cancelled,
            },
        })
    }

    /// How a job of so many tasks scales, in whole millionths.
    fn scaling(&self, scaling: &ScalingRecord, asked: u32) -> Result<Scaling, TraceError> {
        let mut phases: Vec<ScalingPhase> = Vec::new();
        for curve in &scaling.curves {
            let from = (curve.from * WHOLE_WORK as f64).round() as u64;
            let models = curve.models.iter().map(|model| self.gpu_models.get(model).copied());
            let speeds = |law: &SpeedLaw| {
                let speed = |tasks| law.speed(tasks, asked) * curve.factor * FULL_SPEED as f64;
                // A job that stood still would hold its GPUs for ever.
                (1..=scaling.max_tasks)
                    .map(|tasks| (speed(tasks).round() as u64).max(1))
                    .collect::<Box<[u64]>>()
            };
            let curve = SpeedCurve {
                models: models.collect::<Option<_>>().ok_or_else(|| self.changed())?,
                one_node: speeds(&curve.one_node),
                many_nodes: curve.many_nodes.as_ref().map(speeds).unwrap_or_default(),
            };
            match phases.iter_mut().find(|phase| phase.from == from) {
                Some(phase) => phase.curves.push(curve),
                None => phases.push(ScalingPhase { from, curves: vec![curve] }),
            }
        }
        Ok(Scaling::new(asked, phases))
    }

    /// How much faster than the trace says jobs come.
    const fn rate_factor(&self) -> f64 {
        match &self.scenario.workload {
            Workload::Trace(trace) => trace.rate_factor,
            Workload::Synthetic(_) | Workload::None => 1.0,
        }
    }

    /// The trace has jobs that were not there when the plan was made.
    fn changed(&self) -> TraceError {
        self.trace_error("the file changed while it was in use".to_owned())
    }

    /// What is wrong with the workload as a whole.
    fn trace_error(&self, message: String) -> TraceError {
        let path = match &self.scenario.workload {
            Workload::Trace(trace) => trace.path.clone(),
            Workload::Synthetic(_) | Workload::None => PathBuf::new(),
        };
        TraceError { path, line: None, column: None, message }
    }
}

/// Saturates: `Duration::MAX` stands for "never".
pub(crate) fn time(duration: std::time::Duration) -> Time {
    Time::from_nanos(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX))
}
