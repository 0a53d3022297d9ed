//! KAI-Scheduler's cycle: queues with fair shares, gangs with sub-groups, shared GPUs, and victims found by simulation.
//!
//! A cycle works on a picture of the cluster of its own, in which a task may be promised what another is still
//! releasing. What it decides there becomes decisions of the session in the same order.
//!
//! ```text
//!   ClusterState ──read──► Model ◄── trial: evict, pipeline, set_place; checkpoint, roll_back ──┐
//!                            │                                                                  │
//!                            └─► Cycle: allocate, consolidate, reclaim, preempt, stale gangs ───┘
//!                                   │ decide
//!                                   ▼
//!                               Transaction
//! ```
#![no_std]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod action;
mod allocate;
mod config;
mod cycle;
pub mod division;
pub mod keys;
mod lanes;
mod levels;
mod model;
mod node;
mod nodes;
mod order;
mod read;
mod reclaim;
mod shadow;
mod solve;
mod turns;
mod usage;
mod verbs;

pub use action::Kai;
pub use config::{KaiConfig, NodePreferences, Strategy, Verb};
pub use usage::UsageConfig;
