//! Hierarchical queues: weight, guarantee, deserved, capability; dominant resource fairness; reclaim.
#![no_std]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod node_group;
mod resource_quota;
mod revocable;

pub use node_group::{NodeGroup, NodeGroupConfig};
pub use resource_quota::NamespaceQuota;
pub use revocable::{RevocableZones, RevocableZonesConfig, Window};
