//! Topology-aware assignment: which pods of a workload go to which domain of a topology.
//!
//! A [`TopologySnapshot`] is the nodes of one flavor under one topology, and what is used of them. [`assign`] finds
//! domains for all pod sets of a workload that are to be assigned in it, and changes nothing:
//!
//! ```text
//! let mut snapshot = TopologySnapshot::new(&levels, &flavor, &nodes);   // nodes that are ready and schedulable
//! snapshot.hold(node, &requests, 1);                                    // a bound pod that Kueue does not manage
//! snapshot.add_usage(leaf, &shape, pods);                               // of an admitted workload, per domain
//! let found = assign(&snapshot, &pod_sets, options)?;                   // per pod set: leaves and pods in each
//! // Admitted: add_usage(leaf, shape, pods) for all of them.
//! ```
//!
//! A cycle asks with the usage so far, then adds the usage of what it admits; a preemption takes the usage of victims off
//! ([`TopologySnapshot::remove_usage`]), asks again, and puts it back. `pod_sets` are those of the workload whose flavor
//! has this topology, in their order; sets of one group (a leader and its workers) are assigned together, and each
//! group sees what those before it took. [`AssignOptions::assumes_empty`] asks whether it would fit if nothing were
//! admitted.
//!
//! The rules are those of Kueue's `tas_flavor_snapshot` and its balanced placement:
//!
//! 1. counts, from the leaves up: pods and slices that each domain has room for, with and without a leader;
//! 2. the level: the requested one; for a preferred one the next wider until all fits in one domain, at last several
//!    domains of the widest level;
//! 3. down from there level by level: as few domains as will do, as the last one the fullest that will do.
//!
//! Unconstrained sets fill the domains with the least room first. Of a leader its own selector, affinity and tolerations
//! are respected too.

mod balanced;
mod counts;
mod failure;
mod find;
mod optimal;
mod plan;
mod request;
mod snapshot;
mod take;

#[cfg(test)]
mod tests;

pub use failure::{Excluded, Failure, FailureReason, LimitingResource, Unit};
pub use find::{AssignOptions, PodSetAssignment, assign};
pub use request::{LevelRequest, PodSetRequest, PodShape, SliceLayer, TopologyGates, TopologyRequest};
pub use snapshot::{HOSTNAME_LABEL, LeafId, TopologyFlavor, TopologyNode, TopologySnapshot};
