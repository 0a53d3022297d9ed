//! Clusters, and how fast each application advances there in each epoch.

use std::collections::BTreeMap;

use foretell_goodput::{
    BatchLimits, GoodputTable, NodeType, Shape, StepTimes, best_batch, fixed_batch, timed_batches,
};
use rayon::prelude::*;

use super::application::{Application, Profile};
use super::simulate::Job;

/// Nodes of a kind that the applications were profiled on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct NodeKind {
    /// The data's name of it.
    pub(super) name: &'static str,
    /// How many, and their GPUs.
    pub(super) nodes: NodeType,
}

const fn kind(name: &'static str, nodes: u32, gpus_per_node: u32) -> NodeKind {
    NodeKind { name, nodes: NodeType { nodes, gpus_per_node } }
}

/// The homogeneous cluster of 64 GPUs: T4s (from memory, as is the other).
pub(super) const HOMOGENEOUS: [NodeKind; 1] = [kind("aws", 16, 4)];

/// The heterogeneous cluster of 64 GPUs, by rising speed: T4s, RTX 2080 Ti and A100s.
pub(super) const HETEROGENEOUS: [NodeKind; 3] = [kind("aws", 6, 4), kind("rtx", 3, 8), kind("dgx-ext", 2, 8)];

/// GPUs of the nodes that Pollux is shown in place of larger ones.
pub(super) const VIRTUAL_GPUS: u32 = 4;

/// A cluster, and the applications on it.
pub(super) struct World<'a> {
    /// Its nodes.
    pub(super) cluster: Vec<NodeType>,
    /// By name.
    pub(super) applications: BTreeMap<&'a str, Speeds<'a>>,
}

/// How an application runs on a cluster. Speeds are in steps of the initial batch per second.
pub(super) struct Speeds<'a> {
    application: &'a Application,
    /// Per type of node.
    profiles: Vec<(&'a Profile, BatchLimits)>,
    /// Most GPUs that it can use.
    pub(super) gpus_most: u32,
    /// Per epoch: with the best batch.
    pub(super) elastic: Vec<GoodputTable>,
    /// Per type, per epoch: with the best batch, on any number of nodes of four GPUs, as if all of the cluster were of the type.
    pub(super) blind: Vec<Vec<GoodputTable>>,
}

impl<'a> World<'a> {
    /// The cluster with those applications that were profiled on all of its nodes.
    pub(super) fn new(kinds: &[NodeKind], applications: &'a BTreeMap<String, Application>) -> Self {
        let cluster: Vec<NodeType> = kinds.iter().map(|kind| kind.nodes).collect();
        let speeds = |(name, application): (&'a String, &'a Application)| {
            let profile = |kind: &NodeKind| {
                let profile = application.profiles.get(kind.name)?;
                Some((profile, application.limits(profile)))
            };
            let profiles: Vec<_> = kinds.iter().map(profile).collect::<Option<_>>()?;
            Some((name.as_str(), Speeds::new(application, profiles, &cluster)))
        };
        let found: Vec<_> =
            applications.iter().collect::<Vec<_>>().into_par_iter().filter_map(speeds).collect();
        Self { cluster, applications: found.into_iter().collect() }
    }

    /// Whether the job's application was profiled on all nodes.
    pub(super) fn knows(&self, job: &Job) -> bool {
        self.applications.contains_key(job.application.as_str())
    }

    /// GPUs per node that Pollux is shown: nodes of more than four are halved.
    pub(super) fn virtual_nodes(&self) -> Vec<u32> {
        let total: u32 = self.cluster.iter().map(NodeType::gpus).sum();
        vec![VIRTUAL_GPUS; (total / VIRTUAL_GPUS) as usize]
    }
}

/// Number of nodes and of GPUs in each way to have GPUs of alike nodes.
fn ways(nodes: u32, gpus_per_node: u32) -> impl Iterator<Item = (u32, u32)> {
    (1..=nodes).flat_map(move |used| (used..=used * gpus_per_node).map(move |gpus| (used, gpus)))
}

impl<'a> Speeds<'a> {
    fn new(
        application: &'a Application,
        profiles: Vec<(&'a Profile, BatchLimits)>,
        cluster: &[NodeType],
    ) -> Self {
        let all = profiles.iter().zip(cluster).enumerate();
        let elastic = all.clone().flat_map(|(gpu_type, (&(profile, ref limits), nodes))| {
            ways(nodes.nodes, nodes.gpus_per_node).map(move |(nodes, gpus)| {
                (Shape { gpu_type, gpus, nodes }, *limits, timed_batches(&profile.times, limits, nodes, gpus))
            })
        });
        let elastic = by_epoch(application, &elastic.collect::<Vec<_>>());
        let total: u32 = cluster.iter().map(NodeType::gpus).sum();
        let blind =
            |(_, (&(profile, ref limits), nodes)): (usize, (&(&'a Profile, BatchLimits), &NodeType))| {
                let halves = nodes.gpus_per_node.div_ceil(VIRTUAL_GPUS);
                let timed = |(used, gpus): (u32, u32)| {
                    let shape = Shape { gpu_type: 0, gpus, nodes: used };
                    (shape, *limits, timed_batches(&profile.times, limits, used.div_ceil(halves), gpus))
                };
                by_epoch(
                    application,
                    &ways(total / VIRTUAL_GPUS, VIRTUAL_GPUS).map(timed).collect::<Vec<_>>(),
                )
            };
        let blind = if cluster.len() > 1 { all.map(blind).collect() } else { Vec::new() };
        let useful = profiles.iter().map(|(_, limits)| limits.largest / limits.local_least).max();
        let gpus_most = useful.unwrap_or(0).min(total);
        Self { application, profiles, gpus_most, elastic, blind }
    }

    /// The tables that Pollux is shown of a job that last ran on this type.
    pub(super) fn blind(&self, gpu_type: usize) -> &[GoodputTable] {
        self.blind.get(gpu_type).unwrap_or(&self.elastic)
    }

    /// Progress at the end of an epoch.
    pub(super) fn progress(&self, epoch: usize) -> f64 {
        self.application.progress(epoch)
    }

    /// Progress that is still to be made from the beginning of an epoch.
    pub(super) fn remaining(&self, epoch: usize) -> f64 {
        let before = epoch.checked_sub(1).map_or(0.0, |before| self.progress(before));
        self.progress(self.application.epochs() - 1) - before
    }

    /// Speed with a given batch on GPUs of a type, on as few nodes as hold them; zero where that cannot be.
    pub(super) fn rigid(&self, gpu_type: usize, nodes: NodeType, gpus: u32, batch: u32, epoch: usize) -> f64 {
        let (profile, limits) = &self.profiles[gpu_type];
        let Some(batch) = fixed_batch(batch, gpus, limits).filter(|_| gpus <= nodes.gpus()) else {
            return 0.0;
        };
        let used = gpus.div_ceil(nodes.gpus_per_node);
        let Some(time) = profile.times.step_time(used, gpus, f64::from(batch.local)) else { return 0.0 };
        let gain = self.application.noise(batch.total, epoch);
        gain.gain(f64::from(batch.total) / f64::from(limits.initial))
            / time.with_accumulation(batch.accumulation_steps)
    }
}

/// A shape with the batches that come into question there.
type Timed = (Shape, BatchLimits, Vec<(foretell_goodput::Batch, f64)>);

fn by_epoch(application: &Application, shapes: &[Timed]) -> Vec<GoodputTable> {
    let table = |epoch: usize| {
        let mut table = GoodputTable::default();
        for (shape, limits, timed) in shapes {
            let noise = |batch| application.noise(batch, epoch);
            if let Some((_, goodput)) = best_batch(timed, limits, noise) {
                table.insert(*shape, goodput / f64::from(limits.initial));
            }
        }
        table
    };
    (0..application.epochs()).into_par_iter().map(table).collect()
}
