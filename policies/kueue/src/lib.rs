//! Kueue: which workloads are admitted, on which flavors of the quota of their queue, and what they displace.
#![no_std]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod ids;

pub use ids::{CohortId, FlavorId, QueueId, ResourceId, WorkloadId};
