//! All-or-nothing placement of pod groups.
#![no_std]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod sla;

pub use sla::{WaitingTime, parse_duration};
