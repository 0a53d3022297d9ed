//! What of the nodes is promised to jobs that wait, or kept for a window of time.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::RefCell;

use foretell_framework::state::JobSpec;
use foretell_framework::{ClassId, ClusterState, JobId, NodeId, Stamp, Time};

/// Holds that an action writes and a filter reads.
pub type SharedHolds = Rc<RefCell<Holds>>;

/// Nodes or GPUs that are kept for some jobs over a window of time (Slurm's advance reservation).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AdvanceReservation {
    /// Its name.
    pub name: Box<str>,
    /// When the window opens.
    pub from: Time,
    /// When it closes.
    pub until: Time,
    /// What is kept.
    pub kept: Kept,
    /// Queues whose jobs may use it.
    pub queues: Vec<Box<str>>,
    /// Users whose jobs may use it.
    pub users: Vec<Box<str>>,
}

impl AdvanceReservation {
    /// Whether a job of this queue may use what is kept.
    pub fn admits(&self, job: &JobSpec, queue: &str) -> bool {
        self.queues.iter().any(|name| **name == *queue)
            || self.users.iter().any(|name| *name == job.user && !job.user.is_empty())
    }
}

/// What an [`AdvanceReservation`] keeps.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Kept {
    /// Whole nodes, by name.
    Nodes(Vec<Box<str>>),
    /// So many GPUs, taken from the last nodes of the cluster.
    Gpus(u32),
}

/// A window of time in which a job is to run, and where.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Promise {
    /// When it starts.
    pub from: Time,
    /// When it is expected to end.
    pub until: Time,
    /// How many of its tasks of each class go to each node.
    pub places: Vec<(NodeId, ClassId, u32)>,
}

/// A part of a promise: tasks of one class on one node.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hold {
    pub(super) from: Time,
    pub(super) until: Time,
    pub(super) job: JobId,
    pub(super) class: ClassId,
    pub(super) count: u32,
}

/// A part of an advance reservation: what it keeps of one node.
#[derive(Clone, Copy, Debug)]
pub(super) struct Window {
    /// Its position among the reservations.
    pub(super) reservation: usize,
    pub(super) from: Time,
    pub(super) until: Time,
    /// GPUs that are kept; `None` for the whole node.
    pub(super) gpus: Option<u32>,
}

/// The job for which nodes are being looked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asking {
    pub(super) job: JobId,
    pub(super) now: Time,
    /// When it would end if it started now.
    pub(super) until: Time,
}

/// What is promised and kept, by node.
#[derive(Default)]
pub struct Holds {
    promises: BTreeMap<JobId, Promise>,
    /// Of each node, earliest first.
    by_node: Vec<Vec<Hold>>,
    /// Of each node, the number of the latest change of what is promised there.
    changes_of: Vec<u64>,
    changes: u64,
    reservations: Vec<AdvanceReservation>,
    windows: Vec<Vec<Window>>,
    /// The nodes for which windows were found.
    windows_of: Stamp,
    pub(super) asking: Option<Asking>,
}

impl Holds {
    /// Nothing but these reservations.
    pub fn new(reservations: Vec<AdvanceReservation>) -> Self {
        Self { reservations, ..Self::default() }
    }

    /// Whether nothing is held or kept.
    pub fn is_empty(&self) -> bool {
        self.promises.is_empty() && self.reservations.is_empty()
    }

    /// The promise to a job.
    pub fn promise(&self, job: JobId) -> Option<&Promise> {
        self.promises.get(&job)
    }

    /// Everyone who was promised something.
    pub(super) fn promises(&self) -> impl Iterator<Item = (JobId, &Promise)> {
        self.promises.iter().map(|(&job, promise)| (job, promise))
    }

    /// Promises something to a job, in the place of what it was promised before.
    pub fn add(&mut self, job: JobId, promise: Promise) {
        self.remove(job);
        for &(node, class, count) in &promise.places {
            if self.by_node.len() <= node.index() {
                self.by_node.resize_with(node.index() + 1, Vec::new);
                self.changes_of.resize(node.index() + 1, 0);
            }
            self.change(node);
            let hold = Hold { from: promise.from, until: promise.until, job, class, count };
            let holds = &mut self.by_node[node.index()];
            let position = holds.partition_point(|other| other.from <= hold.from);
            holds.insert(position, hold);
        }
        self.promises.insert(job, promise);
    }

    /// Takes back what was promised to a job.
    pub fn remove(&mut self, job: JobId) {
        let Some(promise) = self.promises.remove(&job) else { return };
        for (node, ..) in promise.places {
            self.by_node[node.index()].retain(|hold| hold.job != job);
            self.change(node);
        }
    }

    /// Takes back all promises.
    pub fn clear(&mut self) {
        for promise in core::mem::take(&mut self.promises).into_values() {
            for (node, ..) in promise.places {
                self.by_node[node.index()].clear();
                self.change(node);
            }
        }
    }

    fn change(&mut self, node: NodeId) {
        self.changes += 1;
        self.changes_of[node.index()] = self.changes;
    }

    /// The number of the latest change of what is promised.
    pub(super) const fn changes(&self) -> u64 {
        self.changes
    }

    /// The same of one node.
    pub(super) fn changes_of(&self, node: NodeId) -> u64 {
        self.changes_of.get(node.index()).copied().unwrap_or(0)
    }

    /// Whether nothing is kept for windows of time.
    pub(super) const fn has_no_windows(&self) -> bool {
        self.reservations.is_empty()
    }

    pub(super) fn on_node(&self, node: NodeId) -> &[Hold] {
        self.by_node.get(node.index()).map_or(&[], Vec::as_slice)
    }

    pub(super) fn windows(&self, node: NodeId) -> &[Window] {
        self.windows.get(node.index()).map_or(&[], Vec::as_slice)
    }

    pub(super) fn reservation(&self, window: &Window) -> &AdvanceReservation {
        &self.reservations[window.reservation]
    }

    /// Finds the nodes of the reservations. To be called before anything is asked in a cycle.
    pub fn refresh(&mut self, state: &ClusterState) {
        if self.reservations.is_empty() || self.windows_of >= state.node_specs_changed() {
            return;
        }
        self.windows_of = state.node_specs_changed();
        self.windows = Vec::new();
        self.windows.resize_with(state.nodes().len(), Vec::new);
        for (reservation, advance) in self.reservations.iter().enumerate() {
            let (from, until) = (advance.from, advance.until);
            let window = |gpus| Window { reservation, from, until, gpus };
            match &advance.kept {
                Kept::Nodes(names) => {
                    for (node, windows) in state.nodes().iter().zip(&mut self.windows) {
                        if names.contains(&node.spec.name) {
                            windows.push(window(None));
                        }
                    }
                }
                Kept::Gpus(gpus) => {
                    let mut left = *gpus;
                    for (node, windows) in state.nodes().iter().zip(&mut self.windows).rev() {
                        let kept = node.spec.gpus.min(left);
                        if kept > 0 {
                            windows.push(window(Some(kept)));
                            left -= kept;
                        }
                    }
                }
            }
        }
    }

    /// The first instant after `now` at which a window opens or closes.
    pub fn next_boundary(&self, now: Time) -> Option<Time> {
        let boundaries = self.reservations.iter().flat_map(|advance| [advance.from, advance.until]);
        boundaries.filter(|&boundary| boundary > now && boundary < Time::MAX).min()
    }

    /// From now on the question is whether this job may start now.
    pub fn ask(&mut self, state: &ClusterState, job: JobId, now: Time) {
        let duration = state.job(job).and_then(|job| job.spec.expected_duration);
        self.asking = Some(Asking { job, now, until: now + duration.unwrap_or(Time::MAX) });
    }

    /// The question is answered: the filter has no say.
    pub const fn asked(&mut self) {
        self.asking = None;
    }
}
