//! One node: which jobs its failure takes down, and why.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use foretell_framework::{ClusterState, JobId, NodeId, TaskStatus, Time};

use super::JobNames;
use crate::log::Record;
use crate::platform::{Inspection, Inspector};

/// What a node holds at an instant.
#[derive(Clone, PartialEq, Debug)]
pub struct NodeExplanation {
    /// Its name.
    pub node: Box<str>,
    /// The instant.
    pub at: Time,
    /// Its GPUs.
    pub gpus: u32,
    /// Thousandths of GPUs that are free.
    pub gpu_free_milli: u64,
    /// Jobs with pods there, most GPUs first.
    pub casualties: Vec<Casualty>,
}

/// A job that loses pods with the node.
#[derive(Clone, PartialEq, Debug)]
pub struct Casualty {
    /// Its name.
    pub id: Box<str>,
    /// Its queue.
    pub queue: Box<str>,
    /// Its pods on the node.
    pub pods: u32,
    /// Its pods that have a place, there and elsewhere.
    pub placed: u32,
    /// Pods that it needs.
    pub min_member: u32,
    /// Thousandths of GPUs that it holds on the node.
    pub gpu_milli: u64,
    /// Thousandths of GPUs that it holds elsewhere.
    pub gpu_elsewhere_milli: u64,
    /// Other nodes with pods of it.
    pub other_nodes: u32,
    /// What becomes of it.
    pub outcome: CasualtyOutcome,
}

/// What becomes of a job that loses pods.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CasualtyOutcome {
    /// It needs them: it stops as a whole.
    Stops {
        /// Its GPU work since the last checkpoint: thousandths of a GPU times nanoseconds.
        lost: u128,
    },
    /// It goes on with the pods that are left.
    GoesOn,
    /// It does not run yet: those pods have to be placed anew.
    DoesNotRun,
}

/// Looks at one node at one instant of a run.
pub struct ExplainNode {
    node: Box<str>,
    at: Time,
    names: JobNames,
    found: Option<NodeExplanation>,
}

impl ExplainNode {
    /// Looks at the node of this name.
    pub fn new(node: &str, at: Time) -> Self {
        Self { node: node.into(), at, names: JobNames::default(), found: None }
    }

    /// What was found; `None` if there is no such node.
    pub fn finish(self) -> Option<NodeExplanation> {
        self.found
    }

    fn casualty(&self, id: JobId, node: NodeId, inspection: &Inspection<'_>) -> Option<Casualty> {
        let state = inspection.state();
        let job = state.job(id)?;
        let progress = inspection.progress(id, self.at)?;
        let placed = job.tasks().iter().filter_map(|&task| state.task(task));
        let placed = placed.filter(|task| task.status().is_placed());
        let mut casualty = Casualty {
            id: self.names.of(job.spec.sequence).into(),
            queue: state.queue(job.spec.queue).name.clone(),
            pods: 0,
            placed: job.placed(),
            min_member: job.spec.min_member,
            gpu_milli: 0,
            gpu_elsewhere_milli: 0,
            other_nodes: 0,
            outcome: CasualtyOutcome::DoesNotRun,
        };
        let mut elsewhere: BTreeMap<NodeId, u32> = BTreeMap::new();
        let mut left_of_role: BTreeMap<&str, u32> = BTreeMap::new();
        for task in placed {
            let spec = state.class_spec(task.class);
            if task.placement().is_some_and(|placement| placement.node == node) {
                casualty.pods += 1;
                casualty.gpu_milli += spec.gpus.total_milli();
            } else {
                casualty.gpu_elsewhere_milli += spec.gpus.total_milli();
                *elsewhere.entry(task.placement()?.node).or_default() += 1;
                if task.status() == TaskStatus::Running {
                    *left_of_role.entry(&spec.role).or_default() += 1;
                }
            }
        }
        casualty.other_nodes = elsewhere.len() as u32;
        let left: u32 = left_of_role.values().sum();
        let minima = job.spec.gang.iter().flat_map(|gang| &gang.role_minima);
        let whole = left >= job.spec.min_member
            && minima
                .into_iter()
                .all(|(role, minimum)| left_of_role.get(&**role).copied().unwrap_or(0) >= *minimum);
        if progress.running {
            let stops = CasualtyOutcome::Stops { lost: progress.at_stake };
            casualty.outcome = if whole { CasualtyOutcome::GoesOn } else { stops };
        }
        Some(casualty)
    }
}

impl Inspector for ExplainNode {
    fn inspect(&mut self, from: Time, to: Time, inspection: &mut Inspection<'_>) {
        if !(from <= self.at && self.at < to) {
            return;
        }
        let state = inspection.state();
        let Some(node) = state.node_ids().find(|&node| state.node(node).spec.name == self.node) else {
            return;
        };
        let entry = state.node(node);
        let mut jobs: Vec<(u64, JobId)> = entry
            .tasks()
            .iter()
            .filter_map(|&task| state.task(task))
            .filter_map(|task| Some((state.job(task.job)?.spec.sequence, task.job)))
            .collect();
        jobs.sort_unstable();
        jobs.dedup();
        let mut casualties: Vec<Casualty> =
            jobs.into_iter().filter_map(|(_, job)| self.casualty(job, node, inspection)).collect();
        casualties.sort_by_key(|job| Reverse(job.gpu_milli));
        self.found = Some(NodeExplanation {
            node: self.node.clone(),
            at: self.at,
            gpus: entry.spec.gpus,
            gpu_free_milli: state.gpu_free_milli(node).iter().map(|&free| u64::from(free)).sum(),
            casualties,
        });
    }

    fn record(&mut self, _now: Time, record: &Record<'_>, _state: &ClusterState) {
        if let Record::JobSubmitted { submission, .. } = record {
            self.names.0.push(submission.id.clone());
        }
    }
}
