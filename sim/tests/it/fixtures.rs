//! Small clusters and workloads, and a run of one on the other.

use std::sync::Arc;

use foretell_registry::PolicyConfig;
use foretell_sim::framework::{
    ClusterState, GpuRequest, Labels, NodeSpec, Profile, Resources, TaskShape, TaskSpec, Time, TypicalTasks,
};
use foretell_sim::log::{JobStatus, Metrics, Observer, Record, RunResult, Sampling};
use foretell_sim::platform::{Config, Role, Simulation, SimulationError, Storage, Submission};

/// Nodes with this many GPUs each, 8 CPUs per GPU and one more.
pub(crate) fn cluster(gpus_per_node: &[u32]) -> ClusterState {
    let mut state = ClusterState::new();
    for (index, &gpus) in gpus_per_node.iter().enumerate() {
        let gpu_model = (gpus > 0).then(|| state.gpu_model("A100").unwrap());
        let name = format!("node-{index}");
        let allocatable = Resources::new(8000 * u64::from(gpus) + 1000, 64 << 30);
        state.add_node(NodeSpec { allocatable, gpus, gpu_model, ..NodeSpec::new(name) }).unwrap();
    }
    state
}

/// What a pod with this many whole GPUs asks for.
pub(crate) fn pod(gpus: u32) -> TaskSpec {
    TaskSpec { requests: Resources::new(1000, 1 << 30), gpus: GpuRequest::whole(gpus), ..TaskSpec::default() }
}

/// A job of `tasks` pods with `gpus` whole GPUs each.
pub(crate) fn job(submit_s: f64, duration_s: f64, tasks: u32, gpus: u32) -> Submission {
    Submission {
        id: format!("job@{submit_s}").into(),
        user: "ada".into(),
        queue: "default".into(),
        submit: Time::from_s(submit_s),
        duration: Some(Time::from_s(duration_s)),
        roles: vec![Role::gang(tasks, pod(gpus))],
        priority: 0,
        preemptable: None,
        network_topology: None,
        scaling: None,
        step_model: None,
        deadline: None,
        time_limit: None,
        checkpoint: None,
        on_failure: None,
        annotations: Labels::new(),
        end: JobStatus::Completed,
        defect: None,
    }
}

/// A job with one pod that takes a share of a GPU.
pub(crate) fn share(submit_s: f64, duration_s: f64, milli: u32) -> Submission {
    let mut submission = job(submit_s, duration_s, 1, 0);
    submission.roles[0].spec.gpus = GpuRequest::share(milli);
    submission
}

pub(crate) fn typical(jobs: &[Submission]) -> Arc<TypicalTasks> {
    let shape = |spec: &TaskSpec| TaskShape {
        cpu_milli: spec.requests.cpu_milli,
        gpu_milli: spec.gpus.milli,
        gpus: spec.gpus.count,
        gpu_models_text: String::new(),
        gpu_models: spec.gpus.models,
    };
    let roles = jobs.iter().flat_map(|job| &job.roles);
    Arc::new(TypicalTasks::of_tasks(roles.map(|role| (shape(&role.spec), u64::from(role.count))), 0.95))
}

pub(crate) fn profile(policy: &str, jobs: &[Submission]) -> Profile {
    foretell_registry::build(policy, &PolicyConfig { typical: typical(jobs), ..PolicyConfig::default() })
        .unwrap()
}

pub(crate) fn simulate(
    cluster: &ClusterState,
    jobs: &[Submission],
    policy: &str,
    config: Config,
) -> Result<RunResult, SimulationError<()>> {
    simulate_profile(cluster, jobs, profile(policy, jobs), config)
}

pub(crate) fn simulate_profile(
    cluster: &ClusterState,
    jobs: &[Submission],
    profile: Profile,
    config: Config,
) -> Result<RunResult, SimulationError<()>> {
    observe_profile(cluster, jobs, profile, config, &mut Deaf)
}

pub(crate) fn observe_profile(
    cluster: &ClusterState,
    jobs: &[Submission],
    profile: Profile,
    config: Config,
    observer: &mut dyn Observer,
) -> Result<RunResult, SimulationError<()>> {
    observe_stored(cluster, jobs, profile, (config, None), observer)
}

/// The same with storage that all share.
pub(crate) fn observe_stored(
    cluster: &ClusterState,
    jobs: &[Submission],
    profile: Profile,
    (config, storage): (Config, Option<Storage>),
    observer: &mut dyn Observer,
) -> Result<RunResult, SimulationError<()>> {
    let mut metrics = Metrics::new(typical(jobs), Sampling::Auto);
    let workload = jobs.iter().cloned().map(Ok);
    let (nodes, gpus, seed) =
        (cluster.nodes().len() as u64, cluster.gpu_capacity_milli() / 1000, config.seed);
    let policy = profile.name.clone();
    let mut observers: [&mut dyn Observer; 2] = [&mut metrics, observer];
    let mut simulation = Simulation::new(config, cluster.clone(), profile, workload, &mut observers);
    if let Some(storage) = storage {
        simulation = simulation.storing_on(storage).unwrap();
    }
    let counts = simulation.run(&mut |_| ())?;
    Ok(metrics.finish(&policy, seed, nodes, gpus, counts))
}

/// Listens to nothing.
pub(crate) struct Deaf;

impl Observer for Deaf {
    fn advance(&mut self, _from: Time, _to: Time, _state: &ClusterState) {}

    fn record(&mut self, _now: Time, _record: &Record<'_>, _state: &ClusterState) {}
}
