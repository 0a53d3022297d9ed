//! Rounds of jobs that run by steps.

use std::collections::BTreeMap;

use foretell_gavel::{JobId, JobView, Mechanism, PairThroughputs, Placement, Policy, Solver, Unit, View};

use super::random::PythonRandom;
use super::throughputs::{GPU_TYPES, Throughputs};
use super::workload::{Job, runs_on};

/// How a run is done.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Setting {
    /// GPUs per type.
    pub(super) workers: [u32; GPU_TYPES.len()],
    /// Length of a round.
    pub(super) round_s: f64,
    /// Least time between two allocations.
    pub(super) reset_interval_s: f64,
    /// Seed of the experiment.
    pub(super) seed: u64,
    /// The run ends when all jobs in this range have ended.
    pub(super) awaited: std::ops::Range<usize>,
}

/// What came of it.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Outcome {
    /// When the run ended.
    pub(super) makespan_s: f64,
    /// Seconds from arrival to end of the awaited jobs that ended.
    pub(super) completion_s: Vec<f64>,
    /// Awaited jobs that could not end: nothing ran any more.
    pub(super) stuck: usize,
    /// Number of rounds.
    pub(super) rounds: u64,
}

impl Outcome {
    /// Mean time from arrival to end.
    pub(super) fn mean_completion_s(&self) -> f64 {
        self.completion_s.iter().sum::<f64>() / self.completion_s.len() as f64
    }
}

/// Gavel's stream for the order of types.
const SHUFFLE_STREAM: u64 = 5;

/// A job that has arrived and not ended.
struct Active {
    kind: usize,
    steps_left: f64,
    arrival_s: f64,
}

/// Runs `jobs`, which are in order of arrival.
pub(super) fn simulate(
    jobs: &[Job],
    throughputs: &Throughputs,
    policy: &mut dyn Policy,
    solver: &mut dyn Solver,
    setting: &Setting,
) -> Outcome {
    let mut run = Run {
        throughputs,
        setting,
        now_s: jobs.first().map_or(0.0, |job| job.arrival_s),
        active: BTreeMap::new(),
        mechanism: Mechanism::new(GPU_TYPES.len(), setting.round_s, setting.reset_interval_s),
        awaited_left: setting.awaited.len(),
        completion_s: Vec::with_capacity(setting.awaited.len()),
    };
    let mut draws = PythonRandom::new(setting.seed);
    let mut shuffler = PythonRandom::new(setting.seed + SHUFFLE_STREAM);
    let mut coming = jobs.iter().enumerate().peekable();
    let mut rounds = 0;
    loop {
        while let Some((index, job)) = coming.next_if(|(_, job)| job.arrival_s <= run.now_s) {
            run.arrive(index, job);
        }
        if run.active.is_empty() {
            let Some((_, job)) = coming.peek() else { break };
            run.now_s = job.arrival_s;
            continue;
        }
        if run.mechanism.wants_allocation(run.now_s) {
            run.reallocate(policy, solver, &mut draws);
        }
        let mut types: Vec<usize> = (0..GPU_TYPES.len()).collect();
        if policy.shuffles_types() {
            shuffler.shuffle(&mut types);
        }
        let placements = run.mechanism.next_round(&types, &setting.workers, policy.keeps_idle());
        rounds += 1;
        if placements.is_empty() {
            // Nothing can start before the next allocation or arrival.
            let next = coming.peek().map(|(_, job)| job.arrival_s);
            let waits = run.mechanism.will_want_allocation();
            run.now_s = match next {
                _ if waits => run.now_s + setting.round_s,
                Some(arrival_s) => arrival_s,
                None => break,
            };
            continue;
        }
        run.round(&placements);
        if run.awaited_left == 0 {
            break;
        }
    }
    Outcome { makespan_s: run.now_s, stuck: run.awaited_left, completion_s: run.completion_s, rounds }
}

struct Run<'a> {
    throughputs: &'a Throughputs,
    setting: &'a Setting,
    now_s: f64,
    active: BTreeMap<JobId, Active>,
    mechanism: Mechanism,
    awaited_left: usize,
    completion_s: Vec<f64>,
}

impl Run<'_> {
    fn arrive(&mut self, index: usize, job: &Job) {
        let id = JobId(index as u32);
        let scale_factor = self.throughputs.scale_factor(job.kind);
        self.mechanism.add(id, scale_factor, runs_on(self.throughputs, job.kind).to_vec());
        let active = Active { kind: job.kind, steps_left: job.steps, arrival_s: job.arrival_s };
        self.active.insert(id, active);
    }

    fn reallocate(&mut self, policy: &mut dyn Policy, solver: &mut dyn Solver, draws: &mut PythonRandom) {
        let jobs: Vec<JobView> = self
            .active
            .iter()
            .map(|(&id, job)| JobView {
                id,
                class: job.kind,
                scale_factor: self.throughputs.scale_factor(job.kind),
                weight: 1.0,
                throughputs: self.throughputs.alone(job.kind).to_vec(),
                steps_remaining: job.steps_left,
                elapsed_s: self.now_s - job.arrival_s,
            })
            .collect();
        let view = View { jobs: &jobs, workers: &self.setting.workers, pairs: self.throughputs };
        let allocation = policy.allocate(&view, solver, &mut |n| draws.below(n));
        let (active, throughputs) = (&self.active, self.throughputs);
        self.mechanism.reset(self.now_s, allocation, |unit| {
            let kinds: Vec<usize> = unit.jobs().map(|id| active[&id].kind).collect();
            let runs = |gpu_type| {
                let (one, other) = throughputs.together(kinds[0], kinds[kinds.len() - 1], gpu_type);
                one > 0.0 && other > 0.0
            };
            (0..GPU_TYPES.len()).map(runs).collect()
        });
    }

    /// Steps per second of each job of a placed unit.
    fn speeds(&self, placement: Placement) -> Vec<(JobId, f64)> {
        let Unit { first, second } = placement.unit;
        let kind = self.active[&first].kind;
        let Some(second) = second else {
            return vec![(first, self.throughputs.alone(kind)[placement.gpu_type])];
        };
        let (one, other) = self.throughputs.together(kind, self.active[&second].kind, placement.gpu_type);
        vec![(first, one), (second, other)]
    }

    /// Runs one round: whole steps, as many as fit. It ends with the last unit, and a job ends with its unit.
    fn round(&mut self, placements: &[Placement]) {
        let mut end_s = self.now_s;
        let mut ended = Vec::new();
        for &placement in placements {
            let mut longest_s: f64 = 0.0;
            let speeds = self.speeds(placement);
            for &(id, speed) in &speeds {
                let Some(job) = self.active.get_mut(&id) else { continue };
                let steps = (speed * self.setting.round_s).floor().min(job.steps_left);
                job.steps_left -= steps;
                longest_s = longest_s.max(steps / speed);
            }
            let unit_end_s = self.now_s + longest_s;
            ended.extend(
                speeds
                    .iter()
                    .filter(|(id, _)| self.active[id].steps_left <= 0.0)
                    .map(|&(id, _)| (id, unit_end_s)),
            );
            end_s = end_s.max(unit_end_s);
            self.mechanism.ran(placement, longest_s);
        }
        self.now_s = end_s;
        for (id, job_end_s) in ended {
            self.mechanism.remove(id);
            let Some(job) = self.active.remove(&id) else { continue };
            if self.setting.awaited.contains(&(id.0 as usize)) {
                self.awaited_left -= 1;
                self.completion_s.push(job_end_s - job.arrival_s);
            }
        }
    }
}
