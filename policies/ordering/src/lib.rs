//! Policies that order waiting jobs, and the action that works through them.
#![no_std]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod allocate;
mod backfill;
mod consolidate;
mod order;
mod reorder;
mod reserved;
mod task_by_task;

pub use allocate::{Allocate, HeadOfLine, MAX_ORDERS};
pub use backfill::{
    AdvanceReservation, Attempt, Backfill, BackfillConfig, Backfiller, Holds, HonourReservations, JobsToCome,
    Kept, Promise, Promises, SharedHolds, expected_end,
};
pub use consolidate::Consolidate;
pub use order::{Aging, FirstInFirstOut, PriorityFirst, ShortestJobFirst};
pub use reorder::{
    DemotionInstant, Discipline, DurationHistory, EarliestDeadline, Jobs, Keyed, LeastAttained,
    LeastPredicted, Rank, Reorder, Service, ShortestRemaining, ShortestRemainingService, Slot, Themis,
    Tiresias, TiresiasConfig,
};
pub use task_by_task::TaskByTask;
