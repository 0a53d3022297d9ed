//! Kubeflow's jobs, as its training operator creates their pods and groups.

use super::volcano_job::min_resources;
use super::{Expansion, Owner};
use crate::error::ManifestError;
use crate::kinds::kubeflow::{ReplicaSpecs, RunPolicy, SchedulingPolicy};
use crate::kinds::volcano;
use crate::objects::Objects;

impl Expansion {
    pub(super) fn kubeflow_jobs(&mut self, objects: &Objects) -> Result<(), ManifestError> {
        for job in &objects.pytorch_jobs {
            let owner = Owner::new("kubeflow.org/v1", "PyTorchJob", &job.metadata, &job.origin);
            self.kubeflow_job(&owner, &job.spec.run_policy, &job.spec.pytorch_replica_specs)?;
        }
        for job in &objects.tf_jobs {
            let owner = Owner::new("kubeflow.org/v1", "TFJob", &job.metadata, &job.origin);
            self.kubeflow_job(&owner, &job.spec.run_policy, &job.spec.tf_replica_specs)?;
        }
        for job in &objects.mpi_jobs {
            let owner = Owner::new("kubeflow.org/v1", "MPIJob", &job.metadata, &job.origin);
            self.kubeflow_job(&owner, &job.spec.run_policy, &job.spec.mpi_replica_specs)?;
        }
        Ok(())
    }

    fn kubeflow_job(
        &mut self,
        owner: &Owner<'_>,
        policy: &RunPolicy,
        roles: &ReplicaSpecs,
    ) -> Result<(), ManifestError> {
        if self.has_pods(owner) {
            return Ok(());
        }
        if policy.suspend == Some(true) {
            self.warn(owner.origin, "it is suspended; its pods are not created");
            return Ok(());
        }
        let scheduling = policy.scheduling_policy.clone().unwrap_or_default();
        let mut pods = Vec::new();
        for (role, replicas) in roles {
            let restart = replicas.restart_policy.as_deref().unwrap_or("OnFailure");
            if !matches!(restart, "Always" | "OnFailure" | "Never" | "ExitCode") {
                let message = format!("expected Always, OnFailure, Never or ExitCode; got `{restart}`");
                return Err(owner.origin.error(format!("{role}.restartPolicy"), message));
            }
            let role = role.to_lowercase();
            let mut template = replicas.template.clone();
            if let Some(spec) = &mut template.spec {
                // The operator starts pods again itself where the exit code decides.
                let restart = if restart == "ExitCode" { "Never" } else { restart };
                spec.restart_policy = Some(restart.to_owned());
                if let Some(class) = &scheduling.priority_class {
                    spec.priority_class_name.get_or_insert_with(|| class.clone());
                }
            }
            for index in 0..replicas.replicas.unwrap_or(1) {
                let labels = [
                    ("training.kubeflow.org/job-name", owner.name.clone()),
                    ("training.kubeflow.org/replica-type", role.clone()),
                    ("training.kubeflow.org/replica-index", index.to_string()),
                ];
                let annotations = [
                    ("scheduling.k8s.io/group-name", owner.name.clone()),
                    ("volcano.sh/task-spec", role.clone()),
                ];
                let name = format!("{}-{role}-{index}", owner.name);
                pods.push(owner.pod(&name, &template, labels, annotations));
            }
        }
        let SchedulingPolicy { min_available, queue, min_resources: given, priority_class, .. } = scheduling;
        let min_member = min_available.unwrap_or(pods.len() as u32);
        let templates =
            roles.values().map(|replicas| (&replicas.template, 0, replicas.replicas.unwrap_or(1)));
        let computed = min_resources(templates, min_member, owner.origin)?;
        let spec = volcano::PodGroupSpec {
            min_member: Some(min_member),
            queue,
            priority_class_name: priority_class,
            min_resources: Some(given.unwrap_or(computed)),
            ..volcano::PodGroupSpec::default()
        };
        self.pod_group(owner, &owner.name, spec);
        self.add(owner, pods)
    }
}
