//! Runs jobs that are known by GPUs and duration alone on nodes that have nothing but GPUs, as the simulators of queueing
//! studies do.

#[cfg(test)]
mod by_the_rules;

use std::convert::Infallible;

use foretell_scenarios::registry::{self, OrderingConfig, PolicyConfig};
use foretell_scenarios::sim::framework::{
    ClusterState, GpuModelSet, GpuRequest, Labels, NodeSpec, Resources, TaskSpec, Time,
};
use foretell_scenarios::sim::log::{JobStatus, Observer, Record};
use foretell_scenarios::sim::platform::{
    CheckpointCost, Checkpoints, Config, PreemptionCost, Role, Simulation, Submission,
};

/// A job.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct QueuedJob {
    pub(crate) submit_s: u64,
    pub(crate) duration_s: u64,
    pub(crate) gpus: u32,
}

/// Nodes of equal size.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Nodes {
    pub(crate) count: u32,
    pub(crate) gpus: u32,
}

/// How a job's GPUs become tasks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Split {
    /// One each: only their number counts.
    ByGpu,
    /// As many whole nodes as it fills, and one task for the rest.
    ByNode,
}

/// What became of a job.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) struct JobTimes {
    pub(crate) start_s: Option<u64>,
    pub(crate) end_s: Option<u64>,
    pub(crate) preemptions: u32,
}

/// Runs the jobs, which are in order of submission, under a policy. Preempted jobs keep all their work and pay the
/// restart cost.
pub(crate) fn run(
    nodes: Nodes,
    split: Split,
    jobs: &[QueuedJob],
    policy: &str,
    ordering: OrderingConfig,
    seed: u64,
) -> Result<Vec<JobTimes>, String> {
    let mut state = ClusterState::new();
    let model = state.gpu_model("GPU").map_err(|error| error.to_string())?;
    for index in 0..nodes.count {
        let spec = NodeSpec {
            allocatable: Resources::new(1_000_000, 1 << 40),
            gpus: nodes.gpus,
            gpu_model: Some(model),
            ..NodeSpec::new(format!("node-{index}"))
        };
        state.add_node(spec).map_err(|error| error.to_string())?;
    }
    let restart_cost = ordering.restart_cost.clone();
    let config = PolicyConfig { ordering, ..PolicyConfig::default() };
    let profile = registry::build(policy, &config).map_err(|error| error.to_string())?;
    let mut recorder = Recorder { jobs: vec![JobTimes::default(); jobs.len()] };
    let preemption = PreemptionCost {
        checkpoints: Checkpoints::Every(Time::ZERO),
        checkpoint_cost: CheckpointCost::default(),
        restart_cost,
        resize_cost: Time::ZERO,
        termination_grace: Time::ZERO,
    };
    let config = Config { seed, preemption, ..Config::default() };
    let submissions = jobs.iter().map(|&job| Ok::<_, Infallible>(submission(job, nodes, split)));
    Simulation::new(config, state, profile, submissions, &mut [&mut recorder])
        .run(&mut |_| ())
        .map_err(|error| error.to_string())?;
    Ok(recorder.jobs)
}

fn submission(job: QueuedJob, nodes: Nodes, split: Split) -> Submission {
    let role = |count, gpus| {
        let gpus = GpuRequest { count: gpus, milli: 1000, models: GpuModelSet::ANY };
        Role::gang(count, TaskSpec { gpus, ..TaskSpec::default() })
    };
    let roles = match split {
        Split::ByGpu => vec![role(job.gpus, 1)],
        Split::ByNode => {
            let (whole, rest) = (job.gpus / nodes.gpus, job.gpus % nodes.gpus);
            let parts = [(whole, nodes.gpus), (u32::from(rest > 0), rest)];
            parts.into_iter().filter(|&(count, _)| count > 0).map(|(count, gpus)| role(count, gpus)).collect()
        }
    };
    Submission {
        id: Box::default(),
        user: Box::default(),
        queue: Box::default(),
        submit: seconds(job.submit_s),
        duration: Some(seconds(job.duration_s)),
        roles,
        priority: 0,
        preemptable: None,
        network_topology: None,
        end: JobStatus::Completed,
        defect: None,
        annotations: Labels::new(),
        scaling: None,
        step_model: None,
        deadline: None,
        time_limit: None,
        checkpoint: None,
        on_failure: None,
    }
}

const NANOS_PER_SECOND: u64 = 1_000_000_000;

const fn seconds(seconds: u64) -> Time {
    Time::from_nanos(seconds.saturating_mul(NANOS_PER_SECOND))
}

struct Recorder {
    jobs: Vec<JobTimes>,
}

impl Observer for Recorder {
    fn advance(&mut self, _from: Time, _to: Time, _state: &ClusterState) {}

    fn record(&mut self, now: Time, record: &Record<'_>, _state: &ClusterState) {
        let now_s = now.as_nanos() / NANOS_PER_SECOND;
        match *record {
            Record::JobStarted { job, .. } => {
                self.jobs[job as usize].start_s.get_or_insert(now_s);
            }
            Record::JobStopped { job, .. } => self.jobs[job as usize].preemptions += 1,
            Record::JobFinished { job, .. } => self.jobs[job as usize].end_s = Some(now_s),
            _ => {}
        }
    }
}
