//! Linear programs over shares of time: what every policy of Gavel has in common.

use alloc::collections::BTreeMap;
use alloc::vec;
use alloc::vec::Vec;

use crate::{Allocation, JobView, LinearProgram, Relation, Share, Unit, View};

/// Jobs that are alike in all that a program looks at; by symmetry some optimum treats them alike.
pub(crate) struct Group<'a> {
    /// In order of arrival; at least one.
    pub(crate) jobs: Vec<&'a JobView>,
}

impl Group<'_> {
    pub(crate) fn count(&self) -> f64 {
        self.jobs.len() as f64
    }

    /// What holds of all of them.
    pub(crate) fn job(&self) -> &JobView {
        self.jobs[0]
    }
}

/// Jobs of one class and weight together.
pub(crate) fn alike<'a>(view: &View<'a>) -> Vec<Group<'a>> {
    let mut groups: BTreeMap<(usize, u64), Vec<&'a JobView>> = BTreeMap::new();
    for job in view.jobs {
        groups.entry((job.class, job.weight.to_bits())).or_default().push(job);
    }
    groups.into_values().map(|jobs| Group { jobs }).collect()
}

/// Each job for itself.
pub(crate) fn singly<'a>(view: &View<'a>) -> Vec<Group<'a>> {
    view.jobs.iter().map(|job| Group { jobs: vec![job] }).collect()
}

/// A variable of the program: time of one unit of a group, or of two groups, on a type.
struct Column {
    variable: usize,
    gpu_type: usize,
    one: usize,
    other: Option<usize>,
}

/// A program whose variables are shares: of a job's time where it runs alone, and of time summed over all pairs of two
/// groups where jobs share GPUs.
pub(crate) struct Shares<'a, 'b> {
    pub(crate) program: LinearProgram,
    groups: &'b [Group<'a>],
    columns: Vec<Column>,
    types: usize,
    /// Per group: terms of the share of its time that a job is given.
    time: Vec<Vec<(usize, f64)>>,
    /// Per type: terms of the GPUs in use.
    room: Vec<Vec<(usize, f64)>>,
    /// Per group: terms of the steps per second of a job.
    speed: Vec<Vec<(usize, f64)>>,
}

impl<'a, 'b> Shares<'a, 'b> {
    /// Variables for jobs alone and, where `packs`, for pairs of jobs with as many GPUs.
    pub(crate) fn new(view: &View<'_>, groups: &'b [Group<'a>], packs: bool) -> Self {
        let types = view.workers.len();
        let empty = || vec![Vec::new(); groups.len()];
        let mut shares = Self {
            program: LinearProgram::default(),
            groups,
            columns: Vec::new(),
            types,
            time: empty(),
            room: vec![Vec::new(); types],
            speed: empty(),
        };
        for (one, group) in groups.iter().enumerate() {
            for gpu_type in 0..types {
                shares.add_single(one, group, gpu_type);
                for other in (one..groups.len()).filter(|_| packs) {
                    shares.add_pair(view, one, other, gpu_type);
                }
            }
        }
        shares
    }

    fn add_single(&mut self, one: usize, group: &Group<'_>, gpu_type: usize) {
        let steps_per_s = group.job().throughputs[gpu_type];
        if steps_per_s <= 0.0 {
            return;
        }
        let variable = self.program.variable(0.0);
        self.columns.push(Column { variable, gpu_type, one, other: None });
        self.time[one].push((variable, 1.0));
        self.room[gpu_type].push((variable, group.count() * f64::from(group.job().scale_factor)));
        self.speed[one].push((variable, steps_per_s));
    }

    fn add_pair(&mut self, view: &View<'_>, one: usize, other: usize, gpu_type: usize) {
        let (first, second) = (&self.groups[one], &self.groups[other]);
        let scale_factor = first.job().scale_factor;
        let (ours, theirs) = view.pairs.together(first.job().class, second.job().class, gpu_type);
        let fits = scale_factor == second.job().scale_factor && ours > 0.0 && theirs > 0.0;
        if !fits || (one == other && first.jobs.len() < 2) {
            return;
        }
        let (count, other_count) = (first.count(), second.count());
        let variable = self.program.variable(0.0);
        self.columns.push(Column { variable, gpu_type, one, other: Some(other) });
        self.room[gpu_type].push((variable, f64::from(scale_factor)));
        if one == other {
            self.time[one].push((variable, 2.0 / count));
            self.speed[one].push((variable, (ours + theirs) / count));
        } else {
            self.time[one].push((variable, 1.0 / count));
            self.speed[one].push((variable, ours / count));
            self.time[other].push((variable, 1.0 / other_count));
            self.speed[other].push((variable, theirs / other_count));
        }
    }

    /// Terms of the steps per second of a job of this group, times `factor`.
    pub(crate) fn speed(&self, group: usize, factor: f64) -> impl Iterator<Item = (usize, f64)> {
        self.speed[group].iter().map(move |&(variable, weight)| (variable, weight * factor))
    }

    /// Bounds the time of each job by `limit` (a variable that stands for the whole, or 1) and the use of each type by
    /// its GPUs.
    pub(crate) fn fit(&mut self, workers: &[u32], whole: Option<usize>) {
        let bounds = self.time.iter().map(|terms| (terms, 1.0));
        let rooms = self.room.iter().zip(workers).map(|(terms, &count)| (terms, f64::from(count)));
        let rows: Vec<(Vec<(usize, f64)>, f64)> = bounds
            .chain(rooms)
            .filter(|(terms, _)| !terms.is_empty())
            .map(|(terms, bound)| match whole {
                Some(whole) => (terms.iter().copied().chain([(whole, -bound)]).collect(), 0.0),
                None => (terms.clone(), bound),
            })
            .collect();
        for (terms, bound) in rows {
            self.program.constrain(terms, Relation::AtMost, bound);
        }
    }

    /// Adds to the objective what a unit of time alone is worth, per group and type.
    pub(crate) fn reward(&mut self, worth: impl Fn(&Group<'a>, usize) -> f64) {
        for column in self.columns.iter().filter(|column| column.other.is_none()) {
            self.program.objective[column.variable] += worth(&self.groups[column.one], column.gpu_type);
        }
    }

    /// The shares that a solution means, each value divided by `whole`.
    pub(crate) fn allocation(&self, values: &[f64], whole: f64) -> Allocation {
        let mut found: BTreeMap<Unit, Vec<f64>> = BTreeMap::new();
        for column in &self.columns {
            let value = values[column.variable] / whole;
            if value <= 1e-9 {
                continue;
            }
            for (unit, share) in self.units(column, value) {
                found.entry(unit).or_insert_with(|| vec![0.0; self.types])[column.gpu_type] += share.min(1.0);
            }
        }
        found.into_iter().map(|(unit, fractions)| Share { unit, fractions }).collect()
    }

    /// A group's time divided among its jobs, or two groups' time among few pairs such that all jobs of a group get the
    /// same.
    fn units(&self, column: &Column, value: f64) -> Vec<(Unit, f64)> {
        let jobs = &self.groups[column.one].jobs;
        let Some(other) = column.other else {
            return jobs.iter().map(|job| (Unit::single(job.id), value)).collect();
        };
        if other == column.one {
            let count = jobs.len();
            // In a ring, so that every job has two partners; two jobs have only each other.
            let pairs = if count == 2 { 1 } else { count };
            return (0..pairs)
                .map(|at| (Unit::pair(jobs[at].id, jobs[(at + 1) % count].id), value / pairs as f64))
                .collect();
        }
        let partners = &self.groups[other].jobs;
        let (each, each_partner) = (value / jobs.len() as f64, value / partners.len() as f64);
        let (mut at, mut partner) = (0, 0);
        let (mut left, mut partner_left) = (each, each_partner);
        let mut units = Vec::with_capacity(jobs.len() + partners.len());
        while at < jobs.len() && partner < partners.len() {
            let share = left.min(partner_left);
            units.push((Unit::pair(jobs[at].id, partners[partner].id), share));
            left -= share;
            partner_left -= share;
            if left <= 1e-12 {
                at += 1;
                left = each;
            }
            if partner_left <= 1e-12 {
                partner += 1;
                partner_left = each_partner;
            }
        }
        units
    }
}

/// Steps per second if a job's time is divided as the GPUs are over types.
pub(crate) fn proportional(job: &JobView, workers: &[u32]) -> f64 {
    let total: f64 = workers.iter().map(|&count| f64::from(count)).sum();
    job.throughputs.iter().zip(workers).map(|(steps, &count)| steps * f64::from(count) / total).sum()
}

/// The share on each type if every job has an equal part of the cluster for itself.
pub(crate) fn isolated_shares(scale_factor: u32, jobs: usize, workers: &[u32]) -> Vec<f64> {
    let part = |&count: &u32| f64::from(count) / (jobs as f64 * f64::from(scale_factor));
    let shares: Vec<f64> = workers.iter().map(part).collect();
    let sum = shares.iter().sum::<f64>().max(1.0);
    shares.into_iter().map(|share| share / sum).collect()
}
