//! Policies that order waiting jobs, and the action that works through them.
#![no_std]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod allocate;
mod order;
mod task_by_task;

pub use allocate::{Allocate, HeadOfLine, MAX_ORDERS};
pub use order::{FirstInFirstOut, PriorityFirst, ShortestJobFirst};
pub use task_by_task::TaskByTask;
