//! Volcano's plugins of gangs: all or nothing ([`Gang`]), who goes first ([`Priority`]), and whom nobody may evict
//! ([`Conformance`]). And scheduler-plugins' coscheduling, where pods hold their nodes and wait for each other.
#![no_std]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod conformance;
mod coscheduling;
mod gang;
mod holding;
mod priority;
mod sla;

pub use conformance::Conformance;
pub use coscheduling::{
    Group, POD_GROUP_LABEL, Permit, QueuedTask, admit, compare, gives_up, group, permit, resource_gap,
};
pub use gang::Gang;
pub use holding::{Coscheduling, CoschedulingConfig};
pub use priority::Priority;
pub use sla::{WaitingTime, parse_duration};
