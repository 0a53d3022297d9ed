//! Tests of the crate.

mod laws;
mod models;
