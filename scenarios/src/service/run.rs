//! Services on the GPUs that a policy gave their replicas.

use std::sync::Arc;
use std::time::Duration;

use foretell_serving::classical_served::ClassicalServed;
use foretell_serving::metrics::{Capacity, Recorder, Summary};
use foretell_serving::served::{Served, ServedBy};
use foretell_serving::{Outcome, Request, drive};
use foretell_sim::engine::Progress;
use foretell_sim::framework::{ClusterState, Time};
use foretell_sim::log::{Observer, Record, RunResult};

use super::Service;
use super::classical::serve_classical;
use super::replica::{Built, Place, Replica, ServiceError};
use super::source::Feed;
use crate::assemble::{Plan, RunError};
use crate::scenario::Scenario;

/// When and where a replica came to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Placed {
    /// The replica, from 0.
    pub replica: u32,
    /// When its pods had all started.
    pub at: Duration,
    /// A node of it, by its place in the cluster.
    pub node: usize,
}

/// Listens to a run for what becomes of replicas.
#[derive(Debug, Clone, Default)]
pub struct Started {
    /// By job: the node of its first pod, and when it started.
    jobs: Vec<(Option<usize>, Option<Time>)>,
}

impl Started {
    /// For the replicas of a scenario's services.
    pub fn new(scenario: &Scenario) -> Self {
        let classical = scenario.classical_services.iter().map(|service| service.replicas as usize);
        let replicas = of_services(&scenario.services) + classical.sum::<usize>();
        Self { jobs: vec![(None, None); replicas] }
    }

    /// The replicas of the service of this number that started, service by service in the order of the scenario.
    pub fn placed(&self, scenario: &Scenario, service: usize) -> Vec<Placed> {
        self.range(of_services(&scenario.services[..service]), scenario.services[service].replicas)
    }

    /// The same of the classical service of this number.
    pub fn placed_classical(&self, scenario: &Scenario, service: usize) -> Vec<Placed> {
        let others = scenario.classical_services[..service].iter().map(|one| one.replicas as usize);
        let before = of_services(&scenario.services) + others.sum::<usize>();
        self.range(before, scenario.classical_services[service].replicas)
    }

    fn range(&self, before: usize, count: u32) -> Vec<Placed> {
        (0..count)
            .zip(&self.jobs[before..])
            .filter_map(|(replica, &(node, at))| {
                Some(Placed { replica, at: Duration::from_nanos(at?.as_nanos()), node: node? })
            })
            .collect()
    }
}

fn of_services(services: &[Service]) -> usize {
    services.iter().map(|service| service.replicas as usize).sum()
}

impl Observer for Started {
    fn advance(&mut self, _from: Time, _to: Time, _state: &ClusterState) {}

    fn record(&mut self, now: Time, record: &Record<'_>, _state: &ClusterState) {
        match *record {
            Record::PodBound { job, rank: 0, node, .. } => {
                if let Some(job) = self.jobs.get_mut(job as usize) {
                    job.0.get_or_insert(node.index());
                }
            }
            Record::JobStarted { job, .. } => {
                if let Some(job) = self.jobs.get_mut(job as usize) {
                    job.1.get_or_insert(now);
                }
            }
            _ => {}
        }
    }
}

/// Two listeners.
struct Both<'a>(&'a mut Started, &'a mut dyn Observer);

impl Observer for Both<'_> {
    fn advance(&mut self, from: Time, to: Time, state: &ClusterState) {
        self.1.advance(from, to, state);
    }

    fn record(&mut self, now: Time, record: &Record<'_>, state: &ClusterState) {
        self.0.record(now, record, state);
        self.1.record(now, record, state);
    }
}

impl Plan {
    /// [`Plan::run`], and what became of the services of the scenario by the replicas that the policy placed.
    pub fn run_and_serve(
        &self,
        policy: &str,
        observer: &mut dyn Observer,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<(RunResult, Vec<Served>, Vec<ClassicalServed>), RunError> {
        let scenario = self.scenario();
        let mut started = Started::new(scenario);
        let result = self.run(policy, &mut Both(&mut started, observer), progress)?;
        let served = scenario.services.iter().enumerate().map(|(index, service)| {
            let placed = started.placed(scenario, index);
            Ok(serve(scenario, service, &placed).map_err(Box::new)?)
        });
        let classical = scenario.classical_services.iter().enumerate().map(|(index, service)| {
            let placed = started.placed_classical(scenario, index);
            Ok(serve_classical(scenario, service, &placed).map_err(Box::new)?)
        });
        Ok((result, served.collect::<Result<_, RunError>>()?, classical.collect::<Result<_, RunError>>()?))
    }
}

/// Serves the requests of a service by the replicas that were placed. The seed of the scenario decides what is drawn.
pub fn serve(scenario: &Scenario, service: &Service, placed: &[Placed]) -> Result<Served, ServiceError> {
    let ready_ns: Vec<u64> = placed
        .iter()
        .map(|one| u64::try_from((one.at + service.startup).as_nanos()).unwrap_or(u64::MAX))
        .collect();
    let Some(&first_ns) = ready_ns.iter().min() else {
        let why = "the cluster has no room for them, or other jobs keep it".to_owned();
        return Err(ServiceError::NotPlaced { service: service.name.clone(), why });
    };
    let mut replicas = Vec::with_capacity(placed.len());
    let mut built = Vec::with_capacity(placed.len());
    for one in placed {
        let mut before = 0;
        let group = scenario.nodes.iter().find(|group| {
            before += group.names.len();
            one.node < before
        });
        let Some(group) = group else { continue };
        let (replica, of) = Replica::new(service, Place { group, fabric: scenario.fabric.as_ref() })?;
        replicas.push(replica);
        built.push((*one, of));
    }
    let mut feed = Feed::new(service, scenario.seed, first_ns)?;
    let options = &service.options;
    let recorder =
        Recorder::of(Arc::clone(&service.model), options.weights.bytes(), options.cache_number_bytes);
    let mut recorders = vec![recorder; replicas.len()];
    let mut turn = 0;
    // In turn, among those that are there.
    let route = |replicas: &[Replica], request: &Request<'_>| {
        let now_ns = request.arrival_ns.max(first_ns);
        let count = replicas.len();
        let next = (0..count).map(|step| (turn + step) % count).find(|&one| ready_ns[one] <= now_ns);
        let next = next.unwrap_or(0);
        turn = (next + 1) % count;
        next
    };
    let mut rejected = drive(&mut replicas, &mut feed, route, &mut recorders);
    if let Some(error) = feed.take_error() {
        return Err(error.into());
    }
    rejected.sort_by_key(|&(request, _)| request);
    let mut outcomes: Vec<(u32, Outcome)> = recorders
        .iter()
        .enumerate()
        .flat_map(|(replica, recorder)| recorder.outcomes.iter().map(move |&one| (replica as u32, one)))
        .collect();
    outcomes.sort_by_key(|&(_, outcome)| outcome.request);
    let mut recorder = Recorder::default();
    for one in recorders {
        recorder.merge(one);
    }
    let prefix_tokens =
        replicas.iter().map(Replica::prefix_tokens).fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
    let capacity = Capacity {
        engines: replicas.len() as u32 * service.parallelism.data,
        block_tokens: service.engine.block_tokens,
        prefix_tokens,
    };
    let summary = Summary::new(&recorder, &capacity, &service.objective, rejected.len() as u64);
    let (mfu, bandwidth_use) = uses(&built, &summary);
    Ok(Served {
        service: service.name.clone(),
        model: service.model.name.clone(),
        batcher: service.engine.batcher.name().to_owned(),
        objective: service.objective,
        summary,
        recorder,
        outcomes,
        rejected,
        replicas: built
            .into_iter()
            .map(|(placed, of)| ServedBy {
                replica: placed.replica,
                ready_s: (placed.at + service.startup).as_secs_f64(),
                gpu: of.gpu,
                gpus: of.gpus,
                blocks: of.blocks,
                block_tokens: service.engine.block_tokens,
            })
            .collect(),
        mfu,
        bandwidth_use,
    })
}

/// Shares of the peaks of operations and of memory bandwidth of all GPUs that the model's own work took, over the whole time.
fn uses(built: &[(Placed, Built)], summary: &Summary) -> (f64, f64) {
    let peak = |of: fn(&Built) -> f64| -> f64 {
        built.iter().map(|(_, one)| f64::from(one.gpus) * of(one)).sum::<f64>() * summary.duration_s
    };
    let work = summary.totals.work;
    let share = |done: f64, peak: f64| if peak > 0.0 { done / peak } else { 0.0 };
    (share(work.flops, peak(|one| one.peak_flops)), share(work.bytes, peak(|one| one.memory_bytes_per_s)))
}
