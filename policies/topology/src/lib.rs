//! Placement by fabric tier and by GPU interconnect inside a node.
//!
//! - [`ByDomain`] places simulated gangs: smallest tier first, best fit or balanced, ranks in the order of the tree;
//! - [`Limit`] is what a job's network topology means in a cluster;
//! - [`divide`] says how many tasks each node of a domain gets.
#![no_std]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod limit;
mod place;
mod plan;
mod slots;

pub use limit::Limit;
pub use place::{ByDomain, DomainPlacement};
pub use plan::{Division, divide};
pub use slots::{ClassSlots, Slots};
