//! Priorities, limits, preemption and backfilling as Slurm has them.
//!
//! ```text
//!   slurm.conf ──parse──► SlurmConfig ──► Slurm (an action): order by tier and multifactor priority
//!                                           │  limits of QOS and partition
//!                                           │  main pass: start, or preempt, or block the partition
//!                                           └► backfill pass: Backfiller of foretell-ordering
//! ```
//!
//! From Slurm's documentation (priority/multifactor, fair tree, preemption, sched/backfill): a partition is the queue of
//! the same name, a node is a task, a time limit is the expected duration.
#![no_std]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod action;
mod config;
mod fair_share;
mod limits;
mod parse;
mod partition;
mod waiting;

pub use action::Slurm;
pub use config::{
    Account, Billing, Partition, PreemptMode, PreemptType, Qos, SlurmConfig, Tres, User, Weights,
};
pub use fair_share::{Fairness, fair_share};
pub use parse::{SlurmError, parse};
pub use partition::{PartitionNodes, SharedNodes};
