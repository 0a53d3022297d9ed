//! Why something was not placed, structured enough to be counted and to be put in one line.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;

use crate::bound::{Milli, QueueBound, ResourceUse};
use crate::state::PlacementError;
use crate::time::Time;

/// Why one node cannot take a task.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub enum Rejection {
    /// It is cordoned.
    Unschedulable,
    /// It is not the node that the task asks for by name.
    NodeName,
    /// It has a taint that the task does not tolerate.
    UntoleratedTaint,
    /// Its labels do not meet the affinity that the profile adds to every task.
    EnforcedNodeAffinity,
    /// Its labels do not meet the task's selector or required affinity.
    NodeAffinity,
    /// It has no GPU.
    NoGpu,
    /// Its GPUs are of a model that the task does not accept.
    GpuModel,
    /// It has fewer GPUs than the task asks for, even when empty.
    TooFewGpus,
    /// It takes no more tasks.
    TooManyTasks,
    /// Not enough CPU is free.
    InsufficientCpu,
    /// Not enough memory is free.
    InsufficientMemory,
    /// Not enough of an extended resource is free.
    InsufficientExtended,
    /// Not enough devices have enough left.
    InsufficientGpu,
    /// It has less CPU than the task asks for, even when empty.
    TooLittleCpu,
    /// It has less memory than the task asks for, even when empty.
    TooLittleMemory,
    /// It has less of an extended resource than the task asks for, even when empty.
    TooLittleExtended,
    /// A port that the task asks for is taken.
    HostPort,
    /// Tasks would be spread too unevenly.
    TopologySpread,
    /// It lacks a label over whose values the task must be spread.
    TopologyKeyMissing,
    /// The tasks that the task must be with are not there.
    PodAffinity,
    /// A task that the task must not be with is there.
    PodAntiAffinity,
    /// A task that is there must not be with the task.
    ExistingPodAntiAffinity,
    /// What it has left is kept for tasks of no lower priority that others were told to make room for.
    Nominated,
    /// It belongs to a group of nodes that the task's queue may not use.
    NodeGroup,
    /// It belongs to a group of nodes where the task's queue has used up its limit.
    NodeGroupLimit,
    /// It is lent at certain hours only, and to tasks that agree to be revoked.
    RevocableZone,
    /// It is on the block list of the configuration.
    Blocked,
    /// What it has left is promised to other jobs, or kept by a reservation, while the task would run.
    Reserved,
}

impl Rejection {
    /// All of them, in order of their codes.
    pub const ALL: [Self; 28] = [
        Self::Unschedulable,
        Self::NodeName,
        Self::UntoleratedTaint,
        Self::EnforcedNodeAffinity,
        Self::NodeAffinity,
        Self::NoGpu,
        Self::GpuModel,
        Self::TooFewGpus,
        Self::TooManyTasks,
        Self::InsufficientCpu,
        Self::InsufficientMemory,
        Self::InsufficientExtended,
        Self::InsufficientGpu,
        Self::TooLittleCpu,
        Self::TooLittleMemory,
        Self::TooLittleExtended,
        Self::HostPort,
        Self::TopologySpread,
        Self::TopologyKeyMissing,
        Self::PodAffinity,
        Self::PodAntiAffinity,
        Self::ExistingPodAntiAffinity,
        Self::Nominated,
        Self::NodeGroup,
        Self::NodeGroupLimit,
        Self::RevocableZone,
        Self::Blocked,
        Self::Reserved,
    ];

    /// Whether it speaks of what other tasks hold of the node's resources, so that room may come.
    pub const fn is_of_resources(self) -> bool {
        matches!(
            self,
            Self::TooManyTasks
                | Self::InsufficientCpu
                | Self::InsufficientMemory
                | Self::InsufficientExtended
                | Self::InsufficientGpu
        )
    }

    /// In an operator's words, for "17 nodes ...".
    pub const fn message(self) -> &'static str {
        match self {
            Self::Unschedulable => "cordoned",
            Self::NodeName => "with another name than the one asked for",
            Self::UntoleratedTaint => "with an untolerated taint",
            Self::EnforcedNodeAffinity => "outside the node affinity that the profile enforces",
            Self::NodeAffinity => "outside the node selector or affinity",
            Self::NoGpu => "without GPUs",
            Self::GpuModel => "of another GPU model",
            Self::TooFewGpus => "with too few GPUs even when empty",
            Self::TooManyTasks => "full of tasks",
            Self::InsufficientCpu => "short of CPU",
            Self::InsufficientMemory => "short of memory",
            Self::InsufficientExtended => "short of an extended resource",
            Self::InsufficientGpu => "short of GPU",
            Self::TooLittleCpu => "with too little CPU even when empty",
            Self::TooLittleMemory => "with too little memory even when empty",
            Self::TooLittleExtended => "with too little of an extended resource even when empty",
            Self::HostPort => "with a wanted host port in use",
            Self::TopologySpread => "where tasks would be spread too unevenly",
            Self::TopologyKeyMissing => "without a label to spread over",
            Self::PodAffinity => "without the tasks to be with",
            Self::PodAntiAffinity => "with a task to keep away from",
            Self::ExistingPodAntiAffinity => "with a task that keeps this one away",
            Self::Nominated => "kept for tasks for which room is made",
            Self::NodeGroup => "in a node group that its queue may not use",
            Self::NodeGroupLimit => "in a node group where its queue has reached its limit",
            Self::RevocableZone => "in a revocable zone, closed or not for this task",
            Self::Blocked => "on the block list",
            Self::Reserved => "reserved for others while it would run",
        }
    }

    /// Whether taking tasks off the node cannot help (kube-scheduler's `UnschedulableAndUnresolvable`).
    pub const fn is_unresolvable(self) -> bool {
        match self {
            Self::Unschedulable
            | Self::NodeName
            | Self::UntoleratedTaint
            | Self::EnforcedNodeAffinity
            | Self::NodeAffinity
            | Self::NoGpu
            | Self::GpuModel
            | Self::TooFewGpus
            | Self::TooLittleCpu
            | Self::TooLittleMemory
            | Self::TooLittleExtended
            | Self::TopologyKeyMissing
            | Self::PodAffinity
            | Self::NodeGroup
            | Self::NodeGroupLimit
            | Self::RevocableZone
            | Self::Blocked => true,
            Self::TooManyTasks
            | Self::InsufficientCpu
            | Self::InsufficientMemory
            | Self::InsufficientExtended
            | Self::InsufficientGpu
            | Self::HostPort
            | Self::TopologySpread
            | Self::PodAntiAffinity
            | Self::ExistingPodAntiAffinity
            | Self::Nominated
            | Self::Reserved => false,
        }
    }
}

impl From<PlacementError> for Rejection {
    fn from(error: PlacementError) -> Self {
        match error {
            PlacementError::TooManyTasks { .. } => Self::TooManyTasks,
            PlacementError::InsufficientCpu { .. } => Self::InsufficientCpu,
            PlacementError::InsufficientMemory { .. } => Self::InsufficientMemory,
            PlacementError::InsufficientExtended { .. } => Self::InsufficientExtended,
            PlacementError::WrongGpuModel { .. } => Self::GpuModel,
            _ => Self::InsufficientGpu,
        }
    }
}

/// Nodes by why they cannot take a task.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Rejections {
    /// Nodes that were looked at.
    pub nodes: u32,
    /// Reason and number of nodes, most frequent first.
    pub counts: Vec<(Rejection, u32)>,
}

impl Rejections {
    /// From the number of nodes per rejection, by its code.
    pub fn new(nodes: usize, rejected: [u32; Rejection::ALL.len()]) -> Self {
        let mut counts: Vec<_> =
            Rejection::ALL.into_iter().zip(rejected).filter(|&(_, count)| count > 0).collect();
        counts.sort_by_key(|&(_, count)| core::cmp::Reverse(count));
        Self { nodes: nodes as u32, counts }
    }

    /// From the verdict on each node.
    pub fn of(verdicts: &[Option<Rejection>]) -> Self {
        let mut rejected = [0; Rejection::ALL.len()];
        verdicts.iter().flatten().for_each(|&rejection| rejected[rejection as usize] += 1);
        Self::new(verdicts.len(), rejected)
    }
}

impl Rejections {
    /// `start`, then the counts; nothing if there are none.
    fn write_counts(&self, formatter: &mut fmt::Formatter<'_>, start: &str) -> fmt::Result {
        for (position, (rejection, count)) in self.counts.iter().enumerate() {
            let separator = if position == 0 { start } else { ", " };
            write!(formatter, "{separator}{count} {}", rejection.message())?;
        }
        Ok(())
    }
}

impl fmt::Display for Rejections {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "none of {} nodes", self.nodes)?;
        self.write_counts(formatter, ": ")
    }
}

/// Why a job waits.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Reason {
    /// Some of its tasks fit nowhere now. With `placed` of `min_member` placed, the others are missing.
    NoNode {
        /// Tasks that found a place.
        placed: u32,
        /// Tasks that it needs.
        min_member: u32,
        /// Why the next one did not.
        rejections: Rejections,
    },
    /// The cluster could not hold it even if it were empty.
    TooLarge {
        /// Tasks that an empty cluster would hold.
        placeable: u64,
        /// Tasks that it needs.
        min_member: u32,
        /// Why the other nodes would hold none.
        rejections: Rejections,
    },
    /// There is room in the cluster, but not inside one topology domain of a tier that the job allows.
    NoDomain {
        /// Tasks that must be together.
        tasks: u32,
        /// GPUs of each of them.
        gpus: u32,
        /// The highest tier that it allows.
        tier: u32,
        /// The allowed domain with the most room; `None` if the job allows no domain at all.
        roomiest: Option<Box<str>>,
        /// Tasks that it has room for.
        room: u64,
        /// Tasks that the whole cluster has room for.
        cluster_room: u64,
    },
    /// Fewer of its tasks exist than it needs, in all or of some role.
    TooFewTasks {
        /// Tasks that exist and have not failed.
        tasks: u32,
        /// Tasks that it needs.
        min_member: u32,
    },
    /// Strict order: a job before it in its queue waits.
    BehindHead {
        /// That job's sequence number.
        head: u64,
    },
    /// It failed before and is not retried before this time.
    BackingOff {
        /// The time.
        until: Time,
    },
    /// Tasks were told to make room for it on a node and have not left yet.
    AwaitsRoom {
        /// The node's name.
        node: Box<str>,
        /// Tasks that are leaving it.
        leaving: u32,
    },
    /// Something outside holds its tasks back (scheduling gates).
    Gated,
    /// Its namespace may not request so much.
    OverQuota {
        /// The quota's name.
        quota: Box<str>,
        /// The resource, as Kubernetes names it.
        resource: Box<str>,
        /// What tasks of the namespace request already, in the resource's base unit.
        used: u64,
        /// What the next task requests.
        asked: u64,
        /// The most.
        hard: u64,
    },
    /// It would have to borrow, and the elastic quotas together have no more to lend.
    NothingToBorrow {
        /// The resource, as Kubernetes names it.
        resource: Box<str>,
        /// What tasks under all quotas hold, in the resource's base unit.
        used: u64,
        /// What the next task requests.
        asked: u64,
        /// The sum of the minima.
        guaranteed: u64,
    },
    /// Its gang has fewer tasks than it needs.
    GangIncomplete {
        /// Tasks that there are.
        tasks: u32,
        /// Tasks that it needs.
        min_member: u32,
    },
    /// The minimum of its gang exceeds what all nodes have left together.
    GangExceedsCluster {
        /// The resource, as Kubernetes names it.
        resource: Box<str>,
        /// What is left, in the resource's base unit.
        free: u64,
        /// What the gang needs.
        asked: u64,
    },
    /// Not enough nodes have room for its gang, although devices are free.
    NoRoomForGang {
        /// Tasks that found a place.
        placed: u32,
        /// Tasks that it needs.
        min_member: u32,
        /// Devices of each.
        gpus: u32,
        /// Thousandths of GPUs that are free in the cluster.
        free_gpu_milli: u64,
        /// Nodes with as many free devices as one task needs.
        roomy_nodes: u32,
        /// Why the next task found none.
        rejections: Rejections,
    },
    /// Its queue, or one that contains it, may not hold what it asks for in addition.
    QueueLimit {
        /// The queue.
        queue: Box<str>,
        /// What keeps it from holding more.
        bound: QueueBound,
        /// The resource that decides.
        binding: ResourceUse,
        /// The same of GPUs, if it asks for some and another resource decides.
        gpus: Option<ResourceUse>,
    },
    /// Its queue is closed.
    QueueClosed {
        /// The queue.
        queue: Box<str>,
    },
    /// Its queue has others within it and takes no jobs itself.
    QueueNotLeaf {
        /// The queue.
        queue: Box<str>,
    },
    /// It was not let into its queue, which keeps room for those that were.
    QueueReserved {
        /// The queue, itself or one that contains it.
        queue: Box<str>,
        /// What is held and kept, of the most.
        binding: ResourceUse,
    },
    /// It was not let into its queue, since the cluster could not hold all that were.
    Overcommitted {
        /// What those that were let in will need, of what would be left if the cluster were somewhat larger.
        binding: ResourceUse,
    },
    /// The policy divides GPUs among jobs and gives it none for now.
    GivenToOthers,
    /// It was turned away: its deadline cannot be met beside those of jobs that were admitted before.
    DeadlineOutOfReach,
    /// No cycle has looked at it yet.
    NotTried,
    /// The policy chose an illegal placement.
    Illegal(PlacementError),
}

impl Reason {
    /// The reason without its numbers, to count alike reasons together.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::NoNode { rejections, .. } | Self::TooLarge { rejections, .. } if rejections.nodes == 0 => {
                "the cluster has no nodes"
            }
            Self::NoNode { min_member: 1, .. } => "no node has room",
            Self::NoNode { .. } | Self::NoRoomForGang { .. } => {
                "not enough nodes have room for the whole gang"
            }
            Self::TooLarge { placeable: 0, .. } => "fits no node even if the cluster were empty",
            Self::TooLarge { .. } => "larger than the cluster",
            Self::NoDomain { .. } => "not enough room inside one topology domain",
            Self::TooFewTasks { .. } => "fewer tasks exist than the gang needs",
            Self::BehindHead { .. } => "behind the head of its queue",
            Self::BackingOff { .. } => "backing off after a failed attempt",
            Self::AwaitsRoom { .. } => "waiting for displaced tasks to leave",
            Self::Gated => "held back by a scheduling gate",
            Self::OverQuota { .. } => "over the quota of its namespace",
            Self::NothingToBorrow { .. } => "nothing left to borrow from elastic quotas",
            Self::GangIncomplete { .. } => "fewer tasks than the gang needs",
            Self::GangExceedsCluster { .. } => "the gang's minimum exceeds what is free",
            Self::QueueLimit { bound: QueueBound::Deserved, .. } => "its queue has what it deserves",
            Self::QueueLimit { bound: QueueBound::Capability, .. } => "its queue holds all that it may",
            Self::QueueLimit { bound: QueueBound::Part, .. } => "its queue's part of the cluster is full",
            Self::QueueClosed { .. } => "its queue is closed",
            Self::QueueNotLeaf { .. } => "its queue takes no jobs itself",
            Self::QueueReserved { .. } => "not admitted: its queue keeps room for those that were",
            Self::Overcommitted { .. } => "not admitted: the cluster could not hold all that were",
            Self::GivenToOthers => "the GPUs are given to other jobs",
            Self::DeadlineOutOfReach => "turned away: its deadline cannot be met",
            Self::NotTried => "not tried yet",
            Self::Illegal(_) => "the policy chose an illegal placement",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoNode { min_member: 1, rejections, .. } => {
                write!(formatter, "no node has room ({rejections})")
            }
            Self::NoNode { placed, min_member, rejections } => {
                write!(formatter, "{placed} of {min_member} tasks find room; for the next, {rejections}")
            }
            Self::TooLarge { placeable: 0, rejections, .. } => {
                write!(formatter, "fits no node even if the cluster were empty ({rejections})")
            }
            Self::TooLarge { placeable, min_member, rejections } => {
                write!(
                    formatter,
                    "larger than the cluster: {min_member} tasks, an empty cluster holds {placeable}"
                )?;
                rejections.write_counts(formatter, " (")?;
                if rejections.counts.is_empty() { Ok(()) } else { formatter.write_str(")") }
            }
            Self::NoDomain { tasks, gpus, tier, roomiest, room, cluster_room } => {
                write!(formatter, "needs {tasks}")?;
                match gpus {
                    0 => formatter.write_str(if *tasks == 1 { " task" } else { " tasks" })?,
                    1 => formatter.write_str(" x 1 GPU")?,
                    gpus => write!(formatter, " x {gpus} GPUs")?,
                }
                write!(formatter, " inside one domain of tier {tier} or below; ")?;
                match roomiest {
                    Some(domain) => write!(formatter, "the roomiest, {domain}, holds {room} more")?,
                    None => formatter.write_str("there is no such domain")?,
                }
                write!(formatter, ", the whole cluster {cluster_room}")
            }
            Self::TooFewTasks { tasks, min_member } => {
                write!(formatter, "{tasks} tasks exist, but the gang needs {min_member} or more of some role")
            }
            Self::BehindHead { head } => write!(formatter, "behind job {head}, the head of its queue"),
            Self::BackingOff { until } => write!(formatter, "backing off until {until:?}"),
            Self::AwaitsRoom { node, leaving } => {
                write!(formatter, "room is being made on node {node}: {leaving} tasks have yet to leave")
            }
            Self::Gated => formatter.write_str("held back by a scheduling gate"),
            Self::OverQuota { quota, resource, used, asked, hard } => write!(
                formatter,
                "over quota {quota} of its namespace: {used} of {hard} {resource} in use, {asked} more asked for"
            ),
            Self::NothingToBorrow { resource, used, asked, guaranteed } => write!(
                formatter,
                "nothing left to borrow: {used} of the elastic quotas' {guaranteed} {resource} in use, {asked} more asked for"
            ),
            Self::GangIncomplete { tasks, min_member } => {
                write!(formatter, "the gang has {tasks} of the {min_member} tasks that it needs")
            }
            Self::GangExceedsCluster { resource, free, asked } => {
                write!(formatter, "the gang needs {asked} {resource}, all nodes together have {free} left")
            }
            Self::NoRoomForGang { placed, min_member, gpus, free_gpu_milli, roomy_nodes, rejections } => {
                let (free, nodes) =
                    (Milli(*free_gpu_milli), if *roomy_nodes == 1 { "node has" } else { "nodes have" });
                write!(formatter, "needs {min_member} x {gpus} GPUs and finds room for {placed}: ")?;
                write!(
                    formatter,
                    "{free} GPUs are free, but {roomy_nodes} {nodes} {gpus} free; for the next, "
                )?;
                rejections.fmt(formatter)
            }
            Self::QueueLimit { queue, bound, binding, gpus } => {
                write!(formatter, "queue {queue} may not hold more: ")?;
                binding.write(formatter, "allocated", bound.name())?;
                let Some(gpus) = gpus else { return Ok(()) };
                formatter.write_str(" (")?;
                gpus.write(formatter, "allocated", bound.name())?;
                formatter.write_str(")")
            }
            Self::QueueClosed { queue } => write!(formatter, "queue {queue} is closed"),
            Self::QueueNotLeaf { queue } => {
                write!(formatter, "queue {queue} has queues within it and takes no jobs itself")
            }
            Self::QueueReserved { queue, binding } => {
                write!(formatter, "not admitted to queue {queue}: ")?;
                binding.write(formatter, "held and reserved", "at most")
            }
            Self::Overcommitted { binding } => {
                let ResourceUse { resource, used_milli, asked_milli, limit_milli } = binding;
                let (asked, limit, used) = (Milli(*asked_milli), Milli(*limit_milli), Milli(*used_milli));
                write!(formatter, "not admitted: {asked} {resource} asked for; of {limit} left ")?;
                write!(formatter, "under the overcommit factor, {used} are reserved")
            }
            Self::GivenToOthers | Self::DeadlineOutOfReach => formatter.write_str(self.kind()),
            Self::NotTried => formatter.write_str("not tried yet"),
            Self::Illegal(error) => write!(formatter, "the policy chose an illegal placement: {error}"),
        }
    }
}
