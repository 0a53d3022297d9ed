//! Cluster state, transactions and the extension points of foretell's policies.
//!
//! A policy is pure: state in, decisions out. It reads no clock, no file, no environment and has no randomness of
//! its own, so that the same crate decides inside the simulator and in a production scheduler.
//!
//! ```text
//!   driver (simulator, or Kubernetes)                      policy (a Profile)
//!     add_job, remove_job, add_node ──► ClusterState ◄── Session::begin ──► Transaction: place, evict
//!     ClusterEvent ───────────────────────────────────► Action::notify        │ commit, or drop = roll back
//!     cycle(now, random) ─────────────────────────────► Action::run           ▼
//!     carries out ◄─────────────────────────────────────────────────────  Decisions
//! ```
//!
//! Identical tasks share one filter-and-score pass ([`ClassRanking`]), kept between cycles and repaired only for the
//! nodes that changed since ([`ClusterState::changed_since`]).
#![no_std]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod bound;
pub mod dimension;
pub mod fragmentation;
pub mod gpu;
pub mod id;
pub mod interconnect;
pub mod place;
pub mod plugin;
pub mod plugins;
pub mod profile;
pub mod quota;
pub mod ranking;
pub mod reason;
pub mod recency;
pub mod resources;
pub mod restart;
pub mod scaling;
pub mod select;
pub mod selector;
pub mod session;
pub mod spec;
pub mod state;
pub mod tier;
pub mod time;
pub mod topology;

pub use bound::{QueueBound, ResourceUse};
pub use dimension::{Dimension, GPU_RESOURCE, PerResource};
pub use fragmentation::{Fragmentation, TaskShape, TypicalTasks};
pub use gpu::{GpuModelSet, GpuRequest, GpuSet, WHOLE_GPU_MILLI};
pub use id::{ClassId, DomainId, GpuId, GpuModelId, JobId, NodeId, QueueId, ResourceId, ShapeId, TaskId};
pub use interconnect::{Interconnect, InterconnectError, Link, LinkLevel, PciePath};
pub use place::PlaceJob;
pub use plugin::{
    Action, ClusterEvent, Filter, OrderJobs, PickGpus, Scope, Score, ScoreCandidates, SelectNode, TaskGate,
};
pub use plugins::{PlaceFailure, Plugins};
pub use profile::Profile;
pub use quota::Quota;
pub use ranking::ClassRanking;
pub use reason::{Reason, Rejection, Rejections};
pub use recency::Stamp;
pub use resources::Resources;
pub use restart::RestartCost;
pub use scaling::{FULL_SPEED, Scaling, ScalingPhase, SpeedCurve, WHOLE_WORK};
pub use selector::{LabelSelector, Labels};
pub use session::{Decision, EvictionReason, Savepoint, Session, Transaction};
pub use spec::TaskSpec;
pub use state::{
    ClusterObjects, ClusterState, GangSpec, Job, JobPhase, JobSpec, Node, NodeSpec, Placement,
    PlacementError, Queue, QueueSpec, StateError, Task, TaskDetails, TaskStatus,
};
pub use tier::{
    EnabledPlugin, FutureRoom, PriorityQueue, SessionPlugin, Statement, SubJob, Switches, Tiers, Vote,
};
pub use time::Time;
pub use topology::{DomainTotals, DomainTree};
