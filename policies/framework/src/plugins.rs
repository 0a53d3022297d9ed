//! The plugins of a profile, and how they choose a node together.

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;

use rand::Rng;

use crate::gpu::{GpuSet, WHOLE_GPU_MILLI};
use crate::id::{ClassId, NodeId, TaskId};
use crate::plugin::{Filter, PickGpus, Scope, Score, ScoreCandidates, SelectNode};
use crate::ranking::{ClassRanking, NodeFilters, Rankings};
use crate::reason::{Reason, Rejection, Rejections};
use crate::session::Transaction;
use crate::spec::TaskSpec;
use crate::state::{ClusterState, Job, NodeSpec, PlacementError};
use crate::tier::Tiers;

/// The plugins of a profile.
pub struct Plugins {
    filters: NodeFilters,
    /// Those that look at other nodes, and whether each has a say on the task that is asked about.
    cluster_filters: Vec<(Box<dyn Filter>, bool)>,
    scores: Vec<(Box<dyn Score>, i64)>,
    candidate_scores: Vec<(Box<dyn ScoreCandidates>, i64)>,
    select_node: Box<dyn SelectNode>,
    pick_gpus: Box<dyn PickGpus>,
    honours_nominations: bool,
    tiers: Tiers,
    rankings: Rankings,
    scratch: Scratch,
}

/// Buffers of the slow path, kept to spare allocations.
#[derive(Default)]
struct Scratch {
    candidates: Vec<NodeId>,
    totals: Vec<i64>,
    scores: Vec<i64>,
    /// Nodes kept for nominated tasks.
    kept: Vec<NodeId>,
}

impl Plugins {
    /// Plugins that choose nodes and devices; filters and scores are added to them.
    pub fn new(select_node: Box<dyn SelectNode>, pick_gpus: Box<dyn PickGpus>) -> Self {
        Self {
            filters: NodeFilters::default(),
            cluster_filters: Vec::new(),
            scores: Vec::new(),
            candidate_scores: Vec::new(),
            select_node,
            pick_gpus,
            honours_nominations: false,
            tiers: Tiers::default(),
            rankings: Rankings::new(),
            scratch: Scratch::default(),
        }
    }

    /// Adds filters. The first that rejects a node gives the reason; those that look at other nodes are asked last.
    #[must_use]
    pub fn with_filters(mut self, filters: impl IntoIterator<Item = Box<dyn Filter>>) -> Self {
        for filter in filters {
            if filter.scope() == Scope::Cluster {
                self.cluster_filters.push((filter, false));
            } else {
                self.filters.push(filter);
            }
        }
        self
    }

    /// Replaces the choice of devices.
    #[must_use]
    pub fn with_gpu_choice(mut self, pick_gpus: Box<dyn PickGpus>) -> Self {
        self.pick_gpus = pick_gpus;
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

    /// Lets [`Self::place`] honour nominations as kube-scheduler does: a nominated task tries its node first, and a node
    /// must take a task also beside those of no lower priority that are nominated to it.
    #[must_use]
    pub const fn honouring_nominations(mut self) -> Self {
        self.honours_nominations = true;
        self
    }

    /// Adds the plugins that have a say on jobs and queues. With them a cycle is a session: where tasks are nominated
    /// is decided anew in each.
    #[must_use]
    pub fn with_tiers(mut self, tiers: Tiers) -> Self {
        self.tiers = tiers;
        self
    }

    /// The plugins that have a say on jobs and queues.
    pub const fn tiers(&self) -> &Tiers {
        &self.tiers
    }

    /// The plugins that have a say on jobs and queues.
    pub const fn tiers_mut(&mut self) -> &mut Tiers {
        &mut self.tiers
    }

    /// Whether nodes or devices may be drawn at random. A [`PlaceJob`](crate::PlaceJob) may draw beside them.
    pub fn draws(&self) -> bool {
        self.select_node.draws() || self.pick_gpus.draws()
    }

    /// The devices for a task of a class on a node on which it fits.
    pub fn pick_gpus(
        &mut self,
        state: &ClusterState,
        class: ClassId,
        node: NodeId,
        random: &mut dyn Rng,
    ) -> GpuSet {
        self.pick_gpus.pick(state, state.class_spec(class), node, random)
    }

    /// How nodes rank for a class of tasks, with the scores that are kept. Filters that look at other nodes have no say
    /// in it.
    pub fn ranking(&mut self, state: &ClusterState, class: ClassId) -> &mut ClassRanking {
        self.rankings.refresh(state, class, &mut self.filters, &mut self.scores)
    }

    /// The verdict of all filters on one node, computed anew.
    pub fn filter_node(
        &mut self,
        state: &ClusterState,
        task: &TaskSpec,
        node: NodeId,
    ) -> Result<(), Rejection> {
        self.filters.iter_mut().try_for_each(|filter| filter.filter(state, task, node))?;
        self.cluster_filters
            .iter_mut()
            .filter_map(|(filter, _)| filter.prepare(state, task).then_some(filter))
            .try_for_each(|filter| filter.filter(state, task, node))
    }

    /// Whether a node could take a task if it had the resources: the first filter's verdict that is not of resources.
    pub fn filter_apart_from_resources(
        &mut self,
        state: &ClusterState,
        class: ClassId,
        node: NodeId,
    ) -> Result<(), Rejection> {
        let task = state.class_spec(class);
        let filters = self.filters.iter_mut();
        let applying = self.cluster_filters.iter_mut().filter_map(|(filter, applies)| {
            *applies = filter.prepare(state, task);
            applies.then_some(filter)
        });
        filters.chain(applying).try_for_each(|filter| match filter.filter(state, task, node) {
            Err(rejection) if !rejection.is_of_resources() => Err(rejection),
            _ => Ok(()),
        })
    }

    /// What nodes are worth to a task, with weights, one total per candidate. Filters are not asked.
    pub fn total_scores(&mut self, state: &ClusterState, class: ClassId, candidates: &[NodeId]) -> Vec<i64> {
        let mut totals = vec![0_i64; candidates.len()];
        for (_, weight, scores) in self.scores(state, state.class_spec(class), candidates) {
            for (total, score) in totals.iter_mut().zip(scores.into_iter().flatten()) {
                *total = total.saturating_add(score.saturating_mul(weight));
            }
        }
        totals
    }

    /// The verdict of all filters on each node for a class of tasks.
    pub fn verdicts(&mut self, state: &ClusterState, class: ClassId) -> Vec<Option<Rejection>> {
        let ranking = self.rankings.refresh(state, class, &mut self.filters, &mut self.scores);
        let task = state.class_spec(class);
        prepare(&mut self.cluster_filters, state, task);
        let verdict = |node| {
            let rejection = ranking.rejection(node);
            rejection.or_else(|| ask(&mut self.cluster_filters, state, task, node).err())
        };
        state.node_ids().map(verdict).collect()
    }

    /// Those of some nodes that pass all filters for a class of tasks, in their order, with what the scores give them.
    /// Kept scores are not computed anew.
    pub fn rank_among(
        &mut self,
        state: &ClusterState,
        class: ClassId,
        nodes: &[NodeId],
    ) -> (Vec<NodeId>, Vec<i64>) {
        let ranking = self.rankings.refresh(state, class, &mut self.filters, &mut self.scores);
        let task = state.class_spec(class);
        prepare(&mut self.cluster_filters, state, task);
        let (mut candidates, mut totals) = (Vec::new(), Vec::new());
        for &node in nodes {
            if let Some(score) = ranking.score(node)
                && ask(&mut self.cluster_filters, state, task, node).is_ok()
            {
                candidates.push(node);
                totals.push(score);
            }
        }
        let scores = &mut self.scratch.scores;
        for (plugin, weight) in &mut self.candidate_scores {
            if candidates.len() > 1 && plugin.applies(state, task) {
                scores.clear();
                plugin.score(state, task, &candidates, scores);
                totals.iter_mut().zip(scores.iter()).for_each(|(total, score)| {
                    *total = total.saturating_add(score.saturating_mul(*weight));
                });
            }
        }
        (candidates, totals)
    }

    /// Why nodes cannot take a class of tasks, by all filters.
    pub fn rejections(&mut self, state: &ClusterState, class: ClassId) -> Rejections {
        if prepare(&mut self.cluster_filters, state, state.class_spec(class)) {
            Rejections::of(&self.verdicts(state, class))
        } else {
            self.ranking(state, class).rejections()
        }
    }

    /// What each score gives each of some nodes, before its weight; `None` for a score that is left out for this task.
    pub fn scores(
        &mut self,
        state: &ClusterState,
        task: &TaskSpec,
        candidates: &[NodeId],
    ) -> Vec<(&'static str, i64, Option<Vec<i64>>)> {
        let kept = self.scores.iter_mut().map(|(score, weight)| {
            let scores = score
                .applies(state, task)
                .then(|| candidates.iter().map(|&node| score.score(state, task, node)).collect::<Vec<_>>());
            (score.name(), *weight, scores)
        });
        let normalised = self.candidate_scores.iter_mut().map(|(score, weight)| {
            let scores = score.applies(state, task).then(|| {
                let mut scores = Vec::new();
                score.score(state, task, candidates, &mut scores);
                scores
            });
            (score.name(), *weight, scores)
        });
        kept.chain(normalised).collect()
    }

    /// The node on which a task of a class would be placed now, nominations aside.
    pub fn choose_node(
        &mut self,
        state: &ClusterState,
        class: ClassId,
        random: &mut dyn Rng,
    ) -> Option<NodeId> {
        self.scratch.kept.clear();
        self.choose_node_not_kept(state, class, random)
    }

    fn choose_node_not_kept(
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
        let mut fast = !prepare(&mut self.cluster_filters, state, task) && self.scratch.kept.is_empty();
        for (score, _) in &mut self.candidate_scores {
            fast = fast && !score.applies(state, task);
        }
        if fast {
            return self.select_node.select(ranking, random);
        }
        let Scratch { candidates, totals, scores, kept } = &mut self.scratch;
        candidates.clear();
        let cluster_filters = &mut self.cluster_filters;
        let mut passes = |node| !kept.contains(&node) && ask(cluster_filters, state, task, node).is_ok();
        self.select_node.candidates(ranking, &mut passes, candidates);
        if candidates.len() < 2 {
            return candidates.first().copied();
        }
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
        Some(candidates[self.select_node.pick(totals, random)])
    }

    /// Chooses a node and devices for a waiting task and places it.
    pub fn place(
        &mut self,
        transaction: &mut Transaction<'_>,
        task: TaskId,
        random: &mut dyn Rng,
    ) -> Result<NodeId, PlaceFailure> {
        let entry = transaction.state().task(task).ok_or(PlaceFailure::NoNode)?;
        let (class, nominated) = (entry.class, entry.nominated());
        self.scratch.kept.clear();
        let mut chosen = None;
        if self.honours_nominations && transaction.state().nominations() > 0 {
            self.find_kept_nodes(transaction, task);
            let state = transaction.state();
            let passes = |node: &NodeId| {
                !self.scratch.kept.contains(node)
                    && self.filter_node(state, state.class_spec(class), *node).is_ok()
            };
            chosen = nominated.filter(passes);
        }
        let state = transaction.state();
        let node = match chosen {
            Some(node) => node,
            None => self.choose_node_not_kept(state, class, random).ok_or(PlaceFailure::NoNode)?,
        };
        let gpus = self.pick_gpus(state, class, node, random);
        match transaction.place(task, node, gpus) {
            Ok(()) => Ok(node),
            Err(error) => Err(PlaceFailure::Illegal(error)),
        }
    }

    /// The verdict on each node for a waiting task, nominations included if they are honoured.
    pub fn diagnose(&mut self, transaction: &mut Transaction<'_>, task: TaskId) -> Vec<Option<Rejection>> {
        let Some(class) = transaction.state().task(task).map(|task| task.class) else { return Vec::new() };
        let mut verdicts = self.verdicts(transaction.state(), class);
        if self.honours_nominations && transaction.state().nominations() > 0 {
            self.find_kept_nodes(transaction, task);
            for node in &self.scratch.kept {
                verdicts[node.index()].get_or_insert(Rejection::Nominated);
            }
        }
        verdicts
    }

    /// Finds nodes that would not take a task beside those that are nominated to them.
    fn find_kept_nodes(&mut self, transaction: &mut Transaction<'_>, task: TaskId) {
        let nodes = transaction.state().nodes().iter().enumerate();
        let nominees = nodes.filter(|(_, node)| !node.nominated().is_empty());
        let nodes: Vec<_> = nominees.map(|(index, _)| NodeId::new(index)).collect();
        let mut kept = core::mem::take(&mut self.scratch.kept);
        kept.clear();
        kept.extend(nodes.into_iter().filter(|&node| !self.passes_beside_nominated(transaction, task, node)));
        self.scratch.kept = kept;
    }

    /// Whether a node would take a task if the tasks of no lower priority that are nominated to it were there.
    pub fn passes_beside_nominated(
        &mut self,
        transaction: &mut Transaction<'_>,
        task: TaskId,
        node: NodeId,
    ) -> bool {
        let Some(entry) = transaction.state().task(task) else { return false };
        let (class, priority) = (entry.class, entry.details.priority);
        let nominated: Vec<_> = transaction.state().node(node).nominated().to_vec();
        let savepoint = transaction.savepoint();
        for other in nominated {
            let other_priority = transaction.state().task(other).map(|other| other.details.priority);
            if other != task && other_priority.is_some_and(|other| other >= priority) {
                // A task that is nominated waits, so this cannot fail; if it did, the node would not be kept for it.
                let _ = transaction.assume(other, node, None);
            }
        }
        let unchanged = transaction.savepoint() == savepoint;
        let state = transaction.state();
        let passes = unchanged || self.filter_node(state, state.class_spec(class), node).is_ok();
        transaction.rollback_to(savepoint);
        passes
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
        for filter in self.filters.of(Scope::NodeSpec) {
            match filter.filter(state, task, node) {
                // A cordon may be lifted: the node counts.
                Ok(()) | Err(Rejection::Unschedulable) => {}
                Err(rejection) => return Err(rejection),
            }
        }
        room_when_empty(&state.node(node).spec, task)
    }
}

/// Prepares the filters that look at other nodes for a task, and says whether any has a say on it.
fn prepare(filters: &mut [(Box<dyn Filter>, bool)], state: &ClusterState, task: &TaskSpec) -> bool {
    let mut any = false;
    for (filter, applies) in filters {
        *applies = filter.prepare(state, task);
        any |= *applies;
    }
    any
}

/// Asks the filters that were prepared and have a say.
fn ask(
    filters: &mut [(Box<dyn Filter>, bool)],
    state: &ClusterState,
    task: &TaskSpec,
    node: NodeId,
) -> Result<(), Rejection> {
    let mut applying = filters.iter_mut().filter(|(_, applies)| *applies);
    applying.try_for_each(|(filter, _)| filter.filter(state, task, node))
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
