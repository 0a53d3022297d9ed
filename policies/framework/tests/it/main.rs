//! The framework held against its own promises.

mod fragmentation;
mod legality;
mod names;
mod profile;
mod ranking;
mod tiers;
mod topology;
mod transaction;
