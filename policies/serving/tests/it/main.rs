//! Tests of the crate as its users see it.

mod adapters;
mod autoscale;
mod blocks;
mod dynamic;
mod occupancy;
mod route;
mod tiers;
mod vllm;
