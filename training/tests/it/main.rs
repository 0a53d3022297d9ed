//! What training jobs take, against published sizes, figures worked by hand, and what must always hold.

mod memory;
mod models;
mod properties;
mod setup;
mod steps;
