//! Model servers: what an iteration takes, and what requests get of an engine that batches them.
//!
//! - [`model`]: a served model, its weights and its keys and values.
//! - [`batch`]: what an iteration computes, and the law that says what it takes.

pub mod batch;
pub mod model;

pub use batch::{Batch, Chunk, StepLaw};
