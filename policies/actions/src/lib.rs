//! The verbs of a scheduling cycle: enqueue, allocate, backfill, preempt, reclaim, consolidate.
#![no_std]

extern crate alloc;
#[cfg(test)]
extern crate std;
