//! Tests of the fabric.

mod choices;
mod estimates;
