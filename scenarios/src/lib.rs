//! Scenarios: a file that says what to simulate, and what it means.
//!
//! ```text
//!   scenario.toml + --set path=value
//!          │ parse            every value keeps its place in the text
//!          ▼
//!      Document ── structure ── JSON schema        names, types, ranges: all problems at once
//!          │ serde
//!          ▼
//!    ScenarioFile             what a person wrote
//!          │ resolve          catalogue, files, defaults, units
//!          ▼
//!      Scenario               what it means: plain data for a run
//!          │ Plan::new        cluster state, typical workload
//!          ▼
//!        Plan ── run(policy) ──► RunResult
//! ```
//!
//! Whatever is wrong comes out as a [`Problem`] with the field's path and its place in the file or the override.

mod assemble;
pub mod catalog;
mod document;
mod error;
pub mod file;
mod jobs;
mod load;
mod overrides;
mod path;
mod profiles;
mod resolve;
pub mod scenario;
mod schema;
pub mod search;
pub mod service;
mod solver;
mod structure;
mod suggest;
pub mod topology;
mod units;

pub use assemble::{Plan, RunError};
pub use error::{InvalidScenario, Problem, ScenarioError, Source};
pub use load::{Loaded, load, parse};
pub use resolve::Environment;
pub use scenario::{Fabric, FabricError, Scenario};
pub use schema::{schema, schema_json};
pub use solver::Simplex;
pub use units::{ByteSize, InvalidByteSize};

pub use foretell_fabric as fabric;
pub use foretell_registry as registry;
pub use foretell_serving as serving;
pub use foretell_sim as sim;
pub use foretell_training as training;
