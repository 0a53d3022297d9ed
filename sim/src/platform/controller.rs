//! Whoever creates and deletes jobs while the run goes on, as the controllers of a platform do: services whose replicas come and go.

use foretell_framework::{ClusterEvent, ClusterState, JobId, Time};

use super::Submission;
use super::simulation::{Simulation, SimulationError};
use crate::engine::EventQueue;
use crate::event::{ControllerEvent, Event};
use crate::log::Record;

/// Creates and deletes jobs by itself, on the clock of the run.
pub trait Controller {
    /// When it next acts, by what it knows now; no earlier than the present. While there is such an instant, the run goes on.
    fn next(&self) -> Option<Time>;

    /// Acts, at [`Self::next`].
    fn act(&mut self, now: Time) -> Vec<Action>;

    /// What it asked to be created is the job of this number.
    fn created(&mut self, key: u64, job: u64);

    /// Something happened, to its jobs or others; see [`crate::log::Observer::record`].
    fn record(&mut self, now: Time, record: &Record<'_>, state: &ClusterState);
}

/// What a controller wants.
#[derive(Debug)]
pub enum Action {
    /// A job, submitted now whatever its submission says.
    Create {
        /// What the controller calls it.
        key: u64,
        /// What it is.
        submission: Box<Submission>,
    },
    /// The end of a job that it created, whether it runs or waits.
    Delete {
        /// The job's number.
        job: u64,
    },
}

impl<'a, W, E> Simulation<'a, W, E>
where
    W: Iterator<Item = Result<Submission, E>>,
{
    /// Lets a controller create jobs beside those of the workload.
    #[must_use]
    pub fn controlled_by(mut self, controller: &'a mut dyn Controller) -> Self {
        self.controller = Some(controller);
        self
    }

    /// Plans when the controller acts next, after something happened.
    pub(super) fn plan_controller(&mut self, queue: &mut EventQueue<Event>) {
        let Some(controller) = &self.controller else { return };
        let next = controller.next().map(|at| at.max(self.now));
        let planned = self.acts_at.as_ref().map(|&(at, _)| at);
        if next == planned {
            return;
        }
        if let Some((_, handle)) = self.acts_at.take() {
            queue.cancel(handle);
        }
        self.acts_at =
            next.map(|at| (at, queue.schedule_cancellable(at, Event::Controller(ControllerEvent::Acts))));
    }

    /// Whether the controller will do something.
    pub(super) const fn is_controlled(&self) -> bool {
        self.acts_at.is_some()
    }

    /// The controller acts.
    pub(super) fn controller_acts(
        &mut self,
        queue: &mut EventQueue<Event>,
    ) -> Result<(), SimulationError<E>> {
        self.acts_at = None;
        let Some(controller) = &mut self.controller else { return Ok(()) };
        for action in controller.act(self.now) {
            match action {
                Action::Create { key, submission } => {
                    let job = self.submitted;
                    self.submitted += 1;
                    if let Some(controller) = &mut self.controller {
                        controller.created(key, job);
                    }
                    let id = self.admit(job, None, &submission, queue)?;
                    self.controlled.extend(id.map(|id| (job, id)));
                }
                Action::Delete { job } => {
                    if let Some(id) = self.controlled.remove(&job) {
                        self.deleted(id, job, queue);
                    }
                }
            }
        }
        Ok(())
    }

    /// A job is deleted.
    fn deleted(&mut self, id: JobId, job: u64, queue: &mut EventQueue<Event>) {
        let Some(live) = self.jobs.get_mut(id) else { return };
        if live.running {
            live.forget_next_event(queue);
            self.finished(id, queue);
            return;
        }
        self.scheduler.profile.notify(&self.state, ClusterEvent::JobRemoved(id));
        if let Some(removed) = self.state.remove_job(id) {
            removed.tasks().iter().for_each(|&task| {
                self.leaving.remove(task);
            });
        }
        self.waits_no_more(id);
        let gpu_milli = self.jobs.remove(id).map_or(0, |live| live.started_gpu_milli());
        self.record(&Record::JobWithdrawn { job, gpu_milli });
        self.scheduler.profile.notify(&self.state, ClusterEvent::TasksReleased);
        if self.wants_cycles() {
            self.scheduler.request(self.now, queue);
        }
    }
}
