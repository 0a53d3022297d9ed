//! Whole profiles held against tables that a person reads, and against promises.

mod hierarchy;
mod kueue;
mod promises;
mod tables;
