//! Model servers: what an iteration takes, and what requests get of an engine that batches them.
//!
//! - [`batch`]: what an iteration computes, and the law that says what it takes.
//! - [`engine`]: a replica, which batches requests by a policy of `foretell-serving-policies`, re-exported as [`policies`].

pub mod batch;
pub mod engine;
mod replay;

pub use foretell_serving_policies as policies;

pub use batch::{Batch, Chunk, StepLaw};
pub use engine::{Engine, Observer, Outcome, Rejection, Request};
pub use replay::replay;
