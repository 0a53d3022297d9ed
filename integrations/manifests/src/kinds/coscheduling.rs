//! scheduler-plugins: `scheduling.x-k8s.io/v1alpha1`.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Deserialize;

use super::ResourceList;

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
    /// Pods that it needs.
    pub min_member: Option<u32>,
    /// What they request in all.
    pub min_resources: Option<ResourceList>,
    /// How long a part of it may wait for the rest.
    pub schedule_timeout_seconds: Option<u32>,
}

/// What the pods of a namespace have for themselves and may borrow.
#[derive(Clone, PartialEq, Debug, Default, Deserialize)]
#[serde(default)]
pub struct ElasticQuota {
    /// Name and namespace.
    pub metadata: ObjectMeta,
    /// Amounts.
    pub spec: ElasticQuotaSpec,
    /// What is used.
    pub status: ElasticQuotaStatus,
}

/// Amounts of an elastic quota.
#[derive(Clone, PartialEq, Debug, Default, Deserialize)]
#[serde(default)]
pub struct ElasticQuotaSpec {
    /// For themselves.
    pub min: Option<ResourceList>,
    /// The most.
    pub max: Option<ResourceList>,
}

/// What is used of an elastic quota.
#[derive(Clone, PartialEq, Debug, Default, Deserialize)]
#[serde(default)]
pub struct ElasticQuotaStatus {
    /// Amounts.
    pub used: Option<ResourceList>,
}
