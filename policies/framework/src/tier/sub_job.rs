//! Groups within a gang (Volcano's sub-jobs), and what the tiers say of them.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::cmp::Ordering;

use super::{Gradients, Tiers};
use crate::id::{DomainId, JobId, TaskId};
use crate::state::{ClusterState, GangSpec, JobSpec, NetworkTopology, SubGroupPolicy, TaskStatus};

/// Tasks of a job that belong together: those that one of its sub-group policies takes and that have the same values
/// of the policy's labels, or all that no policy takes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SubJob {
    /// The job.
    pub job: JobId,
    /// Position of the policy in [`GangSpec::sub_groups`]; `None` for tasks that no policy takes.
    pub policy: Option<usize>,
    /// Values of the policy's labels.
    pub values: Vec<Box<str>>,
    /// Tasks that it needs.
    pub min_available: u32,
    /// Its tasks, in order of rank.
    pub tasks: Vec<TaskId>,
}

/// What tasks of one sub-job have in common.
type Key = (Option<usize>, Vec<Box<str>>);

impl SubJob {
    /// The sub-jobs of a job: first the tasks that no policy takes, if there are any, then policy by policy in order of
    /// the labels' values. A job without policies is one sub-job, with the job's own minimum.
    pub fn partition(state: &ClusterState, job: JobId) -> Vec<Self> {
        let Some(entry) = state.job(job) else { return Vec::new() };
        let policies = policies(&entry.spec);
        let mut groups: BTreeMap<Key, Vec<TaskId>> = BTreeMap::new();
        for &task in entry.tasks() {
            let key = state.task_spec(task).and_then(|spec| {
                let values = policies.iter().map(|policy| matched_values(policy, &spec.labels));
                values.enumerate().find_map(|(index, values)| Some((Some(index), values?)))
            });
            groups.entry(key.unwrap_or_default()).or_default().push(task);
        }
        let min_available = |policy: Option<usize>| match policy {
            Some(index) => policies[index].size.unwrap_or(1),
            None if policies.is_empty() => entry.spec.min_member,
            None => 1,
        };
        groups
            .into_iter()
            .map(|((policy, values), tasks)| Self {
                job,
                policy,
                values,
                min_available: min_available(policy),
                tasks,
            })
            .collect()
    }

    /// How close together its tasks must or should be; a sub-job of tasks that no policy takes says nothing of its own.
    pub fn network_topology<'a>(&self, job: &'a JobSpec) -> Option<&'a NetworkTopology> {
        policies(job).get(self.policy?)?.network_topology.as_ref()
    }

    /// Whether enough of its tasks have a place, have ended well, or ask for nothing.
    pub fn is_ready(&self, state: &ClusterState) -> bool {
        self.count(state, false) >= self.min_available
    }

    /// Whether enough of its tasks have a place or are nominated to one.
    pub fn is_pipelined(&self, state: &ClusterState) -> bool {
        self.count(state, true) >= self.min_available
    }

    fn count(&self, state: &ClusterState, with_nominated: bool) -> u32 {
        let counts = |&&task: &&TaskId| {
            state.task(task).is_some_and(|task| match task.status() {
                TaskStatus::Bound | TaskStatus::Running | TaskStatus::Succeeded => true,
                TaskStatus::Waiting => {
                    with_nominated && task.nominated().is_some()
                        || state.class_spec(task.class).is_best_effort()
                }
                TaskStatus::Releasing | TaskStatus::Failed => false,
            })
        };
        self.tasks.iter().filter(counts).count() as u32
    }

    /// Whether its policy has as many sub-jobs that are ready as it needs.
    pub fn policy_is_met(&self, state: &ClusterState) -> bool {
        let Some(entry) = state.job(self.job) else { return true };
        let needed = self.policy.map_or(0, |index| policies(&entry.spec)[index].min_groups.unwrap_or(0));
        if needed == 0 {
            return true;
        }
        let of_policy =
            Self::partition(state, self.job).into_iter().filter(|other| other.policy == self.policy);
        of_policy.filter(|sub_job| sub_job.is_ready(state)).count() as u32 >= needed
    }

    /// Whether each policy of a job has as many sub-jobs for which `enough` holds as it needs.
    pub fn minimum_is_met(state: &ClusterState, job: JobId, enough: impl Fn(&Self) -> bool) -> bool {
        let Some(entry) = state.job(job) else { return false };
        let policies = policies(&entry.spec);
        if policies.iter().all(|policy| policy.min_groups.unwrap_or(0) == 0) {
            return true;
        }
        let sub_jobs = Self::partition(state, job);
        policies.iter().enumerate().all(|(index, policy)| {
            let of_policy = sub_jobs.iter().filter(|sub_job| sub_job.policy == Some(index));
            of_policy.filter(|sub_job| enough(sub_job)).count() as u32 >= policy.min_groups.unwrap_or(0)
        })
    }
}

fn policies(job: &JobSpec) -> &[SubGroupPolicy] {
    job.gang.as_deref().map_or(&[], |gang: &GangSpec| &gang.sub_groups)
}

/// The values of a policy's labels, if it takes a task with these labels. One that neither selects nor tells apart takes
/// none.
fn matched_values(policy: &SubGroupPolicy, labels: &crate::selector::Labels) -> Option<Vec<Box<str>>> {
    if policy.selector.is_none() && policy.match_label_keys.is_empty() {
        return None;
    }
    if policy.selector.as_ref().is_some_and(|selector| !selector.matches(labels)) {
        return None;
    }
    policy
        .match_label_keys
        .iter()
        .map(|key| labels.get(key).cloned().filter(|value| !value.is_empty()))
        .collect()
}

impl Tiers {
    /// Which sub-job goes first: by the plugins, then by policy and values of labels.
    pub fn compare_sub_jobs(&self, state: &ClusterState, left: &SubJob, right: &SubJob) -> Ordering {
        self.enabled(|switches| switches.sub_job_order)
            .map(|plugin| plugin.compare_sub_jobs(state, left, right))
            .find(|order| order.is_ne())
            .unwrap_or_else(|| (left.policy, &left.values).cmp(&(right.policy, &right.values)))
    }

    /// Whether no plugin holds that what the sub-job has is too little.
    pub fn sub_job_ready(&self, state: &ClusterState, sub_job: &SubJob) -> bool {
        self.enabled(|switches| switches.sub_job_ready)
            .all(|plugin| plugin.sub_job_ready(state, sub_job) != Some(false))
    }

    /// Whether the sub-job will have enough when what is being released for it is free.
    pub fn sub_job_pipelined(&self, state: &ClusterState, sub_job: &SubJob) -> bool {
        self.vote(|switches| switches.sub_job_pipelined, |plugin| plugin.sub_job_pipelined(state, sub_job))
    }

    /// Domains inside `domain` to try for a job, from the first plugin that judges; else the domain alone.
    pub fn job_gradients(&self, state: &ClusterState, job: JobId, domain: DomainId) -> Gradients {
        self.enabled(|switches| switches.hyper_node_gradient)
            .find_map(|plugin| plugin.job_gradients(state, job, domain))
            .unwrap_or_else(|| Vec::from([Vec::from([domain])]))
    }

    /// Domains inside `domain` to try for a sub-job, from the first plugin that judges; else the domain alone.
    pub fn sub_job_gradients(&self, state: &ClusterState, sub_job: &SubJob, domain: DomainId) -> Gradients {
        self.enabled(|switches| switches.hyper_node_gradient)
            .find_map(|plugin| plugin.sub_job_gradients(state, sub_job, domain))
            .unwrap_or_else(|| Vec::from([Vec::from([domain])]))
    }

    /// What the plugins give each domain for a sub-job, in points.
    pub fn score_domains(&self, state: &ClusterState, sub_job: &SubJob, domains: &[DomainId]) -> Vec<f64> {
        let mut scores = alloc::vec![0.0; domains.len()];
        for plugin in self.enabled(|switches| switches.hyper_node_order) {
            plugin.score_domains(state, sub_job, domains, &mut scores);
        }
        scores
    }
}
