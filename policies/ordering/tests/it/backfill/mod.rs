//! Backfilling, against tables drawn by hand, promises, and the obvious way to plan.

mod bench;
mod promises;
mod tables;
