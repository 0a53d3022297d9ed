//! Tests of whole simulations.

mod colocation;
mod controller;
mod elastic;
mod explain;
mod fabric_faults;
mod faults;
mod fixtures;
mod lifecycle;
mod metrics;
mod preemption;
mod profiles;
mod storage;
mod traffic;
