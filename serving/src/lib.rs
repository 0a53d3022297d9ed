//! Model servers: what an iteration takes, and what requests get of an engine that batches them.
//!
//! - [`batch`]: what an iteration computes, and the law that says what it takes.

pub mod batch;

pub use batch::{Batch, Chunk, StepLaw};
