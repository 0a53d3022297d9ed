//! Objects in, cluster out.

mod cluster;
mod config;
mod errors;
mod workloads;
