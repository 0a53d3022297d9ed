//! Sia and Pollux over the applications' tables.

use std::collections::BTreeMap;

use foretell_goodput::{Exact, NodeType, Placement, Pollux, Sia, node_types};

use super::simulate::{Active, Scheduler};
use super::world::{VIRTUAL_GPUS, World};

const INTERVAL_S: f64 = 60.0;

/// Allocations that Pollux keeps from generation to generation.
const POPULATION: usize = 100;

/// Sia.
#[derive(Default)]
pub(super) struct SiaScheduler {
    policy: Sia,
    solver: Exact,
}

impl Scheduler for SiaScheduler {
    fn interval_s(&self) -> f64 {
        INTERVAL_S
    }

    fn allocate(&mut self, world: &World<'_>, jobs: &[Active<'_>]) -> Vec<Placement> {
        let views: Vec<_> =
            jobs.iter().map(|job| job.view(&job.speeds.elastic[job.epoch], &job.placement)).collect();
        self.policy.allocate(&world.cluster, &views, &mut self.solver)
    }
}

/// Pollux. It is shown nodes of four GPUs, all alike; of a job that it gives GPUs of several types those of one type stay.
pub(super) struct PolluxScheduler {
    policy: Pollux,
    /// State of the random numbers.
    random: u64,
    /// Per job: where it is on the nodes that Pollux is shown.
    shown: BTreeMap<usize, Placement>,
    /// Per job: the type that it last ran on.
    last_type: BTreeMap<usize, usize>,
}

impl PolluxScheduler {
    pub(super) fn new(generations: usize, seed: u64) -> Self {
        Self {
            policy: Pollux::new(POPULATION, generations),
            random: seed,
            shown: BTreeMap::new(),
            last_type: BTreeMap::new(),
        }
    }
}

/// The node of each node that Pollux is shown.
fn real_nodes(cluster: &[NodeType]) -> Vec<usize> {
    let sizes = cluster.iter().flat_map(|kind| (0..kind.nodes).map(|_| kind.gpus_per_node));
    sizes
        .enumerate()
        .flat_map(|(node, gpus)| std::iter::repeat_n(node, (gpus / VIRTUAL_GPUS) as usize))
        .collect()
}

/// Keeps the type with most GPUs; of equals the later, which is the faster.
fn keep_one_type(placement: &mut Placement, type_of: impl Fn(usize) -> usize) -> Option<usize> {
    let mut by_type: BTreeMap<usize, u32> = BTreeMap::new();
    for &(node, gpus) in placement.iter() {
        *by_type.entry(type_of(node)).or_default() += gpus;
    }
    let kept = by_type.into_iter().max_by_key(|&(gpu_type, gpus)| (gpus, gpu_type))?.0;
    placement.retain(|&(node, _)| type_of(node) == kept);
    Some(kept)
}

impl Scheduler for PolluxScheduler {
    fn interval_s(&self) -> f64 {
        INTERVAL_S
    }

    fn allocate(&mut self, world: &World<'_>, jobs: &[Active<'_>]) -> Vec<Placement> {
        let types = node_types(&world.cluster);
        let real = real_nodes(&world.cluster);
        let nodes = world.virtual_nodes();
        let nothing = Placement::new();
        let views: Vec<_> = jobs
            .iter()
            .map(|job| {
                let believed = self.last_type.get(&job.id).copied().unwrap_or(0);
                let shown = self.shown.get(&job.id).unwrap_or(&nothing);
                job.view(&job.speeds.blind(believed)[job.epoch], shown)
            })
            .collect();
        let random = &mut self.random;
        let placed = self.policy.allocate(&nodes, &views, &mut |below| draw(random, below));
        let mut shown = BTreeMap::new();
        let mut placements = Vec::with_capacity(jobs.len());
        for (job, mut placement) in jobs.iter().zip(placed) {
            if let Some(kept) = keep_one_type(&mut placement, |node| types[real[node]]) {
                self.last_type.insert(job.id, kept);
            }
            let mut merged: BTreeMap<usize, u32> = BTreeMap::new();
            for &(node, gpus) in &placement {
                *merged.entry(real[node]).or_default() += gpus;
            }
            placements.push(merged.into_iter().collect());
            shown.insert(job.id, placement);
        }
        self.shown = shown;
        placements
    }
}

/// A random number below `below`: `SplitMix64`, and the high part of a product.
fn draw(state: &mut u64, below: usize) -> usize {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^= mixed >> 31;
    ((u128::from(mixed) * below as u128) >> 64) as usize
}
