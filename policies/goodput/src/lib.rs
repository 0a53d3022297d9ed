//! Elastic training jobs: how fast they truly advance on a number of GPUs (Pollux, OSDI'21), and two policies that divide a
//! cluster among them by that: Pollux and Sia (SOSP'23).
//!
//! *Goodput* is throughput times statistical efficiency: a larger batch uses more GPUs well, yet each of its examples
//! teaches less. A job is given its best batch for each shape that it could run in, which makes a [`GoodputTable`]; policies see nothing
//! else of it.
//!
//! ```text
//!   profile ──► StepTimes (measured or fitted) ─┐
//!                                               ├─► best_batch ──► GoodputTable ──► Sia:    Selection ──► shapes ──► nodes
//!   gradients ──► GradientNoise ────────────────┘                              └──► Pollux: genetic search ──► nodes
//! ```
//!
//! [`fit`] is for who has few measurements of a job; `foretell validate sia` has whole profiles and interpolates in them.
//!
//! Nothing here knows of events, seconds that pass or files; randomness is handed in.
#![no_std]

extern crate alloc;

mod batch;
mod cluster;
mod fit;
mod noise;
mod pack;
mod pollux;
mod select;
mod sia;
mod step_time;
mod view;

pub use batch::{Batch, BatchLimits, best_batch, candidate_batches, fixed_batch, timed_batches};
pub use cluster::{NodeType, Shape, node_types, shape_of};
pub use fit::{FittedTimes, Sample, fit};
pub use noise::GradientNoise;
pub use pack::{Wanted, pack};
pub use pollux::Pollux;
pub use select::{Choice, Exact, Selection, Solver};
pub use sia::Sia;
pub use step_time::{MeasuredTimes, StepTime, StepTimes};
pub use view::{GoodputTable, JobView, Placement, doubled, restart_factor};
