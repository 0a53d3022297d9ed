//! Gavel over jobs whose GPUs and batch were tuned before: "Gavel+TJ" of the paper.

use std::collections::{BTreeMap, BTreeSet};

use foretell_gavel::{JobId, JobView, MaxSumThroughput, Mechanism, PairThroughputs, Policy, View};
use foretell_goodput::{NodeType, Placement};

use super::simulate::{Active, Scheduler};
use super::world::World;
use foretell_scenarios::Simplex;

const ROUND_S: f64 = 360.0;

/// Gavel's rounds under its policy of the greatest sum of throughputs, which the authors are remembered to have used. Jobs are given a type of GPU; on which nodes is left open, and taken to be as few as
/// hold them.
pub(super) struct GavelScheduler {
    policy: MaxSumThroughput,
    mechanism: Mechanism,
    cluster: Vec<NodeType>,
    /// Where each job was placed for the last round.
    running: BTreeMap<JobId, foretell_gavel::Placement>,
    known: BTreeSet<JobId>,
    round: u32,
    /// A number per application, GPUs and batch.
    classes: BTreeMap<(String, u32, u32), usize>,
}

/// Jobs do not share GPUs.
struct NoPairs;

impl PairThroughputs for NoPairs {
    fn together(&self, _: usize, _: usize, _: usize) -> (f64, f64) {
        (0.0, 0.0)
    }
}

impl GavelScheduler {
    pub(super) fn new(cluster: &[NodeType]) -> Self {
        Self {
            policy: MaxSumThroughput::default(),
            mechanism: Mechanism::new(cluster.len(), ROUND_S, 0.0),
            cluster: cluster.to_vec(),
            running: BTreeMap::new(),
            known: BTreeSet::new(),
            round: 0,
            classes: BTreeMap::new(),
        }
    }

    /// How fast it trains on each type, in steps of its initial batch a second at the start: what noise changes of that later it
    /// changes alike on all.
    fn throughputs(&self, job: &Active<'_>) -> Vec<f64> {
        let speed = |(gpu_type, &nodes): (usize, &NodeType)| {
            job.speeds.rigid(gpu_type, nodes, job.job.gpus, job.job.batch, 0)
        };
        self.cluster.iter().enumerate().map(speed).collect()
    }

    fn view(&mut self, job: &Active<'_>) -> JobView {
        let key = (job.job.application.clone(), job.job.gpus, job.job.batch);
        let next = self.classes.len();
        JobView {
            id: JobId(job.id as u32),
            class: *self.classes.entry(key).or_insert(next),
            scale_factor: job.job.gpus,
            weight: 1.0,
            throughputs: self.throughputs(job),
            steps_remaining: job.speeds.remaining(job.epoch),
            elapsed_s: job.age_s,
        }
    }

    /// Which node stands for a type.
    fn first_node(&self, gpu_type: usize) -> usize {
        self.cluster[..gpu_type].iter().map(|nodes| nodes.nodes as usize).sum()
    }
}

impl Scheduler for GavelScheduler {
    fn interval_s(&self) -> f64 {
        ROUND_S
    }

    fn allocate(&mut self, _world: &World<'_>, jobs: &[Active<'_>]) -> Vec<Placement> {
        let now_s = f64::from(self.round) * ROUND_S;
        self.round += 1;
        for &placement in self.running.values() {
            self.mechanism.ran(placement, ROUND_S);
        }
        let present: BTreeSet<JobId> = jobs.iter().map(|job| JobId(job.id as u32)).collect();
        for &gone in self.known.difference(&present) {
            self.mechanism.remove(gone);
        }
        for job in jobs.iter().filter(|job| !self.known.contains(&JobId(job.id as u32))) {
            let runs_on = self.throughputs(job).iter().map(|&speed| speed > 0.0).collect();
            self.mechanism.add(JobId(job.id as u32), job.job.gpus, runs_on);
        }
        self.known = present;
        let workers: Vec<u32> = self.cluster.iter().map(NodeType::gpus).collect();
        if self.mechanism.wants_allocation(now_s) {
            let views: Vec<JobView> = jobs.iter().map(|job| self.view(job)).collect();
            let view = View { jobs: &views, workers: &workers, pairs: &NoPairs };
            // None of the policies used here draws.
            let allocation = self.policy.allocate(&view, &mut Simplex, &mut |_| 0);
            self.mechanism.reset(now_s, allocation, |_| vec![false; workers.len()]);
        }
        // The fastest type chooses first.
        let types: Vec<usize> = (0..workers.len()).rev().collect();
        let placed = self.mechanism.next_round(&types, &workers, self.policy.keeps_idle());
        self.running = placed.into_iter().map(|placement| (placement.unit.first, placement)).collect();
        let place = |job: &Active<'_>| {
            let found = self.running.get(&JobId(job.id as u32));
            found.map_or_else(Vec::new, |placement| vec![(self.first_node(placement.gpu_type), job.job.gpus)])
        };
        jobs.iter().map(place).collect()
    }

    fn speed(&self, types: &[usize], job: &Active<'_>) -> f64 {
        let Some(&(node, gpus)) = job.placement.first() else { return 0.0 };
        let gpu_type = types[node];
        job.speeds.rigid(gpu_type, self.cluster[gpu_type], gpus, job.job.batch, job.epoch)
    }
}
