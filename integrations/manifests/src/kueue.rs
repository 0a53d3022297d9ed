//! Kueue's objects to its model of quotas.

use std::collections::{BTreeMap, BTreeSet};

use foretell_framework::Time;
use foretell_framework::spec::Taint;
use foretell_kueue as model;
use foretell_kueue::topology::{PodShape, TopologyGates, TopologySnapshot};
use foretell_kueue::{FlavorId, NodeId, NodeSpec, QueueId, ResourceId, Search, Tree, Victims, WorkloadId};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use crate::convert::{amounts, key, pod, pod_shape, selectors, topology_request, topology_snapshot};
use crate::error::ManifestError;
use crate::kinds::kueue::{
    ClusterQueue, FairSharing, PodSetAssignment, Preemption, PriorityClassRef, ResourceGroup,
    TopologyAssignment, TopologyDomain, Workload,
};
use crate::objects::{Located, Objects, Origin};
use crate::quantity;

/// The resource of which every pod uses one.
const PODS: &str = "pods";

/// Quotas and workloads as objects describe them. CPU is in thousandths of a core, all else in whole units.
#[derive(Clone, Debug)]
pub struct Quotas {
    /// Flavors, queues and cohorts.
    pub model: model::Model,
    /// Workloads that are not finished, in order of appearance. Times are nanoseconds since 1970.
    pub workloads: Vec<model::Workload>,
    /// What ids are called.
    pub names: QuotaNames,
}

/// What ids of a model of quotas are called.
#[derive(Clone, Debug, Default)]
pub struct QuotaNames {
    /// Cluster queues, then cohorts: the nodes of the tree.
    pub nodes: Vec<String>,
    /// Flavors.
    pub flavors: Vec<String>,
    /// Resources, in order of name.
    pub resources: Vec<String>,
    /// Workloads, as `namespace/name`.
    pub workloads: Vec<String>,
    /// Names of the pod sets of each workload.
    pub pod_sets: Vec<Vec<String>>,
    queue_count: usize,
}

impl QuotaNames {
    /// The queue of a name.
    pub fn queue(&self, name: &str) -> Option<QueueId> {
        self.nodes[..self.queue_count].iter().position(|known| known == name).map(QueueId::new)
    }

    /// The flavor of a name.
    pub fn flavor(&self, name: &str) -> Option<FlavorId> {
        self.flavors.iter().position(|known| known == name).map(FlavorId::new)
    }

    /// The resource of a name.
    pub fn resource(&self, name: &str) -> Option<ResourceId> {
        self.resources.binary_search_by(|known| known.as_str().cmp(name)).ok().map(ResourceId::new)
    }

    /// The number of a resource that is named somewhere: all of them are known.
    fn numbered(&self, name: &str) -> ResourceId {
        self.resource(name).unwrap_or(ResourceId::new(self.resources.len()))
    }

    /// The workload of a name, as `namespace/name`.
    pub fn workload(&self, name: &str) -> Option<WorkloadId> {
        self.workloads.iter().position(|known| known == name).map(WorkloadId::new)
    }
}

/// Kueue's feature gates that change what objects mean.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct QuotaGates {
    /// `ReclaimablePods`: finished pods of a workload no longer count. On by default.
    pub reclaimable_pods: bool,
    /// Those of topology-aware assignment.
    pub topology: TopologyGates,
}

impl Default for QuotaGates {
    fn default() -> Self {
        Self { reclaimable_pods: true, topology: TopologyGates::default() }
    }
}

/// The quotas and workloads that objects describe.
pub fn quotas(objects: &Objects, gates: QuotaGates) -> Result<Quotas, ManifestError> {
    let mut names = QuotaNames { queue_count: objects.cluster_queues.len(), ..QuotaNames::default() };
    names.resources = resources(objects).into_iter().collect();
    names.flavors = flavors(objects);
    names.nodes = nodes(objects)?;
    let mut reader = Reader { objects, gates, names };
    let model = reader.model()?;
    let mut workloads = Vec::new();
    for workload in &objects.workloads {
        if !is_true(&workload.status.conditions, "Finished") {
            workloads.push(reader.workload(&model, workload)?);
        }
    }
    Ok(Quotas { model, workloads, names: reader.names })
}

// ---- Names

fn name(metadata: &k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta) -> &str {
    metadata.name.as_deref().unwrap_or_default()
}

fn groups(objects: &Objects) -> impl Iterator<Item = &ResourceGroup> {
    let queues = objects.cluster_queues.iter().flat_map(|queue| &queue.spec.resource_groups);
    queues.chain(objects.cohorts.iter().flat_map(|cohort| &cohort.spec.resource_groups))
}

/// All resources that are named anywhere.
fn resources(objects: &Objects) -> BTreeSet<String> {
    let mut found = BTreeSet::from([PODS.to_owned()]);
    for group in groups(objects) {
        found.extend(group.covered_resources.iter().cloned());
        let quotas = group.flavors.iter().flat_map(|flavor| &flavor.resources);
        found.extend(quotas.map(|quota| quota.name.clone()));
    }
    for workload in &objects.workloads {
        for spec in workload.spec.pod_sets.iter().filter_map(|set| set.template.spec.as_ref()) {
            if let Ok(requests) = amounts::pod_requests(spec, &workload.origin) {
                found.extend(requests.requests.into_keys());
            }
        }
        for assigned in workload.status.admission.iter().flat_map(|admission| &admission.pod_set_assignments)
        {
            found.extend(assigned.resource_usage.keys().chain(assigned.flavors.keys()).cloned());
        }
    }
    for pod in &objects.pods {
        let requests = pod.spec.as_ref().map(|spec| amounts::pod_requests(spec, &pod.origin));
        found.extend(requests.into_iter().flatten().flat_map(|requests| requests.requests.into_keys()));
    }
    let statuses = objects.nodes.iter().filter_map(|node| node.status.as_ref());
    found.extend(
        statuses
            .flat_map(|status| status.allocatable.iter().chain(&status.capacity))
            .flat_map(|list| list.keys().cloned()),
    );
    found
}

/// All flavors that are named anywhere, declared ones first.
fn flavors(objects: &Objects) -> Vec<String> {
    let declared = objects.resource_flavors.iter().map(|flavor| name(&flavor.metadata));
    let quotas = groups(objects).flat_map(|group| &group.flavors).map(|flavor| flavor.name.as_str());
    let admissions = objects.workloads.iter().filter_map(|workload| workload.status.admission.as_ref());
    let assigned = admissions
        .flat_map(|admission| &admission.pod_set_assignments)
        .flat_map(|assigned| assigned.flavors.values())
        .map(String::as_str);
    let mut found: Vec<String> = Vec::new();
    for name in declared.chain(quotas).chain(assigned) {
        if !found.iter().any(|known| known == name) {
            found.push(name.to_owned());
        }
    }
    found
}

/// Cluster queues, declared cohorts, cohorts that are only named.
fn nodes(objects: &Objects) -> Result<Vec<String>, ManifestError> {
    let queues = objects.cluster_queues.iter().map(|queue| (name(&queue.metadata), &queue.origin));
    let cohorts = objects.cohorts.iter().map(|cohort| (name(&cohort.metadata), &cohort.origin));
    let queue_count = objects.cluster_queues.len();
    let mut found: Vec<String> = Vec::new();
    for (index, (name, origin)) in queues.chain(cohorts).enumerate() {
        let siblings = if index < queue_count { &found[..] } else { &found[queue_count..] };
        if siblings.iter().any(|known| known == name) {
            return Err(
                origin.error("metadata.name", "an object of this kind and name has been read already")
            );
        }
        found.push(name.to_owned());
    }
    let of_queues = objects.cluster_queues.iter().filter_map(|queue| queue.spec.cohort_name.as_ref());
    let of_cohorts = objects.cohorts.iter().filter_map(|cohort| cohort.spec.parent_name.as_ref());
    for named in of_queues.chain(of_cohorts).filter(|named| !named.is_empty()) {
        if !found[queue_count..].contains(named) {
            found.push(named.clone());
        }
    }
    Ok(found)
}

fn is_true(conditions: &[Condition], kind: &str) -> bool {
    conditions.iter().any(|condition| condition.type_ == kind && condition.status == "True")
}

// ---- Quotas

struct Reader<'a> {
    objects: &'a Objects,
    gates: QuotaGates,
    names: QuotaNames,
}

impl Reader<'_> {
    fn model(&self) -> Result<model::Model, ManifestError> {
        let flavors = self.names.flavors.iter().map(|name| self.flavor(name)).collect::<Result<_, _>>()?;
        let mut specs = Vec::new();
        for queue in &self.objects.cluster_queues {
            let spec = &queue.spec;
            specs.push(NodeSpec {
                parent: self.cohort(spec.cohort_name.as_deref()),
                weight: weight(spec.fair_sharing.as_ref(), &queue.origin)?,
                quotas: self.quotas(&spec.resource_groups, &queue.origin)?,
            });
        }
        for cohort in &self.objects.cohorts {
            let spec = &cohort.spec;
            specs.push(NodeSpec {
                parent: self.cohort(spec.parent_name.as_deref()),
                weight: weight(spec.fair_sharing.as_ref(), &cohort.origin)?,
                quotas: self.quotas(&spec.resource_groups, &cohort.origin)?,
            });
        }
        let implicit = NodeSpec { parent: None, weight: 1.0, quotas: BTreeMap::new() };
        specs.resize(self.names.nodes.len(), implicit);
        let counts = (self.names.queue_count, self.names.flavors.len(), self.names.resources.len());
        let tree = Tree::new(&specs, counts.0, counts.1, counts.2).map_err(|error| {
            let cohort = error.node.index().checked_sub(counts.0);
            let origin = match cohort.and_then(|index| self.objects.cohorts.get(index)) {
                Some(cohort) => &cohort.origin,
                None => &self.objects.cluster_queues[error.node.index()].origin,
            };
            origin.error("spec.parentName", "the cohorts above it contain themselves")
        })?;
        let queues = self.objects.cluster_queues.iter().map(|queue| self.queue(queue));
        let namespaces = self.objects.namespaces.iter().map(|namespace| {
            let labels = selectors::labels(namespace.metadata.labels.iter().flatten());
            (name(&namespace.metadata).into(), labels)
        });
        Ok(model::Model {
            flavors,
            queues: queues.collect::<Result<_, _>>()?,
            tree,
            namespaces: namespaces.collect(),
            pods: self.names.resource(PODS),
            topologies: self.topologies()?,
            topology_gates: self.gates.topology,
        })
    }

    /// The nodes of flavors whose topology is known.
    fn topologies(&self) -> Result<BTreeMap<FlavorId, TopologySnapshot>, ManifestError> {
        let mut found = BTreeMap::new();
        for (index, flavor) in self.names.flavors.iter().enumerate() {
            if !self.has_topology(flavor) {
                continue;
            }
            let mut resource = |name: &str| self.names.numbered(name);
            if let Some(snapshot) = topology_snapshot(self.objects, flavor, &mut resource)? {
                found.insert(FlavorId::new(index), snapshot);
            }
        }
        Ok(found)
    }

    /// Whether the topology that a flavor names, if it names one, is known.
    fn has_topology(&self, flavor: &str) -> bool {
        let declared = self.objects.resource_flavors.iter().find(|object| name(&object.metadata) == flavor);
        let wanted = declared.and_then(|flavor| flavor.spec.topology_name.as_ref());
        let topologies = &self.objects.topologies;
        wanted.is_none_or(|wanted| topologies.iter().any(|topology| name(&topology.metadata) == wanted))
    }

    fn cohort(&self, name: Option<&str>) -> Option<NodeId> {
        let first = self.names.queue_count;
        let cohorts = &self.names.nodes[first..];
        cohorts.iter().position(|known| Some(known.as_str()) == name).map(|index| NodeId::new(first + index))
    }

    fn flavor(&self, flavor: &str) -> Result<model::Flavor, ManifestError> {
        let declared = self.objects.resource_flavors.iter().find(|object| name(&object.metadata) == flavor);
        let Some(declared) = declared else { return Ok(model::Flavor::default()) };
        let spec = &declared.spec;
        let taint = |taint: &k8s_openapi::api::core::v1::Taint| {
            Ok(Taint {
                key: taint.key.as_str().into(),
                value: taint.value.as_deref().unwrap_or_default().into(),
                effect: selectors::taint_effect(&taint.effect, "spec.nodeTaints", &declared.origin)?,
            })
        };
        let topology = spec.topology_name.as_ref().map(|wanted| {
            let topology = self.objects.topologies.iter().find(|topology| name(&topology.metadata) == wanted);
            let levels = topology.into_iter().flat_map(|topology| &topology.spec.levels);
            levels.map(|level| level.node_label.as_str().into()).collect()
        });
        Ok(model::Flavor {
            node_labels: selectors::labels(&spec.node_labels),
            taints: spec.node_taints.iter().map(taint).collect::<Result<_, ManifestError>>()?,
            tolerations: selectors::tolerations(&spec.tolerations, &declared.origin)?,
            topology,
        })
    }

    fn quotas(
        &self,
        groups: &[ResourceGroup],
        origin: &Origin,
    ) -> Result<BTreeMap<model::Cell, model::Quota>, ManifestError> {
        let mut found = BTreeMap::new();
        for flavor in groups.iter().flat_map(|group| &group.flavors) {
            for quota in &flavor.resources {
                let amount = |value: &Quantity| amount(&quota.name, value, origin);
                let limit = |value: &Option<Quantity>| value.as_ref().map(amount).transpose();
                let read = model::Quota {
                    nominal: amount(&quota.nominal_quota)?,
                    borrowing_limit: limit(&quota.borrowing_limit)?,
                    lending_limit: limit(&quota.lending_limit)?,
                };
                if let Some(cell) = self.cell(&flavor.name, &quota.name) {
                    found.insert(cell, read);
                }
            }
        }
        Ok(found)
    }

    fn cell(&self, flavor: &str, resource: &str) -> Option<model::Cell> {
        let (flavor, resource) = (self.names.flavor(flavor)?, self.names.resource(resource)?);
        Some(model::Cell::new(flavor.index() * self.names.resources.len() + resource.index()))
    }

    fn queue(&self, queue: &Located<ClusterQueue>) -> Result<model::Queue, ManifestError> {
        let (spec, origin) = (&queue.spec, &queue.origin);
        let group = |group: &ResourceGroup| model::ResourceGroup {
            resources: group.covered_resources.iter().filter_map(|name| self.names.resource(name)).collect(),
            flavors: group.flavors.iter().filter_map(|flavor| self.names.flavor(&flavor.name)).collect(),
        };
        let is_declared = |name: &str| {
            self.objects.resource_flavors.iter().any(|flavor| flavor.metadata.name.as_deref() == Some(name))
        };
        let mut flavors = spec.resource_groups.iter().flat_map(|group| &group.flavors);
        let is_stopped = spec.stop_policy.as_deref().is_some_and(|policy| policy != "None");
        let strict = match spec.queueing_strategy.as_deref() {
            None | Some("" | "BestEffortFIFO") => false,
            Some("StrictFIFO") => true,
            Some(other) => {
                let message = format!("expected BestEffortFIFO or StrictFIFO; got `{other}`");
                return Err(origin.error("spec.queueingStrategy", message));
            }
        };
        let selector = spec.namespace_selector.as_ref();
        let namespaces =
            selector.map(|selector| selectors::label_selector(selector, "spec.namespaceSelector", origin));
        let fungibility = &spec.flavor_fungibility;
        let search = |value: &Option<String>, default: Search, field: &str| match value.as_deref() {
            None | Some("") => Ok(default),
            Some("TryNextFlavor") => Ok(Search::TryNext),
            // The names of `v1beta1`.
            Some("MayStopSearch" | "Borrow" | "Preempt") => Ok(Search::MayStop),
            Some(other) => {
                let message = format!("expected MayStopSearch or TryNextFlavor; got `{other}`");
                Err(origin.error(format!("spec.flavorFungibility.{field}"), message))
            }
        };
        let fungibility = model::Fungibility {
            when_can_borrow: search(&fungibility.when_can_borrow, Search::MayStop, "whenCanBorrow")?,
            when_can_preempt: search(&fungibility.when_can_preempt, Search::TryNext, "whenCanPreempt")?,
            prefers_preemption: fungibility.preference.as_deref() == Some("PreemptionOverBorrowing"),
        };
        Ok(model::Queue {
            groups: spec.resource_groups.iter().map(group).collect(),
            strict,
            active: !is_stopped
                && flavors.all(|flavor| is_declared(&flavor.name) && self.has_topology(&flavor.name)),
            namespaces: namespaces.transpose()?,
            fungibility,
            preemption: preemption(&spec.preemption, origin)?,
        })
    }

    // ---- Workloads

    fn workload(
        &mut self,
        model: &model::Model,
        workload: &Located<Workload>,
    ) -> Result<model::Workload, ManifestError> {
        let (metadata, spec, status) = (&workload.metadata, &workload.spec, &workload.status);
        let namespace = key::namespace(metadata);
        let finished = |set: &str| {
            let pods =
                status.reclaimable_pods.iter().filter(|pods| self.gates.reclaimable_pods && pods.name == set);
            pods.map(|pods| pods.count).sum::<u32>()
        };
        let mut set_names = Vec::new();
        let mut pod_sets = Vec::new();
        for set in &spec.pod_sets {
            let set_name = set.name.clone().unwrap_or_else(|| "main".to_owned());
            let default = k8s_openapi::api::core::v1::PodSpec::default();
            let pods = set.template.spec.as_ref().unwrap_or(&default);
            let mut resource = |name: &str| self.names.numbered(name);
            let request = set.topology_request.as_ref();
            pod_sets.push(model::PodSet {
                count: set.count.saturating_sub(finished(&set_name)),
                min_count: set.min_count,
                shape: pod_shape(pods, &workload.origin, &mut resource)?,
                topology: request.map(topology_request).unwrap_or_default(),
            });
            set_names.push(set_name);
        }

        let is_held =
            !status.conditions.iter().any(|one| one.type_ == "QuotaReserved" && one.status != "True");
        let held = status.admission.as_ref().filter(|_| is_held);
        let admission = held.map(|admission| {
            let mut usage = model::Amounts::new();
            let mut leaves = Vec::new();
            for assigned in &admission.pod_set_assignments {
                let set_name = assigned.name.as_deref().unwrap_or("main");
                let count = assigned.count.unwrap_or(0);
                let left = count.saturating_sub(finished(set_name));
                if let Some(index) = set_names.iter().position(|name| name == set_name) {
                    let pods: &model::PodSet = &pod_sets[index];
                    leaves.extend(self.leaves(model, assigned, &pods.shape));
                }
                let field = "status.admission.podSetAssignments.resourceUsage";
                let amounts = amounts::amounts(&assigned.resource_usage, field, &workload.origin)?;
                for (resource, amount) in amounts {
                    let flavor = assigned.flavors.get(&resource);
                    let Some(cell) = flavor.and_then(|flavor| self.cell(flavor, &resource)) else { continue };
                    let amount = i64::try_from(amount).unwrap_or(i64::MAX);
                    let amount =
                        if left < count { amount / i64::from(count) * i64::from(left) } else { amount };
                    *usage.entry(cell).or_default() += amount;
                }
            }
            let reserved = since(&status.conditions, &["QuotaReserved"], &[]).unwrap_or(Time::MAX);
            Ok(model::Admission { reserved, usage, leaves })
        });
        let admission = admission.transpose()?;

        let queue = match held {
            Some(admission) => self.names.queue(&admission.cluster_queue),
            None => self.queue_of(namespace, spec.queue_name.as_deref()),
        };
        let created = metadata.creation_timestamp.as_ref().map_or(Time::ZERO, pod::time);
        let anew = since(&status.conditions, &["Evicted"], &["PodsReadyTimeout", "AdmissionCheck"]);
        let key = key::key(metadata);
        self.names.workloads.push(key.clone());
        self.names.pod_sets.push(set_names);
        debug_assert!(queue.is_none_or(|queue| queue.index() < model.queues.len()));
        Ok(model::Workload {
            queue: queue.filter(|_| spec.active != Some(false) || held.is_some()),
            namespace: namespace.into(),
            uid: metadata.uid.clone().unwrap_or_else(|| name(metadata).to_owned()).into(),
            priority: self.priority(spec.priority, spec.priority_class_ref.as_ref()),
            queued: anew.unwrap_or(created),
            pod_sets,
            admission,
            evicted: is_true(&status.conditions, "Evicted"),
        })
    }

    /// Where the pods of an admitted set are.
    fn leaves(
        &self,
        model: &model::Model,
        assigned: &PodSetAssignment,
        shape: &PodShape,
    ) -> Vec<model::LeafUse> {
        let flavors = assigned.flavors.values().filter_map(|flavor| self.names.flavor(flavor));
        let Some((flavor, topology)) =
            flavors.into_iter().find_map(|flavor| Some((flavor, model.topologies.get(&flavor)?)))
        else {
            return Vec::new();
        };
        let domains = assigned.topology_assignment.iter().flat_map(TopologyAssignment::unpacked);
        let used = |domain: TopologyDomain| {
            let values: Vec<Box<str>> = domain.values.into_iter().map(Into::into).collect();
            let leaf = topology.leaf(&values)?;
            Some(model::LeafUse { flavor, leaf, shape: shape.clone(), pods: domain.count })
        };
        domains.filter_map(used).collect()
    }

    fn queue_of(&self, namespace: &str, local: Option<&str>) -> Option<QueueId> {
        let is_it = |queue: &&Located<crate::kinds::kueue::LocalQueue>| {
            key::namespace(&queue.metadata) == namespace && queue.metadata.name.as_deref() == local
        };
        let queue = self.objects.local_queues.iter().find(is_it)?;
        let is_stopped = queue.spec.stop_policy.as_deref().is_some_and(|policy| policy != "None");
        self.names.queue(&queue.spec.cluster_queue).filter(|_| !is_stopped)
    }

    fn priority(&self, given: Option<i32>, class: Option<&PriorityClassRef>) -> i32 {
        let class = class.map(|class| match class {
            PriorityClassRef::Name(name) | PriorityClassRef::Reference { name, .. } => name.as_str(),
        });
        let of_class = || {
            let own = &self.objects.workload_priority_classes;
            let own = own.iter().find(|object| object.metadata.name.as_deref() == class);
            let pods = &self.objects.priority_classes;
            let pods = || pods.iter().find(|object| object.metadata.name.as_deref() == class)?.value;
            own.map(|class| class.value).or_else(pods)
        };
        given.or_else(|| class.and_then(|_| of_class())).unwrap_or(0)
    }
}

/// Since when a condition holds, for one of some reasons if any are given.
fn since(conditions: &[Condition], kinds: &[&str], reasons: &[&str]) -> Option<Time> {
    let is_it = |condition: &&Condition| {
        condition.status == "True"
            && kinds.contains(&condition.type_.as_str())
            && (reasons.is_empty() || reasons.contains(&condition.reason.as_str()))
    };
    conditions.iter().find(is_it).map(|condition| pod::time(&condition.last_transition_time))
}

fn amount(resource: &str, value: &Quantity, origin: &Origin) -> Result<i64, ManifestError> {
    let read = amounts::amounts([(&resource.to_owned(), value)], "spec.resourceGroups", origin)?;
    Ok(read.values().next().map_or(0, |&amount| i64::try_from(amount).unwrap_or(i64::MAX)))
}

fn weight(sharing: Option<&FairSharing>, origin: &Origin) -> Result<f64, ManifestError> {
    let Some(weight) = sharing.and_then(|sharing| sharing.weight.as_ref()) else { return Ok(1.0) };
    let message = || format!("expected a quantity of zero or more; got `{}`", weight.0);
    let milli = quantity::milli(weight).ok_or_else(|| origin.error("spec.fairSharing.weight", message()))?;
    Ok(milli as f64 / 1000.0)
}

fn preemption(spec: &Preemption, origin: &Origin) -> Result<model::Preemption, ManifestError> {
    let victims = |value: &Option<String>, field: &str| match value.as_deref() {
        None | Some("" | "Never") => Ok(Victims::Never),
        Some("LowerPriority") => Ok(Victims::LowerPriority),
        Some("LowerOrNewerEqualPriority") => Ok(Victims::LowerOrNewerEqualPriority),
        Some("Any") => Ok(Victims::Any),
        Some(other) => {
            let message =
                format!("expected Never, LowerPriority, LowerOrNewerEqualPriority or Any; got `{other}`");
            Err(origin.error(format!("spec.preemption.{field}"), message))
        }
    };
    let while_borrowing = spec
        .borrow_within_cohort
        .as_ref()
        .filter(|borrow| borrow.policy.as_deref().is_some_and(|policy| !matches!(policy, "" | "Never")));
    Ok(model::Preemption {
        within_queue: victims(&spec.within_cluster_queue, "withinClusterQueue")?,
        reclaim: victims(&spec.reclaim_within_cohort, "reclaimWithinCohort")?,
        while_borrowing: while_borrowing
            .map(|borrow| model::WhileBorrowing { threshold: borrow.max_priority_threshold }),
    })
}
