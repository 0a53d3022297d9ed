//! The objects that are read, by kind.

use std::collections::BTreeMap;
use std::ops::Deref;
use std::sync::Arc;

use foretell_kai::KaiConfig;
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet, StatefulSet};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{
    LimitRange, Namespace, Node, Pod, ReplicationController, ResourceQuota, Service,
};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::api::scheduling::v1::PriorityClass;

use crate::error::ManifestError;
use crate::kinds::{coscheduling, kai, kubeflow, kueue, volcano, workload};

/// Where an object was read.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Origin {
    /// The file; empty for objects that were not read.
    pub file: Arc<str>,
    /// The line where the object begins, from 1.
    pub line: u64,
    /// The object, such as `Pod team-a/worker-0`.
    pub object: Arc<str>,
}

impl Origin {
    /// An error in a field of the object.
    pub fn error(&self, field: impl Into<String>, message: impl Into<String>) -> ManifestError {
        ManifestError {
            file: self.file.to_string(),
            line: self.line,
            object: self.object.to_string(),
            field: field.into(),
            message: message.into(),
        }
    }
}

/// An object and where it was read.
#[derive(Clone, PartialEq, Debug)]
pub struct Located<T> {
    /// The object.
    pub object: T,
    /// Where it was read.
    pub origin: Origin,
}

impl<T> Deref for Located<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.object
    }
}

/// An object of a kind that is not read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Unknown {
    /// Its `apiVersion`.
    pub api_version: String,
    /// Its `kind`.
    pub kind: String,
    /// Where it was met.
    pub origin: Origin,
}

/// Objects by kind, each kind in order of appearance.
#[derive(Clone, PartialEq, Debug, Default)]
#[expect(missing_docs, reason = "each field is named after the kind that it holds")]
pub struct Objects {
    pub nodes: Vec<Located<Node>>,
    pub pods: Vec<Located<Pod>>,
    pub namespaces: Vec<Located<Namespace>>,
    pub priority_classes: Vec<Located<PriorityClass>>,
    pub disruption_budgets: Vec<Located<PodDisruptionBudget>>,
    pub resource_quotas: Vec<Located<ResourceQuota>>,
    pub limit_ranges: Vec<Located<LimitRange>>,
    pub services: Vec<Located<Service>>,
    pub replica_sets: Vec<Located<ReplicaSet>>,
    pub replication_controllers: Vec<Located<ReplicationController>>,
    pub stateful_sets: Vec<Located<StatefulSet>>,
    pub deployments: Vec<Located<Deployment>>,
    pub jobs: Vec<Located<Job>>,
    pub queues: Vec<Located<volcano::Queue>>,
    pub volcano_pod_groups: Vec<Located<volcano::PodGroup>>,
    pub volcano_jobs: Vec<Located<volcano::Job>>,
    pub hyper_nodes: Vec<Located<volcano::HyperNode>>,
    pub kai_queues: Vec<Located<kai::Queue>>,
    pub kai_pod_groups: Vec<Located<kai::PodGroup>>,
    pub kai_topologies: Vec<Located<kai::Topology>>,
    pub kai_bind_requests: Vec<Located<kai::BindRequest>>,
    pub coscheduling_pod_groups: Vec<Located<coscheduling::PodGroup>>,
    pub elastic_quotas: Vec<Located<coscheduling::ElasticQuota>>,
    pub pod_groups: Vec<Located<workload::PodGroup>>,
    pub pytorch_jobs: Vec<Located<kubeflow::PyTorchJob>>,
    pub tf_jobs: Vec<Located<kubeflow::TfJob>>,
    pub mpi_jobs: Vec<Located<kubeflow::MpiJob>>,
    pub cluster_queues: Vec<Located<kueue::ClusterQueue>>,
    pub cohorts: Vec<Located<kueue::Cohort>>,
    pub local_queues: Vec<Located<kueue::LocalQueue>>,
    pub resource_flavors: Vec<Located<kueue::ResourceFlavor>>,
    pub topologies: Vec<Located<kueue::Topology>>,
    pub workloads: Vec<Located<kueue::Workload>>,
    pub workload_priority_classes: Vec<Located<kueue::WorkloadPriorityClass>>,
    /// How KAI-Scheduler was set up, where a snapshot says so.
    pub kai_config: Option<KaiConfig>,
    /// Objects of other kinds.
    pub unknown: Vec<Unknown>,
}

impl Objects {
    /// Says which objects are of kinds that are not read, one line a kind.
    pub fn unread(&self) -> Vec<String> {
        let mut kinds: BTreeMap<String, (usize, &Origin)> = BTreeMap::new();
        for unknown in &self.unknown {
            let kind = format!("{} {}", unknown.api_version, unknown.kind);
            kinds.entry(kind).or_insert((0, &unknown.origin)).0 += 1;
        }
        let said = |(kind, (count, Origin { file, line, .. })): (String, (usize, &Origin))| {
            let more = if count > 1 { format!(", and {} more", count - 1) } else { String::new() };
            format!("{file}:{line}: {kind}: not read{more}")
        };
        kinds.into_iter().map(said).collect()
    }

    /// Adds the objects of another file, after those that are there.
    pub fn append(&mut self, other: Self) {
        let Self {
            nodes,
            pods,
            namespaces,
            priority_classes,
            disruption_budgets,
            resource_quotas,
            limit_ranges,
            services,
            replica_sets,
            replication_controllers,
            stateful_sets,
            deployments,
            jobs,
            queues,
            volcano_pod_groups,
            volcano_jobs,
            hyper_nodes,
            kai_queues,
            kai_pod_groups,
            kai_topologies,
            kai_bind_requests,
            coscheduling_pod_groups,
            elastic_quotas,
            pod_groups,
            pytorch_jobs,
            tf_jobs,
            mpi_jobs,
            cluster_queues,
            cohorts,
            local_queues,
            resource_flavors,
            topologies,
            workloads,
            workload_priority_classes,
            kai_config,
            unknown,
        } = other;
        self.nodes.extend(nodes);
        self.pods.extend(pods);
        self.namespaces.extend(namespaces);
        self.priority_classes.extend(priority_classes);
        self.disruption_budgets.extend(disruption_budgets);
        self.resource_quotas.extend(resource_quotas);
        self.limit_ranges.extend(limit_ranges);
        self.services.extend(services);
        self.replica_sets.extend(replica_sets);
        self.replication_controllers.extend(replication_controllers);
        self.stateful_sets.extend(stateful_sets);
        self.deployments.extend(deployments);
        self.jobs.extend(jobs);
        self.queues.extend(queues);
        self.volcano_pod_groups.extend(volcano_pod_groups);
        self.volcano_jobs.extend(volcano_jobs);
        self.hyper_nodes.extend(hyper_nodes);
        self.kai_queues.extend(kai_queues);
        self.kai_pod_groups.extend(kai_pod_groups);
        self.kai_topologies.extend(kai_topologies);
        self.kai_bind_requests.extend(kai_bind_requests);
        self.coscheduling_pod_groups.extend(coscheduling_pod_groups);
        self.elastic_quotas.extend(elastic_quotas);
        self.pod_groups.extend(pod_groups);
        self.pytorch_jobs.extend(pytorch_jobs);
        self.tf_jobs.extend(tf_jobs);
        self.mpi_jobs.extend(mpi_jobs);
        self.cluster_queues.extend(cluster_queues);
        self.cohorts.extend(cohorts);
        self.local_queues.extend(local_queues);
        self.resource_flavors.extend(resource_flavors);
        self.topologies.extend(topologies);
        self.workloads.extend(workloads);
        self.workload_priority_classes.extend(workload_priority_classes);
        self.kai_config = kai_config.or_else(|| self.kai_config.take());
        self.unknown.extend(unknown);
    }
}
