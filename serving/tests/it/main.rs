//! Tests of the crate.

mod models;
