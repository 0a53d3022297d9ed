//! Tests of the crate as its users see it.

mod adapters;
mod calibrations;
mod classical;
mod engine;
mod fleet;
mod hand_over;
mod latencies;
mod laws;
mod memory;
mod models;
mod speculation;
mod tiers;
mod turns;
