//! Objects in, cluster out.

mod admit;
mod cluster;
mod config;
mod convert;
mod corpus;
mod errors;
mod snapshot;
mod twins;
mod workloads;
