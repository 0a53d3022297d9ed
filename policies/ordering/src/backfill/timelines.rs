//! The timelines of all nodes, kept from cycle to cycle, and the earliest window in them.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use foretell_framework::{ClassId, ClusterState, NodeId, Stamp, TaskSpec, Time, WHOLE_GPU_MILLI};

use super::holds::{Holds, Promise};
use super::timeline::{Clock, Timeline};

/// Some tasks of one class that need a window together.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Alike {
    /// The set of nodes that is left to them.
    pub(super) scope: u32,
    pub(super) class: ClassId,
    pub(super) count: u32,
    pub(super) span: Time,
}

/// Changes that are remembered one by one from cycle to cycle.
const RECENT_MAX: usize = 4096;

/// What every node is expected to have free.
#[derive(Default)]
pub(super) struct Timelines {
    clock: Clock,
    nodes: Vec<Timeline>,
    /// Of each node, the number of the latest change of its timeline.
    changes: Vec<u64>,
    latest_change: u64,
    /// The nodes of the latest changes, in order.
    recent: Vec<u32>,
    seen: Stamp,
    seen_jobs: Stamp,
    /// Nodes with tasks that have not started.
    moving: Vec<NodeId>,
    /// Of each node, what was seen of its holds.
    holds_seen: Vec<u64>,
    all_holds_seen: u64,
    /// Nodes on which shares of devices are held, and how many they are.
    with_shares: Vec<bool>,
    share_count: usize,
    fits: BTreeMap<(u32, ClassId), Fits>,
    /// Where one task was last found to have room first.
    starting: Vec<usize>,
    buffers: Buffers,
}

/// What a [sweep](Timelines::sweep) works with, kept so that none allocates.
#[derive(Default)]
struct Buffers {
    /// From when until when a task may start, and where.
    windows: Vec<(Time, Time, usize)>,
    instants: Vec<Time>,
    open: Vec<(Time, usize)>,
    rooms: Vec<(usize, u64)>,
}

/// When nodes have room for one task of a class.
#[derive(Default)]
struct Fits {
    /// The change of each node that was seen, and of all.
    seen: Vec<u64>,
    latest_seen: u64,
    gaps: Vec<Vec<(Time, Time)>>,
    /// Where the first gap of each node begins; never if it has none.
    firsts: Vec<Time>,
}

/// Whether tasks ask for nothing that timelines know nothing of.
pub(super) const fn is_plain(task: &TaskSpec) -> bool {
    task.gpus.count == 0 || task.gpus.milli == WHOLE_GPU_MILLI
}

impl Timelines {
    /// Begins a cycle: reads what changed since the last.
    pub(super) fn open(&mut self, state: &ClusterState, now: Time) {
        self.clock = Clock::at(now);
        if self.recent.len() > RECENT_MAX {
            self.recent.clear();
        }
        let count = state.nodes().len();
        if self.nodes.len() != count || self.seen < state.node_specs_changed() {
            self.nodes.resize_with(count, Timeline::default);
            self.changes.resize(count, 0);
            self.holds_seen.resize(count, 0);
            self.with_shares.resize(count, false);
            self.share_count = self.with_shares.iter().filter(|&&has_shares| has_shares).count();
            self.fits.clear();
            state.node_ids().for_each(|node| self.read(state, node));
        } else {
            let mut outdated: Vec<NodeId> = core::mem::take(&mut self.moving);
            outdated.extend(state.changed_since(self.seen));
            for job in state.jobs_changed_since(self.seen_jobs).filter_map(|job| state.job(job)) {
                if job.placed() > 0 {
                    let tasks = job.tasks().iter().filter_map(|&task| state.task(task)?.placement());
                    outdated.extend(tasks.map(|placement| placement.node));
                }
            }
            outdated.sort_unstable();
            outdated.dedup();
            for node in outdated {
                self.read(state, node);
            }
        }
        (self.seen, self.seen_jobs) = (state.stamp(), state.jobs_stamp());
        // What is held was noted by another clock.
        for node in 0..count {
            if self.nodes[node].is_held() {
                self.forget_holds(node);
            }
        }
    }

    fn forget_holds(&mut self, node: usize) {
        self.nodes[node].release();
        self.holds_seen[node] = u64::MAX;
        self.all_holds_seen = u64::MAX;
        self.change(node);
    }

    fn change(&mut self, node: usize) {
        self.latest_change += 1;
        self.changes[node] = self.latest_change;
        self.recent.push(node as u32);
    }

    /// Reads a node anew.
    pub(super) fn read(&mut self, state: &ClusterState, node: NodeId) {
        if self.nodes[node.index()].read(state, node, self.clock.now) {
            self.moving.push(node);
        }
        self.forget_holds(node.index());
    }

    /// Brings what is held up to date. Returns whether all of it can be told.
    pub(super) fn look_at_holds(&mut self, state: &ClusterState, holds: &Holds) -> bool {
        if self.all_holds_seen != holds.changes() {
            self.all_holds_seen = holds.changes();
            for node in 0..self.nodes.len() {
                let id = NodeId::new(node);
                if self.holds_seen[node] == holds.changes_of(id) {
                    continue;
                }
                self.holds_seen[node] = holds.changes_of(id);
                self.nodes[node].release();
                let mut has_shares = false;
                for hold in holds.on_node(id) {
                    let spec = state.class_spec(hold.class);
                    has_shares |= !is_plain(spec);
                    self.nodes[node].hold(self.clock, (hold.from, hold.until), spec, hold.count);
                }
                self.set_shares(node, has_shares);
                self.change(node);
            }
        }
        self.share_count == 0
    }

    fn set_shares(&mut self, node: usize, has_shares: bool) {
        let had = core::mem::replace(&mut self.with_shares[node], has_shares);
        self.share_count += usize::from(has_shares);
        self.share_count -= usize::from(had);
    }

    /// Takes note of a promise that was just added to what is held, which was up to date before.
    pub(super) fn hold(&mut self, state: &ClusterState, holds: &Holds, promise: &Promise) {
        for &(id, class, count) in &promise.places {
            let (node, spec) = (id.index(), state.class_spec(class));
            self.nodes[node].hold(self.clock, (promise.from, promise.until), spec, count);
            self.set_shares(node, self.with_shares[node] || !is_plain(spec));
            self.holds_seen[node] = holds.changes_of(id);
            self.change(node);
        }
        self.all_holds_seen = holds.changes();
    }

    fn refresh(&mut self, alike: Alike, task: &TaskSpec, eligible: &[bool]) {
        let fits = self.fits.entry((alike.scope, alike.class)).or_default();
        let count = self.nodes.len();
        if fits.seen.len() != count {
            fits.seen.resize(count, 0);
            fits.gaps.resize_with(count, Vec::new);
            fits.firsts.resize(count, Time::MAX);
        }
        let mut look = |node: usize| {
            if fits.seen[node] != self.changes[node] {
                fits.seen[node] = self.changes[node];
                if eligible[node] {
                    let gaps = &mut fits.gaps[node];
                    self.nodes[node].find_gaps(task, gaps);
                    fits.firsts[node] = gaps.first().map_or(Time::MAX, |&(start, _)| start);
                }
            }
        };
        let unseen = (self.latest_change - fits.latest_seen) as usize;
        if unseen <= self.recent.len() && unseen < count {
            let recent = &self.recent[self.recent.len() - unseen..];
            for &node in recent {
                look(node as usize);
            }
        } else {
            (0..count).for_each(look);
        }
        fits.latest_seen = self.latest_change;
    }

    /// The earliest instant at which tasks have room for their span. If that is not before `before`, any later instant may
    /// stand for it; if it is, `nodes` become some that have the room.
    pub(super) fn first(
        &mut self,
        state: &ClusterState,
        alike: Alike,
        eligible: &[bool],
        before: Time,
        nodes: &mut Vec<usize>,
    ) -> Option<Time> {
        let task = state.class_spec(alike.class);
        self.refresh(alike, task, eligible);
        if alike.count == 1 {
            let from = self.first_of_one(alike)?;
            nodes.clear();
            nodes.extend(self.starting.first());
            return Some(from);
        }
        let mut buffers = core::mem::take(&mut self.buffers);
        let mut first = |before: Option<Time>| {
            let mut first = None;
            self.sweep(alike, task, before, &mut buffers, |at, rooms| {
                first = Some(at);
                let mut left = u64::from(alike.count);
                nodes.clear();
                for &(node, room) in rooms.iter().filter(|&&(_, room)| room > 0) {
                    if left == 0 {
                        break;
                    }
                    nodes.push(node);
                    left = left.saturating_sub(room);
                }
                true
            });
            first
        };
        let later = || self.has_room_in_the_end(alike, task).then_some(before);
        let first = first(Some(before)).or_else(later).or_else(|| first(None));
        self.buffers = buffers;
        first
    }

    /// Whether tasks have room once nothing changes any more.
    fn has_room_in_the_end(&self, Alike { scope, class, count, .. }: Alike, task: &TaskSpec) -> bool {
        let Some(fits) = self.fits.get(&(scope, class)) else { return false };
        let open = |gaps: &Vec<(Time, Time)>| {
            gaps.last().is_some_and(|&(start, end)| start < Time::MAX && end == Time::MAX)
        };
        let nodes = fits.gaps.iter().zip(&self.nodes).filter(|(gaps, _)| open(gaps));
        let mut left = u64::from(count);
        for (_, node) in nodes {
            left = left.saturating_sub(node.room_in_the_end(task));
            if left == 0 {
                return true;
            }
        }
        false
    }

    /// The earliest instant at which one task has room for its span. All nodes that have it then are in `starting`.
    fn first_of_one(&mut self, Alike { scope, class, span, .. }: Alike) -> Option<Time> {
        let fits = self.fits.get(&(scope, class))?;
        let mut best_at = Time::MAX;
        self.starting.clear();
        for (node, &first) in fits.firsts.iter().enumerate() {
            if first == Time::MAX || self.clock.read(first) > best_at {
                continue;
            }
            for &(start, end) in &fits.gaps[node] {
                let start = self.clock.read(start);
                if start > best_at {
                    break;
                }
                if end >= start + span {
                    if start < best_at {
                        best_at = start;
                        self.starting.clear();
                    }
                    self.starting.push(node);
                    break;
                }
            }
        }
        (best_at < Time::MAX).then_some(best_at)
    }

    /// Whether these nodes together have room for tasks of this kind from an instant on.
    pub(super) fn fits_at(&self, state: &ClusterState, alike: Alike, at: Time, nodes: &[usize]) -> bool {
        let (at, task) = (at.max(self.clock.now), state.class_spec(alike.class));
        let mut left = u64::from(alike.count);
        nodes.iter().any(|&node| {
            left = left.saturating_sub(self.nodes[node].room(self.clock, task, at, at + alike.span));
            left == 0
        })
    }

    /// Goes through the instants at which several tasks have room, up to `before` if there is such a bound, until one is taken.
    /// What is handed out are nodes with their room.
    fn sweep(
        &self,
        alike: Alike,
        task: &TaskSpec,
        before: Option<Time>,
        Buffers { windows, instants, open, rooms }: &mut Buffers,
        mut take: impl FnMut(Time, &[(usize, u64)]) -> bool,
    ) {
        let is_asked_for = |at: Time| before.is_none_or(|before| at < before);
        let Alike { scope, class, count, span } = alike;
        let Some(fits) = self.fits.get(&(scope, class)) else { return };
        windows.clear();
        instants.clear();
        open.clear();
        for (node, gaps) in fits.gaps.iter().enumerate() {
            for &(start, end) in gaps {
                let start = self.clock.read(start);
                if !is_asked_for(start) {
                    break;
                }
                if end < start + span || start == Time::MAX {
                    continue;
                }
                let last = if end == Time::MAX { end } else { end.since(span) };
                windows.push((start, last, node));
                instants.push(start);
                let later = self.nodes[node].instants(self.clock, start, last);
                instants.extend(later.take_while(|&at| is_asked_for(at)));
            }
        }
        windows.sort_unstable();
        instants.sort_unstable();
        instants.dedup();
        let mut windows = windows.iter().peekable();
        for &at in &*instants {
            while let Some(&(_, last, node)) = windows.next_if(|&&(start, ..)| start <= at) {
                open.push((last, node));
            }
            open.retain(|&(last, _)| last >= at);
            rooms.clear();
            rooms.extend(
                open.iter().map(|&(_, node)| (node, self.nodes[node].room(self.clock, task, at, at + span))),
            );
            let total = rooms.iter().fold(0_u64, |total, &(_, room)| total.saturating_add(room));
            if total >= u64::from(count) && take(at, rooms) {
                return;
            }
        }
    }

    /// The earliest window that does not begin after `latest`, and the places in it: nodes that have little room now and
    /// little then, so that others find more elsewhere.
    pub(super) fn earliest(
        &mut self,
        state: &ClusterState,
        alike: Alike,
        eligible: &[bool],
        latest: Time,
    ) -> Option<Promise> {
        let task = state.class_spec(alike.class);
        self.refresh(alike, task, eligible);
        let (clock, span) = (self.clock, alike.span);
        let is_in_time = |at: Time| at == clock.now || at <= latest;
        let (from, mut rooms) = if alike.count == 1 {
            let from = self.first_of_one(alike)?;
            let mut best: Option<(u64, usize)> = None;
            for &node in &self.starting {
                let room = self.nodes[node].room(clock, task, from, from + span);
                if best.is_none_or(|best| room < best.0) {
                    best = Some((room, node));
                    if room == 1 {
                        break;
                    }
                }
            }
            (from, best.into_iter().map(|(room, node)| (node, room)).collect::<Vec<_>>())
        } else {
            let mut found = None;
            let mut buffers = core::mem::take(&mut self.buffers);
            self.sweep(alike, task, None, &mut buffers, |at, rooms| {
                found = Some((at, rooms.to_vec()));
                true
            });
            self.buffers = buffers;
            found?
        };
        if !is_in_time(from) {
            return None;
        }
        if rooms.len() > 1 {
            let at_first = |node: usize| self.nodes[node].room(clock, task, clock.now, clock.now + span);
            rooms.sort_by_cached_key(|&(node, room)| (at_first(node), room, node));
        }
        let mut left = u64::from(alike.count);
        let mut places = Vec::with_capacity(rooms.len().min(alike.count as usize));
        for (node, room) in rooms.into_iter().filter(|&(_, room)| room > 0) {
            let taken = room.min(left);
            places.push((NodeId::new(node), alike.class, taken as u32));
            left -= taken;
            if left == 0 {
                break;
            }
        }
        (left == 0).then_some(Promise { from, until: from + span, places })
    }
}
