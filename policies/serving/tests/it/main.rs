//! Tests of the crate as its users see it.

mod blocks;
mod dynamic;
mod tiers;
mod vllm;
