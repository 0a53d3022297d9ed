//! What a policy sees of jobs when it divides GPUs among them.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::cmp::Reverse;

use foretell_framework::{FULL_SPEED, GpuModelId, GpuModelSet, NodeId, Scaling, Time};

/// A job that waits or runs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ElasticJob {
    /// Its number in order of submission.
    pub sequence: u64,
    /// Larger goes first.
    pub priority: i32,
    /// When it should be done.
    pub deadline: Option<Time>,
    /// The fewest tasks that it runs on; those that it must not lose, if it must not lose any.
    pub min_tasks: u32,
    /// The most.
    pub max_tasks: u32,
    /// Thousandths of GPUs of each task.
    pub gpu_milli: u64,
    /// Tasks that it has.
    pub tasks: u32,
    /// Whether it must keep the tasks that it has.
    pub is_protected: bool,
    /// What is left of its work, in millionths of its speed times nanoseconds, as far as is known; `None` if it is not known
    /// how long it takes.
    pub left: Option<u128>,
    /// How fast it is on one task, on two and so on up to the most, in millionths of its speed on what it asks for.
    pub speeds: Vec<u64>,
    /// How it scales, if it says so.
    pub scaling: Option<Arc<Scaling>>,
    /// How much of it is done, in millionths.
    pub done: u64,
    /// When it was submitted.
    pub submitted: Time,
    /// GPUs of each task; none where tasks hold shares of GPUs, or are not alike.
    pub gpus_per_task: u32,
    /// Tasks that it has on each node, in order of nodes.
    pub places: Vec<(NodeId, u32)>,
    /// The most tasks that it ever had.
    pub most_tasks: u32,
    /// How often it was started again, grew, shrank or moved.
    pub changes: u32,
    /// The GPU models that its tasks accept.
    pub models: GpuModelSet,
}

/// Nodes with as many GPUs of one model.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NodesOfType {
    /// The model.
    pub model: GpuModelId,
    /// GPUs of each node.
    pub gpus_per_node: u32,
    /// The nodes, in order.
    pub nodes: Vec<NodeId>,
    /// Of those nodes, in order, the ones with GPUs that do not work, and how many.
    pub broken: Vec<(NodeId, u32)>,
}

impl ElasticJob {
    /// How fast it is on so many tasks.
    pub fn speed(&self, tasks: u32) -> u64 {
        let position = (tasks as usize).min(self.speeds.len());
        position.checked_sub(1).map_or(0, |position| self.speeds[position])
    }

    /// How fast it is on so many tasks on one GPU model; zero where it does not accept the model.
    pub fn speed_in(&self, model: GpuModelId, tasks: u32, is_one_node: bool) -> u64 {
        if !self.models.allows(model) {
            return 0;
        }
        match &self.scaling {
            Some(scaling) => scaling.speed(self.done, tasks, model, is_one_node),
            None => in_proportion(tasks, self.max_tasks),
        }
    }

    /// Whether it has tasks, and must keep them.
    pub const fn keeps(&self) -> bool {
        self.is_protected && self.tasks > 0
    }

    /// Thousandths of GPUs of so many tasks.
    pub const fn gpus(&self, tasks: u32) -> u64 {
        self.gpu_milli * tasks as u64
    }
}

/// How fast a job is on so many of its tasks that does not say how it scales.
pub(crate) fn in_proportion(tasks: u32, max_tasks: u32) -> u64 {
    FULL_SPEED * u64::from(tasks) / u64::from(max_tasks.max(1))
}

/// Says how many tasks each job gets.
pub trait Divide {
    /// Its name.
    fn name(&self) -> &'static str;

    /// The number of tasks of each job, in the order of `jobs`, which is that of submission. A job gets none, or from its
    /// fewest to its most, and all together no more than `gpu_milli` thousandths of GPUs.
    /// Those that choose nodes ([`Self::arrange`]) give nobody anything here.
    fn divide(&mut self, jobs: &[ElasticJob], _gpu_milli: u64, _now: Time) -> Vec<u32> {
        alloc::vec![0; jobs.len()]
    }

    /// The same for policies that choose nodes: tasks of each job on each node. The model of which there are most comes first
    /// among the types. `draw(n)` is a random number below `n`. `None` leaves the nodes to the placement.
    fn arrange(
        &mut self,
        _jobs: &[ElasticJob],
        _types: &[NodesOfType],
        _now: Time,
        _draw: &mut dyn FnMut(usize) -> usize,
    ) -> Option<Vec<Vec<(NodeId, u32)>>> {
        None
    }

    /// Whether it has turned a job away for good, by its number.
    fn turns_away(&self, _sequence: u64) -> bool {
        false
    }

    /// A job left.
    fn ended(&mut self, _sequence: u64) {}
}

/// Gives jobs that take part their minimum, those that must keep what they have first, then in order of priority and
/// submission; whom the rest does not suffice for gets nothing. Takes what is given off `free_milli`.
pub fn give_minima(
    jobs: &[ElasticJob],
    takes_part: impl Fn(&ElasticJob) -> bool,
    targets: &mut [u32],
    free_milli: &mut u64,
) {
    let mut order: Vec<usize> = (0..jobs.len()).filter(|&index| takes_part(&jobs[index])).collect();
    order.sort_by_key(|&index| {
        let job = &jobs[index];
        (!job.keeps(), Reverse(job.priority), job.sequence)
    });
    for index in order {
        let job = &jobs[index];
        let need = job.gpus(job.min_tasks);
        if need <= *free_milli {
            *free_milli -= need;
            targets[index] = job.min_tasks;
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A job of one GPU a task with so many seconds left at full speed.
    pub(crate) fn job(
        sequence: u64,
        min_tasks: u32,
        max_tasks: u32,
        left_s: u64,
        speeds: Vec<u64>,
    ) -> ElasticJob {
        ElasticJob {
            sequence,
            priority: 0,
            deadline: None,
            min_tasks,
            max_tasks,
            gpu_milli: 1000,
            tasks: 0,
            is_protected: false,
            left: Some(u128::from(left_s) * 1_000_000_000 * u128::from(FULL_SPEED)),
            speeds,
            scaling: None,
            done: 0,
            submitted: Time::ZERO,
            gpus_per_task: 1,
            places: Vec::new(),
            most_tasks: 0,
            changes: 0,
            models: GpuModelSet::ANY,
        }
    }
}
