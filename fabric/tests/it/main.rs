//! Tests of the fabric, by module.

mod choices;
mod contention;
mod estimates;
mod network;
mod sharing;
mod transfers;
