//! A profile: which plugins have a say, and which actions make up a cycle.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;

use rand::Rng;

use crate::gpu::WHOLE_GPU_MILLI;
use crate::id::{ClassId, JobId, NodeId, TaskId};
use crate::plugin::{Action, ClusterEvent, Filter, PickGpus, Scope, Score, ScoreCandidates, SelectNode};
use crate::ranking::{ClassRanking, Rankings};
use crate::reason::{Reason, Rejection, Rejections};
use crate::session::{Session, Transaction};
use crate::spec::TaskSpec;
use crate::state::{ClusterState, Job, NodeSpec, PlacementError};

/// The plugins of a profile.
pub struct Plugins {
    filters: Vec<Box<dyn Filter>>,
    scores: Vec<(Box<dyn Score>, i64)>,
    candidate_scores: Vec<(Box<dyn ScoreCandidates>, i64)>,
    select_node: Box<dyn SelectNode>,
    pick_gpus: Box<dyn PickGpus>,
    rankings: Rankings,
    scratch: Scratch,
}

/// Buffers of the slow path, kept to spare allocations.
#[derive(Default)]
struct Scratch {
    candidates: Vec<NodeId>,
    totals: Vec<i64>,
    scores: Vec<i64>,
}

impl Plugins {
    /// Plugins that choose nodes and devices; filters and scores are added to them.
    pub fn new(select_node: Box<dyn SelectNode>, pick_gpus: Box<dyn PickGpus>) -> Self {
        Self {
            filters: Vec::new(),
            scores: Vec::new(),
            candidate_scores: Vec::new(),
            select_node,
            pick_gpus,
            rankings: Rankings::new(),
            scratch: Scratch::default(),
        }
    }

    /// Adds filters. The first that rejects a node gives the reason.
    #[must_use]
    pub fn with_filters(mut self, filters: impl IntoIterator<Item = Box<dyn Filter>>) -> Self {
        self.filters.extend(filters);
        self
    }

    /// Adds a score with its weight.
    #[must_use]
    pub fn with_score(mut self, score: Box<dyn Score>, weight: i64) -> Self {
        self.scores.push((score, weight));
        self
    }

    /// Adds a score over all candidates with its weight.
    #[must_use]
    pub fn with_candidate_score(mut self, score: Box<dyn ScoreCandidates>, weight: i64) -> Self {
        self.candidate_scores.push((score, weight));
        self
    }

    /// How nodes rank for a class of tasks, with the scores that are kept.
    pub fn ranking(&mut self, state: &ClusterState, class: ClassId) -> &mut ClassRanking {
        self.rankings.refresh(state, class, &mut self.filters, &mut self.scores)
    }

    /// The node on which a task of a class would be placed now.
    pub fn choose_node(
        &mut self,
        state: &ClusterState,
        class: ClassId,
        random: &mut dyn Rng,
    ) -> Option<NodeId> {
        let ranking = self.rankings.refresh(state, class, &mut self.filters, &mut self.scores);
        if ranking.feasible() == 0 {
            return None;
        }
        self.select_node.observe(state);
        let task = state.class_spec(class);
        if !self.candidate_scores.iter().any(|(score, _)| score.applies(state, task)) {
            return self.select_node.select(ranking, random);
        }
        let Scratch { candidates, totals, scores } = &mut self.scratch;
        candidates.clear();
        self.select_node.candidates(ranking, candidates);
        totals.clear();
        totals.extend(candidates.iter().map(|&node| ranking.score(node).unwrap_or_default()));
        for (plugin, weight) in &mut self.candidate_scores {
            if plugin.applies(state, task) {
                scores.clear();
                plugin.score(state, task, candidates, scores);
                totals.iter_mut().zip(scores.iter()).for_each(|(total, score)| {
                    *total = total.saturating_add(score.saturating_mul(*weight));
                });
            }
        }
        (!candidates.is_empty()).then(|| candidates[self.select_node.pick(totals, random)])
    }

    /// Chooses a node and devices for a waiting task and places it.
    pub fn place(
        &mut self,
        transaction: &mut Transaction<'_>,
        task: TaskId,
        random: &mut dyn Rng,
    ) -> Result<NodeId, PlaceFailure> {
        let class = transaction.state().task(task).ok_or(PlaceFailure::NoNode)?.class;
        let node = self.choose_node(transaction.state(), class, random).ok_or(PlaceFailure::NoNode)?;
        let state = transaction.state();
        let gpus = self.pick_gpus.pick(state, state.class_spec(class), node, random);
        match transaction.place(task, node, gpus) {
            Ok(()) => Ok(node),
            Err(error) => Err(PlaceFailure::Illegal(error)),
        }
    }

    /// Whether the cluster could hold the job if it were empty, as far as its classes can be judged one by one.
    pub fn fits_empty_cluster(&mut self, state: &ClusterState, job: &Job) -> Result<(), Reason> {
        let mut placeable = 0;
        let mut lacking = Rejections::default();
        for &(class, count) in state.shape(job.shape) {
            let task = state.class_spec(class);
            let mut rejected = [0; Rejection::ALL.len()];
            let mut room = 0_u64;
            for node in state.node_ids() {
                match self.room_on_empty_node(state, task, node) {
                    Ok(tasks) => room += tasks,
                    Err(rejection) => rejected[rejection as usize] += 1,
                }
                if room >= u64::from(count) {
                    break;
                }
            }
            if room < u64::from(count) {
                lacking = Rejections::new(state.nodes().len(), rejected);
            }
            placeable += room.min(u64::from(count));
        }
        let min_member = job.spec.min_member;
        if placeable >= u64::from(min_member) {
            return Ok(());
        }
        Err(Reason::TooLarge { placeable, min_member, rejections: lacking })
    }

    fn room_on_empty_node(
        &mut self,
        state: &ClusterState,
        task: &TaskSpec,
        node: NodeId,
    ) -> Result<u64, Rejection> {
        for filter in self.filters.iter_mut().filter(|filter| filter.scope() == Scope::NodeSpec) {
            match filter.filter(state, task, node) {
                // A cordon may be lifted: the node counts.
                Ok(()) | Err(Rejection::Unschedulable) => {}
                Err(rejection) => return Err(rejection),
            }
        }
        room_when_empty(&state.node(node).spec, task)
    }
}

/// Tasks of one spec that an empty node holds, at least one, or what it lacks for the first.
fn room_when_empty(node: &NodeSpec, task: &TaskSpec) -> Result<u64, Rejection> {
    let bounds = [
        (u64::from(node.max_tasks), 1, Rejection::TooManyTasks),
        (node.allocatable.cpu_milli, task.requests.cpu_milli, Rejection::InsufficientCpu),
        (node.allocatable.memory_bytes, task.requests.memory_bytes, Rejection::InsufficientMemory),
    ];
    let extended = task.requests.all_extended().map(|(resource, amount)| {
        (node.allocatable.extended(resource), amount, Rejection::InsufficientExtended)
    });
    if task.gpus.count > node.gpus {
        return Err(Rejection::TooFewGpus);
    }
    // Shares go to a device as often as they fit; whole devices go to one task each.
    let gpus = u64::from(node.gpus) * u64::from(WHOLE_GPU_MILLI.checked_div(task.gpus.milli).unwrap_or(0));
    let gpus = (gpus, u64::from(task.gpus.count), Rejection::TooFewGpus);
    let mut room = u64::MAX;
    for (capacity, amount, rejection) in bounds.into_iter().chain(extended).chain([gpus]) {
        let tasks = capacity.checked_div(amount).unwrap_or(u64::MAX);
        if tasks == 0 {
            return Err(rejection);
        }
        room = room.min(tasks);
    }
    Ok(room)
}

/// Why [`Plugins::place`] did not place a task.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PlaceFailure {
    /// No node passed the filters; [`Plugins::ranking`] says why.
    NoNode,
    /// A plugin chose what the state refuses.
    Illegal(PlacementError),
}

/// A scheduling policy, ready to run: plugins, and the actions of a cycle in order.
pub struct Profile {
    /// The name under which it was asked for.
    pub name: String,
    plugins: Plugins,
    actions: Vec<Box<dyn Action>>,
}

impl Profile {
    /// A profile.
    pub const fn new(name: String, plugins: Plugins, actions: Vec<Box<dyn Action>>) -> Self {
        Self { name, plugins, actions }
    }

    /// Tells the actions what happened.
    pub fn notify(&mut self, state: &ClusterState, event: ClusterEvent) {
        for action in &mut self.actions {
            action.notify(state, &mut self.plugins, event);
        }
    }

    /// Runs one scheduling cycle.
    pub fn cycle(&mut self, session: &mut Session<'_>) {
        for action in &mut self.actions {
            action.run(session, &mut self.plugins);
        }
    }

    /// Why a job waits.
    pub fn explain(&mut self, session: &mut Session<'_>, job: JobId) -> Reason {
        self.actions
            .iter_mut()
            .find_map(|action| action.explain(session, &mut self.plugins, job))
            .unwrap_or(Reason::NotTried)
    }

    /// Whether the cluster could hold the job if it were empty.
    pub fn fits_empty_cluster(&mut self, state: &ClusterState, job: JobId) -> Result<(), Reason> {
        state.job(job).map_or(Ok(()), |job| self.plugins.fits_empty_cluster(state, job))
    }
}
