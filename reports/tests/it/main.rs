//! Tests of what the crate hands out, on hand-made runs.

mod files;
mod fixture;
mod plots;
mod run_dir;
mod search;
mod tables;
