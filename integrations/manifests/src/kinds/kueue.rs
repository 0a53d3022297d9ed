//! Kueue: `kueue.x-k8s.io/v1beta2`, and `v1beta1` where it says the same.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{PodTemplateSpec, Taint, Toleration};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, LabelSelector, ObjectMeta, Time};
use serde::Deserialize;

use super::ResourceList;

/// A queue with quotas.
#[derive(Clone, PartialEq, Debug, Default, Deserialize)]
#[serde(default)]
pub struct ClusterQueue {
    /// Its name.
    pub metadata: ObjectMeta,
    /// Its quotas and rules.
    pub spec: ClusterQueueSpec,
}

/// Quotas and rules of a cluster queue.
#[derive(Clone, PartialEq, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ClusterQueueSpec {
    /// Quotas by group of resources.
    pub resource_groups: Vec<ResourceGroup>,
    /// The cohort with which it lends and borrows.
    #[serde(alias = "cohort")]
    pub cohort_name: Option<String>,
    /// `BestEffortFIFO`, the default, or `StrictFIFO`.
    pub queueing_strategy: Option<String>,
    /// The namespaces whose workloads it takes; none if absent.
    pub namespace_selector: Option<LabelSelector>,
    /// When the next flavor is tried.
    pub flavor_fungibility: FlavorFungibility,
    /// Whom its workloads displace.
    pub preemption: Preemption,
    /// Its weight among its siblings.
    pub fair_sharing: Option<FairSharing>,
    /// `None`, `Hold` or `HoldAndDrain`.
    pub stop_policy: Option<String>,
}

/// Resources that share flavors.
#[derive(Clone, PartialEq, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ResourceGroup {
    /// The resources.
    pub covered_resources: Vec<String>,
    /// The flavors, in order of preference.
    pub flavors: Vec<FlavorQuotas>,
}

/// Quotas of one flavor.
#[derive(Clone, PartialEq, Debug, Default, Deserialize)]
#[serde(default)]
pub struct FlavorQuotas {
    /// The flavor.
    pub name: String,
    /// Quotas by resource.
    pub resources: Vec<ResourceQuota>,
}

/// The quota of one resource of one flavor.
#[derive(Clone, PartialEq, Debug, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ResourceQuota {
    /// The resource.
    pub name: String,
    /// What it has for itself.
    pub nominal_quota: Quantity,
    /// The most that it may borrow; no limit if absent.
    pub borrowing_limit: Option<Quantity>,
    /// The most that it lends; all if absent.
    pub lending_limit: Option<Quantity>,
}

impl Default for ResourceQuota {
    fn default() -> Self {
        let nominal_quota = Quantity("0".to_owned());
        Self { name: String::new(), nominal_quota, borrowing_limit: None, lending_limit: None }
    }
}

/// When the next flavor is tried.
#[derive(Clone, PartialEq, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct FlavorFungibility {
    /// `MayStopSearch`, the default, or `TryNextFlavor`.
    pub when_can_borrow: Option<String>,
    /// `MayStopSearch` or `TryNextFlavor`, the default.
    pub when_can_preempt: Option<String>,
    /// `BorrowingOverPreemption`, the default, or `PreemptionOverBorrowing`.
    pub preference: Option<String>,
}

/// Whom workloads of a queue displace.
#[derive(Clone, PartialEq, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Preemption {
    /// `Never`, the default, `LowerPriority` or `LowerOrNewerEqualPriority`.
    pub within_cluster_queue: Option<String>,
    /// `Never`, the default, `LowerPriority` or `Any`.
    pub reclaim_within_cohort: Option<String>,
    /// Displacing while borrowing.
    pub borrow_within_cohort: Option<BorrowWithinCohort>,
}

/// Displacing while borrowing.
#[derive(Clone, PartialEq, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct BorrowWithinCohort {
    /// `Never`, the default, or `LowerPriority`.
    pub policy: Option<String>,
    /// Only workloads of this priority and below.
    pub max_priority_threshold: Option<i32>,
}

/// A weight among siblings.
#[derive(Clone, PartialEq, Debug, Default, Deserialize)]
#[serde(default)]
pub struct FairSharing {
    /// 1 if absent.
    pub weight: Option<Quantity>,
}

/// A group of queues that lend to each other.
#[derive(Clone, PartialEq, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Cohort {
    /// Its name.
    pub metadata: ObjectMeta,
    /// Its place and quotas.
    pub spec: CohortSpec,
}

/// Place and quotas of a cohort.
#[derive(Clone, PartialEq, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct CohortSpec {
    /// The cohort that contains it.
    #[serde(alias = "parent")]
    pub parent_name: Option<String>,
    /// Quotas of its own, on top of those of its queues.
    pub resource_groups: Vec<ResourceGroup>,
    /// Its weight among its siblings.
    pub fair_sharing: Option<FairSharing>,
}

/// The queue of a namespace: a name for a cluster queue.
#[derive(Clone, PartialEq, Debug, Default, Deserialize)]
#[serde(default)]
pub struct LocalQueue {
    /// Name and namespace.
    pub metadata: ObjectMeta,
    /// Where it leads.
    pub spec: LocalQueueSpec,
}

/// Where a local queue leads.
#[derive(Clone, PartialEq, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct LocalQueueSpec {
    /// The cluster queue.
    pub cluster_queue: String,
    /// `None`, `Hold` or `HoldAndDrain`.
    pub stop_policy: Option<String>,
}

/// A kind of nodes.
#[derive(Clone, PartialEq, Debug, Default, Deserialize)]
#[serde(default)]
pub struct ResourceFlavor {
    /// Its name.
    pub metadata: ObjectMeta,
    /// Its nodes.
    pub spec: ResourceFlavorSpec,
}

/// The nodes of a flavor.
#[derive(Clone, PartialEq, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ResourceFlavorSpec {
    /// Labels of its nodes.
    pub node_labels: BTreeMap<String, String>,
    /// Taints of its nodes, which pods must tolerate.
    pub node_taints: Vec<Taint>,
    /// Tolerations that its pods are given.
    pub tolerations: Vec<Toleration>,
    /// The topology by which pods are assigned to its nodes.
    pub topology_name: Option<String>,
}

/// Levels of a topology.
#[derive(Clone, PartialEq, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Topology {
    /// Its name.
    pub metadata: ObjectMeta,
    /// Its levels.
    pub spec: TopologySpec,
}

/// Levels of a topology.
#[derive(Clone, PartialEq, Debug, Default, Deserialize)]
#[serde(default)]
pub struct TopologySpec {
    /// From the widest to the narrowest.
    pub levels: Vec<TopologyLevel>,
}

/// A level of a topology.
#[derive(Clone, PartialEq, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct TopologyLevel {
    /// The label whose values name the domains.
    pub node_label: String,
}

/// A priority by name.
#[derive(Clone, PartialEq, Debug, Default, Deserialize)]
#[serde(default)]
pub struct WorkloadPriorityClass {
    /// Its name.
    pub metadata: ObjectMeta,
    /// Larger goes first.
    pub value: i32,
}

/// What is admitted as a whole.
#[derive(Clone, PartialEq, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Workload {
    /// Name, namespace, creation.
    pub metadata: ObjectMeta,
    /// Its pods.
    pub spec: WorkloadSpec,
    /// What became of it.
    pub status: WorkloadStatus,
}

/// Pods of a workload.
#[derive(Clone, PartialEq, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct WorkloadSpec {
    /// Pods, by set of pods alike.
    pub pod_sets: Vec<PodSet>,
    /// Its local queue.
    pub queue_name: Option<String>,
    /// Larger goes first.
    pub priority: Option<i32>,
    /// The class that gives its priority where it gives none.
    #[serde(alias = "priorityClassName")]
    pub priority_class_ref: Option<PriorityClassRef>,
    /// Whether it takes part; yes if absent.
    pub active: Option<bool>,
}

/// The class that gives a priority: a name, or a reference as of `v1beta2`.
#[derive(Clone, PartialEq, Debug, Deserialize)]
#[serde(untagged)]
pub enum PriorityClassRef {
    /// A name.
    Name(String),
    /// A reference.
    Reference {
        /// The kind of class.
        #[serde(default)]
        kind: String,
        /// Its name.
        name: String,
    },
}

/// Pods alike.
#[derive(Clone, PartialEq, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct PodSet {
    /// Its name; `main` if absent.
    pub name: Option<String>,
    /// The pods.
    pub template: PodTemplateSpec,
    /// How many.
    pub count: u32,
    /// How few will do; all if absent.
    pub min_count: Option<u32>,
    /// Where they want to be.
    pub topology_request: Option<TopologyRequest>,
}

/// Where pods of a set want to be.
#[derive(Clone, PartialEq, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct TopologyRequest {
    /// In one domain of this level.
    pub required: Option<String>,
    /// Rather in one domain of this level.
    pub preferred: Option<String>,
    /// Anywhere.
    pub unconstrained: Option<bool>,
    /// Sets of one name are assigned together.
    pub pod_set_group_name: Option<String>,
    /// The level within a domain of which each slice of the set must be.
    pub pod_set_slice_required_topology: Option<String>,
    /// Pods per slice.
    pub pod_set_slice_size: Option<u32>,
    /// Slices within slices, from the widest level to the narrowest.
    #[serde(alias = "podSetSliceRequiredTopologyConstraints")]
    pub podset_slice_required_topology_constraints: Option<Vec<SliceConstraint>>,
}

/// A layer of slices.
#[derive(Clone, PartialEq, Debug, Default, Deserialize)]
#[serde(default)]
pub struct SliceConstraint {
    /// The level.
    pub topology: String,
    /// Pods per slice.
    pub size: u32,
}

/// What became of a workload.
#[derive(Clone, PartialEq, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct WorkloadStatus {
    /// Conditions, such as `QuotaReserved`, `Evicted`, `Finished`.
    pub conditions: Vec<Condition>,
    /// The quota that it holds.
    pub admission: Option<Admission>,
    /// Pods that have finished, whose quota is free.
    pub reclaimable_pods: Vec<ReclaimablePod>,
    /// When it waits again after an eviction.
    pub requeue_state: Option<RequeueState>,
}

/// The quota that a workload holds.
#[derive(Clone, PartialEq, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Admission {
    /// Of which queue.
    pub cluster_queue: String,
    /// By set of pods.
    pub pod_set_assignments: Vec<PodSetAssignment>,
}

/// The quota that a set of pods holds.
#[derive(Clone, PartialEq, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct PodSetAssignment {
    /// The set; `main` if absent.
    pub name: Option<String>,
    /// The flavor of each resource.
    pub flavors: BTreeMap<String, String>,
    /// Amounts, of all pods together.
    pub resource_usage: ResourceList,
    /// Pods that were admitted.
    pub count: Option<u32>,
    /// Where they are.
    pub topology_assignment: Option<TopologyAssignment>,
}

/// Pods per domain.
#[derive(Clone, PartialEq, Debug, Default, Deserialize)]
#[serde(default)]
pub struct TopologyAssignment {
    /// The levels whose labels name a domain.
    pub levels: Vec<String>,
    /// Domains as of `v1beta2`, packed.
    pub slices: Vec<TopologySlice>,
    /// Domains as of `v1beta1`.
    pub domains: Vec<TopologyDomain>,
}

/// A domain and its pods.
#[derive(Clone, PartialEq, Debug, Default, Deserialize)]
#[serde(default)]
pub struct TopologyDomain {
    /// Its value per level.
    pub values: Vec<String>,
    /// Its pods.
    pub count: u32,
}

/// Some domains, packed.
#[derive(Clone, PartialEq, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct TopologySlice {
    /// How many domains.
    pub domain_count: u32,
    /// Their values, per level.
    pub values_per_level: Vec<LevelValues>,
    /// Their pods.
    pub pod_counts: PodCounts,
}

/// Values of one level.
#[derive(Clone, PartialEq, Debug, Default, Deserialize)]
#[serde(default)]
pub struct LevelValues {
    /// One for all domains.
    pub universal: Option<String>,
    /// One for each.
    pub individual: Option<IndividualValues>,
}

/// Values with a common prefix and suffix.
#[derive(Clone, PartialEq, Debug, Default, Deserialize)]
#[serde(default)]
pub struct IndividualValues {
    /// What all begin with.
    pub prefix: Option<String>,
    /// What all end with.
    pub suffix: Option<String>,
    /// What is between, for each.
    pub roots: Vec<String>,
}

/// Pods per domain.
#[derive(Clone, PartialEq, Debug, Default, Deserialize)]
#[serde(default)]
pub struct PodCounts {
    /// The same for all domains.
    pub universal: Option<u32>,
    /// One for each.
    pub individual: Vec<u32>,
}

/// Pods of a set that have finished.
#[derive(Clone, PartialEq, Debug, Default, Deserialize)]
#[serde(default)]
pub struct ReclaimablePod {
    /// The set.
    pub name: String,
    /// How many.
    pub count: u32,
}

/// When a workload waits again.
#[derive(Clone, PartialEq, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct RequeueState {
    /// Evictions so far.
    pub count: Option<u32>,
    /// Not before.
    pub requeue_at: Option<Time>,
}

impl TopologyAssignment {
    /// Its domains, unpacked.
    pub fn unpacked(&self) -> Vec<TopologyDomain> {
        let mut domains = self.domains.clone();
        for slice in &self.slices {
            for index in 0..slice.domain_count as usize {
                let values = slice.values_per_level.iter().map(|values| values.of(index)).collect();
                let counts = &slice.pod_counts;
                let count = counts.universal.or_else(|| counts.individual.get(index).copied()).unwrap_or(0);
                domains.push(TopologyDomain { values, count });
            }
        }
        domains
    }
}

impl LevelValues {
    fn of(&self, index: usize) -> String {
        match (&self.universal, &self.individual) {
            (Some(value), _) => value.clone(),
            (None, Some(values)) => {
                let root = values.roots.get(index).map_or("", String::as_str);
                let part = |text: &Option<String>| text.clone().unwrap_or_default();
                format!("{}{root}{}", part(&values.prefix), part(&values.suffix))
            }
            (None, None) => String::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packed_domains_are_those_they_stand_for() {
        let packed: TopologyAssignment = serde_json::from_value(serde_json::json!({
            "levels": ["rack", "host"],
            "slices": [{
                "domainCount": 2,
                "valuesPerLevel": [
                    { "universal": "r1" },
                    { "individual": { "prefix": "h", "roots": ["1", "2"], "suffix": ".x" } },
                ],
                "podCounts": { "individual": [3, 4] },
            }, {
                "domainCount": 1,
                "valuesPerLevel": [{ "universal": "r2" }, { "universal": "h9" }],
                "podCounts": { "universal": 5 },
            }],
        }))
        .unwrap();
        let found: Vec<_> =
            packed.unpacked().iter().map(|domain| (domain.values.join("/"), domain.count)).collect();
        let expected = [("r1/h1.x", 3), ("r1/h2.x", 4), ("r2/h9", 5)];
        assert_eq!(found, expected.map(|(name, count)| (name.to_owned(), count)));
    }
}
