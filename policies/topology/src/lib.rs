//! Placement by fabric tier and by GPU interconnect inside a node.
//!
//! - [`ByDomain`] places simulated gangs: smallest tier first, best fit or balanced, ranks in the order of the tree;
//! - [`NetworkTopologyAware`] is Volcano's plugin of that name: domains to try, and what domains and nodes are worth;
//! - [`Limit`] is what a job's network topology means in a cluster;
//! - [`PlacementCosts`] is what the network's rates make of being spread;
//! - [`divide`] says how many tasks each node of a domain gets.
#![no_std]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod costs;
mod hyper_nodes;
mod interconnect;
mod limit;
mod pick;
mod place;
mod plan;
mod slots;

pub use costs::PlacementCosts;
pub use hyper_nodes::{NetworkTopologyAware, NetworkTopologyConfig, has_topology};
pub use interconnect::{BestGpus, EXACT_GPUS_MAX};
pub use limit::Limit;
pub use pick::{GpuInterconnect, InterconnectGpus, nearest_nics};
pub use place::{ByDomain, DomainPlacement};
pub use plan::{Division, divide};
pub use slots::{ClassSlots, Slots};
