//! Tests of the crate from outside, in one binary.

mod bad_input;
mod fixture;
mod generator;
mod info;
mod presets;
mod published;
mod requests;
mod round_trip;
mod sacct;
