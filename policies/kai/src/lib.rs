//! KAI-Scheduler's cycle: queues with fair shares, gangs with sub-groups, shared GPUs, and victims found by simulation.
#![no_std]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod division;
