//! Kubeflow's training operator: `kubeflow.org`.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::PodTemplateSpec;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Deserialize;

use super::ResourceList;

/// Replicas by role, such as `Master`, `Worker`, `PS`, `Launcher`.
pub type ReplicaSpecs = BTreeMap<String, ReplicaSpec>;

/// A `PyTorch` job (`kubeflow.org/v1`).
#[derive(Clone, PartialEq, Debug, Default, Deserialize)]
#[serde(default)]
pub struct PyTorchJob {
    /// Name, namespace, labels, annotations.
    pub metadata: ObjectMeta,
    /// What it is made of.
    pub spec: PyTorchJobSpec,
}

/// What a `PyTorch` job is made of.
#[derive(Clone, PartialEq, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct PyTorchJobSpec {
    /// How it runs.
    pub run_policy: RunPolicy,
    /// Its replicas.
    pub pytorch_replica_specs: ReplicaSpecs,
}

/// A `TensorFlow` job (`kubeflow.org/v1`).
#[derive(Clone, PartialEq, Debug, Default, Deserialize)]
#[serde(default)]
pub struct TfJob {
    /// Name, namespace, labels, annotations.
    pub metadata: ObjectMeta,
    /// What it is made of.
    pub spec: TfJobSpec,
}

/// What a `TensorFlow` job is made of.
#[derive(Clone, PartialEq, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct TfJobSpec {
    /// How it runs.
    pub run_policy: RunPolicy,
    /// Its replicas.
    pub tf_replica_specs: ReplicaSpecs,
}

/// An MPI job (`kubeflow.org/v1`, `v2beta1`).
#[derive(Clone, PartialEq, Debug, Default, Deserialize)]
#[serde(default)]
pub struct MpiJob {
    /// Name, namespace, labels, annotations.
    pub metadata: ObjectMeta,
    /// What it is made of.
    pub spec: MpiJobSpec,
}

/// What an MPI job is made of.
#[derive(Clone, PartialEq, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct MpiJobSpec {
    /// How it runs.
    pub run_policy: RunPolicy,
    /// Its replicas.
    pub mpi_replica_specs: ReplicaSpecs,
}

/// How a job runs.
#[derive(Clone, PartialEq, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct RunPolicy {
    /// How it is scheduled.
    pub scheduling_policy: Option<SchedulingPolicy>,
    /// Whether its pods are not created.
    pub suspend: Option<bool>,
}

/// How a job is scheduled.
#[derive(Clone, PartialEq, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct SchedulingPolicy {
    /// Pods that it needs; all if absent.
    pub min_available: Option<u32>,
    /// Its queue.
    pub queue: Option<String>,
    /// What they request in all.
    pub min_resources: Option<ResourceList>,
    /// Its priority class.
    pub priority_class: Option<String>,
    /// How long a part of it may wait for the rest.
    pub schedule_timeout_seconds: Option<u32>,
}

/// Pods of one role.
#[derive(Clone, PartialEq, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ReplicaSpec {
    /// Number of pods; 1 if absent.
    pub replicas: Option<u32>,
    /// The pods.
    pub template: PodTemplateSpec,
    /// `Always`, `OnFailure`, `Never`, `ExitCode`.
    pub restart_policy: Option<String>,
}
