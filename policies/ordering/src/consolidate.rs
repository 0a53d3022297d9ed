use alloc::vec::Vec;

use foretell_framework::{JobId, NodeId, PlaceJob, Plugins, Reason, TaskId, Transaction};
use rand::Rng;

use crate::task_by_task::TaskByTask;

/// Places jobs as the simulator of Helios (SC'21) consolidates them: tasks that ask for all GPUs of a node go on the first
/// nodes of which nothing is in use; the rest of such a job goes on the node with the most free GPUs; a job of one task
/// goes on the node with the fewest free GPUs that still fits. Equal nodes in their order.
pub struct Consolidate;

impl PlaceJob for Consolidate {
    fn name(&self) -> &'static str {
        "Consolidate"
    }

    fn place(
        &mut self,
        transaction: &mut Transaction<'_>,
        plugins: &mut Plugins,
        random: &mut dyn Rng,
        job: JobId,
    ) -> bool {
        let tasks = transaction.state().job(job).map_or_else(Vec::new, |job| job.tasks().to_vec());
        tasks.iter().all(|&task| place(transaction, plugins, random, task, tasks.len() > 1))
    }

    fn explain(
        &mut self,
        transaction: &mut Transaction<'_>,
        plugins: &mut Plugins,
        random: &mut dyn Rng,
        job: JobId,
    ) -> Reason {
        TaskByTask.explain(transaction, plugins, random, job)
    }
}

fn place(
    transaction: &mut Transaction<'_>,
    plugins: &mut Plugins,
    random: &mut dyn Rng,
    task: TaskId,
    is_one_of_many: bool,
) -> bool {
    let state = transaction.state();
    let Some(class) = state.task(task).filter(|task| task.placement().is_none()).map(|task| task.class)
    else {
        return true;
    };
    let ranking = plugins.ranking(state, class);
    let key = |&node: &NodeId| {
        let free = state.node(node).gpu_free_milli();
        if is_one_of_many { (u64::MAX - free, node) } else { (free, node) }
    };
    let Some(node) = ranking.feasible_from(0).min_by_key(key) else { return false };
    let gpus = plugins.pick_gpus(state, class, node, random);
    transaction.place(task, node, gpus).is_ok()
}
