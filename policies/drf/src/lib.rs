//! Hierarchical queues: weight, guarantee, deserved, capability; dominant resource fairness; reclaim.
#![no_std]

extern crate alloc;
#[cfg(test)]
extern crate std;
