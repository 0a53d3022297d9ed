//! What the network gives a job where it was placed.
//!
//! - [`hardware`]: what a node is made of.
//! - [`collectives`]: what an isolated collective takes: NCCL's choice of algorithm and protocol, and its time.
//! - [`contention`]: what is left of a collective beside others.
//! - [`node`]: the links inside a node, and what particular GPUs of it get.
//! - [`network`]: the links between nodes, and the routes of flows over them.
//! - [`sharing`]: how collectives that run at the same time share the links, and when they end.
//!
//! Bandwidths are GB/s (10^9 bytes a second), times microseconds, sizes bytes, unless a name says otherwise.

pub mod collectives;
pub mod contention;
mod fitted;
pub mod hardware;
pub mod network;
pub mod node;
pub mod sharing;
