//! How collectives that run at the same time share the links.
//!
//! A collective in steady state is one flow: at rate x it puts x times a weight on each link it crosses, and it gets no faster
//! than its cap, what it reaches alone. Rates are weighted max-min fair: all rates per share are raised together, and a
//! flow stops when it reaches its cap or when one of its links is full (progressive filling, from memory of Bertsekas and
//! Gallager, "Data Networks", on max-min flow control).
//!
//! [`Sharing`] keeps these rates while flows come and go. Only flows that the change reaches are solved again: from a link
//! that is full a change goes on to the flows that it holds back, and from them to their other full links. A link with room
//! passes nothing on. That is enough, and not a heuristic: rates are max-min fair exactly if no link is over its
//! capacity and each flow is at its cap or has a full link on which no flow has more per share. A step looks after each
//! solve for links with room that have become too narrow and for flows outside that break the second condition, takes them in
//! and solves again. A step costs the links of the flows it solves for, times a logarithm for those that fill up.
//!
//! [`Transfers`] puts bytes and time on top: collectives in progress, iterations that repeat, when they end, and steady
//! jobs that are not simulated at all.

mod dates;
mod solve;
mod state;
mod transfers;

pub use state::{FlowId, Sharing, SharingError};
pub use transfers::{Completion, TransferError, TransferId, TransferSpec, Transfers};
