//! The inflation experiment of the FGD study: pods arrive one by one and never leave; what does not fit is dropped.

use std::convert::Infallible;
use std::sync::Arc;

use foretell_scenarios::registry::{self, PolicyConfig, PolicyError};
use foretell_scenarios::sim::framework::{
    ClusterState, GpuRequest, Labels, NodeSpec, Resources, StateError, TaskShape, TaskSpec, Time,
    TypicalTasks,
};
use foretell_scenarios::sim::log::{FragmentationIndex, JobStatus, Observer, Record};
use foretell_scenarios::sim::platform::{Config, Retry, Role, Simulation, SimulationError, Submission};
use foretell_traces::openb::{NodeRow, PodRow};
use thiserror::Error;

/// Tasks that a node of the study takes.
const MAX_TASKS: u32 = 1001;

/// The share of tasks that the study's typical workload covers.
const TYPICAL_SHARE: f64 = 0.95;

/// Why an experiment could not run.
#[derive(Debug, Error)]
pub enum ExperimentError {
    /// The data name a policy that does not exist here.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// The data describe an impossible cluster.
    #[error(transparent)]
    Cluster(#[from] StateError),
    /// The simulation broke off.
    #[error(transparent)]
    Simulation(#[from] SimulationError<Infallible>),
}

/// The cluster after one arrival.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Arrival {
    /// Thousandths of GPUs requested so far, failed pods included.
    pub arrived_milli: u64,
    /// Thousandths of GPUs allocated.
    pub used_milli: u64,
    /// Thousandths of GPUs idle.
    pub idle_milli: u64,
    /// Idle GPU that a typical task cannot use, in thousandths.
    pub fragmented_milli: f64,
}

/// What an experiment leaves behind.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Outcome {
    /// One entry per arrival.
    pub arrivals: Vec<Arrival>,
    /// Where the pod of each arrival went, as a row of the node list; `None` if it was dropped.
    pub nodes: Vec<Option<u32>>,
}

/// A trace and its cluster, ready for experiments.
pub struct Experiment {
    nodes: Vec<NodeSpec>,
    specs: Vec<TaskSpec>,
    config: PolicyConfig,
    /// No nodes yet, but every GPU model: its ids must not depend on the order of nodes.
    empty: ClusterState,
}

impl Experiment {
    /// The nodes, the pods, and the typical workload of these pods.
    pub fn new(nodes: &[NodeRow], pods: &[PodRow]) -> Result<Self, StateError> {
        let mut empty = ClusterState::new();
        let node_spec = |node: &NodeRow| {
            let gpu_model = if node.gpus == 0 { None } else { Some(empty.gpu_model(&node.gpu_model)?) };
            Ok(NodeSpec {
                allocatable: Resources::new(node.cpu_milli, node.memory_bytes),
                max_tasks: MAX_TASKS,
                gpus: node.gpus,
                gpu_model,
                ..NodeSpec::new(&*node.name)
            })
        };
        let nodes = nodes.iter().map(node_spec).collect::<Result<_, StateError>>()?;
        let models =
            |pod: &PodRow| empty.gpu_model_set(pod.gpu_spec.split('|').filter(|name| !name.is_empty()));
        let models = pods.iter().map(models).collect::<Result<Vec<_>, _>>()?;
        let shape = |(pod, &gpu_models): (&PodRow, _)| TaskShape {
            cpu_milli: pod.cpu_milli,
            gpu_milli: pod.gpu_milli,
            gpus: pod.gpus,
            gpu_models_text: pod.gpu_spec.to_string(),
            gpu_models,
        };
        let shapes = pods.iter().zip(&models).map(|pod| (shape(pod), 1));
        let config = PolicyConfig {
            typical: Arc::new(TypicalTasks::of_tasks(shapes, TYPICAL_SHARE)),
            ..PolicyConfig::default()
        };
        let spec = |(pod, &models): (&PodRow, _)| TaskSpec {
            requests: Resources::new(pod.cpu_milli, pod.memory_bytes),
            gpus: GpuRequest { count: pod.gpus, milli: pod.gpu_milli, models },
            ..TaskSpec::default()
        };
        let specs = pods.iter().zip(&models).map(spec).collect();
        Ok(Self { nodes, specs, config, empty })
    }

    /// Runs one experiment under one policy. `rank` has one entry per node, and the lower rank wins ties; `order` has
    /// one entry per arrival, a row of the pods.
    pub fn run(
        &self,
        rank: &[u32],
        order: &[u32],
        policy: &str,
        seed: u64,
    ) -> Result<Outcome, ExperimentError> {
        let profile = registry::build(policy, &self.config)?;
        let mut rows: Vec<u32> = (0..self.nodes.len() as u32).collect();
        rows.sort_by_key(|&row| rank[row as usize]);
        let mut state = self.empty.clone();
        for &row in &rows {
            state.add_node(self.nodes[row as usize].clone())?;
        }
        let submissions = order.iter().enumerate().map(|(position, &row)| {
            Ok(Submission {
                id: Box::default(),
                user: Box::default(),
                queue: Box::default(),
                submit: Time::from_nanos(position as u64),
                duration: None,
                roles: vec![Role::gang(1, self.specs[row as usize].clone())],
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
            })
        });
        let fragmentation = FragmentationIndex::new(Arc::clone(&self.config.typical));
        let mut recorder = Recorder { fragmentation, rows: &rows, outcome: Outcome::default() };
        let config = Config { seed, retry: Retry::Never, ..Config::default() };
        Simulation::new(config, state, profile, submissions, &mut [&mut recorder]).run(&mut |_| ())?;
        Ok(recorder.outcome)
    }
}

struct Recorder<'a> {
    fragmentation: FragmentationIndex,
    rows: &'a [u32],
    outcome: Outcome,
}

impl Recorder<'_> {
    /// The last arrival's entry, as the cluster is now.
    fn measure(&mut self, state: &ClusterState) {
        self.fragmentation.refresh(state);
        if let Some(arrival) = self.outcome.arrivals.last_mut() {
            arrival.used_milli = state.gpu_allocated_milli();
            arrival.idle_milli = state.gpu_capacity_milli() - state.gpu_allocated_milli();
            arrival.fragmented_milli = self.fragmentation.expected_milli();
        }
    }
}

impl Observer for Recorder<'_> {
    fn advance(&mut self, _from: Time, _to: Time, _state: &ClusterState) {}

    fn record(&mut self, _now: Time, record: &Record<'_>, state: &ClusterState) {
        match *record {
            Record::JobSubmitted { submission, .. } => {
                let before = self.outcome.arrivals.last().map_or(0, |arrival| arrival.arrived_milli);
                let arrived_milli = before + submission.gpu_milli_total();
                self.outcome.arrivals.push(Arrival { arrived_milli, ..Arrival::default() });
                self.outcome.nodes.push(None);
                self.measure(state);
            }
            Record::PodBound { job, node, .. } => {
                self.outcome.nodes[job as usize] = Some(self.rows[node.index()]);
            }
            Record::CycleEnded => self.measure(state),
            _ => {}
        }
    }
}
