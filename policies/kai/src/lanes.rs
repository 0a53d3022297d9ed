//! Jobs that wait, by lane: those of a lane ask for the same in the same queue, so that one tells for all whether there
//! is room.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use foretell_framework::ClassId;
use foretell_framework::state::LevelConstraint;

use crate::model::{Amounts, Model, Part, Status, Task, WHOLE};
use crate::node::Node;
use crate::order::JobKey;

/// What of a part of a job decides where it fits: its minimum, the levels that keep it together.
type PodSetShape = (usize, Option<LevelConstraint>);

/// What tells a lane from others.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct LaneKey {
    queue: usize,
    is_preemptible: bool,
    classes: Vec<ClassId>,
    sets: Vec<PodSetShape>,
}

/// Jobs that ask for the same.
#[derive(Clone, Debug)]
pub(crate) struct Lane {
    /// What the tasks that are placed next come to, as queues count it.
    pub(crate) asked: Amounts,
    /// Those tasks, if they are of one class.
    pub(crate) alike: Option<Alike>,
    /// Whether less room never helps: tasks of one class that stay where they like.
    pub(crate) is_plain: bool,
}

/// Tasks of one class.
#[derive(Clone, Debug)]
pub(crate) struct Alike {
    class: ClassId,
    pub(crate) count: i64,
    request: Vec<i64>,
    share: Option<(usize, Part)>,
}

impl Alike {
    /// A single task.
    pub(crate) fn one(task: &Task) -> Self {
        Self { class: task.class, count: 1, request: task.request.clone(), share: task.share }
    }
}

/// Jobs that wait.
#[derive(Clone, Debug, Default)]
pub(crate) struct Waiting {
    pub(crate) lanes: Vec<Lane>,
    ids: BTreeMap<LaneKey, usize>,
    /// By queue and lane, in the order of their turns.
    pub(crate) by_queue: BTreeMap<usize, BTreeMap<usize, BTreeSet<JobKey>>>,
    /// Jobs that were decided upon since their turns were last put right, with the turns that they had.
    pub(crate) unsettled: Vec<(usize, usize, JobKey)>,
}

impl Node {
    /// No less than the number of tasks that fit that request this, and one of these shares of GPUs each, once what is being
    /// released is free; `None` if they request nothing.
    pub(crate) fn room(
        &self,
        request: &[i64],
        shares: impl IntoIterator<Item = (usize, Part)>,
    ) -> Option<i64> {
        let asked = request.iter().enumerate().filter(|&(_, &asked)| asked > 0);
        let by_dimension = asked.map(|(dimension, &asked)| self.free(dimension, true).max(0) / asked);
        let by_share = shares.into_iter().map(|(devices, part)| {
            let milli = self.part_milli(part).max(1);
            if milli > WHOLE {
                return 0;
            }
            let whole = self.whole_gpus(true) as i64 * (WHOLE / milli);
            let groups = self.shared().filter(|group| !group.is_whole(true));
            let parts = whole + groups.map(|group| (group.free_milli(true) / milli).max(0)).sum::<i64>();
            parts / devices.max(1) as i64
        });
        by_dimension.chain(by_share).min()
    }
}

impl Model {
    /// No less than the number of tasks of a class that fit on a node.
    pub(crate) fn room(&self, alike: &Alike, node: usize) -> i64 {
        self.room_on(&self.nodes[node], alike, node)
    }

    /// The same of a node as it would be.
    pub(crate) fn room_on(&self, would_be: &Node, alike: &Alike, node: usize) -> i64 {
        if !self.suits[alike.class.index()][node] {
            return 0;
        }
        would_be.room(&alike.request, alike.share).unwrap_or(i64::MAX)
    }

    /// Whether there could be room for tasks of one class: if not, there is none.
    pub(crate) fn could_hold(&self, alike: &Alike) -> bool {
        let mut left = alike.count;
        for node in 0..self.nodes.len() {
            left = left.saturating_sub(self.room(alike, node));
            if left <= 0 {
                return true;
            }
        }
        false
    }

    fn lane_key(&self, job: usize, tasks: &[usize]) -> LaneKey {
        let entry = &self.jobs[job];
        let mut sets: Vec<PodSetShape> =
            entry.pod_sets.iter().map(|set| (set.min_member, set.levels.clone())).collect();
        sets.extend(entry.group_sets.iter().map(|set| (0, set.levels.clone())));
        let classes = tasks.iter().map(|&task| self.tasks[task].class).collect();
        LaneKey { queue: entry.queue, is_preemptible: entry.is_preemptible, classes, sets }
    }

    /// The lane of a job, as it stands now, if any job has been in that lane.
    pub(crate) fn known_lane(&self, job: usize) -> Option<usize> {
        let found = || {
            let key = self.lane_key(job, &self.tasks_to_allocate(job, false));
            self.waiting.ids.get(&key).copied()
        };
        self.jobs[job].turn.map(|(lane, _)| lane).or_else(found)
    }

    /// The lane of a job, as it stands now.
    pub(crate) fn lane(&mut self, job: usize) -> usize {
        if let Some(lane) = self.known_lane(job) {
            return lane;
        }
        let tasks = self.tasks_to_allocate(job, false);
        let key = self.lane_key(job, &tasks);
        let alike = self.alike(&tasks);
        let stays_where_it_likes = |alike: &Alike| {
            alike.share.is_none_or(|(devices, _)| devices == 1) && self.is_unattached[alike.class.index()]
        };
        let is_plain = alike.as_ref().is_some_and(stays_where_it_likes)
            && key.sets.iter().all(|(_, levels)| levels.is_none());
        self.waiting.lanes.push(Lane { asked: self.sum(&tasks), alike, is_plain });
        self.waiting.ids.insert(key, self.waiting.lanes.len() - 1);
        self.waiting.lanes.len() - 1
    }

    /// Some tasks, if they are of one class.
    pub(crate) fn alike(&self, tasks: &[usize]) -> Option<Alike> {
        let first = &self.tasks[*tasks.first()?];
        let are_alike = tasks.iter().all(|&task| self.tasks[task].class == first.class);
        are_alike.then(|| Alike { count: tasks.len() as i64, ..Alike::one(first) })
    }

    /// What the tasks of a waiting job that are placed next come to.
    pub(crate) fn asked(&self, job: usize) -> Amounts {
        match self.jobs[job].turn {
            Some((lane, _)) => self.waiting.lanes[lane].asked,
            None => self.sum(&self.tasks_to_allocate(job, true)),
        }
    }

    // ---- Turns

    /// Gives a job its turn among those that wait, if it waits and could have its minimum.
    pub(crate) fn settle(&mut self, job: usize) {
        self.unsettle(job);
        let waits = |&task: &usize| self.tasks[task].place.status == Status::Pending;
        if self.jobs[job].tasks.iter().any(waits) && self.is_ready(job) {
            let (queue, lane, key) = (self.jobs[job].queue, self.lane(job), self.job_key(job, None));
            self.waiting.by_queue.entry(queue).or_default().entry(lane).or_default().insert(key);
            self.jobs[job].turn = Some((lane, key));
        }
    }

    /// Takes away the turn of a job. Returns what it was.
    pub(crate) fn unsettle(&mut self, job: usize) -> Option<(usize, JobKey)> {
        let (lane, key) = self.jobs[job].turn.take()?;
        let queue = self.jobs[job].queue;
        if let Some(lanes) = self.waiting.by_queue.get_mut(&queue) {
            if let Some(jobs) = lanes.get_mut(&lane) {
                jobs.remove(&key);
                if jobs.is_empty() {
                    lanes.remove(&lane);
                }
            }
            if lanes.is_empty() {
                self.waiting.by_queue.remove(&queue);
            }
        }
        Some((lane, key))
    }

    /// Gives those that were decided upon the turns that they have now.
    pub(crate) fn settle_all(&mut self) {
        for (job, ..) in core::mem::take(&mut self.waiting.unsettled) {
            self.settle(job);
        }
    }

    /// Gives a job its turn among victims, if some task of it holds a place to stay that can be taken back.
    pub(crate) fn expose(&mut self, job: usize) {
        let entry = &mut self.jobs[job];
        let queue = entry.queue;
        if let Some(key) = entry.victim_turn.take() {
            let victims = &mut self.victims[queue];
            victims.remove(&key);
        }
        if self.jobs[job].is_preemptible && self.jobs[job].active > 0 {
            let key = self.job_key(job, None);
            self.victims[queue].insert(key);
            self.jobs[job].victim_turn = Some(key);
        }
    }
}
