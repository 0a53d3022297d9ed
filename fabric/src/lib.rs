//! What the network gives a job where it was placed.
//!
//! - [`hardware`]: what a node is made of.
//! - [`collectives`]: what an isolated collective takes: NCCL's choice of algorithm and protocol, and its time.
//!
//! Bandwidths are GB/s (10^9 bytes a second), times microseconds, sizes bytes, unless a name says otherwise.

pub mod collectives;
pub mod hardware;
