//! Storage that all jobs share: how fast a checkpoint is written or read follows from who else does.
//!
//! A job that writes or reads is one transfer. What the storage reaches is shared max-min fairly among the nodes at work, each of which
//! reaches no more than its limit, and each job no more than its own. The job stands still or goes on meanwhile as its
//! [`Moves`] say; when a transfer ends, its work is told.

use std::collections::VecDeque;

use foretell_fabric::network::{LinkId, LinkWeight};
use foretell_fabric::sharing::{Completion, TransferError, TransferId, TransferSpec, Transfers};
use foretell_framework::{JobId, NodeId, TaskId, TaskStatus, Time};
use slotmap::SecondaryMap;

use super::Submission;
use super::checkpoint::CheckpointCost;
use super::simulation::Simulation;
use crate::engine::{EventHandle, EventQueue};
use crate::event::{Event, JobEvent};

/// Storage that all jobs write their checkpoints to and read them from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Storage {
    /// What all together write at.
    pub write_bytes_per_s: u64,
    /// What all together read at.
    pub read_bytes_per_s: u64,
    /// What a node writes or reads at, at most; no bound if `None`.
    pub node_bytes_per_s: Option<u64>,
}

/// The storage's two directions, as links.
const WRITE: usize = 0;
const READ: usize = 1;

impl Storage {
    const fn of(&self, direction: usize) -> u64 {
        if direction == WRITE { self.write_bytes_per_s } else { self.read_bytes_per_s }
    }

    /// What a job that moves on so many nodes reaches alone, where it may move at `own` itself.
    fn alone(&self, direction: usize, nodes: u64, own: u64) -> u64 {
        let of_nodes = self.node_bytes_per_s.map_or(u64::MAX, |of_node| of_node.saturating_mul(nodes));
        self.of(direction).min(of_nodes).min(own)
    }
}

/// What a job moves to or from storage that others use.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Moves {
    /// It reads the checkpoint that it starts from.
    Reads,
    /// It writes, and stands still.
    Stalls,
    /// It writes, and computes.
    Writes,
}

/// Who writes and reads now.
pub(super) struct Moving {
    storage: Storage,
    transfers: Transfers,
    /// By transfer.
    owners: Vec<JobId>,
    under_way: SecondaryMap<JobId, (Moves, TransferId)>,
    /// Ended, and not told yet; in the order in which they ended.
    ended: VecDeque<(JobId, Moves)>,
    /// What tells of the next one that ends.
    event: Option<EventHandle>,
}

impl Moving {
    fn new(storage: Storage) -> Result<Self, TransferError> {
        let transfers = Transfers::new(&[WRITE, READ].map(|direction| gb_per_s(storage.of(direction))))?;
        let (owners, under_way) = (Vec::new(), SecondaryMap::new());
        Ok(Self { storage, transfers, owners, under_way, ended: VecDeque::new(), event: None })
    }

    /// Lets transfers go on until now.
    fn advance(&mut self, now: Time) -> Result<(), TransferError> {
        while let Some(Completion { transfer, .. }) = self.transfers.advance(now.as_nanos())? {
            let job = self.owners[transfer.index()];
            self.ended.extend(self.under_way.remove(job).map(|(moves, _)| (job, moves)));
        }
        Ok(())
    }

    /// What a job moves, as far as it was told.
    fn of(&self, job: JobId) -> Option<Moves> {
        let ended = || self.ended.iter().find(|&&(of, _)| of == job).map(|&(_, moves)| moves);
        self.under_way.get(job).map(|&(moves, _)| moves).or_else(ended)
    }

    fn cancel(&mut self, job: JobId) -> Result<(), TransferError> {
        self.ended.retain(|&(of, _)| of != job);
        match self.under_way.remove(job) {
            Some((_, transfer)) => self.transfers.cancel(transfer),
            None => Ok(()),
        }
    }

    fn start(&mut self, job: JobId, moves: Moves, load: &Load) -> Result<(), TransferError> {
        let direction = if moves == Moves::Reads { READ } else { WRITE };
        let transfer = self.transfers.start(&TransferSpec {
            links: &[LinkWeight::new(LinkId::new(direction as u32), 1.0)],
            cap_gb_per_s: gb_per_s(self.storage.alone(direction, load.nodes, load.own)),
            share: load.nodes as f64,
            bytes: load.bytes as f64,
            wait_ns: 0,
            iterations: 1,
        })?;
        if self.owners.len() <= transfer.index() {
            self.owners.resize(transfer.index() + 1, job);
        }
        self.owners[transfer.index()] = job;
        self.under_way.insert(job, (moves, transfer));
        Ok(())
    }
}

/// What a job moves.
struct Load {
    bytes: u64,
    /// On which it does so.
    nodes: u64,
    /// What it moves at, at most.
    own: u64,
}

const fn gb_per_s(bytes_per_s: u64) -> f64 {
    bytes_per_s as f64 / 1e9
}

impl<W, E> Simulation<'_, W, E>
where
    W: Iterator<Item = Result<Submission, E>>,
{
    /// Storage for checkpoints. Without it each is written and read as if it were alone.
    pub fn storing_on(mut self, storage: Storage) -> Result<Self, TransferError> {
        self.storage = Some(Box::new(Moving::new(storage)?));
        Ok(self)
    }

    /// What checkpoints of a job take that has the storage for itself.
    pub(super) fn checkpoint_cost(&self, id: JobId) -> CheckpointCost {
        let cost = self.config.preemption.checkpoint_cost;
        let Some(moving) = &self.storage else { return cost };
        let nodes = self.storing_nodes(id);
        CheckpointCost {
            write_bytes_per_s: moving.storage.alone(WRITE, nodes, cost.write_bytes_per_s),
            read_bytes_per_s: moving.storage.alone(READ, nodes, cost.read_bytes_per_s),
            ..cost
        }
    }

    /// The nodes of a job that hold what it saves.
    fn storing_nodes(&self, id: JobId) -> u64 {
        let tasks = self.state.job(id).map_or(&[][..], |job| job.tasks());
        let place = |&task: &TaskId| {
            let entry = self.state.task(task).filter(|task| task.status() == TaskStatus::Running)?;
            let gpus = self.state.class_spec(entry.class).gpus.total_milli();
            Some((entry.placement()?.node, gpus))
        };
        let mut places: Vec<(NodeId, u64)> = tasks.iter().filter_map(place).collect();
        let gpu_milli: u64 = places.iter().map(|&(_, gpus)| gpus).sum();
        // Pods without GPUs hold nothing, unless there are no others.
        places.retain(|&(_, gpus)| gpus > 0 || gpu_milli == 0);
        places.sort_unstable();
        places.dedup_by_key(|&mut (node, _)| node);
        let nodes = places.len().max(1) as u64;
        match self.jobs[id].checkpoint {
            Some(size) if self.config.preemption.checkpoint_cost.size.is_none() && gpu_milli > 0 => {
                (u64::from(size.writers) * 1000 * nodes).div_ceil(gpu_milli).clamp(1, nodes)
            }
            _ => nodes,
        }
    }

    /// A job may want to move something else than it did.
    pub(super) fn move_checkpoint(&mut self, id: JobId, queue: &mut EventQueue<Event>) {
        if self.storage.is_none() {
            return;
        }
        let wanted = self.jobs.get(id).and_then(|live| live.work.moves());
        let load = wanted.map(|moves| {
            let cost = &self.config.preemption.checkpoint_cost;
            let all = self.checkpoint_bytes(id).unwrap_or(0);
            let (bytes, own) = match moves {
                Moves::Reads => (all, cost.read_bytes_per_s),
                Moves::Stalls => (cost.stalled(all), cost.write_bytes_per_s),
                Moves::Writes => (all - cost.stalled(all), cost.write_bytes_per_s),
            };
            Load { bytes, nodes: self.storing_nodes(id), own }
        });
        let Some(moving) = &mut self.storage else { return };
        if moving.of(id) == wanted {
            return;
        }
        let begun = moving
            .advance(self.now)
            .and_then(|()| moving.cancel(id))
            .and_then(|()| wanted.zip(load).map_or(Ok(()), |(moves, load)| moving.start(id, moves, &load)));
        // Rates are finite and links are there: nothing of this can fail.
        debug_assert!(begun.is_ok(), "{begun:?}");
        self.plan_storage(queue);
    }

    /// Plans to be told when the next transfer ends.
    fn plan_storage(&mut self, queue: &mut EventQueue<Event>) {
        let Some(moving) = &mut self.storage else { return };
        if let Some(event) = moving.event.take() {
            queue.cancel(event);
        }
        let next = if moving.ended.is_empty() {
            moving.transfers.next_ns().map(Time::from_nanos)
        } else {
            Some(self.now)
        };
        moving.event = next
            .map(|at| queue.schedule_cancellable(at.max(self.now), Event::Job(JobEvent::CheckpointMoved)));
    }

    /// It is time for a job to take a checkpoint.
    pub(super) fn checkpoint_due(&mut self, id: JobId, queue: &mut EventQueue<Event>) {
        let Some(live) = self.jobs.get_mut(id) else { return };
        live.work.take_checkpoint(self.now);
        live.plan(id, queue);
        self.move_checkpoint(id, queue);
    }

    /// A checkpoint, or a part of one, was written or read.
    pub(super) fn checkpoint_moved(&mut self, queue: &mut EventQueue<Event>) {
        let Some(moving) = &mut self.storage else { return };
        moving.event = None;
        let advanced = moving.advance(self.now);
        debug_assert!(advanced.is_ok(), "{advanced:?}");
        while let Some((id, moves)) = self.storage.as_mut().and_then(|moving| moving.ended.pop_front()) {
            let Some(live) = self.jobs.get_mut(id) else { continue };
            live.work.moved(self.now, moves);
            live.plan(id, queue);
            self.move_checkpoint(id, queue);
        }
        self.plan_storage(queue);
    }
}
