//! Objects in, cluster out.

mod cluster;
mod config;
mod convert;
mod corpus;
mod errors;
mod twins;
mod workloads;
