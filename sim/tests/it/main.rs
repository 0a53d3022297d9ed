//! Tests of whole simulations.

mod explain;
mod fixtures;
mod lifecycle;
mod metrics;
mod preemption;
