//! Nodes that are slow, and the jobs that wait for them.

use std::collections::BTreeMap;

use foretell_framework::{ClusterState, JobId, NodeId, Time};
use rand::RngExt;

use super::{Fault, FaultKind, Place, Stragglers};
use crate::engine::{EventQueue, Streams};
use crate::event::{Event, FaultEvent};
use crate::platform::Submission;
use crate::platform::simulation::Simulation;
use crate::platform::work::WHOLE_SPEED;

/// The nodes that are slow, and how fast each is.
pub(super) fn slow_nodes(
    stragglers: &Stragglers,
    streams: Streams,
    state: &ClusterState,
) -> BTreeMap<NodeId, u32> {
    let is_slow = |node: &NodeId| {
        let draw: f64 = streams.stream("stragglers", node.index() as u64).random();
        draw < stragglers.share
    };
    state.node_ids().filter(is_slow).map(|node| (node, stragglers.speed_millionths)).collect()
}

impl<W, E> Simulation<'_, W, E>
where
    W: Iterator<Item = Result<Submission, E>>,
{
    /// Slow nodes that a job has pods on, in order.
    fn slow_nodes_of(&self, id: JobId) -> Vec<(NodeId, u32)> {
        let Some(faults) = self.faults.as_ref().filter(|faults| !faults.slow.is_empty()) else {
            return Vec::new();
        };
        let tasks = self.state.job(id).map_or(&[][..], |job| job.tasks());
        let node = |&task| self.state.task(task)?.placement().map(|placement| placement.node);
        let slow = tasks.iter().filter_map(node).filter_map(|node| Some((node, *faults.slow.get(&node)?)));
        let mut found: Vec<_> = slow.collect();
        found.sort_unstable();
        found.dedup();
        found
    }

    /// A job's speed on the nodes that it has: that of the slowest.
    pub(in crate::platform) fn speed_on_nodes(&self, id: JobId) -> u32 {
        self.slow_nodes_of(id).iter().map(|&(_, speed)| speed).min().unwrap_or(WHOLE_SPEED)
    }

    /// How long a job checks its nodes before it computes.
    pub(in crate::platform) fn check_time(&self) -> Time {
        let check = self.config.faults.as_ref().and_then(|faults| faults.check);
        check.map_or(Time::ZERO, |check| check.time)
    }

    /// A job starts: some of its slow nodes will be found by the check, the others by and by.
    pub(in crate::platform) fn watch_speed(&self, id: JobId, queue: &mut EventQueue<Event>) {
        let Some(faults) = &self.config.faults else { return };
        let slow = self.slow_nodes_of(id);
        let Some(job) = self.state.job(id).filter(|_| !slow.is_empty()) else { return };
        let attempt = self.jobs[id].attempt;
        let mut random = Streams::new(self.config.seed).stream("node checks", job.spec.sequence);
        random.set_word_pos(u128::from(attempt) << 32);
        for (node, _) in slow {
            let draw: f64 = random.random();
            let caught = faults.check.filter(|check| draw < check.catches);
            let later = faults.stragglers.and_then(|stragglers| stragglers.detection);
            let Some(after) = caught.map(|check| check.time).or(later) else { continue };
            let found = FaultEvent::Found { node: node.index() as u32, job: id, attempt };
            queue.schedule(self.now + after, Event::Fault(found));
        }
    }

    /// A node is found to be slow while a job is on it: it is taken out and repaired.
    pub(in crate::platform) fn slow_node_found(
        &mut self,
        node: NodeId,
        id: JobId,
        attempt: u32,
        queue: &mut EventQueue<Event>,
    ) {
        let is_there = self.jobs.get(id).is_some_and(|live| live.running && live.attempt == attempt);
        let (Some(faults), Some(config)) = (&mut self.faults, &self.config.faults) else { return };
        if !is_there || faults.slow.remove(&node).is_none() {
            return;
        }
        let repair = config.rate(FaultKind::Node).repair.mean;
        self.strike(
            Fault { kind: FaultKind::Node, place: Place::Node(node), device: None, repair },
            |_| 0,
            queue,
        );
    }
}
