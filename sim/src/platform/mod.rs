//! The life of jobs: submitted, queued, bound, run, evicted, finished.

mod checkpoint;
mod colocation;
mod controller;
mod eviction;
mod faults;
mod inspect;
mod lifecycle;
mod scheduler;
mod simulation;
mod steps;
mod storage;
mod waits;
mod work;

use std::sync::Arc;

use foretell_framework::selector::Labels;
use foretell_framework::state::NetworkTopology;
use foretell_framework::{Scaling, TaskSpec, Time};

pub use checkpoint::{CheckpointCost, CheckpointSize, Checkpoints, SizedBytes};
pub use colocation::Colocation;
pub use controller::{Action, Controller};
pub use eviction::Eviction;
pub use faults::{BlockRule, NodeCheck, Stragglers};
pub use faults::{
    Failure, FailureOutcome, FailurePolicy, Fault, FaultKind, FaultRate, Faults, OnFailure, Place, Repair,
    RepairSpread, RolePolicy, ScheduledFault, WORKER,
};
pub use inspect::{Inspection, Inspector, JobProgress};
pub use simulation::{Config, Counts, Retry, Simulation, SimulationError};
pub use storage::Storage;
pub use work::{Losses, PreemptionCost};

use crate::log::JobStatus;
use crate::traffic::StepModel;

/// A job as the workload brings it.
#[derive(Clone, PartialEq, Debug)]
pub struct Submission {
    /// The trace's own name of the job.
    pub id: Box<str>,
    /// Who submitted it; empty if the trace does not say.
    pub user: Box<str>,
    /// The queue (virtual cluster) that it waits in.
    pub queue: Box<str>,
    /// When.
    pub submit: Time,
    /// How long it runs with the pods that it asks for; `None` runs for ever.
    pub duration: Option<Time>,
    /// How fast it goes on some of its pods, and how many it asks for; in proportion to the pods, of which it asks for all,
    /// if `None`.
    pub scaling: Option<Arc<Scaling>>,
    /// What its steps take where it runs, if that is known: `duration` is what it takes at its reference step time. It goes so much slower or
    /// faster than its pods alone, or its scaling, would have it.
    pub step_model: Option<Arc<dyn StepModel>>,
    /// When it should be done.
    pub deadline: Option<Time>,
    /// Its pods, by role; at least one role.
    pub roles: Vec<Role>,
    /// Larger goes first.
    pub priority: i32,
    /// Whether its running pods may be displaced; `None` leaves it to the policy.
    pub preemptable: Option<bool>,
    /// How close together its pods must or should be.
    pub network_topology: Option<NetworkTopology>,
    /// The most that its user says it runs. Policies are told this instead of the duration.
    pub time_limit: Option<Time>,
    /// What else policies are told of it.
    pub annotations: Labels,
    /// What it writes when it takes a checkpoint, if it knows its states.
    pub checkpoint: Option<CheckpointSize>,
    /// What it does when pods of it fail; as the run has it if `None`.
    pub on_failure: Option<Arc<FailurePolicy>>,
    /// How the trace says that it ended: completed, failed or cancelled.
    pub end: JobStatus,
    /// Why it fails by itself when its duration is over, such as that it does not fit its GPUs: then its end is `Failed`.
    pub defect: Option<Arc<str>>,
}

/// The pods of a job that are alike: its workers, its parameter servers. The role's name is in the spec.
#[derive(Clone, PartialEq, Debug)]
pub struct Role {
    /// Number of pods.
    pub count: u32,
    /// How many of them the job needs to run. A job that needs fewer than it has is elastic: it runs with those that are
    /// there, in proportion or as its scaling says.
    pub minimum: u32,
    /// What each pod asks for.
    pub spec: TaskSpec,
}

impl Role {
    /// A role all of whose pods are needed.
    pub const fn gang(count: u32, spec: TaskSpec) -> Self {
        Self { count, minimum: count, spec }
    }
}

impl Submission {
    /// Number of pods.
    pub fn tasks(&self) -> u32 {
        self.roles.iter().map(|role| role.count).sum()
    }

    /// Number of pods that it needs to run.
    pub fn min_member(&self) -> u32 {
        self.roles.iter().map(|role| role.minimum).sum()
    }

    /// GPU request of the whole job, in thousandths of a GPU: of the pods that it asks for, where it may have more.
    pub fn gpu_milli_total(&self) -> u64 {
        let asked = |role: &Role| self.scaling.as_ref().map_or(role.count, |scaling| scaling.asked);
        self.roles.iter().map(|role| u64::from(asked(role)) * role.spec.gpus.total_milli()).sum()
    }
}
