//! The actions held against promises.

mod consolidation;
mod topology;
