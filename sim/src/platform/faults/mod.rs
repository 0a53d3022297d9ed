//! What breaks, when, and what becomes of the jobs on it.
//!
//! Parts of nodes fail as Poisson processes, one per node and kind of part, each with a random stream of its own. Only the
//! next fault of all is in the event queue; parts at rest cost nothing. Links and switches of the fabric fail likewise.

mod broken;
mod clock;
mod fabric;
mod notice;
mod slow;
mod spare;
mod strike;

use foretell_framework::{ClusterState, NodeId, Time};

pub(super) use broken::Broken;
pub(super) use clock::FaultClock;
pub(super) use notice::JobFaults;
pub(super) use strike::FaultState;

/// The kind of part that fails.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum FaultKind {
    /// The whole node: power, board, host, maintenance. Everything on it fails.
    Node,
    /// One of its GPUs. Pods that hold it fail.
    Gpu,
    /// Its network cards. Pods of jobs that span several nodes fail; the node takes no new ones.
    Nic,
    /// Its cables, or its port of the switch: as its network cards.
    Link,
    /// Nothing of the node: the software of one of the jobs on it crashes.
    Software,
    /// A link of the fabric between a leaf and a spine. Jobs have what the others of its tier carry.
    LeafLink,
    /// A link between a spine and a core.
    SpineLink,
    /// A leaf: it cuts off the nodes that hang on it, as if their network cards failed.
    LeafSwitch,
    /// A spine, with all its links.
    SpineSwitch,
    /// A core, with all its links.
    CoreSwitch,
}

impl FaultKind {
    /// All kinds, in order.
    pub const ALL: [Self; 10] = [
        Self::Node,
        Self::Gpu,
        Self::Nic,
        Self::Link,
        Self::Software,
        Self::LeafLink,
        Self::SpineLink,
        Self::LeafSwitch,
        Self::SpineSwitch,
        Self::CoreSwitch,
    ];

    /// How many of them, the first, are parts of nodes; the others are parts of the fabric.
    pub const OF_NODES: usize = 5;

    /// What it is called.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Node => "node",
            Self::Gpu => "gpu",
            Self::Nic => "nic",
            Self::Link => "link",
            Self::Software => "software",
            Self::LeafLink => "leaf_link",
            Self::SpineLink => "spine_link",
            Self::LeafSwitch => "leaf_switch",
            Self::SpineSwitch => "spine_switch",
            Self::CoreSwitch => "core_switch",
        }
    }

    /// Whether it is a part of the fabric and not of a node.
    pub const fn is_of_fabric(self) -> bool {
        self as usize >= Self::OF_NODES
    }

    /// Whether there is something to repair.
    pub const fn is_hardware(self) -> bool {
        !matches!(self, Self::Software)
    }

    /// Whether a job on one node only does not notice.
    pub const fn spares_single_nodes(self) -> bool {
        matches!(self, Self::Nic | Self::Link) || self.is_of_fabric()
    }
}

/// Where something fails.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Place {
    /// At a node.
    Node(NodeId),
    /// At a switch: its number among those of its tier.
    Switch(u32),
    /// Between two switches.
    Cable {
        /// Its number among those of its tier.
        number: u32,
        /// The number of the lower switch.
        below: u32,
        /// And of the upper one.
        above: u32,
    },
}

impl Place {
    /// The node, if it is one.
    pub const fn node(self) -> Option<NodeId> {
        if let Self::Node(node) = self { Some(node) } else { None }
    }
}

/// How often parts of a kind fail, and how long they stay broken.
#[derive(Clone, Copy, PartialEq, Default, Debug)]
pub struct FaultRate {
    /// Failures of all parts of the kind on one node, a second; of one switch or link, where it is a part of the fabric.
    pub per_node_s: f64,
    /// Until one is repaired.
    pub repair: Repair,
}

/// How long something stays broken.
#[derive(Clone, Copy, PartialEq, Default, Debug)]
pub struct Repair {
    /// On average.
    pub mean: Time,
    /// How it spreads.
    pub spread: RepairSpread,
}

/// How repair times spread about their mean.
#[derive(Clone, Copy, PartialEq, Default, Debug)]
pub enum RepairSpread {
    /// Not at all.
    #[default]
    Fixed,
    /// Exponentially distributed.
    Exponential,
    /// Log-normally, with this standard deviation of the natural logarithm.
    LogNormal(f64),
}

/// A fault at a time that is given.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ScheduledFault {
    /// When.
    pub at: Time,
    /// Where.
    pub place: Place,
    /// What.
    pub kind: FaultKind,
    /// Which GPU; the first if `None`. Of no meaning for other kinds.
    pub device: Option<u32>,
    /// How long it stays broken; as long as the kind takes on average if `None`.
    pub duration: Option<Time>,
}

/// What a job does when pods of it fail.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum OnFailure {
    /// All its pods stop, and it starts again from its last checkpoint.
    #[default]
    RestartJob,
    /// The pods that failed wait to be placed again; if the others are enough, it goes on with them from its last checkpoint.
    /// If they are not, as [`Self::RestartJob`].
    RestartPod,
    /// It ends, as failed.
    Fail,
}

/// What a job does about failures.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct FailurePolicy {
    /// What it does when pods of it fail.
    pub on_failure: OnFailure,
    /// How many failures it survives; the one after ends it. Any number if `None`.
    pub max_retries: Option<u32>,
    /// What differs for pods of some roles.
    pub roles: Vec<RolePolicy>,
}

/// What a job does about failures of pods of a role.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RolePolicy {
    /// The role's name; [`WORKER`] for pods of a job that has only one kind.
    pub role: Box<str>,
    /// What it does when one of them fails. Of several pods that fail together, the most drastic counts.
    pub on_failure: OnFailure,
    /// How many failures of such pods it survives, if there is a bound of their own.
    pub max_retries: Option<u32>,
}

/// The role of pods whose job says none.
pub const WORKER: &str = "worker";

/// What fails in a run.
#[derive(Clone, PartialEq, Default, Debug)]
pub struct Faults {
    /// By kind of part of nodes, in the order of [`FaultKind::ALL`].
    pub rates: [FaultRate; FaultKind::OF_NODES],
    /// By kind of part of the fabric, likewise.
    pub fabric_rates: [FaultRate; FaultKind::ALL.len() - FaultKind::OF_NODES],
    /// Beside what is drawn; in order of time.
    pub scheduled: Vec<ScheduledFault>,
    /// From a failure until the job notices.
    pub detection: Time,
    /// Of jobs that do not say it themselves.
    pub policy: FailurePolicy,
    /// Nodes that are held back for those that fail: the last of the cluster.
    pub spares: u32,
    /// When a node is taken out for good.
    pub block: Option<BlockRule>,
    /// Nodes that are slow.
    pub stragglers: Option<Stragglers>,
    /// What jobs do before they compute.
    pub check: Option<NodeCheck>,
}

/// When a node is taken out for good: its hardware failed so often within a window.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BlockRule {
    /// How often.
    pub failures: u32,
    /// Within which time.
    pub window: Time,
}

/// Nodes that are slow until somebody finds out. A job computes at the pace of its slowest node.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Stragglers {
    /// Which share of the nodes, each drawn by itself.
    pub share: f64,
    /// How fast they are, in millionths.
    pub speed_millionths: u32,
    /// How long a job runs on one until it is found, taken out and repaired; never if `None`.
    pub detection: Option<Time>,
}

/// Jobs check their nodes before they compute, each time they start.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct NodeCheck {
    /// How long that takes.
    pub time: Time,
    /// The probability that a slow node is found.
    pub catches: f64,
}

impl Faults {
    /// The rate of a kind.
    pub const fn rate(&self, kind: FaultKind) -> &FaultRate {
        let index = kind as usize;
        if index < FaultKind::OF_NODES {
            &self.rates[index]
        } else {
            &self.fabric_rates[index - FaultKind::OF_NODES]
        }
    }

    /// How often a job fails on average, a second: `share` are the nodes that it has, each counted as far as its GPUs are
    /// the job's, and `nodes` those that it has anything on. What the fabric does is not counted.
    pub fn of_job(&self, nodes: usize, share: f64) -> f64 {
        let rate = |kind: FaultKind| match kind {
            FaultKind::Gpu | FaultKind::Software => share,
            kind if kind.is_of_fabric() => 0.0,
            kind if kind.spares_single_nodes() && nodes < 2 => 0.0,
            _ => nodes as f64,
        };
        FaultKind::ALL.iter().map(|&kind| rate(kind) * self.rate(kind).per_node_s).sum()
    }
}

/// A fault that struck.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fault {
    /// What.
    pub kind: FaultKind,
    /// Where.
    pub place: Place,
    /// Which GPU.
    pub device: Option<u32>,
    /// How long until it is repaired; zero where there is nothing to repair.
    pub repair: Time,
}

impl Fault {
    /// What it is called where it is.
    pub fn place_name(&self, state: &ClusterState) -> Box<str> {
        let (below, above) = match self.kind {
            FaultKind::SpineLink | FaultKind::SpineSwitch => ("spine", "core"),
            FaultKind::CoreSwitch => ("core", ""),
            _ => ("leaf", "spine"),
        };
        match self.place {
            Place::Node(node) => state.node(node).spec.name.clone(),
            Place::Switch(number) => format!("{below}-{number}").into(),
            Place::Cable { below: from, above: to, .. } => format!("{below}-{from} to {above}-{to}").into(),
        }
    }
}

/// What becomes of a job of which pods failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FailureOutcome {
    /// It did not run yet: pods of it wait again.
    DidNotRun,
    /// It goes on with the pods that are left.
    GoesOn {
        /// How many are left.
        pods: u32,
    },
    /// It stops and waits again.
    Restarts,
    /// It ends, as failed.
    GivesUp,
}

/// A job noticed that pods of it have failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Failure {
    /// When the first of them failed.
    pub struck: Time,
    /// What failed first.
    pub fault: Fault,
    /// How many failed.
    pub pods: u32,
    /// The work that this lost: thousandths of a GPU times nanoseconds.
    pub lost: u128,
    /// What becomes of the job.
    pub outcome: FailureOutcome,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of rates a thousand node-days.
    fn faults(per_1000_node_days: [f64; 5]) -> Faults {
        let rate = |of_kind: f64| FaultRate { per_node_s: of_kind / 86.4e6, ..FaultRate::default() };
        Faults { rates: per_1000_node_days.map(rate), ..Faults::default() }
    }

    #[test]
    fn a_job_fails_as_often_as_what_it_is_on() {
        let hours = |faults: &Faults, nodes: usize, share| 1.0 / faults.of_job(nodes, share) / 3600.0;
        let all = faults([1.0; 5]);
        // One node: cards and cables do not matter. Half a node: neither does the other half.
        assert!((hours(&all, 1, 1.0) - 8_000.0).abs() < 1e-6);
        assert!((hours(&all, 1, 0.5) - 12_000.0).abs() < 1e-6);
        assert!((hours(&all, 2, 2.0) - 2_400.0).abs() < 1e-6);
    }
}
