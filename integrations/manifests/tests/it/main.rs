//! Objects in, cluster out.

mod cluster;
mod errors;
