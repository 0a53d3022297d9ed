//! Gavel (OSDI'20) on the jobs of a cluster: which job is due on which type of GPU in a round is `foretell-gavel`'s to say,
//! what jobs are told to do is [`Elastic`](crate::Elastic)'s.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec;
use alloc::vec::Vec;
use core::cmp::Reverse;

use foretell_framework::time::NANOS_PER_SECOND;
use foretell_framework::{FULL_SPEED, GpuModelId, NodeId, Time, WHOLE_GPU_MILLI};
use foretell_gavel::{
    FinishTimeFairnessPerf, JobId, JobView, MaxMinFairnessPerf, MaxSumThroughput, Mechanism,
    MinTotalDuration, PairThroughputs, Placement, Policy, Solver, View,
};

use crate::divide::{Divide, ElasticJob, NodesOfType};

/// What Gavel is after.
#[derive(Clone, PartialEq, Debug)]
pub enum GavelObjective {
    /// Speeds relative to an equal part of the cluster, the least of them as large as can be.
    MaxMinFairness,
    /// The last job ends as early as can be.
    Makespan,
    /// The largest finish-time ratio is as small as can be.
    FinishTimeFairness,
    /// The largest sum of speeds.
    Throughput,
    /// The largest sum of speeds per cost of a GPU-hour. Models without a cost have 1.
    Cost(BTreeMap<GpuModelId, f64>),
}

impl GavelObjective {
    fn policy(&self, types: &[NodesOfType]) -> Box<dyn Policy> {
        match self {
            Self::MaxMinFairness => Box::new(MaxMinFairnessPerf::new(false)),
            Self::Makespan => Box::new(MinTotalDuration),
            Self::FinishTimeFairness => Box::new(FinishTimeFairnessPerf::default()),
            Self::Throughput => Box::new(MaxSumThroughput::default()),
            Self::Cost(costs) => {
                let cost = |of_type: &NodesOfType| costs.get(&of_type.model).copied().unwrap_or(1.0);
                Box::new(MaxSumThroughput::per_cost(types.iter().map(cost).collect()))
            }
        }
    }
}

/// Least time between two allocations, in seconds: that of Gavel's published experiments.
const RESET_INTERVAL_S: f64 = 1920.0;

/// Gives each job all GPUs that it asks for, or none, in rounds, such that the time that it has on each type of GPU follows the
/// shares that Gavel's policy sets. A type is nodes of one model and size. Jobs do not share GPUs.
pub struct ByRounds {
    objective: GavelObjective,
    solver: Box<dyn Solver>,
    round: Time,
    /// Models, and GPUs of each node.
    types: Vec<(GpuModelId, u32)>,
    policy: Box<dyn Policy>,
    mechanism: Mechanism,
    /// Jobs that take turns, by their numbers.
    members: BTreeMap<u64, JobId>,
    next: u32,
    /// What was due since `since`, with the job's number.
    running: Vec<(u64, Placement)>,
    since: Time,
}

/// Jobs of a scenario say nothing of how fast two are on the same GPUs.
struct NoPairs;

impl PairThroughputs for NoPairs {
    fn together(&self, _one: usize, _other: usize, _gpu_type: usize) -> (f64, f64) {
        (0.0, 0.0)
    }
}

impl ByRounds {
    /// With rounds of this length, which must be those of [`Elastic`](crate::Elastic).
    pub fn new(objective: GavelObjective, round: Time, solver: Box<dyn Solver>) -> Self {
        let policy = objective.policy(&[]);
        let mechanism = Mechanism::new(0, round.as_s(), RESET_INTERVAL_S);
        Self {
            objective,
            solver,
            round,
            types: Vec::new(),
            policy,
            mechanism,
            members: BTreeMap::new(),
            next: 0,
            running: Vec::new(),
            since: Time::ZERO,
        }
    }

    /// Begins anew where there are other types than before; nodes come and go.
    fn refresh(&mut self, types: &[NodesOfType]) {
        let of = |types: &[NodesOfType]| -> Vec<(GpuModelId, u32)> {
            types.iter().map(|of_type| (of_type.model, of_type.gpus_per_node)).collect()
        };
        if self.types == of(types) {
            return;
        }
        self.types = of(types);
        self.policy = self.objective.policy(types);
        self.mechanism = Mechanism::new(types.len(), self.round.as_s(), RESET_INTERVAL_S);
        self.members.clear();
        self.running.clear();
    }

    /// Asks the policy for new shares.
    fn reallocate(
        &mut self,
        candidates: &BTreeMap<u64, Candidate<'_>>,
        workers: &[u32],
        now: Time,
        draw: &mut dyn FnMut(usize) -> usize,
    ) {
        let mut classes: BTreeMap<(u32, Vec<u64>), usize> = BTreeMap::new();
        // Whose length nobody knows is taken to be the longest.
        let longest = candidates.values().filter_map(|candidate| candidate.job.left).max();
        let view = |(sequence, candidate): (&u64, &Candidate<'_>)| {
            let bits = candidate.speeds.iter().map(|speed| speed.to_bits()).collect();
            let class = classes.len();
            // Types whose GPUs others keep are as good as none.
            let has_room =
                candidate.speeds.iter().zip(workers).any(|(&speed, &gpus)| speed > 0.0 && gpus > 0);
            if !has_room {
                return None;
            }
            let left = candidate.job.left.or(longest).unwrap_or(u128::from(FULL_SPEED));
            Some(JobView {
                id: *self.members.get(sequence)?,
                class: *classes.entry((candidate.gpus, bits)).or_insert(class),
                scale_factor: candidate.gpus,
                weight: 1.0,
                throughputs: candidate.speeds.clone(),
                steps_remaining: left as f64 / (FULL_SPEED as f64 * NANOS_PER_SECOND as f64),
                elapsed_s: now.since(candidate.job.submitted).as_s(),
            })
        };
        let mut jobs: Vec<JobView> = candidates.iter().filter_map(view).collect();
        jobs.sort_by_key(|job| job.id);
        let view = View { jobs: &jobs, workers, pairs: &NoPairs };
        let allocation = self.policy.allocate(&view, &mut *self.solver, draw);
        self.mechanism.reset(now.as_s(), allocation, |_| Vec::new());
    }
}

/// A job that takes turns.
struct Candidate<'a> {
    job: &'a ElasticJob,
    /// Where it stands among the jobs.
    index: usize,
    /// All that it asks for, and never another number.
    tasks: u32,
    gpus: u32,
    /// Per type, relative to what it was submitted with; zero where it cannot run.
    speeds: Vec<f64>,
}

impl<'a> Candidate<'a> {
    /// None if there is nowhere that it could run, or nothing to decide.
    fn new(index: usize, job: &'a ElasticJob, types: &[NodesOfType]) -> Option<Self> {
        if job.gpus_per_task == 0 || job.keeps() {
            return None;
        }
        let asked = job.scaling.as_ref().map_or(job.max_tasks, |scaling| scaling.asked);
        let tasks = asked.clamp(job.min_tasks, job.max_tasks);
        let gpus = tasks * job.gpus_per_task;
        let speed = |of_type: &NodesOfType| {
            let per_node = of_type.gpus_per_node / job.gpus_per_task;
            let fits = u64::from(per_node) * of_type.nodes.len() as u64 >= u64::from(tasks);
            let speed = if fits { job.speed_in(of_type.model, tasks, tasks <= per_node) } else { 0 };
            speed as f64 / FULL_SPEED as f64
        };
        let speeds: Vec<f64> = types.iter().map(speed).collect();
        speeds.iter().any(|&speed| speed > 0.0).then_some(Self { job, index, tasks, gpus, speeds })
    }
}

impl Divide for ByRounds {
    fn name(&self) -> &'static str {
        "Gavel"
    }

    fn arrange(
        &mut self,
        jobs: &[ElasticJob],
        types: &[NodesOfType],
        now: Time,
        draw: &mut dyn FnMut(usize) -> usize,
    ) -> Option<Vec<Vec<(NodeId, u32)>>> {
        self.refresh(types);
        let candidates: BTreeMap<u64, Candidate<'_>> = jobs
            .iter()
            .enumerate()
            .filter_map(|(index, job)| Some((job.sequence, Candidate::new(index, job, types)?)))
            .collect();
        let ran_s = now.since(self.since).as_s();
        self.since = now;
        for (sequence, placement) in core::mem::take(&mut self.running) {
            let nodes = &types[placement.gpu_type].nodes;
            let is_there = |candidate: &Candidate<'_>| {
                candidate.job.places.iter().any(|(node, _)| nodes.binary_search(node).is_ok())
            };
            // Who was due and found no way to its nodes did not run.
            if candidates.get(&sequence).is_some_and(is_there) {
                self.mechanism.ran(placement, ran_s);
            }
        }
        let mechanism = &mut self.mechanism;
        self.members.retain(|sequence, &mut id| {
            let stays = candidates.contains_key(sequence);
            if !stays {
                mechanism.remove(id);
            }
            stays
        });
        for (&sequence, candidate) in &candidates {
            self.members.entry(sequence).or_insert_with(|| {
                let id = JobId(self.next);
                self.next += 1;
                let runs_on = candidate.speeds.iter().map(|&speed| speed > 0.0).collect();
                mechanism.add(id, candidate.gpus, runs_on);
                id
            });
        }
        let mut places = vec![Vec::new(); jobs.len()];
        let mut free: Vec<Free> = types.iter().map(Free::all_of).collect();
        for job in jobs.iter().filter(|job| job.keeps()) {
            // Shares of GPUs take them whole.
            let gpus_per_task = job.gpu_milli.div_ceil(u64::from(WHOLE_GPU_MILLI)) as u32;
            for free in &mut free {
                free.take(&job.places, gpus_per_task);
            }
        }
        let order: Vec<usize> = (0..types.len()).collect();
        let workers: Vec<u32> = free.iter().map(Free::gpus).collect();
        if self.mechanism.wants_allocation(now.as_s()) {
            self.reallocate(&candidates, &workers, now, draw);
        }
        let placements = self.mechanism.next_round(&order, &workers, self.policy.keeps_idle());
        let sequences: BTreeMap<JobId, u64> =
            self.members.iter().map(|(&sequence, &id)| (id, sequence)).collect();
        for (gpu_type, free) in free.iter().enumerate() {
            let on_type = placements.iter().filter(|placement| placement.gpu_type == gpu_type);
            let due: Vec<Due<'_, '_>> = on_type
                .filter_map(|&placement| {
                    Some((placement, candidates.get(sequences.get(&placement.unit.first)?)?))
                })
                .collect();
            for (placement, candidate, nodes) in seat(due, free) {
                places[candidate.index] = nodes;
                self.running.push((candidate.job.sequence, placement));
            }
        }
        Some(places)
    }
}

/// GPUs that are free on the nodes of a type.
#[derive(Clone)]
struct Free {
    nodes: BTreeMap<NodeId, u32>,
}

impl Free {
    fn all_of(of_type: &NodesOfType) -> Self {
        let mut free =
            Self { nodes: of_type.nodes.iter().map(|&node| (node, of_type.gpus_per_node)).collect() };
        free.take(&of_type.broken, 1);
        free
    }

    fn gpus(&self) -> u32 {
        self.nodes.values().sum()
    }

    /// Takes what lies on nodes of this type.
    fn take(&mut self, places: &[(NodeId, u32)], gpus_per_task: u32) {
        for (node, tasks) in places {
            if let Some(free) = self.nodes.get_mut(node) {
                *free = free.saturating_sub(tasks * gpus_per_task);
            }
        }
    }

    /// Whether a job has all its tasks here and can keep them.
    fn holds(&self, candidate: &Candidate<'_>) -> bool {
        let places = &candidate.job.places;
        let fits = |(node, tasks): &(NodeId, u32)| {
            self.nodes.get(node).is_some_and(|&free| free >= tasks * candidate.job.gpus_per_task)
        };
        places.iter().map(|&(_, tasks)| tasks).sum::<u32>() == candidate.tasks && places.iter().all(fits)
    }

    /// Nodes for a job: the fullest that holds it whole, or else the emptiest one after the other.
    fn find(&self, candidate: &Candidate<'_>) -> Option<Vec<(NodeId, u32)>> {
        let room = |(&node, &free): (&NodeId, &u32)| (node, free / candidate.job.gpus_per_task);
        let rooms = self.nodes.iter().map(room);
        let whole =
            rooms.clone().filter(|&(_, tasks)| tasks >= candidate.tasks).min_by_key(|&(_, tasks)| tasks);
        if let Some((node, _)) = whole {
            return Some(vec![(node, candidate.tasks)]);
        }
        let mut rooms: Vec<(NodeId, u32)> = rooms.filter(|&(_, tasks)| tasks > 0).collect();
        rooms.sort_by_key(|&(_, tasks)| Reverse(tasks));
        let mut left = candidate.tasks;
        let mut places = Vec::new();
        for (node, tasks) in rooms {
            let taken = tasks.min(left);
            places.push((node, taken));
            left -= taken;
            if left == 0 {
                places.sort_unstable();
                return Some(places);
            }
        }
        None
    }
}

/// A job that is due.
type Due<'a, 'b> = (Placement, &'a Candidate<'b>);

/// A job that is due, and where it goes.
type Seat<'a, 'b> = (Placement, &'a Candidate<'b>, Vec<(NodeId, u32)>);

/// Nodes for the jobs that are due on a type. Those that run there stay where they are, unless others that are due would then
/// find no place: GPUs enough may be left, on too many nodes. Then all are seated anew, large tasks and large jobs first.
fn seat<'a, 'b>(mut due: Vec<Due<'a, 'b>>, free: &Free) -> Vec<Seat<'a, 'b>> {
    due.sort_by_key(|(_, candidate)| {
        (Reverse((candidate.job.gpus_per_task, candidate.gpus)), candidate.index)
    });
    let with = |stays_first: bool| {
        let mut free = free.clone();
        let mut seats: Vec<Seat<'a, 'b>> = Vec::with_capacity(due.len());
        let (staying, others): (Vec<Due<'a, 'b>>, Vec<Due<'a, 'b>>) =
            due.iter().partition(|(_, candidate)| stays_first && free.holds(candidate));
        for (placement, candidate) in staying.into_iter().chain(others) {
            let nodes =
                if free.holds(candidate) { Some(candidate.job.places.clone()) } else { free.find(candidate) };
            if let Some(nodes) = nodes {
                free.take(&nodes, candidate.job.gpus_per_task);
                seats.push((placement, candidate, nodes));
            }
        }
        seats
    };
    let seats = with(true);
    if seats.len() == due.len() {
        return seats;
    }
    let anew = with(false);
    if anew.len() > seats.len() { anew } else { seats }
}
