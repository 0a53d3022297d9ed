//! Lets pending jobs into their queues.

use foretell_framework::{
    Action, ClusterEvent, ClusterState, Job, JobId, JobPhase, Plugins, Reason, Session,
};

use crate::work::Work;

/// Takes the first queue and its first pending job, and lets the job in if the plugins agree; then the queue goes back into
/// line. A job that does not say what its minimum requests is let in.
#[derive(Default)]
pub struct Enqueue {
    work: Work,
}

/// Whether it says what its minimum requests.
fn has_minimum(job: &Job) -> bool {
    job.spec.gang.as_ref().is_some_and(|gang| gang.min_resources.is_some())
}

impl Action for Enqueue {
    fn name(&self) -> &'static str {
        "enqueue"
    }

    fn notify(&mut self, _state: &ClusterState, _plugins: &mut Plugins, _event: ClusterEvent) {}

    fn run(&mut self, session: &mut Session<'_>, plugins: &mut Plugins) {
        let (state, tiers) = (session.state(), plugins.tiers());
        self.work.clear(state);
        for (id, job) in state.jobs().filter(|(_, job)| job.spec.phase == JobPhase::Pending) {
            self.work.add(state, tiers, job.spec.queue, id);
        }
        while let Some(queue) = self.work.next_queue(session.state(), plugins.tiers()) {
            let (state, tiers) = (session.state(), plugins.tiers_mut());
            let Some(job) = self.work.next_job(state, tiers, queue) else { continue };
            let has_minimum = state.job(job).is_some_and(has_minimum);
            if !has_minimum || tiers.job_enqueueable(state, job) {
                tiers.job_enqueued(state, job);
                session.set_job_phase(job, JobPhase::Inqueue);
            }
            self.work.put_back_queue(queue);
        }
    }

    fn explain(&mut self, session: &mut Session<'_>, plugins: &mut Plugins, job: JobId) -> Option<Reason> {
        let state = session.state();
        let pending = state.job(job).filter(|job| job.spec.phase == JobPhase::Pending)?;
        if !has_minimum(pending) {
            return None;
        }
        plugins.tiers().why_not_enqueueable(state, job)
    }
}
