//! Volcano's actions: what a scheduling cycle does, in the order in which a profile lists it.
//!
//! | action | what it does |
//! | --- | --- |
//! | [`Enqueue`] | lets pending jobs into their queues |
//! | [`Allocate`] | places jobs, queue by queue and job by job, each whole or not at all |
//! | [`Backfill`] | places tasks that request nothing |
//! | [`Preempt`] | evicts tasks of lower priority for starving jobs of the same queue |
//! | [`Reclaim`] | takes back from other queues what they borrowed |
//!
//! And beside Volcano's, [`Consolidation`], which moves running jobs together so that a waiting one fits, and the filter
//! [`BlockedNodes`].
//!
//! Who goes first, who may, and who may be evicted is for the plugins of the tiers to say.
#![no_std]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod allocate;
mod allocate_topology;
mod backfill;
mod blocked_nodes;
mod candidates;
mod consolidation;
mod dry_run;
mod enqueue;
mod evict;
mod explain;
mod node;
mod preempt;
mod reclaim;
mod work;

pub use allocate::Allocate;
pub use backfill::{Backfill, pick_order};
pub use blocked_nodes::BlockedNodes;
pub use consolidation::{Consolidation, ConsolidationConfig};
pub use enqueue::Enqueue;
pub use preempt::Preempt;
pub use reclaim::Reclaim;
