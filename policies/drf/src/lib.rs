//! Volcano's plugins of queues: who goes first, how much each queue may hold, and what it can take back. And
//! scheduler-plugins' elastic quotas of namespaces.
#![no_std]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod amounts;
mod capacity;
mod drf;
mod elastic;
mod elastic_preemption;
mod hierarchy;
mod node_group;
mod overcommit;
mod proportion;
mod resource_quota;
mod revocable;
mod static_partition;
mod tally;

pub use capacity::Capacity;
pub use drf::Drf;
pub use elastic::{Amounts, ElasticQuotas, ElasticUse, Excess};
pub use elastic_preemption::{ElasticQuotaGate, victims_on_node};
pub use node_group::{NodeGroup, NodeGroupConfig};
pub use overcommit::Overcommit;
pub use proportion::Proportion;
pub use resource_quota::NamespaceQuota;
pub use revocable::{RevocableZones, RevocableZonesConfig, Window};
pub use static_partition::StaticPartition;
