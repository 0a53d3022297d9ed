//! KAI-Scheduler: `scheduling.run.ai/v2`, `scheduling.run.ai/v2alpha2`, `kai.scheduler/v1alpha1`.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Deserialize;

/// Levels of a topology, which Kueue writes in the same way.
pub use super::kueue::Topology;

/// A queue.
#[derive(Clone, PartialEq, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Queue {
    /// Name, creation.
    pub metadata: ObjectMeta,
    /// What it is entitled to.
    pub spec: QueueSpec,
}

/// What a queue is entitled to.
#[derive(Clone, PartialEq, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct QueueSpec {
    /// The queue that contains it.
    pub parent_queue: Option<String>,
    /// Larger goes first; 100 if absent.
    pub priority: Option<i32>,
    /// Amounts.
    pub resources: QueueResources,
    /// How long its jobs run before others of the queue may preempt them, such as `5m`.
    pub preempt_min_runtime: Option<String>,
    /// How long its jobs run before other queues may reclaim what they hold.
    pub reclaim_min_runtime: Option<String>,
}

/// Amounts by resource.
#[derive(Clone, PartialEq, Debug, Default, Deserialize)]
#[serde(default)]
pub struct QueueResources {
    /// In thousandths of a core.
    pub cpu: QueueResource,
    /// In megabytes.
    pub memory: QueueResource,
    /// In devices.
    pub gpu: QueueResource,
}

/// Amounts of a resource; -1 is no limit.
#[derive(Clone, Copy, PartialEq, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct QueueResource {
    /// What it should have.
    pub quota: f64,
    /// Its weight when what nobody deserves is divided.
    pub over_quota_weight: f64,
    /// The most that it may hold.
    pub limit: f64,
}

/// A pod group.
#[derive(Clone, PartialEq, Debug, Default, Deserialize)]
#[serde(default)]
pub struct PodGroup {
    /// Name, namespace, creation, annotations.
    pub metadata: ObjectMeta,
    /// What it asks for.
    pub spec: PodGroupSpec,
}

/// What a pod group asks for.
#[derive(Clone, PartialEq, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct PodGroupSpec {
    /// Pods that it needs; 1 if absent.
    pub min_member: Option<u32>,
    /// Its queue.
    pub queue: Option<String>,
    /// Its priority class.
    pub priority_class_name: Option<String>,
    /// `preemptible` or `non-preemptible`; by the priority if absent.
    pub preemptibility: Option<String>,
    /// Groups within it.
    pub sub_groups: Vec<SubGroup>,
    /// How close together its pods must or should be.
    pub topology_constraint: Option<TopologyConstraint>,
}

/// A group within a pod group.
#[derive(Clone, PartialEq, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct SubGroup {
    /// Its name.
    pub name: String,
    /// The group that contains it.
    pub parent: Option<String>,
    /// Pods that it needs.
    pub min_member: Option<u32>,
    /// How close together its pods must or should be.
    pub topology_constraint: Option<TopologyConstraint>,
}

/// How close together pods must or should be.
#[derive(Clone, PartialEq, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct TopologyConstraint {
    /// The topology.
    pub topology: String,
    /// The label of the level that must hold them.
    pub required_topology_level: Option<String>,
    /// The label of the level that should hold them.
    pub preferred_topology_level: Option<String>,
}

/// A pod that the scheduler has asked to bind.
#[derive(Clone, PartialEq, Debug, Default, Deserialize)]
#[serde(default)]
pub struct BindRequest {
    /// Name, namespace.
    pub metadata: ObjectMeta,
    /// Which pod, and where.
    pub spec: BindRequestSpec,
    /// What became of it.
    pub status: BindRequestStatus,
}

/// Which pod is to be bound, and where.
#[derive(Clone, PartialEq, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct BindRequestSpec {
    /// The pod, in the namespace of the request.
    pub pod_name: String,
    /// Its node.
    pub selected_node: String,
}

/// What became of a bind request.
#[derive(Clone, PartialEq, Debug, Default, Deserialize)]
#[serde(default)]
pub struct BindRequestStatus {
    /// `Pending`, `Succeeded` or `Failed`.
    pub phase: Option<String>,
}
