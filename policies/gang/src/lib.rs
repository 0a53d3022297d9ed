//! All-or-nothing placement of pod groups.
#![no_std]

extern crate alloc;
#[cfg(test)]
extern crate std;
