//! Kubernetes' own pod groups: `scheduling.k8s.io`, whatever the version.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Deserialize;

/// A pod group.
#[derive(Clone, PartialEq, Debug, Default, Deserialize)]
#[serde(default)]
pub struct PodGroup {
    /// Name, namespace, creation.
    pub metadata: ObjectMeta,
    /// What it asks for.
    pub spec: PodGroupSpec,
}

/// What a pod group asks for.
#[derive(Clone, PartialEq, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct PodGroupSpec {
    /// Whether it is a gang.
    pub scheduling_policy: SchedulingPolicy,
    /// Its priority class.
    pub priority_class_name: Option<String>,
    /// Its priority.
    pub priority: Option<i32>,
}

/// Whether a pod group is a gang.
#[derive(Clone, PartialEq, Debug, Default, Deserialize)]
#[serde(default)]
pub struct SchedulingPolicy {
    /// It is one.
    pub gang: Option<GangPolicy>,
}

/// A gang.
#[derive(Clone, PartialEq, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct GangPolicy {
    /// Pods that it needs.
    pub min_count: Option<u32>,
}
