//! Tests of whole simulations.

mod fixtures;
mod lifecycle;
mod metrics;
mod preemption;
