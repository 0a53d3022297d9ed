//! The extension points. Names follow kube-scheduler's framework and Volcano's sessions.
//!
//! Every method may keep what it computed (`&mut self`) and repair it by
//! [`ClusterState::node_stamp`], but its answer must be a function of its arguments alone.

use alloc::vec::Vec;

use rand::Rng;

use crate::gpu::GpuSet;
use crate::id::{JobId, NodeId, TaskId};
use crate::ranking::ClassRanking;
use crate::reason::{Reason, Rejection};
use crate::session::{Session, Transaction};
use crate::spec::TaskSpec;
use crate::state::{ClusterState, JobSpec};
use crate::time::Time;

use crate::plugins::Plugins;

/// What a filter's verdict on a node depends on, apart from the task.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Scope {
    /// On what the node is (labels, taints, models): asked again only when that changes.
    NodeSpec,
    /// On what the node holds too: asked again whenever the node changes.
    NodeState,
    /// On other nodes too: asked in every search, after the others, and only about tasks that it has a say on.
    Cluster,
}

/// Says whether a node can take a task.
pub trait Filter {
    /// Its name, as in kube-scheduler where it has one there.
    fn name(&self) -> &'static str;

    /// What its verdict depends on.
    fn scope(&self) -> Scope;

    /// Only of filters that look at other nodes: brings what they keep up to date before they are asked about nodes for
    /// this task, and says whether they have a say on it at all (kube-scheduler's `PreFilter`, which may `Skip`).
    fn prepare(&mut self, _state: &ClusterState, _task: &TaskSpec) -> bool {
        true
    }

    /// The verdict.
    fn filter(&mut self, state: &ClusterState, task: &TaskSpec, node: NodeId) -> Result<(), Rejection>;
}

/// Scores a node that passed the filters, from the node and the task alone: larger is better. Such scores are kept
/// between cycles and computed again only for nodes that changed.
pub trait Score {
    /// Its name, as in kube-scheduler where it has one there.
    fn name(&self) -> &'static str;

    /// Whether it has a preference for this task at all. If not, it scores all nodes alike.
    fn applies(&self, _state: &ClusterState, _task: &TaskSpec) -> bool {
        true
    }

    /// The score.
    fn score(&mut self, state: &ClusterState, task: &TaskSpec, node: NodeId) -> i64;
}

/// Scores all candidates of a cycle together, for scores that depend on other nodes or are normalised over the
/// candidates (kube-scheduler's `PreScore` and `NormalizeScore`).
pub trait ScoreCandidates {
    /// Its name, as in kube-scheduler where it has one there.
    fn name(&self) -> &'static str;

    /// Whether it has a preference for this task at all. If not, it is left out of the cycle (`Skip`).
    fn applies(&mut self, state: &ClusterState, task: &TaskSpec) -> bool;

    /// One score per candidate, appended to `scores`, which arrives empty.
    fn score(&mut self, state: &ClusterState, task: &TaskSpec, candidates: &[NodeId], scores: &mut Vec<i64>);
}

/// Chooses the node among those that passed the filters.
pub trait SelectNode {
    /// Lets it see the state before it is asked for a choice, for what a ranking does not tell (labels of nodes).
    fn observe(&mut self, _state: &ClusterState) {}

    /// The choice when only the ranking counts, `None` if no node is feasible.
    fn select(&mut self, ranking: &mut ClassRanking, random: &mut dyn Rng) -> Option<NodeId>;

    /// The nodes among which [`Self::pick`] would choose, appended to `candidates`, which arrives empty. A node must be
    /// feasible in the ranking and then pass; it is asked once at most, and only if the search comes to it.
    fn candidates(
        &mut self,
        ranking: &ClassRanking,
        passes: &mut dyn FnMut(NodeId) -> bool,
        candidates: &mut Vec<NodeId>,
    );

    /// The position of the chosen candidate, from one total per candidate; there is at least one.
    fn pick(&mut self, totals: &[i64], random: &mut dyn Rng) -> usize;

    /// Whether it may draw at random, so that an attempt that fails has a say on those after it.
    fn draws(&self) -> bool {
        true
    }
}

/// Chooses the devices on the chosen node, on which the task fits.
pub trait PickGpus {
    /// The devices: exactly as many as the task asks for, each with enough left.
    fn pick(&mut self, state: &ClusterState, task: &TaskSpec, node: NodeId, random: &mut dyn Rng) -> GpuSet;

    /// Whether it may draw at random.
    fn draws(&self) -> bool {
        true
    }
}

/// Has a say on a task before any node is looked at (kube-scheduler's `PreFilter`), and makes room for one that no node
/// takes in its own way (`PostFilter`).
pub trait TaskGate {
    /// Its name, as in kube-scheduler's plugins.
    fn name(&self) -> &'static str;

    /// Whether the task may be placed at all now, and if not, why.
    fn admit(&mut self, state: &ClusterState, task: TaskId) -> Result<(), Reason>;

    /// Evicts others and nominates the task to a node, if that would let it in. Returns the node.
    fn make_room(
        &mut self,
        transaction: &mut Transaction<'_>,
        plugins: &mut Plugins,
        task: TaskId,
        now: Time,
    ) -> Option<NodeId>;
}

/// Orders waiting jobs.
pub trait OrderJobs {
    /// Its name.
    fn name(&self) -> &'static str;

    /// Smaller goes first. It must not change while the job waits.
    fn key(&self, job: &JobSpec) -> u64;
}

/// What happened to the cluster since the last cycle, as far as a policy may care.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ClusterEvent {
    /// A job was added.
    JobAdded(JobId),
    /// A job is about to be removed; its tasks still hold what they hold.
    JobRemoved(JobId),
    /// Tasks were removed from nodes: room was made. One event may stand for many.
    TasksReleased,
    /// A task that was placed has left its node and waits again, under the same id.
    TaskWaiting(TaskId),
    /// A node was added or changed.
    NodeChanged(NodeId),
    /// What is said of a waiting task changed: its gates were lifted, its priority, its creation.
    TaskChanged(TaskId),
}

/// A verb of a scheduling cycle (allocate, preempt, ...).
pub trait Action {
    /// Its name.
    fn name(&self) -> &'static str;

    /// Whether it wants its cycles although nobody waits, when a job ends and when it asked to be woken, because what it
    /// keeps of jobs depends on when.
    fn follows_running_jobs(&self) -> bool {
        false
    }

    /// Learns what happened, before the next cycle.
    fn notify(&mut self, state: &ClusterState, plugins: &mut Plugins, event: ClusterEvent);

    /// Does its part of a cycle.
    fn run(&mut self, session: &mut Session<'_>, plugins: &mut Plugins);

    /// Why a job still waits, if this action is the one that it waits for. Leaves the state as it was.
    fn explain(&mut self, session: &mut Session<'_>, plugins: &mut Plugins, job: JobId) -> Option<Reason>;
}
