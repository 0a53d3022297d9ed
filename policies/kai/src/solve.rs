//! The search for victims: sets of them are tried in a simulation, from none on, until one makes room and is allowed.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use crate::allocate::Target;
use crate::cycle::Cycle;
use crate::model::{Amounts, Model, Status};
use crate::order::JobsByQueue;
use crate::shadow::{Rooms, Shadows};
use crate::turns::{Candidates, Victims};

/// For whom room is made, and of whom.
pub(crate) struct Search<'a> {
    /// The job that waits.
    pub(crate) job: usize,
    /// Jobs that may be victims.
    pub(crate) candidates: Candidates,
    /// Whether they keep their minimum.
    pub(crate) is_protected: fn(&Cycle<'_>, &Self, usize) -> bool,
    /// The most tasks that may be told to stop.
    pub(crate) max_victims: usize,
    /// What each queue held before.
    pub(crate) held_before: &'a [Amounts],
    /// By queue, whether its jobs may only be moved: to stop one would break the rule.
    pub(crate) must_move: &'a [bool],
}

/// What became of those who were told to stop in a trial.
pub(crate) struct Fate {
    /// Without another place.
    pub(crate) stopped: Vec<usize>,
    /// With a promise of another place.
    pub(crate) moved: Vec<usize>,
}

/// Lanes of jobs for which a verb found no room, so that it looks no further for others that ask for the same.
#[derive(Default)]
pub(crate) struct InVain(BTreeSet<usize>);

impl InVain {
    /// Whether the search was in vain for a job like this one, of no less priority: it was taken before.
    pub(crate) fn covers(&self, model: &Model, job: usize) -> bool {
        !self.0.is_empty() && model.known_lane(job).is_some_and(|lane| self.0.contains(&lane))
    }

    /// Remembers that the search was in vain.
    pub(crate) fn add(&mut self, model: &mut Model, job: usize) {
        self.0.insert(model.lane(job));
    }
}

/// Whether a trial is allowed.
pub(crate) type Rule = fn(&Cycle<'_>, &Search<'_>, &Fate) -> bool;

impl Cycle<'_> {
    /// Makes room for a job: task by task, each with the victims found for those before and as few more as do. Leaves the
    /// trial as it succeeded, or as it was.
    pub(crate) fn solve(&mut self, search: &Search<'_>, rule: Rule) -> bool {
        let start = self.model.checkpoint();
        let tasks = self.model.tasks_to_allocate(search.job, false);
        let must_all_move = |queue: usize| {
            search.must_move[queue] || search.candidates.last(&self.model, queue, None).is_none()
        };
        // If nobody may be stopped, there must be room for all together.
        if (0..self.model.queues.len()).all(must_all_move) && !self.model.has_spare(&self.model.sum(&tasks)) {
            return false;
        }
        let used_before = self.model.used(&self.model.jobs[search.job].tasks);
        let mut victims = Vec::new();
        for count in 1..=tasks.len() {
            self.model.roll_back(start);
            match self.solve_part(search, &tasks[..count], &victims, rule) {
                Some(found) => victims = found,
                None => return false,
            }
        }
        let used = self.model.used(&self.model.jobs[search.job].tasks);
        if used > used_before && self.model.has_minimum(search.job) {
            return true;
        }
        self.model.roll_back(start);
        false
    }

    /// Makes room for some tasks. Returns all who were told to stop for it.
    fn solve_part(
        &mut self,
        search: &Search<'_>,
        tasks: &[usize],
        known: &[usize],
        rule: Rule,
    ) -> Option<Vec<usize>> {
        let rooms = self.model.alike(tasks).map(|alike| Rooms::new(&self.model, alike));
        let claim = rooms.as_ref().filter(|_| known.is_empty());
        let mut shadows = claim.map(|claim| Shadows::new(tasks[0], claim, self.config.gpu_sharing));
        if let Some(victims) = self.attempt(search, tasks, known.to_vec(), rooms.as_ref(), None, rule) {
            return Some(victims);
        }
        let mut queue = Victims::new(&self.model, search.candidates);
        let mut groups: Vec<Vec<usize>> = Vec::new();
        let mut count = known.len();
        while let Some(victim) = queue.pop(&self.model) {
            let rest = queue.rest_of(&self.model, victim);
            let keeps_minimum = (search.is_protected)(self, search, victim);
            let (chosen, rest) = self.model.tasks_to_evict(victim, &rest, keeps_minimum);
            if !rest.is_empty() {
                queue.push_rest(&self.model, victim, rest);
            }
            if chosen.is_empty() || chosen.iter().any(|task| known.contains(task)) {
                continue;
            }
            queue.take(&self.model, self.model.jobs[victim].queue, &chosen);
            count += chosen.len();
            if count > search.max_victims {
                return None;
            }
            let mut nodes: Vec<usize> = Vec::new();
            for node in chosen.iter().filter_map(|&task| self.model.tasks[task].place.node) {
                if !nodes.contains(&node) {
                    nodes.push(node);
                }
            }
            if let Some(shadows) = &mut shadows {
                shadows.add(&self.model, &chosen, search.must_move[self.model.jobs[victim].queue]);
            }
            groups.push(chosen);
            for node in nodes {
                if shadows.as_mut().is_some_and(|shadows| shadows.is_hopeless(&self.model, node)) {
                    continue;
                }
                let is_here = |task: &usize| self.model.tasks[*task].place.node == Some(node);
                let here = groups.iter().filter(|group| group.iter().any(is_here));
                let victims: Vec<usize> = known.iter().chain(here.flatten()).copied().collect();
                if let Some(victims) = self.attempt(
                    search,
                    tasks,
                    victims,
                    rooms.as_ref(),
                    shadows.as_ref().map(|shadows| (shadows, node)),
                    rule,
                ) {
                    return Some(victims);
                }
            }
        }
        None
    }

    /// Tells victims to stop, promises the tasks a place, then places victims again where there is room left. Returns the
    /// victims and leaves the trial as it is if that is allowed.
    fn attempt(
        &mut self,
        search: &Search<'_>,
        tasks: &[usize],
        victims: Vec<usize>,
        rooms: Option<&Rooms>,
        shadows: Option<(&Shadows<'_>, usize)>,
        rule: Rule,
    ) -> Option<Vec<usize>> {
        let start = self.model.checkpoint();
        for &victim in &victims {
            self.model.evict(victim);
        }
        if rooms.is_some_and(|rooms| !rooms.could_hold_without(&self.model, &victims)) {
            self.model.roll_back(start);
            return None;
        }
        if self.promise(search.job, tasks, shadows) && self.place_again(&victims, shadows, search.must_move) {
            let with = |status: Status| {
                let tasks = victims.iter().copied();
                tasks.filter(|&task| self.model.tasks[task].place.status == status).collect()
            };
            let fate = Fate { stopped: with(Status::Releasing), moved: with(Status::Pipelined) };
            if rule(self, search, &fate) {
                return Some(victims);
            }
        }
        self.model.roll_back(start);
        None
    }

    /// Promises tasks of a job a place, all or none; see [`Self::allocate_tasks`].
    fn promise(&mut self, job: usize, tasks: &[usize], shadows: Option<(&Shadows<'_>, usize)>) -> bool {
        let known = shadows.and_then(|(shadows, node)| shadows.nodes_for(&self.model, tasks, node));
        let nodes = known.unwrap_or_else(|| (0..self.model.nodes.len()).collect());
        self.allocate_tasks(job, tasks, &Target { nodes: &nodes, only_promises: true })
    }

    /// Places victims again where there is room left. Whether the rule can still hold: not if one stops that must not.
    fn place_again(
        &mut self,
        victims: &[usize],
        shadows: Option<(&Shadows<'_>, usize)>,
        must_move: &[bool],
    ) -> bool {
        let mut jobs: Vec<usize> = Vec::new();
        for &victim in victims {
            let job = self.model.tasks[victim].job;
            if !jobs.contains(&job) {
                jobs.push(job);
            }
        }
        let mut queue = JobsByQueue::new(&self.model, jobs);
        while let Some(job) = queue.pop(&self.model) {
            let tasks = self.model.tasks_to_allocate(job, true);
            let checkpoint = self.model.checkpoint();
            if self.promise(job, &tasks, shadows) {
                let is_victim = |&task: &usize| self.model.tasks[task].is_trial_victim();
                if self.model.jobs[job].tasks.iter().any(is_victim) {
                    queue.push(&self.model, job);
                }
            } else if must_move[self.model.jobs[job].queue] {
                return false;
            } else {
                self.model.roll_back(checkpoint);
            }
        }
        true
    }
}
