//! Volcano: `scheduling.volcano.sh/v1beta1`, `batch.volcano.sh/v1alpha1`, `topology.volcano.sh/v1alpha1`.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::PodTemplateSpec;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use serde::Deserialize;

use super::ResourceList;

/// A queue.
#[derive(Clone, PartialEq, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Queue {
    /// Name, labels, annotations.
    pub metadata: ObjectMeta,
    /// What it is entitled to.
    pub spec: QueueSpec,
    /// Its state.
    pub status: QueueStatus,
}

/// What a queue is entitled to.
#[derive(Clone, PartialEq, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct QueueSpec {
    /// Its share relative to its siblings; 1 if absent.
    pub weight: Option<u32>,
    /// The most that it may hold.
    pub capability: Option<ResourceList>,
    /// What it should have.
    pub deserved: Option<ResourceList>,
    /// What is kept for it.
    pub guarantee: Option<Guarantee>,
    /// Whether others may take back what it borrowed; yes if absent.
    pub reclaimable: Option<bool>,
    /// The queue that contains it.
    pub parent: Option<String>,
    /// Larger goes first.
    pub priority: Option<i32>,
    /// Where its pods may go.
    pub affinity: Option<QueueAffinity>,
    /// `fifo` or `traverse`.
    pub dequeue_strategy: Option<String>,
}

/// What is kept for a queue.
#[derive(Clone, PartialEq, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Guarantee {
    /// Amounts.
    pub resource: ResourceList,
}

/// Where pods of a queue may go.
#[derive(Clone, PartialEq, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct QueueAffinity {
    /// Groups of nodes that it must or should use.
    pub node_group_affinity: Option<NodeGroups>,
    /// Groups of nodes that it must or should not use.
    pub node_group_anti_affinity: Option<NodeGroups>,
}

/// Names of groups of nodes.
#[derive(Clone, PartialEq, Debug, Default, Deserialize)]
#[serde(default)]
pub struct NodeGroups {
    /// Must.
    #[serde(rename = "requiredDuringSchedulingIgnoredDuringExecution")]
    pub required: Vec<String>,
    /// Should.
    #[serde(rename = "preferredDuringSchedulingIgnoredDuringExecution")]
    pub preferred: Vec<String>,
}

/// Status of a queue.
#[derive(Clone, PartialEq, Debug, Default, Deserialize)]
#[serde(default)]
pub struct QueueStatus {
    /// `Open` (also if absent), `Closed`, `Closing`, `Unknown`.
    pub state: Option<String>,
}

/// A pod group.
#[derive(Clone, PartialEq, Debug, Default, Deserialize)]
#[serde(default)]
pub struct PodGroup {
    /// Name, namespace, labels, annotations.
    pub metadata: ObjectMeta,
    /// What it asks for.
    pub spec: PodGroupSpec,
    /// Its phase.
    pub status: PodGroupStatus,
}

/// What a pod group asks for.
#[derive(Clone, PartialEq, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct PodGroupSpec {
    /// Pods that it needs.
    pub min_member: Option<u32>,
    /// The same per task of the job.
    pub min_task_member: BTreeMap<String, u32>,
    /// Its queue; `default` if absent.
    pub queue: Option<String>,
    /// Its priority class.
    pub priority_class_name: Option<String>,
    /// What its minimum requests in all.
    pub min_resources: Option<ResourceList>,
    /// How close together its pods must or should be.
    pub network_topology: Option<NetworkTopology>,
    /// Groups within it.
    pub sub_group_policy: Vec<SubGroupPolicy>,
}

/// How close together pods must or should be.
#[derive(Clone, PartialEq, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct NetworkTopology {
    /// `hard` (also if absent) or `soft`.
    pub mode: Option<String>,
    /// The highest tier that still holds all of them.
    pub highest_tier_allowed: Option<u32>,
    /// The same by the tier's name.
    pub highest_tier_name: Option<String>,
}

/// Groups within a pod group.
#[derive(Clone, PartialEq, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct SubGroupPolicy {
    /// Its name.
    pub name: String,
    /// Pods that each group needs.
    pub sub_group_size: Option<u32>,
    /// Groups that the pod group needs.
    pub min_sub_groups: Option<u32>,
    /// The pods that belong to its groups.
    pub label_selector: Option<LabelSelector>,
    /// Labels by whose values pods fall into groups.
    pub match_label_keys: Vec<String>,
    /// How close together the pods of a group must or should be.
    pub network_topology: Option<NetworkTopology>,
}

/// Status of a pod group.
#[derive(Clone, PartialEq, Debug, Default, Deserialize)]
#[serde(default)]
pub struct PodGroupStatus {
    /// `Pending` (also if absent), `Inqueue`, `Running`, `Unknown`, `Completed`.
    pub phase: Option<String>,
}

/// A job of several tasks.
#[derive(Clone, PartialEq, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Job {
    /// Name, namespace, labels, annotations.
    pub metadata: ObjectMeta,
    /// What it is made of.
    pub spec: JobSpec,
}

/// What a job is made of.
#[derive(Clone, PartialEq, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct JobSpec {
    /// Pods that it needs; all if absent.
    pub min_available: Option<u32>,
    /// Its tasks.
    pub tasks: Vec<TaskSpec>,
    /// Its queue; `default` if absent.
    pub queue: Option<String>,
    /// Its priority class.
    pub priority_class_name: Option<String>,
    /// How close together its pods must or should be.
    pub network_topology: Option<NetworkTopology>,
}

/// A task of a job: pods that are alike.
#[derive(Clone, PartialEq, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct TaskSpec {
    /// Its name; `default<position>` if absent.
    pub name: Option<String>,
    /// Number of its pods; 1 if absent.
    pub replicas: Option<u32>,
    /// Pods that it needs; all if absent.
    pub min_available: Option<u32>,
    /// Its pods.
    pub template: PodTemplateSpec,
    /// Groups within it.
    pub partition_policy: Option<PartitionPolicy>,
}

/// Groups within a task.
#[derive(Clone, PartialEq, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct PartitionPolicy {
    /// Number of groups.
    pub total_partitions: u32,
    /// Pods of each group.
    pub partition_size: u32,
    /// Groups that the job needs.
    pub min_partitions: Option<u32>,
    /// How close together the pods of a group must or should be.
    pub network_topology: Option<NetworkTopology>,
}

/// A topology domain.
#[derive(Clone, PartialEq, Debug, Default, Deserialize)]
#[serde(default)]
pub struct HyperNode {
    /// Its name.
    pub metadata: ObjectMeta,
    /// Its tier and members.
    pub spec: HyperNodeSpec,
}

/// Tier and members of a topology domain.
#[derive(Clone, PartialEq, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct HyperNodeSpec {
    /// How far apart its nodes are.
    pub tier: u32,
    /// The tier's name.
    pub tier_name: Option<String>,
    /// What belongs to it.
    pub members: Vec<Member>,
}

/// What belongs to a topology domain.
#[derive(Clone, PartialEq, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Member {
    /// `Node` or `HyperNode`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Which.
    pub selector: MemberSelector,
}

/// Which nodes or domains belong to a domain.
#[derive(Clone, PartialEq, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct MemberSelector {
    /// The one of this name.
    pub exact_match: Option<ExactMatch>,
    /// Those whose names match.
    pub regex_match: Option<RegexMatch>,
    /// The nodes whose labels match.
    pub label_match: Option<LabelSelector>,
}

/// A name.
#[derive(Clone, PartialEq, Debug, Default, Deserialize)]
#[serde(default)]
pub struct ExactMatch {
    /// The name.
    pub name: String,
}

/// A regular expression.
#[derive(Clone, PartialEq, Debug, Default, Deserialize)]
#[serde(default)]
pub struct RegexMatch {
    /// The expression; it may match anywhere in the name.
    pub pattern: String,
}
