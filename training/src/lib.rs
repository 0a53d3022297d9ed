//! What a training job takes on the machines where it was placed: time of a step, memory of a GPU, and which parallelism
//! is best.
//!
//! ```text
//!   Model ──┐
//!   Device ─┼─► Setup ──► step(): Kernels (roofline) ─► layers ─► streams of compute and communication ─► Step
//!   Machine ┤     │                                      ▲
//!   Plan ───┘     │               collectives (fabric) ──┘
//!                 └────► memory(): states, activations, buffers ─► Memory
//! ```
//!
//! - [`model`]: the models and their sizes; a catalogue of common ones.
//! - [`device`]: what a GPU can do.
//! - [`plan`]: how a job is split over its GPUs.
//! - [`kernels`]: how long kernels take, with constants fitted to measurements.
//! - [`mod@step`]: how long a step takes.
//! - [`mod@memory`]: what a GPU must hold.
//! - [`mod@checkpoint`]: what a checkpoint holds, and who writes it.
//! - [`search`]: the plans that fit, and the best of them.
//!
//! Times are seconds, sizes bytes, rates per second, unless a name says otherwise.

pub mod checkpoint;
pub mod device;
mod groups;
pub mod kernels;
mod kinds;
mod law;
mod layer;
pub mod memory;
pub mod model;
pub mod plan;
pub mod search;
pub mod step;

pub use checkpoint::{Checkpoint, checkpoint};
pub use device::{Device, Precision};
pub use kernels::{Calibration, Parameter};
pub use law::{Law, law};
pub use memory::{Memory, memory};
pub use model::{Model, ModelCatalog};
pub use plan::{Plan, PlanError};
pub use step::{Setup, Step, step};
