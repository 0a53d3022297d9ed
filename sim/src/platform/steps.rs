//! Jobs whose speed follows from where their pods are, and from what their neighbours send.
//!
//! A job that has a [`StepModel`] works at its reference step time over the step time that it has now. The pods that run give the
//! shape of its placement, the shape a law, and the law with what the network leaves a step time. Where a flow begins, ends or
//! changes, the jobs whose rates this changes are told by one event of the same instant, after all else.

use std::sync::Arc;

use foretell_fabric::network::{LinkId, Member};
use foretell_framework::{FULL_SPEED, GpuModelId, GpuModelSet, GpuSet, JobId, NodeId, TaskId};
use rustc_hash::FxHashMap;

use super::Submission;
use super::simulation::Simulation;
use crate::engine::EventQueue;
use crate::event::{Event, NetworkEvent};
use crate::log::{Pace, Record};
use crate::traffic::{LinkChange, PlacementShape, StepLaw, StepModel, Stepping, Traffic};

/// The steps of a job.
pub(super) struct Steps {
    model: Arc<dyn StepModel>,
    /// Its pods with GPUs that run, by rank.
    workers: Vec<Worker>,
    /// What it makes of its pods' time: [`FULL_SPEED`] if a step takes what it does for reference.
    pub(super) speed: u64,
    told: Option<Pace>,
}

struct Worker {
    rank: u32,
    task: TaskId,
    node: NodeId,
    model: GpuModelId,
    gpus: GpuSet,
}

impl Steps {
    pub(super) fn new(model: &Arc<dyn StepModel>) -> Self {
        Self { model: Arc::clone(model), workers: Vec::new(), speed: FULL_SPEED, told: None }
    }

    pub(super) fn worker_started(
        &mut self,
        (rank, task): (u32, TaskId),
        node: NodeId,
        model: GpuModelId,
        gpus: GpuSet,
    ) {
        let at = self.workers.partition_point(|worker| worker.rank < rank);
        self.workers.insert(at, Worker { rank, task, node, model, gpus });
    }

    pub(super) fn pod_stopped(&mut self, task: TaskId) {
        self.workers.retain(|worker| worker.task != task);
    }

    pub(super) fn stopped(&mut self) {
        self.workers.clear();
        self.told = None;
    }

    /// Its nodes in order of their lowest ranks, with the devices that it has there.
    fn nodes(&self) -> Vec<(NodeId, GpuSet)> {
        let mut nodes: Vec<(NodeId, GpuSet)> = Vec::new();
        let mut places: FxHashMap<NodeId, usize> = FxHashMap::default();
        for worker in &self.workers {
            let place = *places.entry(worker.node).or_insert_with(|| {
                nodes.push((worker.node, GpuSet::EMPTY));
                nodes.len() - 1
            });
            let held = &mut nodes[place].1;
            *held = GpuSet::from_bits(held.bits() | worker.gpus.bits());
        }
        nodes
    }

    fn speed_at(&self, step_s: f64) -> u64 {
        let speed = self.model.reference_step_s() / step_s * FULL_SPEED as f64;
        // However slow, it goes on, unless nothing gets through at all.
        if step_s.is_finite() { (speed.round() as u64).max(1) } else { 0 }
    }
}

/// Laws that were worked out: jobs that share a model and have the same shape share the law.
#[derive(Default)]
pub(super) struct LawCache {
    /// By the model's address; a model that is kept here keeps its address.
    models: FxHashMap<usize, Known>,
}

struct Known {
    model: Arc<dyn StepModel>,
    laws: FxHashMap<PlacementShape, Arc<StepLaw>>,
}

impl LawCache {
    /// So many models are kept before those of jobs that are gone are forgotten.
    const KEPT: usize = 4096;

    fn of(&mut self, model: &Arc<dyn StepModel>, shape: &PlacementShape) -> Arc<StepLaw> {
        if self.models.len() > Self::KEPT {
            self.models.retain(|_, known| Arc::strong_count(&known.model) > 1);
        }
        let known = self
            .models
            .entry(Arc::as_ptr(model).cast::<()>() as usize)
            .or_insert_with(|| Known { model: Arc::clone(model), laws: FxHashMap::default() });
        if let Some(law) = known.laws.get(shape) {
            return Arc::clone(law);
        }
        let law = Arc::new(model.law(shape));
        known.laws.insert(shape.clone(), Arc::clone(&law));
        law
    }
}

impl<W, E> Simulation<'_, W, E>
where
    W: Iterator<Item = Result<Submission, E>>,
{
    /// A network for what jobs send. Without one they have all links to themselves.
    #[must_use]
    pub fn over(mut self, traffic: Traffic) -> Self {
        self.traffic = Some(traffic);
        self
    }

    /// A job runs on other pods than before, or begins to.
    pub(super) fn place_steps(&mut self, id: JobId, queue: &mut EventQueue<Event>) {
        let Some(steps) = &self.jobs[id].steps else { return };
        let nodes = steps.nodes();
        let models: GpuModelSet = steps.workers.iter().map(|worker| worker.model).collect();
        let shape = PlacementShape::new(nodes.iter().map(|(_, gpus)| gpus.len()), models);
        let shape = match nodes[..] {
            [(_, devices)] => shape.on_devices(devices),
            _ => shape,
        };
        let law = self.laws.of(&steps.model, &shape);
        if let Some(traffic) = &mut self.traffic {
            let members = nodes.iter().map(|&(node, gpus)| Member {
                node: node.index() as u32,
                rails: traffic.rails_of(gpus.iter(), self.state.node(node).spec.gpus),
            });
            let members = members.collect();
            traffic.place(id, Arc::clone(&law), members);
        }
        // What its neighbours leave it is known at the end of the instant.
        let sending_alone_s = self.traffic.as_ref().and_then(|traffic| traffic.alone_s(id));
        if let Some(steps) = &mut self.jobs[id].steps {
            steps.speed = steps.speed_at(sending_alone_s.unwrap_or_else(|| law.alone_s()));
        }
        self.request_sharing(queue);
    }

    /// Tells the log how a job steps now, if that is another way than was told before. Of one that sends that is told when it is known.
    pub(super) fn tell_pace(&mut self, id: JobId) {
        if self.traffic.as_ref().is_some_and(|traffic| traffic.has_changed() && traffic.alone_s(id).is_some())
        {
            return;
        }
        let stepping = self.traffic.as_ref().and_then(|traffic| traffic.stepping(id));
        self.tell_stepping(id, stepping.unwrap_or_else(|| Stepping::local(0.0)));
    }

    fn tell_stepping(&mut self, id: JobId, stepping: Stepping) {
        let Some(steps) = &mut self.jobs[id].steps else { return };
        let pace = Pace {
            speed: steps.speed,
            is_held_back: stepping.is_held_back,
            leaf_bytes_per_s: stepping.leaf_bytes_per_s.round() as u64,
            spine_bytes_per_s: stepping.spine_bytes_per_s.round() as u64,
        };
        if steps.told.replace(pace) == Some(pace) {
            return;
        }
        let Some(job) = self.state.job(id).map(|job| job.spec.sequence) else { return };
        self.record(&Record::JobPaced { job, pace });
    }

    /// A job runs no more: it sends nothing.
    pub(super) fn remove_steps(&mut self, id: JobId, queue: &mut EventQueue<Event>) {
        if let Some(traffic) = &mut self.traffic {
            traffic.remove(id);
        }
        self.request_sharing(queue);
    }

    /// Sees to it that those whose rates changed are told, once all else of this instant has happened.
    fn request_sharing(&mut self, queue: &mut EventQueue<Event>) {
        if self.traffic.as_ref().is_some_and(Traffic::has_changed) && !self.sharing_requested {
            self.sharing_requested = true;
            queue.schedule(self.now, Event::Network(NetworkEvent::RatesChanged));
        }
    }

    /// Running jobs have other shares of the links.
    pub(super) fn rates_changed(&mut self, queue: &mut EventQueue<Event>) {
        self.sharing_requested = false;
        let changed = self.traffic.as_mut().map(Traffic::take_changed).unwrap_or_default();
        for id in changed {
            let stepping = self.traffic.as_ref().and_then(|traffic| traffic.stepping(id));
            let Some((stepping, live)) = stepping.zip(self.jobs.get_mut(id)) else { continue };
            if let Some(steps) = &mut live.steps {
                let speed = steps.speed_at(stepping.step_s);
                if std::mem::replace(&mut steps.speed, speed) != speed {
                    live.set_pace(id, self.now, queue);
                }
            }
            self.tell_stepping(id, stepping);
        }
    }

    /// Schedules the next change of links from a place in their order.
    pub(super) fn plan_link_changes(&self, from: usize, queue: &mut EventQueue<Event>) {
        let change = self.traffic.as_ref().and_then(|traffic| traffic.link_changes.get(from));
        if let Some(change) = change {
            let event = NetworkEvent::LinksChanged { from: from as u32 };
            queue.schedule(change.at.max(self.now), Event::Network(event));
        }
    }

    /// The links whose time has come change.
    pub(super) fn links_changed(&mut self, from: u32, queue: &mut EventQueue<Event>) {
        let from = from as usize;
        let Some(changes) = self.traffic.as_ref().and_then(|traffic| traffic.link_changes.get(from..)) else {
            return;
        };
        let is_due = |change: &&LinkChange| change.at <= self.now;
        let due: Vec<(LinkId, f64)> =
            changes.iter().take_while(is_due).map(|change| (change.link, change.factor)).collect();
        self.change_links(&due, queue);
        // When nothing runs and nothing comes, links are nobody's concern.
        if self.next.is_some() || self.running > 0 || self.waiting > 0 {
            self.plan_link_changes(from + due.len(), queue);
        }
    }

    /// Links have so much of their capacity left: 0 if they fail, 1 if they are whole again.
    pub(super) fn change_links(&mut self, changes: &[(LinkId, f64)], queue: &mut EventQueue<Event>) {
        if let Some(traffic) = &mut self.traffic {
            // Which links there are is looked at when changes are planned: one that is not there changes nothing.
            let _unknown = traffic.change_links(changes);
        }
        self.request_sharing(queue);
    }
}
