//! A cycle's picture of the cluster, in which victims and placements are tried before anything is decided.
//!
//! It counts as KAI-Scheduler's session does: what is idle, what is on its way out (releasing), and what is promised of
//! both to tasks that cannot start yet (pipelined). Whole GPUs are counted; devices that tasks share are groups.

use alloc::boxed::Box;
use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use foretell_framework::state::LevelConstraint;
use foretell_framework::{ClassId, JobId, Stamp, TaskId, Time};

use crate::lanes::Waiting;
use crate::node::{ACTIVE, Node, PIPELINED, RELEASING, account_on};
use crate::order::JobKey;
use crate::read::Basis;

/// What queues are measured by.
pub(crate) const RESOURCES: usize = 3;

/// CPU in thousandths of a core, memory in bytes, GPUs in thousandths.
pub(crate) type Amounts = [i64; RESOURCES];

/// Position of CPU in amounts and in a node's dimensions.
pub(crate) const CPU: usize = 0;
/// Position of memory.
pub(crate) const MEMORY: usize = 1;
/// Position of GPUs.
pub(crate) const GPU: usize = 2;
/// A whole GPU.
pub(crate) const WHOLE: i64 = 1000;
/// Names of groups that tasks share and that no device stands for yet begin here.
pub(crate) const FIRST_NEW_GROUP: u32 = 1 << 16;

/// Where a task stands in the cycle.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Status {
    /// It waits.
    Pending,
    /// It waits and must not be placed yet.
    Gated,
    /// It was given a place in this cycle.
    Allocated,
    /// It has had its place since before.
    Running,
    /// It was told to stop and still holds its place.
    Releasing,
    /// It is promised a place that is not free yet.
    Pipelined,
    /// It has ended.
    Ended,
}

impl Status {
    /// Whether it holds a place to stay.
    pub(crate) const fn is_active(self) -> bool {
        matches!(self, Self::Allocated | Self::Running)
    }

    /// Whether it holds a place or is promised one.
    pub(crate) const fn is_used(self) -> bool {
        matches!(self, Self::Allocated | Self::Running | Self::Pipelined)
    }
}

/// Where a task is or is to be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Place {
    pub(crate) status: Status,
    pub(crate) node: Option<usize>,
    /// The devices that it shares.
    pub(crate) groups: Vec<u32>,
    /// Of a task that is promised another place: the one that it is to leave, and the devices that it shares there.
    pub(crate) leaving: Option<(usize, Vec<u32>)>,
}

impl Place {
    /// A place that is not left for another.
    pub(crate) const fn new(status: Status, node: Option<usize>, groups: Vec<u32>) -> Self {
        Self { status, node, groups, leaving: None }
    }
}

/// The part of GPUs that a task asks for.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum Part {
    /// Thousandths of a device.
    Milli(i64),
    /// MiB of a device.
    MemoryMib(f64),
}

/// A task.
#[derive(Clone, Debug)]
pub(crate) struct Task {
    pub(crate) id: TaskId,
    pub(crate) job: usize,
    /// Its position in [`Job::pod_sets`].
    pub(crate) pod_set: usize,
    pub(crate) class: ClassId,
    /// By dimension of nodes; GPUs only if it asks for whole ones.
    pub(crate) request: Vec<i64>,
    /// Number of devices of which it asks for a part, and the part.
    pub(crate) share: Option<(usize, Part)>,
    /// As queues count it.
    pub(crate) amounts: Amounts,
    /// Larger goes first within its job.
    pub(crate) priority: i64,
    /// The node where room was being made for it before the cycle.
    pub(crate) nominated: Option<usize>,
    pub(crate) place: Place,
    /// Its place as last decided.
    pub(crate) decided: Place,
}

impl Task {
    /// Stands for no task.
    pub(crate) fn vacant() -> Self {
        let nowhere = Place::new(Status::Ended, None, Vec::new());
        Self {
            id: TaskId::default(),
            job: 0,
            pod_set: 0,
            class: ClassId::new(0),
            request: Vec::new(),
            share: None,
            amounts: [0; 3],
            priority: 0,
            nominated: None,
            place: nowhere.clone(),
            decided: nowhere,
        }
    }

    /// Whether it has been told to stop in a trial that is not decided.
    pub(crate) fn is_trial_victim(&self) -> bool {
        self.place.status == Status::Releasing && self.decided.status.is_active()
    }

    /// Whether it could be given a place; in a trial, what was told to stop can too.
    pub(crate) fn is_waiting(&self, in_trial: bool) -> bool {
        self.place.status == Status::Pending || (in_trial && self.is_trial_victim())
    }

    /// Whether it asks for GPUs of any kind.
    pub(crate) fn wants_gpus(&self) -> bool {
        self.amounts[GPU] > 0 || self.share.is_some()
    }
}

/// Tasks with a minimum of their own.
#[derive(Clone, Debug, Default)]
pub(crate) struct PodSet {
    pub(crate) name: Box<str>,
    pub(crate) min_member: usize,
    pub(crate) levels: Option<LevelConstraint>,
    /// In the order in which they are placed.
    pub(crate) tasks: Vec<usize>,
}

/// Groups that are kept together.
#[derive(Clone, Debug, Default)]
pub(crate) struct GroupSet {
    pub(crate) levels: Option<LevelConstraint>,
    /// Positions in [`Job::group_sets`].
    pub(crate) group_sets: Vec<usize>,
    /// Positions in [`Job::pod_sets`].
    pub(crate) pod_sets: Vec<usize>,
}

/// A job. One without tasks may stand for none.
#[derive(Clone, Debug, Default)]
pub(crate) struct Job {
    pub(crate) id: JobId,
    pub(crate) queue: usize,
    pub(crate) priority: i32,
    pub(crate) is_preemptible: bool,
    pub(crate) sequence: u64,
    pub(crate) tasks: Vec<usize>,
    pub(crate) pod_sets: Vec<PodSet>,
    /// The first is the job as a whole.
    pub(crate) group_sets: Vec<GroupSet>,
    /// When it last got its minimum.
    pub(crate) last_start: Option<Time>,
    /// Since when it has run without its minimum.
    pub(crate) stale_since: Option<Time>,
    /// Whether some task of it has ended well.
    pub(crate) has_succeeded: bool,
    /// What its tasks held or asked for when it was read.
    pub(crate) request: Amounts,
    /// How many of its tasks hold a place to stay.
    pub(crate) active: usize,
    /// Its lane and its place there, while it waits for its turn.
    pub(crate) turn: Option<(usize, JobKey)>,
    /// Its place among victims.
    pub(crate) victim_turn: Option<JobKey>,
}

/// A queue.
#[derive(Clone, Debug)]
pub(crate) struct Queue {
    pub(crate) parent: Option<usize>,
    pub(crate) children: Vec<usize>,
    pub(crate) priority: i32,
    /// `None` is everything.
    pub(crate) deserved: [Option<i64>; 3],
    /// `None` is no limit.
    pub(crate) limit: [Option<i64>; 3],
    pub(crate) over_quota_weight: [f64; 3],
    /// What its tasks hold or are promised.
    pub(crate) allocated: Amounts,
    /// Of that, what cannot be taken back.
    pub(crate) allocated_for_good: Amounts,
    /// What its tasks held or asked for when the cycle began.
    pub(crate) request: Amounts,
    pub(crate) fair_share: Amounts,
    pub(crate) preempt_min_runtime: Option<Time>,
    pub(crate) reclaim_min_runtime: Option<Time>,
}

impl Queue {
    /// What it may hold before others can take it back: its fair share, or what it deserves if that is more.
    pub(crate) fn allocatable_share(&self, resource: usize) -> Option<i64> {
        self.deserved[resource].map(|deserved| deserved.max(self.fair_share[resource]))
    }
}

/// The cluster in a cycle, and what is being tried.
#[derive(Clone, Debug)]
pub(crate) struct Model {
    pub(crate) now: Time,
    pub(crate) nodes: Vec<Node>,
    pub(crate) queues: Vec<Queue>,
    /// By slot.
    pub(crate) jobs: Vec<Job>,
    /// By slot.
    pub(crate) tasks: Vec<Task>,
    /// Jobs that wait and could have their minimum.
    pub(crate) waiting: Waiting,
    /// By queue, jobs of which some task holds a place that can be taken back.
    pub(crate) victims: Vec<BTreeSet<JobKey>>,
    /// Queues that no other contains.
    pub(crate) roots: Vec<usize>,
    /// By class of tasks: which nodes can ever take one.
    pub(crate) suits: Vec<Vec<bool>>,
    /// By class of tasks: whether they are indifferent to other tasks.
    pub(crate) is_unattached: Vec<bool>,
    /// Jobs that ran without their minimum when they were read.
    pub(crate) stale: BTreeSet<usize>,
    /// Jobs of which a task was decided upon since they were read.
    pub(crate) decided: BTreeSet<usize>,
    /// CPU, memory and GPUs of all nodes.
    pub(crate) total: Amounts,
    /// GPUs that a unit of each dimension counts for (parts of GPUs by MIG).
    pub(crate) mig_gpus: Vec<i64>,
    /// Tasks on each node or promised to it.
    pub(crate) on_node: Vec<Vec<usize>>,
    /// Whether any task keeps others away.
    pub(crate) has_repulsion: bool,
    /// Whether any task asks for a part of a GPU by its memory, which is another part on another node.
    pub(crate) has_parts_by_memory: bool,
    /// What of the state the picture was made for.
    pub(crate) basis: Basis,
    /// Up to where changes of nodes and jobs have been read.
    pub(crate) seen_nodes: Stamp,
    pub(crate) seen_jobs: Stamp,
    next_group: u32,
    /// Changes of the trial, with the places before.
    log: Vec<(usize, Place)>,
}

impl Model {
    pub(crate) fn new(now: Time) -> Self {
        Self {
            now,
            basis: Basis::NONE,
            seen_nodes: Stamp::ZERO,
            seen_jobs: Stamp::ZERO,
            nodes: Vec::new(),
            queues: Vec::new(),
            jobs: Vec::new(),
            tasks: Vec::new(),
            waiting: Waiting::default(),
            victims: Vec::new(),
            roots: Vec::new(),
            suits: Vec::new(),
            is_unattached: Vec::new(),
            stale: BTreeSet::new(),
            decided: BTreeSet::new(),
            total: [0; 3],
            mig_gpus: Vec::new(),
            on_node: Vec::new(),
            has_repulsion: false,
            has_parts_by_memory: false,
            next_group: FIRST_NEW_GROUP,
            log: Vec::new(),
        }
    }

    /// Begins another cycle.
    pub(crate) fn begin(&mut self, now: Time) {
        self.now = now;
        self.waiting.unsettled.clear();
        self.next_group = FIRST_NEW_GROUP;
    }

    /// A name for a group that is on no device yet.
    pub(crate) const fn new_group(&mut self) -> u32 {
        self.next_group += 1;
        self.next_group
    }

    // ---- The trial

    /// A point of the trial to which it can be rolled back.
    pub(crate) const fn checkpoint(&self) -> usize {
        self.log.len()
    }

    /// Undoes everything since the point.
    pub(crate) fn roll_back(&mut self, checkpoint: usize) {
        while self.log.len() > checkpoint {
            if let Some((task, place)) = self.log.pop() {
                self.put(task, place);
            }
        }
    }

    /// Ends the trial as decided; returns the tasks that were moved with their places before, each once, in order of
    /// their first change.
    pub(crate) fn decide(&mut self) -> Vec<(usize, Place)> {
        let mut moved: Vec<(usize, Place)> = Vec::new();
        let log = core::mem::take(&mut self.log);
        for (task, _) in log {
            // Seen before, it is where it was decided to be.
            let entry = &mut self.tasks[task];
            let before = core::mem::replace(&mut entry.decided, entry.place.clone());
            if before != entry.decided {
                self.decided.insert(entry.job);
                moved.push((task, before));
            }
        }
        moved
    }

    /// Moves a task as part of the trial.
    pub(crate) fn set_place(&mut self, task: usize, place: Place) {
        let before = self.tasks[task].place.clone();
        self.log.push((task, before));
        self.put(task, place);
    }

    /// Tells a task to stop.
    pub(crate) fn evict(&mut self, task: usize) {
        let place = Place { status: Status::Releasing, ..self.tasks[task].place.clone() };
        self.set_place(task, place);
    }

    /// Promises a place. One that a victim of the trial had before is simply kept.
    pub(crate) fn pipeline(&mut self, task: usize, node: usize, groups: Vec<u32>) {
        let Task { decided, place, .. } = &self.tasks[task];
        let place = if decided.status.is_active() && decided.node == Some(node) && decided.groups == groups {
            decided.clone()
        } else {
            let is_leaving = place.status == Status::Releasing;
            let leaving = place.node.filter(|_| is_leaving).map(|node| (node, place.groups.clone()));
            Place { status: Status::Pipelined, node: Some(node), groups, leaving }
        };
        self.set_place(task, place);
    }

    /// Puts a task where the driver says that it is.
    pub(crate) fn observe(&mut self, task: usize, place: Place) {
        self.tasks[task].decided = place.clone();
        self.put(task, place);
    }

    /// Takes a task out of the picture.
    pub(crate) fn forget(&mut self, task: usize) {
        self.account(task, -1);
        self.tasks[task] = Task::vacant();
    }

    fn put(&mut self, task: usize, place: Place) {
        self.account(task, -1);
        self.tasks[task].place = place;
        self.account(task, 1);
    }

    /// Adds what a task holds to its nodes and queues, or takes it away.
    fn account(&mut self, index: usize, sign: i64) {
        let Place { status, node, .. } = self.tasks[index].place;
        let Some(node) = node else { return };
        let kind = match status {
            Status::Allocated | Status::Running => ACTIVE,
            Status::Releasing => RELEASING,
            Status::Pipelined => PIPELINED,
            Status::Pending | Status::Gated | Status::Ended => return,
        };
        let task = &self.tasks[index];
        let on_node = &mut self.on_node[node];
        if sign > 0 {
            on_node.push(index);
        } else {
            on_node.retain(|&other| other != index);
        }
        account_on(&mut self.nodes[node], task, &task.place.groups, kind, sign);
        if let Some((node, groups)) = &task.place.leaving {
            account_on(&mut self.nodes[*node], task, groups, RELEASING, sign);
        }
        if kind == RELEASING {
            return;
        }
        let job = &mut self.jobs[task.job];
        if kind == ACTIVE {
            job.active = job.active.saturating_add_signed(sign as isize);
        }
        let mut next = Some(job.queue);
        while let Some(queue) = next {
            let queue = &mut self.queues[queue];
            for (resource, amount) in task.amounts.iter().enumerate() {
                queue.allocated[resource] += sign * amount;
                if !job.is_preemptible {
                    queue.allocated_for_good[resource] += sign * amount;
                }
            }
            next = queue.parent;
        }
    }

    // ---- Questions

    /// A queue and those that contain it, up to the root.
    pub(crate) fn lineage(&self, queue: usize) -> impl Iterator<Item = usize> {
        core::iter::successors(Some(queue), |&queue| self.queues[queue].parent)
    }

    /// What tasks come to, as queues count it.
    pub(crate) fn sum(&self, tasks: &[usize]) -> Amounts {
        let mut sum = [0; 3];
        for &task in tasks {
            add(&mut sum, &self.tasks[task].amounts);
        }
        sum
    }

    /// Whether the nodes together have that much left, once what is being released is free: if not, moving tasks about
    /// makes no room for it.
    pub(crate) fn has_spare(&self, asked: &Amounts) -> bool {
        let has_mig = self.mig_gpus.iter().any(|&gpus| gpus > 0);
        (0..3).all(|dimension| {
            // Parts of GPUs that are not the same everywhere have no sum.
            if asked[dimension] == 0 || (dimension == GPU && (has_mig || self.has_parts_by_memory)) {
                return true;
            }
            let parts = |node: &Node| -> i64 {
                let shared = node.shared().filter(|group| dimension == GPU && !group.is_whole(true));
                shared.map(|group| group.free_milli(true).max(0)).sum()
            };
            let free = self.nodes.iter().map(|node| node.free(dimension, true).max(0) + parts(node));
            free.sum::<i64>() >= asked[dimension]
        })
    }

    /// How many of some tasks hold a place to stay.
    pub(crate) fn active(&self, tasks: &[usize]) -> usize {
        tasks.iter().filter(|&&task| self.tasks[task].place.status.is_active()).count()
    }

    /// How many of some tasks hold a place or are promised one.
    pub(crate) fn used(&self, tasks: &[usize]) -> usize {
        tasks.iter().filter(|&&task| self.tasks[task].place.status.is_used()).count()
    }

    /// Whether a job runs without its minimum.
    pub(crate) fn is_stale(&self, job: usize) -> bool {
        let entry = &self.jobs[job];
        entry.active > 0 && !entry.has_succeeded && !self.has_minimum(job)
    }

    /// Whether every part of a job has its minimum.
    pub(crate) fn has_minimum(&self, job: usize) -> bool {
        self.jobs[job].pod_sets.iter().all(|set| self.used(&set.tasks) >= set.min_member)
    }
}

/// Adds amounts.
pub(crate) fn add(sum: &mut Amounts, amounts: &Amounts) {
    for (sum, amount) in sum.iter_mut().zip(amounts) {
        *sum += amount;
    }
}

/// Subtracts amounts.
pub(crate) fn subtract(sum: &mut Amounts, amounts: &Amounts) {
    for (sum, amount) in sum.iter_mut().zip(amounts) {
        *sum -= amount;
    }
}
