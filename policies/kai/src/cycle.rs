//! One cycle: the picture of the cluster, and what was decided.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use foretell_framework::{ClusterState, EvictionReason};

use crate::config::{KaiConfig, Verb};
use crate::model::{Model, Place, Status};

/// A task that was decided upon.
pub(crate) struct Moved {
    pub(crate) task: usize,
    pub(crate) before: Place,
    pub(crate) after: Place,
    /// Why, if it was told to stop.
    pub(crate) reason: Option<EvictionReason>,
    /// The task for which room was made.
    pub(crate) beneficiary: Option<usize>,
}

/// A cycle.
pub(crate) struct Cycle<'a> {
    pub(crate) state: &'a ClusterState,
    pub(crate) config: &'a KaiConfig,
    pub(crate) model: Model,
    pub(crate) moved: Vec<Moved>,
}

impl Cycle<'_> {
    /// Runs the verbs of a cycle.
    pub(crate) fn run(&mut self) {
        for verb in self.config.verbs.clone() {
            match verb {
                Verb::Allocate => self.allocate(),
                Verb::Consolidation => self.consolidate(),
                Verb::Reclaim => self.reclaim(),
                Verb::Preempt => self.preempt(),
                Verb::StaleGangEviction => self.evict_stale_gangs(),
            }
        }
    }

    /// Makes the trial last. `cause` says why tasks were told to stop, and for which job.
    pub(crate) fn decide(&mut self, cause: Option<(EvictionReason, Option<usize>)>) {
        let moved = self.model.decide();
        let beneficiary = cause.and_then(|(_, job)| job).and_then(|job| {
            moved.iter().map(|&(task, _)| task).find(|&task| self.model.tasks[task].job == job)
        });
        for job in moved.iter().map(|&(task, _)| self.model.tasks[task].job).collect::<BTreeSet<_>>() {
            if let Some((lane, key)) = self.model.unsettle(job) {
                self.model.waiting.unsettled.push((job, lane, key));
            }
            self.model.expose(job);
        }
        for (task, before) in moved {
            let after = self.model.tasks[task].place.clone();
            let reason = cause.map(|(reason, _)| match after.status {
                Status::Pipelined => EvictionReason::Consolidated,
                _ => reason,
            });
            self.moved.push(Moved { task, before, after, reason, beneficiary });
        }
    }
}
