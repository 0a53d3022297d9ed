//! Volcano's plugins of gangs: all or nothing ([`Gang`]), who goes first ([`Priority`]), and whom nobody may evict
//! ([`Conformance`]).
#![no_std]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod conformance;
mod gang;
mod priority;
mod sla;

pub use conformance::Conformance;
pub use gang::Gang;
pub use priority::Priority;
pub use sla::{WaitingTime, parse_duration};
