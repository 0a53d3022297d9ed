//! Model servers: what an iteration takes, and what requests get of an engine that batches them.
//!
//! - [`model`]: a served model, its weights and its keys and values.
//! - [`batch`]: what an iteration computes, and the trait that says what it takes.
//! - [`law`]: that trait for a model on GPUs, from [`calibration`] (what kernels reach), [`attention`], [`link`] and [`options`].
//! - [`calibrate`]: fits a calibration on kernel timings.
//! - [`tables`] and [`products`]: what was measured in place of a law.
//! - [`engine`]: a replica, which batches requests by a policy of `foretell-serving-policies`, re-exported as [`policies`].
//! - [`metrics`], [`served`], [`attainment`] and [`cost`]: what users feel and when, what GPUs do, and what it costs.
//! - [`power`]: what GPUs draw meanwhile.
//! - [`speculation`]: drafts, and how many of them it accepts.
//! - [`adapters`]: low-rank adapters, what they add to iterations and what loading them takes.
//! - [`group`]: engines that share their experts; [`turns`]: models that take turns on the same GPUs.
//! - [`classical`] and [`classical_served`]: servers of models that answer a request in one execution, and what became of their requests.
//! - [`pipeline_served`]: what became of requests that go through several services, and where their time went.

pub mod adapters;
pub mod attainment;
pub mod attention;
pub mod batch;
pub mod calibrate;
pub mod calibration;
mod calibration_catalog;
pub mod classical;
pub mod classical_served;
pub mod correction;
pub mod cost;
mod curve;
pub mod device;
pub mod engine;
pub mod fleet;
pub mod group;
mod latencies;
pub mod law;
mod layer;
pub mod link;
pub mod memory;
pub mod metrics;
pub mod model;
mod observer;
pub mod options;
mod outcomes;
pub mod pipeline_served;
pub mod power;
pub mod products;
mod replay;
pub mod served;
pub mod speculation;
pub mod tables;
pub mod turns;

pub use foretell_serving_policies as policies;

pub use batch::{Batch, Chunk, Line, StepLaw};
pub use calibration::Calibration;
pub use curve::Series;
pub use engine::{Cancelled, Engine, Handed, Part, Rejection, Request, TierLink, Wanted};
pub use fleet::{Fleet, FleetOptions, Refusal};
pub use group::Group;
pub use latencies::Latencies;
pub use law::AnalyticLaw;
pub use link::{Link, LinkKind, Links};
pub use model::Model;
pub use model::weights::Parallelism;
pub use observer::{Observer, Outcome};
pub use options::Options;
pub use outcomes::Outcomes;
pub use replay::{Arrivals, Replica, drive, replay};
pub use speculation::Speculation;
pub use turns::Turns;
