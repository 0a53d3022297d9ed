//! Jobs (pod groups) and tasks (pods).

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::gpu::GpuSet;
use crate::id::{ClassId, JobId, NodeId, QueueId, ShapeId, TaskId};
use crate::quota::Quota;
use crate::scaling::Scaling;
use crate::selector::{LabelSelector, Labels};
use crate::time::Time;

/// The annotation of a job that names the account that is charged for it.
pub const ACCOUNT_ANNOTATION: &str = "foretell.dev/account";

/// The annotation of a job that names the quality of service that was asked for.
pub const QOS_ANNOTATION: &str = "foretell.dev/qos";

/// What a driver says of a job when it submits it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct JobSpec {
    /// The driver's own number for the job: it increases with submission, so it also breaks ties of order.
    pub sequence: u64,
    /// Its name; may be empty in a simulation, where the sequence number names it.
    pub name: Box<str>,
    /// Its namespace; empty where there are none.
    pub namespace: Box<str>,
    /// Who submitted it; empty where that is not known.
    pub user: Box<str>,
    /// The queue that it waits in.
    pub queue: QueueId,
    /// Larger goes first.
    pub priority: i32,
    /// When it was submitted.
    pub submitted: Time,
    /// How long it is expected to run, for policies that are told.
    pub expected_duration: Option<Time>,
    /// When it should be done, for policies that go by it.
    pub deadline: Option<Time>,
    /// How fast it goes on some of its tasks; in proportion to them if `None`.
    pub scaling: Option<Arc<Scaling>>,
    /// Tasks that must be placed before it can run.
    pub min_member: u32,
    /// Its tasks: class and number.
    pub tasks: Box<[(ClassId, u32)]>,
    /// Where it stands in the queue's admission.
    pub phase: JobPhase,
    /// Whether its running tasks may be displaced; `None` leaves it to the policy (Volcano: yes).
    pub preemptable: Option<bool>,
    /// What a gang asks for beyond a number of tasks.
    pub gang: Option<Box<GangSpec>>,
    /// Those annotations that some policy reads.
    pub annotations: Labels,
}

impl JobSpec {
    /// A job of these tasks, all of which it needs, admitted, with nothing else said of it.
    pub fn new(sequence: u64, queue: QueueId, tasks: impl Into<Box<[(ClassId, u32)]>>) -> Self {
        let tasks = tasks.into();
        Self {
            sequence,
            name: Box::default(),
            namespace: Box::default(),
            user: Box::default(),
            queue,
            priority: 0,
            submitted: Time::ZERO,
            expected_duration: None,
            deadline: None,
            scaling: None,
            min_member: tasks.iter().map(|&(_, count)| count).sum(),
            tasks,
            phase: JobPhase::Inqueue,
            preemptable: None,
            gang: None,
            annotations: Labels::new(),
        }
    }
}

/// Volcano's phase of a pod group.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub enum JobPhase {
    /// Not admitted: allocation passes it over until the enqueue action lets it in.
    Pending,
    /// Admitted.
    #[default]
    Inqueue,
    /// At least its minimum runs.
    Running,
    /// Part of its minimum runs.
    Unknown,
    /// All its tasks have ended.
    Completed,
}

/// What a gang asks for beyond a number of tasks.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct GangSpec {
    /// Role and how many of its tasks must be placed; roles that are not listed have no minimum.
    pub role_minima: Vec<(Box<str>, u32)>,
    /// What its minimum requests in all, where the driver was told.
    pub min_resources: Option<Quota>,
    /// How close together its tasks must or should be.
    pub network_topology: Option<NetworkTopology>,
    /// Groups within the gang.
    pub sub_groups: Vec<SubGroupPolicy>,
    /// How long a part of it may hold what it got before it is let go (coscheduling's `scheduleTimeoutSeconds`).
    pub schedule_timeout: Option<Time>,
    /// A tree of groups within the gang, each with a minimum of its own (KAI's `subGroups`); tasks name theirs by label.
    pub nested_groups: Vec<NestedGroup>,
    /// By which levels of a topology the gang as a whole is kept together.
    pub levels: Option<LevelConstraint>,
}

/// A group in the tree of a gang's groups.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct NestedGroup {
    /// Its name.
    pub name: Box<str>,
    /// The group that contains it; none if the gang itself does.
    pub parent: Option<Box<str>>,
    /// Tasks of its own that it needs; 0 for a group of groups.
    pub min_member: u32,
    /// By which levels of a topology it is kept together.
    pub levels: Option<LevelConstraint>,
}

/// Levels of a topology, each a node label, within one domain of which tasks must or should stay.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct LevelConstraint {
    /// The name of the topology.
    pub topology: Box<str>,
    /// The label of the level that must hold all.
    pub required: Option<Box<str>>,
    /// The label of the level that should hold all.
    pub preferred: Option<Box<str>>,
}

/// How close together tasks must or should be, in tiers of topology domains.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct NetworkTopology {
    /// Whether it must be so, or should.
    pub mode: TopologyMode,
    /// The highest tier of a domain that still holds all of them.
    pub highest_tier: Option<u32>,
    /// The same by the tier's name.
    pub highest_tier_name: Option<Box<str>>,
}

/// Whether a network topology is a demand or a wish.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum TopologyMode {
    /// A demand.
    #[default]
    Hard,
    /// A wish.
    Soft,
}

/// Groups within a gang: tasks that a selector takes, told apart by the values of some labels.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct SubGroupPolicy {
    /// Its name.
    pub name: Box<str>,
    /// Tasks that each group needs.
    pub size: Option<u32>,
    /// Groups that the gang needs.
    pub min_groups: Option<u32>,
    /// The tasks that belong to groups of this policy.
    pub selector: Option<LabelSelector>,
    /// Labels by whose values tasks fall into groups.
    pub match_label_keys: Vec<Box<str>>,
    /// How close together the tasks of a group must or should be.
    pub network_topology: Option<NetworkTopology>,
}

/// A job.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Job {
    /// What the driver said of it.
    pub spec: JobSpec,
    /// Jobs of one shape are interchangeable to placement.
    pub shape: ShapeId,
    pub(super) tasks: Vec<TaskId>,
    pub(super) placed: u32,
    /// Its tasks by status, in order of the codes of [`TaskStatus`].
    pub(super) by_status: [u32; TaskStatus::ALL.len()],
    /// How many are nominated.
    pub(super) nominated: u32,
}

impl Job {
    /// Its tasks, in order of rank.
    pub fn tasks(&self) -> &[TaskId] {
        &self.tasks
    }

    /// How many of its tasks have a place and keep it (those being released do not count).
    pub const fn placed(&self) -> u32 {
        self.placed
    }

    /// How many of its tasks stand there.
    pub const fn count(&self, status: TaskStatus) -> u32 {
        self.by_status[status as usize]
    }

    /// How many of its tasks are nominated to a node (Volcano: pipelined).
    pub const fn nominated(&self) -> u32 {
        self.nominated
    }

    /// Whether enough tasks are placed for it to run.
    pub const fn is_ready(&self) -> bool {
        self.placed >= self.spec.min_member
    }

    /// Whether every task is placed.
    pub const fn is_complete(&self) -> bool {
        self.placed as usize == self.tasks.len()
    }
}

/// Where a task stands.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub enum TaskStatus {
    /// It has no place. It may be nominated to one.
    #[default]
    Waiting,
    /// It has a place and has not started there yet.
    Bound,
    /// It runs.
    Running,
    /// It was told to stop and still holds what it holds.
    Releasing,
    /// It ended well and holds nothing.
    Succeeded,
    /// It ended badly and holds nothing.
    Failed,
}

impl TaskStatus {
    /// All of them, in order of their codes.
    pub const ALL: [Self; 6] =
        [Self::Waiting, Self::Bound, Self::Running, Self::Releasing, Self::Succeeded, Self::Failed];

    /// Whether it holds a place that it may keep.
    pub const fn is_placed(self) -> bool {
        matches!(self, Self::Bound | Self::Running)
    }

    /// Whether it holds something of a node.
    pub const fn holds_node(self) -> bool {
        matches!(self, Self::Bound | Self::Running | Self::Releasing)
    }
}

/// What tells a task from others of its class; drivers set what they know.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct TaskDetails {
    /// Its name; empty in a simulation, where job and rank name it.
    pub name: Box<str>,
    /// Its own priority. A driver that says nothing leaves it equal to the job's.
    pub priority: i32,
    /// When it was created.
    pub created: Option<Time>,
    /// When it started to run where it is; `None` while it waits.
    pub started: Option<Time>,
    /// Whether scheduling gates keep it out of the queue.
    pub gated: bool,
}

/// A task.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Task {
    /// The job that it belongs to.
    pub job: JobId,
    /// Its position among the job's tasks.
    pub rank: u32,
    /// Its requests and constraints.
    pub class: ClassId,
    /// What tells it from others of its class.
    pub details: TaskDetails,
    pub(super) status: TaskStatus,
    pub(super) placement: Option<Placement>,
    pub(super) nominated: Option<NodeId>,
}

impl Task {
    /// Where it is, if it is placed, or still there while it is released.
    pub const fn placement(&self) -> Option<&Placement> {
        self.placement.as_ref()
    }

    /// Where it stands.
    pub const fn status(&self) -> TaskStatus {
        self.status
    }

    /// The node where room is being made for it (`nominatedNodeName`; Volcano: pipelined). Only a task that
    /// waits has one, or one that is being released where it is to be placed elsewhere.
    pub const fn nominated(&self) -> Option<NodeId> {
        self.nominated
    }
}

/// Where a task is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Placement {
    /// The node.
    pub node: NodeId,
    /// Its devices on that node.
    pub gpus: GpuSet,
    /// Thousandths that it holds of each of them.
    pub gpu_milli: u32,
    /// Its position in the node's list of tasks.
    pub(super) slot: u32,
}

impl Placement {
    /// Its position in [`Node::tasks`](super::Node::tasks).
    pub const fn slot(&self) -> usize {
        self.slot as usize
    }
}
