//! Finds the earliest window in which a job fits beside what runs and what is held.

use alloc::collections::BTreeMap;
use alloc::vec;
use alloc::vec::Vec;

use foretell_framework::{
    ClassId, ClusterState, Job, JobId, NodeId, Plugins, ShapeId, Stamp, TaskSpec, Time,
};

use super::holds::{Asking, Holds, Promise};
use super::room::{INSTANT, Question, task_end};
use super::timelines::{Alike, Timelines, is_plain};

/// What a window is sought for.
#[derive(Clone, Copy)]
pub(super) struct Wanted {
    pub(super) job: JobId,
    /// The set of nodes that the filters leave to it.
    pub(super) scope: u32,
    pub(super) now: Time,
    /// When it must begin at the latest.
    pub(super) latest: Time,
    /// Whether the state may have gone on since it was wanted. The plan has not.
    pub(super) is_late: bool,
}

/// Plans jobs' windows. What runs is taken to end as expected.
///
/// Tasks of one class that ask for whole GPUs, as most jobs have, are planned by [`Timelines`]. For all others, and beside
/// reservations and held shares of GPUs, instants are gone through one by one; only nodes that something changes on are
/// looked at again from one instant to the next.
#[derive(Default)]
pub(super) struct Planner {
    timelines: Timelines,
    /// Whether what the cluster has and keeps can be told by timelines.
    is_plain: bool,
    /// When tasks that run are expected to leave which node, earliest first; found when it is first asked for.
    ends: Vec<(Time, NodeId)>,
    knows_ends: bool,
    /// Which nodes of a set could take tasks of a class if they had the resources.
    eligible: BTreeMap<(u32, ClassId), Vec<bool>>,
    /// The nodes for which that was found.
    eligible_of: Stamp,
}

impl Planner {
    /// Begins a cycle.
    pub(super) fn open(&mut self, state: &ClusterState, holds: &Holds, now: Time) {
        self.knows_ends = false;
        self.is_plain = holds.has_no_windows() && state.resource_names().is_empty();
        if self.is_plain {
            self.timelines.open(state, now);
        }
    }

    /// Takes note of when what runs is expected to end.
    fn find_ends(&mut self, state: &ClusterState, now: Time) {
        if core::mem::replace(&mut self.knows_ends, true) {
            return;
        }
        self.ends.clear();
        for (id, node) in state.node_ids().zip(state.nodes()) {
            self.ends.extend(node.tasks().iter().map(|&task| (task_end(state, task, now), id)));
        }
        self.ends.sort_unstable();
        self.ends.dedup();
    }

    /// A job was given places in this cycle.
    pub(super) fn started(&mut self, state: &ClusterState, job: JobId, now: Time) {
        let Some(job) = state.job(job) else { return };
        for &id in job.tasks() {
            let Some(placement) = state.task(id).and_then(|task| task.placement()) else { continue };
            let node = placement.node;
            if self.is_plain {
                self.timelines.read(state, node);
            }
            let end = (task_end(state, id, now), node);
            if self.knows_ends
                && let Err(position) = self.ends.binary_search(&end)
            {
                self.ends.insert(position, end);
            }
        }
    }

    /// A promise that came of this plan was added to what is held.
    pub(super) fn hold(&mut self, state: &ClusterState, holds: &Holds, promise: &Promise) {
        if self.is_plain {
            self.timelines.hold(state, holds, promise);
        }
    }

    /// The earliest window for a job that does not start after `latest`.
    pub(super) fn earliest(
        &mut self,
        state: &ClusterState,
        plugins: &mut Plugins,
        holds: &Holds,
        wanted: Wanted,
    ) -> Option<Promise> {
        let Wanted { job: id, scope, latest, is_late, .. } = wanted;
        let job = state.job(id)?;
        let span = job.spec.expected_duration.unwrap_or(Time::MAX);
        let needs = needs(state, job);
        for &(class, _) in &needs {
            self.find_eligible(state, plugins, scope, class, is_late);
        }
        if self.is_plain
            && self.timelines.look_at_holds(state, holds)
            && let &[(class, count)] = &*needs
            && is_plain(state.class_spec(class))
        {
            let alike = Alike { scope, class, count, span };
            let eligible = &self.eligible[&(scope, class)];
            let promise = self.timelines.earliest(state, alike, eligible, latest);
            debug_assert!(
                is_late || promise == self.earliest_by_instants(state, holds, wanted, &needs),
                "{promise:?} is not what the obvious way finds"
            );
            return promise;
        }
        self.earliest_by_instants(state, holds, wanted, &needs)
    }

    /// Whether some of these jobs may have a window that begins before an instant, beside what is held now: if not, none
    /// has one however much more is held, and all have one at some time.
    pub(super) fn may_begin_before(
        &mut self,
        state: &ClusterState,
        holds: &Holds,
        rest: &mut Rest,
        before: Time,
    ) -> bool {
        if !rest.is_plain || !self.is_plain || self.eligible_of < state.node_specs_changed() {
            return true;
        }
        if !self.timelines.look_at_holds(state, holds) {
            return true;
        }
        while let Some(kind) = rest.kinds.last_mut() {
            let Kind { alike, witness_at, witnesses, .. } = kind;
            if witness_at
                .is_some_and(|at| at < before && self.timelines.fits_at(state, *alike, at, witnesses))
            {
                return true;
            }
            let Some(eligible) = self.eligible.get(&(alike.scope, alike.class)) else { return true };
            let Some(at) = self.timelines.first(state, *alike, eligible, before, witnesses) else {
                rest.is_plain = false;
                return true;
            };
            if at < before {
                *witness_at = Some(at);
                return true;
            }
            rest.kinds.pop();
        }
        false
    }

    /// The obvious way.
    fn earliest_by_instants(
        &mut self,
        state: &ClusterState,
        holds: &Holds,
        wanted: Wanted,
        needs: &[(ClassId, u32)],
    ) -> Option<Promise> {
        let Wanted { job: id, scope, now, latest, .. } = wanted;
        self.find_ends(state, now);
        let span = state.job(id)?.spec.expected_duration.unwrap_or(Time::MAX);
        let asking = Asking { job: id, now, until: now + span };
        let question = Question { holds, state, asking, also: &[] };
        let mut search =
            Search { question, span, eligible: &self.eligible, scope, rooms: Vec::new(), at: now };
        for &(class, _) in needs {
            let rooms = state.node_ids().map(|node| search.room(class, node)).collect();
            search.rooms.push(rooms);
        }
        let at_first = search.rooms.clone();
        let (rises, falls) = changes(state, holds, id, now, span);
        let mut rises = merge(&self.ends, &rises).peekable();
        let mut falls = falls.into_iter().peekable();
        loop {
            if search.is_enough(needs)
                && let Some(places) = search.places(needs, &at_first)
            {
                return Some(Promise { from: search.at, until: search.at + span, places });
            }
            // Between two instants at which something ends, room only shrinks.
            let &(next, _) = rises.peek()?;
            if next == Time::MAX || next > latest {
                return None;
            }
            search.at = next;
            let mut touched = Vec::new();
            while let Some((_, node)) = rises.next_if(|&(at, _)| at <= next) {
                touched.push(node);
            }
            while let Some((_, node)) = falls.next_if(|&(at, _)| at <= next) {
                touched.push(node);
            }
            touched.sort_unstable();
            touched.dedup();
            for (index, &(class, _)) in needs.iter().enumerate() {
                for &node in &touched {
                    search.rooms[index][node.index()] = search.room(class, node);
                }
            }
        }
    }

    /// What is late was to be found in the last cycle: what was eligible then is not found anew, by what filters do not know yet.
    fn find_eligible(
        &mut self,
        state: &ClusterState,
        plugins: &mut Plugins,
        scope: u32,
        class: ClassId,
        is_late: bool,
    ) {
        if self.eligible_of < state.node_specs_changed() && !is_late {
            self.eligible.clear();
            self.eligible_of = state.node_specs_changed();
        }
        self.eligible.entry((scope, class)).or_insert_with(|| {
            state
                .node_ids()
                .map(|node| plugins.filter_apart_from_resources(state, class, node).is_ok())
                .collect()
        });
    }
}

/// What jobs that are still to come in a cycle ask for: of each kind, the shortest.
pub(super) struct Rest {
    kinds: Vec<Kind>,
    /// Whether timelines can tell of all of them.
    is_plain: bool,
}

struct Kind {
    shape: ShapeId,
    min_member: u32,
    alike: Alike,
    /// When and on which nodes there was room for it when that was last looked for.
    witness_at: Option<Time>,
    witnesses: Vec<usize>,
}

impl Rest {
    /// Of none yet. Where tasks have a say on which nodes others may go to, which may change with every one that leaves, nodes that
    /// were found to be ineligible may not be so any more.
    ///
    /// Beside a promise without end there are gaps in which only short jobs fit.
    pub(super) fn new(state: &ClusterState, holds: &Holds) -> Self {
        let depends = |task: &TaskSpec| {
            !(task.host_ports.is_empty() && task.topology_spread.is_empty() && task.pod_affinity.is_empty())
        };
        let is_endless = |promise: &Promise| promise.until == Time::MAX;
        let is_plain = !state.classes().any(|(_, task)| depends(task))
            && !holds.promises().any(|(_, promise)| is_endless(promise));
        Self { kinds: Vec::new(), is_plain }
    }

    /// One more job, on a set of nodes.
    pub(super) fn add(&mut self, state: &ClusterState, job: &Job, scope: u32) {
        // Of a job that has a part of what it needs, less is missing than it needs.
        let has_part = job.placed() > 0 && !job.is_ready();
        let has_minima = job.spec.gang.as_ref().is_some_and(|gang| !gang.role_minima.is_empty());
        let Some(span) = job.spec.expected_duration.filter(|_| !has_part && !has_minima) else {
            self.is_plain = false;
            return;
        };
        let (shape, min_member) = (job.shape, job.spec.min_member);
        let is_known = |kind: &&mut Kind| {
            kind.shape == shape && kind.min_member == min_member && kind.alike.scope == scope
        };
        if let Some(kind) = self.kinds.iter_mut().find(is_known) {
            kind.alike.span = kind.alike.span.min(span);
            return;
        }
        match *needs(state, job) {
            [(class, count)] if is_plain(state.class_spec(class)) && job.spec.tasks.len() == 1 => {
                let alike = Alike { scope, class, count, span };
                let (witness_at, witnesses) = (None, Vec::new());
                self.kinds.push(Kind { shape, min_member, alike, witness_at, witnesses });
            }
            _ => self.is_plain = false,
        }
    }
}

/// A search for a window.
struct Search<'a> {
    question: Question<'a>,
    span: Time,
    eligible: &'a BTreeMap<(u32, ClassId), Vec<bool>>,
    scope: u32,
    /// Of each class that is needed, on each node, from `at` on for the whole span.
    rooms: Vec<Vec<u64>>,
    at: Time,
}

impl Search<'_> {
    fn room(&self, class: ClassId, node: NodeId) -> u64 {
        // A node that came since is not known yet.
        let eligible = self.eligible.get(&(self.scope, class));
        if !eligible.and_then(|eligible| eligible.get(node.index())).is_some_and(|&eligible| eligible) {
            return 0;
        }
        let task = self.question.state.class_spec(class);
        self.question.room(task, node, self.at, self.at + self.span)
    }

    /// Whether there is room for each class by itself.
    fn is_enough(&self, needs: &[(ClassId, u32)]) -> bool {
        needs.iter().zip(&self.rooms).all(|(&(_, count), rooms)| {
            let mut left = u64::from(count);
            rooms.iter().any(|&room| {
                left = left.saturating_sub(room);
                left == 0
            }) || count == 0
        })
    }

    /// Where the tasks go: to nodes that have little room before and little beyond, so that others find more elsewhere.
    fn places(
        &mut self,
        needs: &[(ClassId, u32)],
        at_first: &[Vec<u64>],
    ) -> Option<Vec<(NodeId, ClassId, u32)>> {
        let mut places: Vec<(NodeId, ClassId, u32)> = Vec::new();
        for (index, &(class, count)) in needs.iter().enumerate() {
            let mut rooms = self.rooms[index].clone();
            if !places.is_empty() {
                let task = self.question.state.class_spec(class);
                let Question { holds, state, asking, .. } = self.question;
                let question = Question { holds, state, asking, also: &places };
                for &(node, ..) in &places {
                    let room = &mut rooms[node.index()];
                    *room = (*room).min(question.room(task, node, self.at, self.at + self.span));
                }
            }
            let mut nodes: Vec<usize> = (0..rooms.len()).filter(|&node| rooms[node] > 0).collect();
            nodes.sort_by_key(|&node| (at_first[index][node], rooms[node]));
            let mut left = u64::from(count);
            for node in nodes {
                let taken = rooms[node].min(left);
                places.push((NodeId::new(node), class, taken as u32));
                left -= taken;
                if left == 0 {
                    break;
                }
            }
            if left > 0 {
                return None;
            }
        }
        Some(places)
    }
}

/// How many tasks of each class a job needs to run.
fn needs(state: &ClusterState, job: &Job) -> Vec<(ClassId, u32)> {
    let minima = job.spec.gang.as_ref().map_or(&[][..], |gang| &gang.role_minima);
    let mut left = job.spec.min_member;
    let mut needs = vec![];
    for &(class, count) in &job.spec.tasks {
        let role = &state.class_spec(class).role;
        let minimum = minima.iter().find(|(name, _)| name == role).map_or(count, |&(_, minimum)| minimum);
        let needed = minimum.min(count).min(left);
        left -= needed;
        if needed > 0 {
            needs.push((class, needed));
        }
    }
    needs
}

/// When and where room may grow, and when it may shrink, by what is held for others, earliest first.
type Changes = Vec<(Time, NodeId)>;

fn changes(state: &ClusterState, holds: &Holds, job: JobId, now: Time, span: Time) -> (Changes, Changes) {
    let (mut rises, mut falls) = (Vec::new(), Vec::new());
    let mut add = |from: Time, until: Time, node: NodeId| {
        if until > now {
            rises.push((until, node));
        }
        // The window of a job that starts later than this reaches into the hold.
        falls.push((from.since(span) + INSTANT, node));
    };
    for (_, promise) in holds.promises().filter(|&(other, _)| other != job) {
        promise.places.iter().for_each(|&(node, ..)| add(promise.from, promise.until, node));
    }
    for node in state.node_ids() {
        holds.windows(node).iter().for_each(|window| add(window.from, window.until, node));
    }
    rises.sort_unstable();
    falls.sort_unstable();
    (rises, falls)
}

/// Two lists in order as one.
fn merge<'a>(
    left: &'a [(Time, NodeId)],
    right: &'a [(Time, NodeId)],
) -> impl Iterator<Item = (Time, NodeId)> + 'a {
    let (mut left, mut right) = (left.iter().copied().peekable(), right.iter().copied().peekable());
    core::iter::from_fn(move || match (left.peek(), right.peek()) {
        (Some(one), Some(other)) if other < one => right.next(),
        (Some(_), _) => left.next(),
        (None, _) => right.next(),
    })
}
