//! Custom resources, as far as scheduling goes by them.

pub mod coscheduling;
pub mod kai;
pub mod kubeflow;
pub mod kueue;
pub mod volcano;
pub mod workload;

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

/// Amounts by resource name.
pub type ResourceList = BTreeMap<String, Quantity>;
