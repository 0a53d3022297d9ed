//! GPU fragmentation as FGD (USENIX ATC'23) measures it: the idle GPU that a task drawn at random from the typical
//! workload cannot use, in expectation.
//!
//! For one typical task and one node, with `T` the idle GPU of the node summed over its devices:
//!
//! - a CPU-only task can use no GPU: all of `T` counts;
//! - a task that does not accept the node's GPU model, or that the node has not enough CPU or devices for: all of `T`;
//! - otherwise what lies on devices with less left than the task asks of each.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use crate::gpu::GpuModelSet;
use crate::id::{GpuModelId, NodeId};
use crate::state::ClusterState;

/// A shape of tasks as the workload contains it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct TaskShape {
    /// Thousandths of a CPU core.
    pub cpu_milli: u64,
    /// Thousandths of each GPU.
    pub gpu_milli: u32,
    /// Number of GPUs.
    pub gpus: u32,
    /// The allowed GPU models as the trace writes them; shapes that differ only here are different shapes.
    pub gpu_models_text: String,
    /// The same as a set.
    pub gpu_models: GpuModelSet,
}

/// The most frequent task shapes of a workload with their probabilities.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct TypicalTasks {
    tasks: Vec<TypicalTask>,
    /// The distinct GPU shares that typical tasks ask of a device, ascending.
    shares_milli: Vec<u32>,
}

#[derive(Clone, PartialEq, Debug)]
struct TypicalTask {
    probability: f64,
    cpu_milli: u64,
    gpus: u32,
    /// Index into `shares_milli`; meaningless for a CPU-only task.
    share: u32,
    gpu_models: GpuModelSet,
}

/// The idle GPU of one node that the workload cannot use.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Fragmentation {
    /// In expectation over the typical tasks, in thousandths of a GPU.
    pub expected_milli: f64,
    /// By any typical task that asks for GPUs (the least over them), in thousandths of a GPU.
    pub stranded_milli: u64,
}

/// FGD's sums. Each is accumulated apart in the order of typical tasks, and then they are added in this order: scores
/// are truncated to integers, so the last bit of these sums can decide between two nodes.
#[repr(u8)]
#[derive(Clone, Copy)]
enum Category {
    LacksBoth,
    LacksGpu,
    LacksCpu,
    CpuOnlyFits,
    CpuOnlyLacks,
    WrongModel,
}

const CATEGORIES: usize = 6;

/// The most shapes that are typical. The traces have up to some hundreds; in one where every task is different no shape
/// is typical, and the most frequent of them stand for the rest.
const SHAPES_MAX: usize = 1024;

/// Distinct shares up to which counters are kept on the stack: more than any trace seen so far has.
const SHARES_ON_STACK: usize = 32;

impl TypicalTasks {
    /// The typical tasks of a workload given task by task, or in groups of equal tasks: see [`Self::new`].
    pub fn of_tasks(tasks: impl IntoIterator<Item = (TaskShape, u64)>, share: f64) -> Self {
        let mut counts = BTreeMap::new();
        for (shape, count) in tasks {
            *counts.entry(shape).or_insert(0) += count;
        }
        Self::new(counts.into_iter().collect(), share)
    }

    /// The typical tasks of a workload given as distinct shapes with their numbers of tasks: from the most frequent shape
    /// down, until `share` (0..1; FGD takes 0.95) of all tasks is covered.
    pub fn new(mut counts: Vec<(TaskShape, u64)>, share: f64) -> Self {
        let order = |(shape, count): &(TaskShape, u64)| {
            // Everything descends, the text too.
            (*count, shape.cpu_milli, shape.gpu_milli, shape.gpus, shape.gpu_models_text.clone())
        };
        counts.sort_by_cached_key(|entry| core::cmp::Reverse(order(entry)));
        let total: u64 = counts.iter().map(|&(_, count)| count).sum();
        // In percent, as the published simulator computes it: the rounding decides whether one more shape is taken.
        let target = share * 100.0 * total as f64 / 100.0;
        let mut covered = 0;
        let taken = counts
            .iter()
            .take(SHAPES_MAX)
            .take_while(|&&(_, count)| {
                let more = (covered as f64) < target;
                covered += if more { count } else { 0 };
                more
            })
            .count();
        let scale = if taken == counts.len() { 1.0 } else { covered as f64 / total as f64 };
        counts.truncate(taken);

        let gpu_counts = || counts.iter().filter(|(shape, _)| shape.gpus > 0);
        let mut shares_milli: Vec<u32> = gpu_counts().map(|(shape, _)| shape.gpu_milli).collect();
        shares_milli.sort_unstable();
        shares_milli.dedup();
        let tasks = counts
            .iter()
            .map(|(shape, count)| TypicalTask {
                probability: *count as f64 / total as f64 / scale,
                cpu_milli: shape.cpu_milli,
                gpus: shape.gpus,
                share: shares_milli.binary_search(&shape.gpu_milli).unwrap_or(0) as u32,
                gpu_models: shape.gpu_models,
            })
            .collect();
        Self { tasks, shares_milli }
    }

    /// Number of typical shapes.
    pub const fn len(&self) -> usize {
        self.tasks.len()
    }

    /// Whether there is no typical task: then nothing is fragmented.
    pub const fn is_empty(&self) -> bool {
        self.tasks.is_empty()
    }

    /// The fragmentation of a node as it is.
    pub fn of_node(&self, state: &ClusterState, node: NodeId) -> Fragmentation {
        let entry = state.node(node);
        let Some(model) = entry.spec.gpu_model else { return Fragmentation::default() };
        self.evaluate(entry.cpu_free_milli(), state.gpu_free_milli(node), model)
    }

    /// The fragmentation of a node with this much left.
    pub fn evaluate(&self, cpu_free_milli: u64, gpu_free_milli: &[u32], model: GpuModelId) -> Fragmentation {
        let idle_milli: u32 = gpu_free_milli.iter().sum();
        if idle_milli == 0 {
            return Fragmentation::default();
        }
        let shares = self.shares_milli.len();
        if shares <= SHARES_ON_STACK {
            let (mut devices, mut too_little) = ([0; SHARES_ON_STACK], [0; SHARES_ON_STACK]);
            self.sum(cpu_free_milli, gpu_free_milli, model, &mut devices[..shares], &mut too_little[..shares])
        } else {
            self.sum(cpu_free_milli, gpu_free_milli, model, &mut vec![0; shares], &mut vec![0; shares])
        }
    }

    /// `devices` and `too_little_milli` arrive zeroed, with one entry per distinct share.
    fn sum(
        &self,
        cpu_free_milli: u64,
        gpu_free_milli: &[u32],
        model: GpuModelId,
        devices: &mut [u32],
        too_little_milli: &mut [u32],
    ) -> Fragmentation {
        // Per distinct share: how many devices have that much left, and what lies on the others.
        for &free in gpu_free_milli {
            let counters = devices.iter_mut().zip(&mut *too_little_milli);
            for ((devices, too_little_milli), &share) in counters.zip(&self.shares_milli) {
                let enough = free >= share;
                *devices += u32::from(enough);
                *too_little_milli += if enough { 0 } else { free };
            }
        }

        let idle_milli: u32 = gpu_free_milli.iter().sum();
        let mut sums = [0.0; CATEGORIES];
        let mut stranded_milli = idle_milli;
        for task in &self.tasks {
            let cpu_fits = cpu_free_milli >= task.cpu_milli;
            let (category, milli) = if task.gpus == 0 {
                (if cpu_fits { Category::CpuOnlyFits } else { Category::CpuOnlyLacks }, idle_milli)
            } else if !task.gpu_models.allows(model) {
                (Category::WrongModel, idle_milli)
            } else {
                let share = task.share as usize;
                match (cpu_fits, devices[share] >= task.gpus) {
                    (true, true) => {
                        stranded_milli = stranded_milli.min(too_little_milli[share]);
                        (Category::LacksGpu, too_little_milli[share])
                    }
                    (true, false) => (Category::LacksGpu, idle_milli),
                    (false, true) => (Category::LacksCpu, idle_milli),
                    (false, false) => (Category::LacksBoth, idle_milli),
                }
            };
            sums[category as usize] += task.probability * f64::from(milli);
        }
        let stranded_milli = if self.tasks.is_empty() { 0 } else { u64::from(stranded_milli) };
        Fragmentation { expected_milli: sums.iter().sum(), stranded_milli }
    }
}
