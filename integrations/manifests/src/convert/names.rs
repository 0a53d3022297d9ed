//! Names of objects and ids of the state.

use std::collections::{BTreeMap, BTreeSet};

use foretell_framework::{DomainId, JobId, NodeId, QueueId, TaskId};

/// What ids of a [`ClusterState`](foretell_framework::ClusterState) are called in the manifests, and back. Namespaced
/// objects are called `namespace/name`.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Names {
    pods: BTreeMap<String, TaskId>,
    tasks: BTreeMap<TaskId, String>,
    nodes: BTreeMap<String, NodeId>,
    by_node: Vec<String>,
    groups: BTreeMap<String, JobId>,
    jobs: BTreeMap<JobId, String>,
    queues: BTreeMap<String, QueueId>,
    domains: BTreeMap<String, DomainId>,
    owned: BTreeSet<TaskId>,
    /// The resource whose units are the GPU devices of the state, such as `nvidia.com/gpu`.
    pub gpu_resource: Option<String>,
}

impl Names {
    /// The task of a pod. Pods outside any group that have ended are not in the state.
    pub fn task(&self, pod: &str) -> Option<TaskId> {
        self.pods.get(pod).copied()
    }

    /// The pod of a task.
    pub fn pod(&self, task: TaskId) -> Option<&str> {
        self.tasks.get(&task).map(String::as_str)
    }

    /// Whether a controller owns the pod of a task, and would create it again if it were gone.
    pub fn is_owned(&self, task: TaskId) -> bool {
        self.owned.contains(&task)
    }

    /// All pods in order of name.
    pub fn pods(&self) -> impl Iterator<Item = (&str, TaskId)> {
        self.pods.iter().map(|(pod, &task)| (pod.as_str(), task))
    }

    /// A node by name.
    pub fn node(&self, name: &str) -> Option<NodeId> {
        self.nodes.get(name).copied()
    }

    /// The name of a node.
    pub fn node_name(&self, node: NodeId) -> &str {
        &self.by_node[node.index()]
    }

    /// The job of a group, or of a pod in no group by the pod's name.
    pub fn job(&self, group: &str) -> Option<JobId> {
        self.groups.get(group).copied()
    }

    /// The group, or pod in no group, that a job stands for.
    pub fn group(&self, job: JobId) -> Option<&str> {
        self.jobs.get(&job).map(String::as_str)
    }

    /// All groups, and pods in no group, in order of name.
    pub fn groups(&self) -> impl Iterator<Item = (&str, JobId)> {
        self.groups.iter().map(|(group, &job)| (group.as_str(), job))
    }

    /// A queue by name.
    pub fn queue(&self, name: &str) -> Option<QueueId> {
        self.queues.get(name).copied()
    }

    /// A topology domain by name.
    pub fn domain(&self, name: &str) -> Option<DomainId> {
        self.domains.get(name).copied()
    }

    pub(super) fn add_pod(&mut self, pod: String, task: TaskId, is_owned: bool) {
        if is_owned {
            self.owned.insert(task);
        }
        self.tasks.insert(task, pod.clone());
        self.pods.insert(pod, task);
    }

    pub(super) fn add_node(&mut self, name: &str, node: NodeId) {
        debug_assert_eq!(node.index(), self.by_node.len());
        self.by_node.push(name.to_owned());
        self.nodes.insert(name.to_owned(), node);
    }

    pub(super) fn add_job(&mut self, group: String, job: JobId, is_group: bool) {
        self.jobs.insert(job, group.clone());
        // A pod in no group may have the name of a group, which then is meant.
        if is_group {
            self.groups.insert(group, job);
        } else {
            self.groups.entry(group).or_insert(job);
        }
    }

    pub(super) fn add_queue(&mut self, name: &str, queue: QueueId) {
        self.queues.insert(name.to_owned(), queue);
    }

    pub(super) fn add_domain(&mut self, name: &str, domain: DomainId) {
        self.domains.insert(name.to_owned(), domain);
    }
}
