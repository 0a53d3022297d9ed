//! What the cluster says beside nodes, queues and jobs: namespaces, budgets, quotas.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use crate::quota::Quota;
use crate::selector::{LabelSelector, Labels};

/// Objects that policies consult. None of them changes what is placed where.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ClusterObjects {
    /// Namespaces by name, with their labels.
    pub namespaces: BTreeMap<Box<str>, Labels>,
    /// Budgets of disruption.
    pub disruption_budgets: Vec<DisruptionBudget>,
    /// Quotas of namespaces.
    pub resource_quotas: Vec<ResourceQuota>,
    /// Elastic quotas of namespaces.
    pub elastic_quotas: Vec<ElasticQuota>,
    /// Namespace and selector of each service, replica set and stateful set: what the default spread constraints of
    /// kube-scheduler go by.
    pub owners: Vec<(Box<str>, LabelSelector)>,
    /// Topologies by name: the node labels whose values name the domains, from the widest level to the narrowest.
    pub topologies: BTreeMap<Box<str>, Vec<Box<str>>>,
}

/// How many tasks of a kind may be disrupted at a time (`PodDisruptionBudget`).
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct DisruptionBudget {
    /// Its namespace.
    pub namespace: Box<str>,
    /// Its name.
    pub name: Box<str>,
    /// The tasks that it protects; `None` and an empty selector protect none.
    pub selector: Option<LabelSelector>,
    /// Disruptions that are still allowed.
    pub disruptions_allowed: i32,
    /// Names of tasks whose disruption is counted already.
    pub disrupted_tasks: Vec<Box<str>>,
}

/// What the tasks of a namespace may request in all (`ResourceQuota`).
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ResourceQuota {
    /// Its namespace.
    pub namespace: Box<str>,
    /// Its name.
    pub name: Box<str>,
    /// The most.
    pub hard: Quota,
    /// What is used of it, as the driver was told.
    pub used: Quota,
}

/// What the tasks of a namespace have for themselves, and the most they may borrow up to (scheduler-plugins'
/// `ElasticQuota`).
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ElasticQuota {
    /// Its namespace.
    pub namespace: Box<str>,
    /// Its name.
    pub name: Box<str>,
    /// For themselves.
    pub min: Quota,
    /// The most; open dimensions have no bound.
    pub max: Quota,
}
