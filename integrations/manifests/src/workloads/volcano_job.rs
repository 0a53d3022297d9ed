//! Volcano's jobs, as its controller creates their pods and groups.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};

use super::{Expansion, Owner};
use crate::convert::amounts::{self, Amounts, CPU};
use crate::convert::key;
use crate::error::ManifestError;
use crate::kinds::{ResourceList, volcano};
use crate::objects::{Located, Origin};

/// The label of the group within a task that a pod belongs to.
const PARTITION_LABEL: &str = "volcano.sh/partition-id";

impl Expansion {
    pub(super) fn volcano_job(&mut self, job: &Located<volcano::Job>) -> Result<(), ManifestError> {
        let owner = Owner::new("batch.volcano.sh/v1alpha1", "Job", &job.metadata, &job.origin);
        if self.has_pods(&owner) {
            return Ok(());
        }
        let uid = job.metadata.uid.as_deref().filter(|uid| !uid.is_empty());
        let group = uid.map_or_else(|| owner.name.clone(), |uid| format!("{}-{uid}", owner.name));

        let mut pods = Vec::new();
        let mut minima = BTreeMap::new();
        let mut sub_groups = Vec::new();
        for (position, task) in job.spec.tasks.iter().enumerate() {
            let role = task.name.clone().unwrap_or_else(|| format!("default{position}"));
            let replicas = task.replicas.unwrap_or(1);
            minima.insert(role.clone(), task.min_available.unwrap_or(replicas));
            let partition = task.partition_policy.as_ref().filter(|policy| policy.partition_size > 0);
            if let Some(policy) = partition {
                sub_groups.push(sub_group(&role, policy));
            }
            let mut template = task.template.clone();
            if let (Some(spec), Some(class)) = (&mut template.spec, &job.spec.priority_class_name) {
                spec.priority_class_name.get_or_insert_with(|| class.clone());
            }
            for index in 0..replicas {
                let labels = [
                    ("volcano.sh/job-name", owner.name.clone()),
                    ("volcano.sh/task-spec", role.clone()),
                    ("volcano.sh/task-index", index.to_string()),
                ];
                let partition =
                    partition.map(|policy| (PARTITION_LABEL, (index / policy.partition_size).to_string()));
                let annotations = [("scheduling.k8s.io/group-name", group.clone())];
                let name = format!("{}-{role}-{index}", owner.name);
                pods.push(owner.pod(&name, &template, labels.into_iter().chain(partition), annotations));
            }
        }
        let min_member = job.spec.min_available.filter(|&pods| pods > 0);
        let min_member = min_member.unwrap_or_else(|| minima.values().sum());
        let templates = job.spec.tasks.iter().map(|task| {
            let replicas = task.replicas.unwrap_or(1);
            (&task.template, task.min_available.unwrap_or(replicas).min(replicas), replicas)
        });
        let spec = volcano::PodGroupSpec {
            min_member: Some(min_member),
            min_task_member: minima,
            queue: job.spec.queue.clone(),
            priority_class_name: job.spec.priority_class_name.clone(),
            min_resources: Some(min_resources(templates, min_member, owner.origin)?),
            network_topology: job.spec.network_topology.clone(),
            sub_group_policy: sub_groups,
        };
        self.pod_group(&owner, &group, spec);
        self.add(&owner, pods)
    }

    /// Adds the group of a controller's pods, unless it is there.
    pub(super) fn pod_group(&mut self, owner: &Owner<'_>, name: &str, spec: volcano::PodGroupSpec) {
        let is = |group: &Located<volcano::PodGroup>| {
            key::namespace(&group.metadata) == owner.namespace && group.metadata.name.as_deref() == Some(name)
        };
        if self.objects.volcano_pod_groups.iter().any(is) {
            return;
        }
        let metadata = ObjectMeta {
            name: Some(name.to_owned()),
            namespace: Some(owner.namespace.to_owned()),
            labels: owner.metadata.labels.clone(),
            annotations: owner.metadata.annotations.clone(),
            creation_timestamp: owner.metadata.creation_timestamp.clone(),
            ..ObjectMeta::default()
        };
        let status = volcano::PodGroupStatus::default();
        let object = volcano::PodGroup { metadata, spec, status };
        self.objects.volcano_pod_groups.push(Located { object, origin: owner.origin.clone() });
    }
}

fn sub_group(role: &str, policy: &volcano::PartitionPolicy) -> volcano::SubGroupPolicy {
    let labels = BTreeMap::from([("volcano.sh/task-spec".to_owned(), role.to_owned())]);
    volcano::SubGroupPolicy {
        name: role.to_owned(),
        sub_group_size: Some(policy.partition_size),
        min_sub_groups: policy.min_partitions,
        label_selector: Some(LabelSelector { match_labels: Some(labels), match_expressions: None }),
        match_label_keys: vec![PARTITION_LABEL.to_owned()],
        network_topology: policy.network_topology.clone(),
    }
}

/// What `min_member` pods request: of each template its minimum first, then the rest, in order. Templates come with
/// their minimum and number of pods.
pub(super) fn min_resources<'t>(
    templates: impl Iterator<Item = (&'t k8s_openapi::api::core::v1::PodTemplateSpec, u32, u32)> + Clone,
    min_member: u32,
    origin: &Origin,
) -> Result<ResourceList, ManifestError> {
    let mut left = min_member;
    let mut sum = Amounts::new();
    let minima = templates.clone().map(|(template, minimum, _)| (template, minimum));
    let rest = templates.map(|(template, minimum, replicas)| (template, replicas - minimum));
    for (template, pods) in minima.chain(rest) {
        let pods = pods.min(left);
        left -= pods;
        let Some(spec) = template.spec.as_ref().filter(|_| pods > 0) else { continue };
        for (name, amount) in amounts::pod_requests(spec, origin)?.requests {
            let total = sum.entry(name).or_insert(0_u64);
            *total = total.saturating_add(amount.saturating_mul(u64::from(pods)));
        }
    }
    let quantity = |(name, amount): (String, u64)| {
        let text = if name == CPU { format!("{amount}m") } else { amount.to_string() };
        (name, Quantity(text))
    };
    Ok(sum.into_iter().map(quantity).collect())
}
