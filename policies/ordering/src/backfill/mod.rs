//! Backfilling: jobs go ahead of others if that delays none that was promised a time.
//!
//! ```text
//!   line of jobs ──► Backfill ──► Backfiller ──try_start──► PlaceJob + plugins, HonourReservations among them
//!                   (who, when)       │                                         │ reads
//!                                     └──promise──► Planner ──► Holds ◄─────────┘
//! ```
//!
//! EASY (Lifka 1995) promises a window to the head of each line only; conservative backfilling (Mu'alem and Feitelson
//! 2001) to every job. A promise is of places on nodes, not of a number of GPUs, so that a gang that needs whole nodes
//! is promised whole nodes.

mod action;
mod engine;
mod holds;
mod planner;
mod room;
mod timeline;
mod timelines;

pub use action::{Backfill, BackfillConfig, Promises};
pub use engine::{Attempt, Backfiller, JobsToCome};
pub use holds::{AdvanceReservation, Holds, Kept, Promise, SharedHolds};
pub use room::{HonourReservations, expected_end};
