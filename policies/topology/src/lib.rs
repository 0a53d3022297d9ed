//! Placement by fabric tier and by GPU interconnect inside a node.
#![no_std]

extern crate alloc;
#[cfg(test)]
extern crate std;
