//! Places for the tasks of a job: all that it needs, or none.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use crate::cycle::Cycle;
use crate::lanes::Lane;
use crate::model::{Amounts, Place, Status, add};
use crate::turns::Turns;

/// Where a job's tasks are to go.
pub(crate) struct Target<'a> {
    pub(crate) nodes: &'a [usize],
    /// Whether places are only promised, even where there is room.
    pub(crate) only_promises: bool,
}

impl Cycle<'_> {
    /// Places what fits, job by job.
    pub(crate) fn allocate(&mut self) {
        let nodes: Vec<usize> = (0..self.model.nodes.len()).collect();
        let mut closed = BTreeSet::new();
        let mut turns = self.turns(false, Self::may_fit);
        while let Some(job) = turns.pop(&self.model, |job| {
            // Room only becomes less until the verb ends.
            self.model.jobs[job].turn.is_some_and(|(lane, _)| {
                closed.contains(&lane) || !self.may_fit(&self.model.waiting.lanes[lane], job)
            })
        }) {
            let checkpoint = self.model.checkpoint();
            let tasks = self.model.tasks_to_allocate(job, false);
            if !self.allocate_tasks(job, &tasks, &Target { nodes: &nodes, only_promises: false }) {
                self.model.roll_back(checkpoint);
                let lane = self.model.lane(job);
                if self.model.waiting.lanes[lane].is_plain && !self.model.has_repulsion {
                    closed.insert(lane);
                }
                continue;
            }
            let is_pipelined = self.should_wait(job);
            if is_pipelined {
                self.promise_only(job);
            }
            self.decide(None);
            if !is_pipelined && !self.model.tasks_to_allocate(job, false).is_empty() {
                turns.push(&self.model, job);
            }
        }
    }

    /// Jobs with tasks that wait, which could have their minimum; see [`Turns::new`].
    pub(crate) fn turns(&mut self, may_open: bool, is_open: impl Fn(&Self, &Lane, usize) -> bool) -> Turns {
        self.model.settle_all();
        Turns::new(&self.model, may_open, |lane, job| is_open(self, lane, job))
    }

    /// Whether its queues may hold what a job of a lane asks for, and there could be room for it.
    fn may_fit(&self, lane: &Lane, job: usize) -> bool {
        self.may_hold(job, &lane.asked)
            && lane.alike.as_ref().is_none_or(|alike| self.model.could_hold(alike))
    }

    /// Whether a job must wait for what it is promised before any of it starts.
    fn should_wait(&self, job: usize) -> bool {
        self.model.jobs[job].pod_sets.iter().any(|set| {
            let is_pipelined = |&task: &usize| self.model.tasks[task].place.status == Status::Pipelined;
            set.tasks.iter().any(is_pipelined) && self.model.active(&set.tasks) < set.min_member
        })
    }

    /// Makes promises of what a job was given in this trial.
    fn promise_only(&mut self, job: usize) {
        for task in self.model.jobs[job].tasks.clone() {
            let entry = &self.model.tasks[task];
            if entry.place.status == Status::Allocated && entry.decided.status == Status::Pending {
                let place = Place { status: Status::Pipelined, ..entry.place.clone() };
                self.model.set_place(task, place);
            }
        }
    }

    // ---- Limits

    /// Whether the queues of a job may hold that much more of it: none above its limit, and what cannot be taken back
    /// within what is deserved.
    pub(crate) fn may_hold(&self, job: usize, asked: &Amounts) -> bool {
        self.model.lineage(self.model.jobs[job].queue).all(|queue| {
            let queue = &self.model.queues[queue];
            let (mut held, mut held_for_good) = (queue.allocated, queue.allocated_for_good);
            add(&mut held, asked);
            add(&mut held_for_good, asked);
            (0..3).filter(|&resource| asked[resource] > 0).all(|resource| {
                let within = |held: i64, bound: Option<i64>| bound.is_none_or(|bound| held <= bound);
                within(held[resource], queue.limit[resource])
                    && (self.model.jobs[job].is_preemptible
                        || within(held_for_good[resource], queue.deserved[resource]))
            })
        })
    }

    // ---- Placement

    /// Places tasks of a job, all or none. What was placed of them when it fails, the caller rolls back.
    pub(crate) fn allocate_tasks(&mut self, job: usize, tasks: &[usize], target: &Target<'_>) -> bool {
        !tasks.is_empty()
            && self.may_hold(job, &self.model.sum(tasks))
            && self.allocate_group_set(job, 0, tasks, target.nodes, target.only_promises)
    }

    /// Places the tasks of a group of groups within one domain.
    fn allocate_group_set(
        &mut self,
        job: usize,
        set: usize,
        tasks: &[usize],
        nodes: &[usize],
        only_promises: bool,
    ) -> bool {
        let entry = self.model.jobs[job].group_sets[set].clone();
        let pod_sets = self.pod_sets_below(job, set);
        let of = |pod_sets: &[usize]| -> Vec<usize> {
            let belongs = |task: &&usize| pod_sets.contains(&self.model.tasks[**task].pod_set);
            tasks.iter().filter(belongs).copied().collect()
        };
        let own = of(&pod_sets);
        if own.is_empty() {
            return true;
        }
        let children: Vec<(usize, Vec<usize>)> =
            entry.group_sets.iter().map(|&child| (child, of(&self.pod_sets_below(job, child)))).collect();
        let leaves: Vec<(usize, Vec<usize>)> =
            entry.pod_sets.iter().map(|&child| (child, of(&[child]))).collect();
        let group: Vec<usize> = self.members(job, &pod_sets);
        for node_set in self.node_sets(entry.levels.as_ref(), &own, &group, nodes) {
            let checkpoint = self.model.checkpoint();
            let placed = children.iter().all(|(child, tasks)| {
                self.allocate_group_set(job, *child, tasks, &node_set.nodes, only_promises)
            }) && leaves.iter().all(|(child, tasks)| {
                self.allocate_pod_set(job, *child, tasks, &node_set.nodes, &node_set.preferred, only_promises)
            });
            if placed {
                return true;
            }
            self.model.roll_back(checkpoint);
        }
        false
    }

    fn pod_sets_below(&self, job: usize, set: usize) -> Vec<usize> {
        let entry = &self.model.jobs[job].group_sets[set];
        let mut found = entry.pod_sets.clone();
        for &child in &entry.group_sets {
            found.extend(self.pod_sets_below(job, child));
        }
        found
    }

    fn members(&self, job: usize, pod_sets: &[usize]) -> Vec<usize> {
        pod_sets.iter().flat_map(|&set| self.model.jobs[job].pod_sets[set].tasks.iter().copied()).collect()
    }

    fn allocate_pod_set(
        &mut self,
        job: usize,
        set: usize,
        tasks: &[usize],
        nodes: &[usize],
        preferred: &BTreeMap<usize, f64>,
        only_promises: bool,
    ) -> bool {
        if tasks.is_empty() {
            return true;
        }
        let entry = &self.model.jobs[job].pod_sets[set];
        for node_set in self.node_sets(entry.levels.as_ref(), tasks, &entry.tasks.clone(), nodes) {
            let checkpoint = self.model.checkpoint();
            let preferred = if node_set.preferred.is_empty() { preferred } else { &node_set.preferred };
            let mut tasks = tasks.iter();
            if tasks.all(|&task| self.allocate_task(task, &node_set.nodes, preferred, only_promises)) {
                return true;
            }
            self.model.roll_back(checkpoint);
        }
        false
    }

    fn allocate_task(
        &mut self,
        task: usize,
        nodes: &[usize],
        preferred: &BTreeMap<usize, f64>,
        only_promises: bool,
    ) -> bool {
        for node in self.ordered_nodes(task, nodes, preferred) {
            if !self.may_go(task, node, true) {
                continue;
            }
            let mut is_promise =
                only_promises || !self.model.nodes[node].fits(&self.model.tasks[task], false);
            let mut groups = Vec::new();
            if self.model.tasks[task].share.is_some() {
                let Some(shared) = self.shared_gpus(task, node) else { continue };
                is_promise |= shared.is_releasing;
                groups = shared.groups;
            }
            if is_promise {
                self.model.pipeline(task, node, groups);
            } else {
                self.model.set_place(task, Place::new(Status::Allocated, Some(node), groups));
            }
            return true;
        }
        false
    }
}
