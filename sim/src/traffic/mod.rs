//! What jobs send between nodes, and how fast they are for it.
//!
//! A running job that has a [`StepModel`] and more than one node is one flow: it puts what its ring or all-to-all sends on the links of its
//! routes, and has a max-min fair part of them ([`foretell_fabric::sharing`]). [`Phases`] says what that part means for a step.

mod flows;
mod law;
mod profile;
mod rails;

use foretell_framework::Time;

pub use flows::{Stepping, Traffic};
pub use law::{Pattern, PlacementShape, StepLaw, StepModel};
pub use profile::{CommunicationProfile, Machines, ProfileSpec};

use foretell_fabric::network::LinkId;

/// When jobs that share links communicate.
///
/// A step computes for a while and communicates for a while; the simulator does not follow steps one by one. Both answers hold the long-run
/// means exactly where the assumption holds, and the truth of jobs that do not know of each other lies between them.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Phases {
    /// Each finds the gaps of the others: a job asks for no more than what it sends on average, and is slowed only if the average is
    /// more than its part of a link. A lower bound of contention, reached where phases are shifted on purpose (as by CASSINI).
    #[default]
    Interleaved,
    /// All communicate at the same time, always: while a job communicates it has its part beside the full bandwidth of all its
    /// neighbours. An upper bound of contention.
    Synchronised,
}

/// A link that changes at an instant.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct LinkChange {
    /// When.
    pub at: Time,
    /// Which, in its direction.
    pub link: LinkId,
    /// What is left of its capacity: 0 if it fails, 1 if it is whole again.
    pub factor: f64,
}
