//! Kueue: which workloads are admitted, on which flavors of the quota of their queue, and what they displace.
//!
//! ```text
//! Model     flavors, cluster queues, and the Tree of their quotas
//! Snapshot  the model with what workloads use of it
//! assign    the flavors that a workload would use, and what that takes
//! Preemptor whom it would displace: by priority and borrowing, or by fair shares
//! run       one cycle over the heads of all queues
//! topology  which pods go to which domain of a topology
//! QuotaAdmission   all of that as an action on the queues of a cluster
//! ```
#![no_std]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod admission;
mod assign;
mod cycle;
mod ids;
mod model;
mod place;
mod preempt;
mod share;
mod snapshot;
pub mod topology;
mod tree;

pub use admission::QuotaAdmission;
pub use assign::{Assignment, Choice, Context, Cursor, Mode, Oracle, PodSetChoice, Possibility, assign};
pub use cycle::{CycleConfig, Outcome, Verdict, heads, run};
pub use ids::{Cell, FlavorId, NodeId, QueueId, ResourceId, WorkloadId};
pub use model::{
    Admission, Flavor, Fungibility, LeafUse, Model, PodSet, Preemption, Queue, ResourceGroup, Search,
    Victims, WhileBorrowing, Workload,
};
pub use place::Domains;
pub use preempt::{FairRule, PreemptionReason, Preemptor, Target, offer_order};
pub use share::Share;
pub use snapshot::Snapshot;
pub use tree::{Amounts, CycleError, NodeSpec, Quota, Tree};
