use foretell_framework::{ClassId, Job, JobId, PlaceFailure, PlaceJob, Plugins, Reason, Transaction};
use rand::Rng;

/// Takes the tasks of a job in order of rank and puts each on the node that the scores prefer for it alone, until one
/// fits nowhere.
pub struct TaskByTask;

impl PlaceJob for TaskByTask {
    fn name(&self) -> &'static str {
        "TaskByTask"
    }

    fn place(
        &mut self,
        transaction: &mut Transaction<'_>,
        plugins: &mut Plugins,
        random: &mut dyn Rng,
        job: JobId,
    ) -> bool {
        place_tasks(transaction, plugins, random, job).is_ok()
    }

    fn explain(
        &mut self,
        transaction: &mut Transaction<'_>,
        plugins: &mut Plugins,
        random: &mut dyn Rng,
        job: JobId,
    ) -> Reason {
        match place_tasks(transaction, plugins, random, job) {
            Ok(()) => Reason::NotTried,
            Err((_, PlaceFailure::Illegal(error))) => Reason::Illegal(error),
            Err((class, PlaceFailure::NoNode)) => {
                let state = transaction.state();
                Reason::NoNode {
                    placed: state.job(job).map_or(0, Job::placed),
                    min_member: state.job(job).map_or(0, |job| job.spec.min_member),
                    rejections: plugins.rejections(state, class),
                }
            }
        }
    }
}

/// `Err` with the class of the first task that found no place.
fn place_tasks(
    transaction: &mut Transaction<'_>,
    plugins: &mut Plugins,
    random: &mut dyn Rng,
    job: JobId,
) -> Result<(), (ClassId, PlaceFailure)> {
    let tasks = transaction.state().job(job).map_or(0, |job| job.tasks().len());
    for index in 0..tasks {
        let Some(entry) = transaction.state().job(job) else { break };
        let id = entry.tasks()[index];
        let Some(task) = transaction.state().task(id).filter(|task| task.placement().is_none()) else {
            continue;
        };
        let class = task.class;
        plugins.place(transaction, id, random).map_err(|cause| (class, cause))?;
    }
    Ok(())
}
