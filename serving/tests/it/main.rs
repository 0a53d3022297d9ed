//! Tests of the crate.

mod calibrations;
mod laws;
mod models;
