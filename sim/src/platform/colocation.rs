//! Jobs that share a GPU slow each other.
//!
//! A job whose pods take parts of GPUs is of a class, and a table says how fast a job of one class is beside one of another. Beside
//! several it is as fast as the product says, and a job with several pods goes at the pace of the slowest. When jobs start, stop
//! or end on a GPU, those beside them are told by one event of the same instant, after all else.

use std::collections::BTreeSet;

use foretell_framework::{FULL_SPEED, JobId, NodeId, TaskId, TaskStatus, WHOLE_GPU_MILLI};
use rand::RngExt;

use super::Submission;
use super::simulation::Simulation;
use crate::engine::{EventQueue, Streams};
use crate::event::{Event, JobEvent};

/// How jobs that share a GPU slow each other, by class.
#[derive(Clone, PartialEq, Default, Debug)]
pub struct Colocation {
    /// How often jobs are of a class, relative to the others.
    pub weights: Vec<f64>,
    /// How fast a job of a class (first) is beside one of another, in millionths of what it is alone; at least 1.
    pub speeds: Vec<Vec<u64>>,
}

impl Colocation {
    /// The class of the job of that number.
    fn class(&self, seed: u64, sequence: u64) -> usize {
        let total: f64 = self.weights.iter().sum();
        if total <= 0.0 {
            return 0;
        }
        let mut left = Streams::new(seed).stream("colocation", sequence).random_range(0.0..total);
        let is_drawn = |&weight: &f64| {
            left -= weight;
            left < 0.0
        };
        self.weights.iter().position(is_drawn).unwrap_or(self.weights.len() - 1)
    }

    /// One beside another; alone where the table does not say.
    fn speed(&self, class: usize, other: usize) -> u64 {
        self.speeds.get(class).and_then(|row| row.get(other)).copied().unwrap_or(FULL_SPEED)
    }
}

/// A job that takes parts of GPUs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Sharing {
    class: usize,
    /// How fast it is beside its neighbours, in millionths.
    pub(super) speed: u64,
}

/// Those that have been told to look at their neighbours again.
#[derive(Default)]
pub(super) struct Neighbours {
    /// Nodes on which jobs that share GPUs started, stopped or ended.
    nodes: BTreeSet<NodeId>,
}

impl<W, E> Simulation<'_, W, E>
where
    W: Iterator<Item = Result<Submission, E>>,
{
    /// How a job shares GPUs, if it asks for parts of them and there is a table.
    pub(super) fn sharing(&self, sequence: u64, submission: &Submission) -> Option<Sharing> {
        let table = self.config.colocation.as_ref()?;
        let is_part = |milli: u32| milli > 0 && milli < WHOLE_GPU_MILLI;
        let shares =
            submission.roles.iter().any(|role| role.spec.gpus.count > 0 && is_part(role.spec.gpus.milli));
        shares.then(|| Sharing { class: table.class(self.config.seed, sequence), speed: FULL_SPEED })
    }

    /// A job begins, goes on otherwise or stops where its pods are: those beside it will be told.
    pub(super) fn neighbours_change(&mut self, id: JobId, queue: &mut EventQueue<Event>) {
        if self.jobs.get(id).is_none_or(|live| live.sharing.is_none()) {
            return;
        }
        let tasks = self.state.job(id).map_or(&[][..], |job| job.tasks());
        let node = |&task: &TaskId| self.state.task(task)?.placement().map(|placement| placement.node);
        let nodes: Vec<NodeId> = tasks.iter().filter_map(node).collect();
        if self.neighbours.nodes.is_empty() && !nodes.is_empty() {
            queue.schedule(self.now, Event::Job(JobEvent::NeighboursChanged));
        }
        self.neighbours.nodes.extend(nodes);
    }

    /// Jobs that share GPUs have other neighbours.
    pub(super) fn neighbours_changed(&mut self, queue: &mut EventQueue<Event>) {
        let nodes = std::mem::take(&mut self.neighbours.nodes);
        let mut jobs: Vec<(u64, JobId)> = Vec::new();
        for node in nodes {
            let tasks = self.state.node(node).tasks().iter().filter_map(|&task| self.state.task(task));
            let job = |id: JobId| Some((self.state.job(id)?.spec.sequence, id));
            jobs.extend(tasks.filter_map(|task| job(task.job)));
        }
        jobs.sort_unstable();
        jobs.dedup();
        for (_, id) in jobs {
            let speed = self.speed_beside(id);
            let Some(live) = self.jobs.get_mut(id).filter(|live| live.running) else { continue };
            let Some(sharing) = &mut live.sharing else { continue };
            if std::mem::replace(&mut sharing.speed, speed) != speed {
                live.set_pace(id, self.now, queue);
            }
        }
    }

    /// How fast a job is beside those that it shares GPUs with.
    fn speed_beside(&self, id: JobId) -> u64 {
        let tasks = self.state.job(id).map_or(&[][..], |job| job.tasks());
        tasks.iter().map(|&task| self.speed_of_pod(id, task)).min().unwrap_or(FULL_SPEED)
    }

    fn speed_of_pod(&self, id: JobId, task: TaskId) -> u64 {
        let sharing = |id: JobId| self.jobs.get(id).filter(|live| live.running)?.sharing;
        let (Some(table), Some(own)) = (&self.config.colocation, sharing(id)) else { return FULL_SPEED };
        let placed = |task: TaskId| {
            let entry = self.state.task(task).filter(|task| task.status() == TaskStatus::Running)?;
            entry.placement().map(|placement| (entry.job, placement.node, placement.gpus))
        };
        let Some((_, node, gpus)) = placed(task) else { return FULL_SPEED };
        let beside = |&other: &TaskId| {
            let (job, _, others) = placed(other)?;
            let meets = job != id && gpus.bits() & others.bits() != 0;
            Some((self.state.job(job).filter(|_| meets)?.spec.sequence, sharing(job)?.class))
        };
        let mut classes: Vec<(u64, usize)> =
            self.state.node(node).tasks().iter().filter_map(beside).collect();
        // The product is rounded: in an order that means something.
        classes.sort_unstable();
        let all = classes
            .into_iter()
            .fold(FULL_SPEED, |speed, (_, other)| speed * table.speed(own.class, other) / FULL_SPEED);
        all.max(1)
    }
}
