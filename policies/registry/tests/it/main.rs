//! Whole profiles held against tables that a person reads, and against promises.

mod promises;
mod tables;
