//! The discrete-event engine: time, an event queue, random streams, budgets and the loop that joins them. It knows
//! nothing of what is simulated.
//!
//! ```text
//!   Streams ── one ChaCha8 stream per (seed, name, entity) ──┐
//!                                                            ▼
//!   ┌────────────┐   next (time, class, sequence)   ┌────────────────┐
//!   │ EventQueue │ ───────────────────────────────► │ Model::handle  │
//!   │            │ ◄─────────────────────────────── │ (your state)   │
//!   └────────────┘   schedule, cancel               └────────────────┘
//!          ▲                                                 │ Continue or Break
//!          └──────────── run: Budget, Progress ◄─────────────┘
//! ```
//!
//! Events at one instant go by class, events of one class in the order in which they were scheduled: the order is total
//! and depends on nothing but the model. Time never goes back; the queue asserts it when scheduling and when popping.

mod budget;
mod queue;
mod random;
mod run;
mod wheel;

pub use budget::{Budget, BudgetError};
pub use foretell_framework::Time;
pub use queue::{Classed, EventHandle, EventQueue};
pub use random::Streams;
pub use run::{CHECK_EVENTS, End, Model, Progress, RunStats, run};
