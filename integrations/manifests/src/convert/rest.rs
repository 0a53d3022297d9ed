//! Queues, budgets, quotas, namespaces, owners.

use std::collections::{BTreeMap, BTreeSet};

use foretell_framework::state::{
    DisruptionBudget, ElasticQuota, NodeGroupAffinity, NodeGroupLimits, ResourceQuota,
};
use foretell_framework::{LabelSelector, QueueId, QueueSpec, Quota};

use k8s_openapi::apimachinery::pkg::apis::meta::v1 as meta;

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::policy::v1::PodDisruptionBudgetSpec;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::amounts::{self, Units};
use super::pod::policy_annotations;
use super::selectors::{label_selector, labels, map_selector};
use super::{Builder, UNDECLARED, key};
use crate::error::ManifestError;
use crate::kinds::ResourceList;
use crate::objects::{Located, Origin};

impl Builder<'_> {
    fn quota(
        &mut self,
        list: Option<&ResourceList>,
        field: &str,
        origin: &Origin,
    ) -> Result<Quota, ManifestError> {
        let list = amounts::amounts(list.into_iter().flatten(), field, origin)?;
        Ok(Units { device: self.device.as_deref() }.quota(&mut self.state, &list))
    }

    // ---- Queues

    pub(super) fn queues(&mut self) -> Result<(), ManifestError> {
        let objects = self.objects;
        for queue in &objects.queues {
            let name = queue.metadata.name.as_deref().unwrap_or_default();
            if self.names.queue(name).is_some() {
                return Err(queue
                    .origin
                    .error("metadata.name", "a queue of this name has been read already"));
            }
            let id = self.state.queue_id(name);
            self.names.add_queue(name, id);
        }
        for queue in &objects.queues {
            let (spec, origin) = (&queue.spec, &queue.origin);
            let name = queue.metadata.name.as_deref().unwrap_or_default();
            let affinity = spec.affinity.as_ref();
            let near = affinity.and_then(|affinity| affinity.node_group_affinity.as_ref());
            let apart = affinity.and_then(|affinity| affinity.node_group_anti_affinity.as_ref());
            let list = |names: Option<&Vec<String>>| {
                names.into_iter().flatten().map(|name| name.as_str().into()).collect()
            };
            let parent = spec.parent.as_deref().filter(|parent| !parent.is_empty() && *parent != name);
            let guarantee = spec.guarantee.as_ref().map(|guarantee| &guarantee.resource);
            let built = QueueSpec {
                parent: parent.map(|parent| self.queue(parent)),
                weight: spec.weight.unwrap_or(1),
                priority: spec.priority.unwrap_or(0),
                capability: self.quota(spec.capability.as_ref(), "spec.capability", origin)?,
                deserved: self.quota(spec.deserved.as_ref(), "spec.deserved", origin)?,
                guarantee: self.quota(guarantee, "spec.guarantee.resource", origin)?,
                reclaimable: spec.reclaimable.unwrap_or(true),
                open: matches!(queue.status.state.as_deref(), None | Some("" | "Open")),
                head_blocks: spec.dequeue_strategy.as_deref() == Some("fifo"),
                node_groups: NodeGroupAffinity {
                    required: list(near.map(|groups| &groups.required)),
                    preferred: list(near.map(|groups| &groups.preferred)),
                    anti_required: list(apart.map(|groups| &groups.required)),
                    anti_preferred: list(apart.map(|groups| &groups.preferred)),
                },
                node_group_limits: self.node_group_limits(&queue.metadata, origin),
                annotations: policy_annotations(&queue.metadata),
            };
            let id = self.queue(name);
            self.state.set_queue_spec(id, built);
        }
        Ok(())
    }

    /// What a queue may hold in groups of nodes. What cannot be read holds up the queue, as in Volcano, and is warned of.
    fn node_group_limits(&mut self, metadata: &meta::ObjectMeta, origin: &Origin) -> NodeGroupLimits {
        const KEY: &str = "volcano.sh/nodegroup-resource-limits";
        let Some(text) = metadata.annotations.as_ref().and_then(|annotations| annotations.get(KEY)) else {
            return NodeGroupLimits::default();
        };
        let field = format!("metadata.annotations[{KEY}]");
        let known = serde_json::from_str::<BTreeMap<String, ResourceList>>(text).ok().and_then(|groups| {
            let limit = |(group, list): (String, ResourceList)| {
                Some((group.as_str().into(), self.quota(Some(&list), &field, origin).ok()?))
            };
            groups.into_iter().map(limit).collect::<Option<Vec<_>>>()
        });
        known.map_or_else(
            || {
                self.warn(
                    origin,
                    &format!("{field}: expected groups with resource lists; nothing of this queue is placed"),
                );
                NodeGroupLimits::Unreadable
            },
            NodeGroupLimits::Known,
        )
    }

    /// A queue by name; one that nothing declares is marked so.
    pub(super) fn queue(&mut self, name: &str) -> QueueId {
        if let Some(queue) = self.names.queue(name) {
            return queue;
        }
        let id = self.state.queue_id(name);
        self.names.add_queue(name, id);
        let mut spec = QueueSpec::default();
        spec.annotations.insert(UNDECLARED.into(), "true".into());
        self.state.set_queue_spec(id, spec);
        id
    }

    /// The queue of a job. Without any queue declared, nobody misses one.
    pub(super) fn job_queue(&mut self, name: &str, origin: Option<&Origin>) -> QueueId {
        // Volcano makes its default queue itself.
        let known = name == "default" || self.names.queue(name).is_some();
        if let Some(origin) = origin.filter(|_| !known && !self.objects.queues.is_empty()) {
            self.warn(origin, &format!("queue {name} is not declared"));
        }
        self.queue(name)
    }

    // ---- Objects beside

    pub(super) fn cluster_objects(&mut self) -> Result<(), ManifestError> {
        self.namespaces();
        self.budgets()?;
        self.resource_quotas()?;
        self.topologies();
        self.owners()
    }

    fn namespaces(&mut self) {
        const NAME_LABEL: &str = "kubernetes.io/metadata.name";
        let objects = self.objects;
        let mut named: BTreeSet<&str> =
            objects.pods.iter().map(|pod| key::namespace(&pod.metadata)).collect();
        let namespaces = &mut self.state.objects_mut().namespaces;
        for namespace in &objects.namespaces {
            let name = namespace.metadata.name.as_deref().unwrap_or_default();
            named.remove(name);
            let mut labels = labels(namespace.metadata.labels.iter().flatten());
            labels.entry(NAME_LABEL.into()).or_insert_with(|| name.into());
            namespaces.insert(name.into(), labels);
        }
        for name in named {
            namespaces.insert(name.into(), [(NAME_LABEL.into(), name.into())].into());
        }
    }

    fn budgets(&mut self) -> Result<(), ManifestError> {
        for budget in &self.objects.disruption_budgets {
            let selector = budget.spec.as_ref().and_then(|spec| spec.selector.as_ref());
            let selector = selector
                .map(|selector| label_selector(selector, "spec.selector", &budget.origin))
                .transpose()?;
            let status = budget.status.as_ref();
            let disruptions_allowed = match (status, &budget.spec) {
                (Some(status), _) => status.disruptions_allowed.unwrap_or(0),
                (None, Some(spec)) => allowed_disruptions(
                    &self.objects.pods,
                    key::namespace(&budget.metadata),
                    spec,
                    selector.as_ref(),
                )
                .ok_or_else(|| {
                    let message = "expected a number or a percentage, such as 2 or 30%";
                    budget.origin.error("spec.minAvailable", message)
                })?,
                (None, None) => 0,
            };
            let disrupted = status.and_then(|status| status.disrupted_pods.as_ref());
            let disrupted_tasks =
                disrupted.into_iter().flatten().map(|(pod, _)| pod.as_str().into()).collect();
            self.state.objects_mut().disruption_budgets.push(DisruptionBudget {
                namespace: key::namespace(&budget.metadata).into(),
                name: budget.metadata.name.as_deref().unwrap_or_default().into(),
                selector,
                disruptions_allowed,
                disrupted_tasks,
            });
        }
        Ok(())
    }

    fn resource_quotas(&mut self) -> Result<(), ManifestError> {
        for quota in &self.objects.resource_quotas {
            let status = quota.status.as_ref();
            let spec = quota.spec.as_ref().and_then(|spec| spec.hard.as_ref());
            let hard = status.and_then(|status| status.hard.as_ref());
            let built = ResourceQuota {
                namespace: key::namespace(&quota.metadata).into(),
                name: quota.metadata.name.as_deref().unwrap_or_default().into(),
                hard: self.quota(hard.or(spec), "spec.hard", &quota.origin)?,
                used: self.quota(
                    status.and_then(|status| status.used.as_ref()),
                    "status.used",
                    &quota.origin,
                )?,
            };
            self.state.objects_mut().resource_quotas.push(built);
        }
        for quota in &self.objects.elastic_quotas {
            let built = ElasticQuota {
                namespace: key::namespace(&quota.metadata).into(),
                name: quota.metadata.name.as_deref().unwrap_or_default().into(),
                min: self.quota(quota.spec.min.as_ref(), "spec.min", &quota.origin)?,
                max: self.quota(quota.spec.max.as_ref(), "spec.max", &quota.origin)?,
            };
            self.state.objects_mut().elastic_quotas.push(built);
        }
        Ok(())
    }

    /// Selectors of services and of controllers.
    fn owners(&mut self) -> Result<(), ManifestError> {
        let objects = self.objects;
        let mut owners: Vec<(Box<str>, LabelSelector)> = Vec::new();
        for service in &objects.services {
            // A service without selector selects nothing.
            let selector = service.spec.as_ref().and_then(|spec| spec.selector.as_ref());
            if let Some(selector) = selector.filter(|selector| !selector.is_empty()) {
                owners.push((key::namespace(&service.metadata).into(), map_selector(selector)));
            }
        }
        for controller in &objects.replication_controllers {
            let selector = controller.spec.as_ref().and_then(|spec| spec.selector.as_ref());
            if let Some(selector) = selector.filter(|selector| !selector.is_empty()) {
                owners.push((key::namespace(&controller.metadata).into(), map_selector(selector)));
            }
        }
        let sets = objects.replica_sets.iter().map(|set| (&set.metadata, &set.spec.selector, &set.origin));
        let stateful =
            objects.stateful_sets.iter().map(|set| (&set.metadata, &set.spec.selector, &set.origin));
        let deployments = objects
            .deployments
            .iter()
            .map(|deployment| (&deployment.metadata, &deployment.spec.selector, &deployment.origin));
        for (metadata, selector, origin) in sets.chain(stateful).chain(deployments) {
            let selector = label_selector(selector, "spec.selector", origin)?;
            owners.push((key::namespace(metadata).into(), selector));
        }
        self.state.objects_mut().owners = owners;
        Ok(())
    }
}

/// What the disruption controller would allow, of a budget that has no status. `None` if the bound is no bound.
fn allowed_disruptions(
    pods: &[Located<Pod>],
    namespace: &str,
    spec: &PodDisruptionBudgetSpec,
    selector: Option<&LabelSelector>,
) -> Option<i32> {
    let phase = |pod: &Pod| pod.status.as_ref().and_then(|status| status.phase.clone()).unwrap_or_default();
    let protected = pods.iter().filter(|pod| {
        key::namespace(&pod.metadata) == namespace
            && selector
                .is_some_and(|selector| selector.matches(&labels(pod.metadata.labels.iter().flatten())))
            && !matches!(phase(pod).as_str(), "Succeeded" | "Failed")
    });
    let expected = protected.clone().count() as i32;
    let healthy = protected.filter(|pod| phase(pod) == "Running").count() as i32;
    let scaled = |bound: &IntOrString| match bound {
        IntOrString::Int(count) => Some(*count),
        IntOrString::String(text) => {
            let percentage = text.strip_suffix('%')?.parse::<i32>().ok()?;
            // Rounded up, as Kubernetes does.
            Some((expected * percentage + 99) / 100)
        }
    };
    let desired = match (&spec.min_available, &spec.max_unavailable) {
        (Some(min), _) => scaled(min)?,
        (None, Some(max)) => expected - scaled(max)?,
        (None, None) => expected,
    };
    Some((healthy - desired).max(0))
}
