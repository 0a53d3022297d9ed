//! Volcano's plugins of queues: who goes first, how much each queue may hold, and what it can take back.
#![no_std]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod amounts;
mod capacity;
mod drf;
mod node_group;
mod overcommit;
mod proportion;
mod resource_quota;
mod revocable;
mod static_partition;
mod tally;

pub use capacity::Capacity;
pub use drf::Drf;
pub use node_group::{NodeGroup, NodeGroupConfig};
pub use overcommit::Overcommit;
pub use proportion::Proportion;
pub use resource_quota::NamespaceQuota;
pub use revocable::{RevocableZones, RevocableZonesConfig, Window};
pub use static_partition::StaticPartition;
