//! The actions held against promises.

mod topology;
