//! Jobs that wait, and the order in which they are tried.
//!
//! Jobs that only their age tells apart stay in order of submission as it grows, so that each such group is a line of its
//! own, and the line of all is merged from the heads of those: nobody is looked at whose turn does not come.

use alloc::boxed::Box;
use alloc::collections::binary_heap::PeekMut;
use alloc::collections::{BTreeMap, BinaryHeap};
use alloc::vec::Vec;
use core::cmp::Reverse;

use foretell_framework::state::{ACCOUNT_ANNOTATION, JobSpec};
use foretell_framework::{ClusterState, Job, JobId, Time};

use crate::config::SlurmConfig;
use crate::fair_share::Association;
use crate::limits::Held;

/// All that priority goes by, apart from age.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Kind {
    partition: Option<usize>,
    association: usize,
    /// The position of the QOS.
    qos: Option<usize>,
    nodes: u64,
    cpu_milli: u64,
    own_priority: i32,
}

impl Kind {
    fn of(state: &ClusterState, config: &SlurmConfig, job: &Job, association: usize) -> Self {
        let held = Held::by(state, job);
        Self {
            partition: config.partition(&state.queue(job.spec.queue).name),
            association,
            qos: config
                .qos(&job.spec)
                .and_then(|qos| config.qos.iter().position(|known| core::ptr::eq(known, qos))),
            nodes: held.nodes,
            cpu_milli: held.cpu_milli,
            own_priority: job.spec.priority,
        }
    }
}

/// Submission, sequence, job.
type Place = (Time, u64, JobId);

/// The jobs that wait.
#[derive(Default)]
pub(crate) struct Waiting {
    places: BTreeMap<JobId, (usize, Place)>,
    /// Of each kind, those that wait, in order, each with its number among all that ever began to.
    groups: Vec<(Kind, Vec<(Place, u64)>)>,
    /// How many ever began to wait.
    count: u64,
    group_of: BTreeMap<Kind, usize>,
    associations: Vec<Association>,
    association_of: BTreeMap<Association, usize>,
}

/// A job's turn: by tier and priority, highest first, then by submission. With its group, and where it was in it.
type Turn = Reverse<(Reverse<(u32, i64)>, Place, usize, usize)>;

/// The line of all, as far as it was gone through.
pub(crate) struct Line {
    now: Time,
    max_age: Time,
    /// Of each group: tier, and the terms of its priority in order, of which age comes first.
    terms: Vec<(u32, Terms)>,
    partitions: Vec<Option<usize>>,
    turns: BinaryHeap<Turn>,
    /// How many had begun to wait: those that came later are not in it.
    count: u64,
}

/// The weighted factors, and what the job brings (minus its nice value).
#[derive(Clone, Copy, Default)]
struct Terms {
    age_weight: f64,
    others: [f64; 4],
    own_priority: i32,
}

impl Line {
    /// Partitions of which jobs are in the line.
    pub(crate) fn partitions(&self) -> impl Iterator<Item = Option<usize>> {
        self.partitions.iter().copied()
    }

    /// The priority of a job: the weighted sum of its factors, plus what the job brings.
    fn priority(&self, terms: &Terms, submitted: Time) -> i64 {
        let age = if self.max_age > Time::ZERO {
            (self.now.since(submitted).as_s() / self.max_age.as_s()).min(1.0)
        } else {
            1.0
        };
        let sum = terms.others.iter().fold(terms.age_weight * age, |sum, term| sum + term);
        sum as i64 + i64::from(terms.own_priority)
    }

    fn turn(&self, group: usize, position: usize, place: Place) -> Turn {
        let (tier, terms) = &self.terms[group];
        Reverse((Reverse((*tier, self.priority(terms, place.0))), place, group, position))
    }
}

impl Waiting {
    /// Who is charged for a job.
    pub(crate) fn association(&mut self, job: &JobSpec) -> usize {
        let account: Box<str> = job.annotations.get(ACCOUNT_ANNOTATION).cloned().unwrap_or_default();
        let next = self.associations.len();
        let association = (account, job.user.clone());
        let index = *self.association_of.entry(association.clone()).or_insert(next);
        if index == next {
            self.associations.push(association);
        }
        index
    }

    /// All that were ever seen.
    pub(crate) fn associations(&self) -> &[Association] {
        &self.associations
    }

    /// Whether a job of this association waits.
    pub(crate) fn waits_in(&self, association: usize) -> bool {
        self.groups.iter().any(|(kind, line)| kind.association == association && !line.is_empty())
    }

    /// Whether a job waits.
    pub(crate) fn contains(&self, job: JobId) -> bool {
        self.places.contains_key(&job)
    }

    /// How many wait.
    pub(crate) fn len(&self) -> usize {
        self.places.len()
    }

    /// Those that wait, in no order that means anything.
    pub(crate) fn jobs(&self) -> impl Iterator<Item = JobId> {
        self.groups.iter().flat_map(|(_, waiting)| waiting.iter().map(|&((.., job), _)| job))
    }

    /// A job waits.
    pub(crate) fn insert(&mut self, state: &ClusterState, config: &SlurmConfig, id: JobId) {
        let Some(job) = state.job(id) else { return };
        let association = self.association(&job.spec);
        let kind = Kind::of(state, config, job, association);
        let next = self.groups.len();
        let group = *self.group_of.entry(kind).or_insert(next);
        if group == next {
            self.groups.push((kind, Vec::new()));
        }
        let place = (job.spec.submitted, job.spec.sequence, id);
        let waiting = &mut self.groups[group].1;
        if let Err(position) = waiting.binary_search_by_key(&place, |&(place, _)| place) {
            self.count += 1;
            waiting.insert(position, (place, self.count));
        }
        self.places.insert(id, (group, place));
    }

    /// A job waits no more.
    pub(crate) fn remove(&mut self, job: JobId) {
        if let Some((group, place)) = self.places.remove(&job) {
            let waiting = &mut self.groups[group].1;
            if let Ok(position) = waiting.binary_search_by_key(&place, |&(place, _)| place) {
                waiting.remove(position);
            }
        }
    }

    /// Begins a line with these factors of fair share.
    pub(crate) fn line(
        &self,
        state: &ClusterState,
        config: &SlurmConfig,
        fair: &BTreeMap<Association, f64>,
        now: Time,
    ) -> Line {
        let mut line = Line {
            now,
            max_age: config.max_age,
            terms: Vec::with_capacity(self.groups.len()),
            partitions: Vec::new(),
            turns: BinaryHeap::new(),
            count: self.count,
        };
        let mut turns = Vec::with_capacity(self.groups.len());
        for (group, (kind, waiting)) in self.groups.iter().enumerate() {
            let Some(&(place, _)) = waiting.first() else {
                line.terms.push((0, Terms::default()));
                continue;
            };
            let tier = kind.partition.map_or(1, |partition| config.partitions[partition].tier);
            line.terms.push((tier, self.terms(state, config, fair, kind)));
            line.partitions.push(kind.partition);
            turns.push(line.turn(group, 0, place));
        }
        line.turns = turns.into();
        line
    }

    fn terms(
        &self,
        state: &ClusterState,
        config: &SlurmConfig,
        fair: &BTreeMap<Association, f64>,
        kind: &Kind,
    ) -> Terms {
        let share = |part: u64, whole: u64| (part as f64 / whole.max(1) as f64).min(1.0);
        let nodes = share(kind.nodes, state.nodes().len() as u64);
        let cpus = share(kind.cpu_milli, state.allocatable().cpu_milli);
        let size = if kind.cpu_milli > 0 { f64::midpoint(nodes, cpus) } else { nodes };
        let size = if config.favor_small { 1.0 - size } else { size };
        let of_most = |own: u32, most: Option<u32>| share(u64::from(own), u64::from(most.unwrap_or(0)));
        let factors = config.partitions.iter().map(|partition| partition.job_factor);
        let partition = kind
            .partition
            .map_or(0.0, |partition| of_most(config.partitions[partition].job_factor, factors.max()));
        let most = config.qos.iter().map(|qos| qos.priority).max();
        let qos = kind.qos.map_or(0.0, |qos| of_most(config.qos[qos].priority, most));
        let fair = fair.get(&self.associations[kind.association]).copied().unwrap_or(1.0);
        let weights = &config.weights;
        let others = [
            (weights.fair_share, fair),
            (weights.job_size, size),
            (weights.partition, partition),
            (weights.qos, qos),
        ];
        Terms {
            age_weight: f64::from(weights.age),
            others: others.map(|(weight, factor)| f64::from(weight) * factor),
            own_priority: kind.own_priority,
        }
    }

    /// The next job of a line. Those that began to wait later are passed over, those that wait no more do no harm.
    pub(crate) fn next(&self, line: &mut Line) -> Option<JobId> {
        let Reverse((_, place, group, position)) = *line.turns.peek()?;
        let waiting = &self.groups[group].1;
        // Mostly it is where it was.
        let after = match waiting.get(position) {
            Some(&(other, _)) if other == place => position + 1,
            _ => waiting.partition_point(|&(other, _)| other <= place),
        };
        let was_there = |&(_, number): &&(Place, u64)| *number <= line.count;
        let next = waiting[after..].iter().enumerate().find(|(_, entry)| was_there(entry));
        let next = next.map(|(passed, &(next, _))| line.turn(group, after + passed, next));
        if let Some(mut turn) = line.turns.peek_mut() {
            match next {
                Some(next) => *turn = next,
                None => drop(PeekMut::pop(turn)),
            }
        }
        Some(place.2)
    }
}

#[cfg(test)]
mod tests {
    use alloc::format;

    use foretell_testkit::{cluster, job_spec};
    use proptest::prelude::*;

    use super::*;
    use crate::parse;

    const CONF: &str = "PriorityWeightAge=1000\nPriorityWeightFairshare=700\nPriorityWeightJobSize=300\n\
        PriorityWeightPartition=200\nPriorityMaxAge=0-00:01:40\n\
        PartitionName=p0 Nodes=ALL Default=YES PriorityTier=1 PriorityJobFactor=1\n\
        PartitionName=p1 Nodes=ALL PriorityTier=1 PriorityJobFactor=5\n\
        PartitionName=p2 Nodes=ALL PriorityTier=2 PriorityJobFactor=1";

    proptest! {
        /// The merged line is all jobs sorted by priority. A job has a partition, a user, CPUs, what it brings, when it was
        /// submitted, and whether it leaves before the line is asked for.
        #[test]
        fn heads_of_groups_make_the_line_of_all(
            plans in prop::collection::vec(
                (0_usize..3, 0_usize..3, 1_u32..4, -1_i32..2, 0_u64..200, prop::bool::weighted(0.2)),
                1..40,
            ),
            fair in [0.0_f64..1.0, 0.0..1.0, 0.0..1.0],
            waited_s in 0_u64..200,
        ) {
            let (config, warnings) = parse(CONF).unwrap();
            prop_assert!(warnings.is_empty(), "{warnings:?}");
            let mut state = cluster("a: 8xA100 cpu=64\nb: 8xA100 cpu=64");
            let (mut waiting, mut ids) = (Waiting::default(), Vec::new());
            for (sequence, &(partition, user, cpus, own, submitted_s, leaves)) in plans.iter().enumerate() {
                let spec = job_spec(&mut state, &format!("1gpu cpu={cpus}"));
                let queue = state.queue_id(&format!("p{partition}"));
                let id = state.add_job(JobSpec {
                    sequence: sequence as u64,
                    submitted: Time::from_s(submitted_s as f64),
                    queue,
                    user: format!("user{user}").into(),
                    priority: own,
                    ..spec
                });
                waiting.insert(&state, &config, id);
                ids.push((id, leaves));
            }
            for &(id, _) in ids.iter().filter(|(_, leaves)| *leaves) {
                waiting.remove(id);
            }
            let fair: BTreeMap<Association, f64> =
                (0..3).map(|user| ((Box::default(), format!("user{user}").into()), fair[user])).collect();
            let now = Time::from_s((200 + waited_s) as f64);
            let mut line = waiting.line(&state, &config, &fair, now);
            let stay = ids.iter().filter(|(_, leaves)| !leaves).map(|&(id, _)| id);
            let mut expected: Vec<_> = stay
                .map(|id| {
                    let (group, place) = waiting.places[&id];
                    let kind = &waiting.groups[group].0;
                    let tier = kind.partition.map_or(1, |partition| config.partitions[partition].tier);
                    let terms = waiting.terms(&state, &config, &fair, kind);
                    (Reverse((tier, line.priority(&terms, place.0))), place)
                })
                .collect();
            expected.sort_unstable();
            let found: Vec<JobId> = core::iter::from_fn(|| waiting.next(&mut line)).collect();
            let expected: Vec<JobId> = expected.into_iter().map(|(_, (.., id))| id).collect();
            prop_assert_eq!(found, expected);
        }
    }
}
