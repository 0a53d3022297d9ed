use foretell_framework::{ClusterState, JobId, Reason, SessionPlugin, Time, Vote};

use crate::amounts::Amounts;
use crate::tally::Requests;

/// Lets no more jobs into their queues than the cluster could hold if it were somewhat larger: their pods would only wait.
pub struct Overcommit {
    factor: f64,
    requests: Requests,
    /// What could be given out, were the cluster larger by the factor.
    idle: Amounts,
    /// What jobs that were let in will need.
    reserved: Amounts,
}

impl Overcommit {
    /// By how much Volcano takes the cluster for larger than it is.
    pub const DEFAULT_FACTOR: f64 = 1.2;

    /// With this factor; one below 1 stands for the default.
    pub fn new(factor: f64) -> Self {
        Self {
            factor: if factor < 1.0 { Self::DEFAULT_FACTOR } else { factor },
            requests: Requests::default(),
            idle: Amounts::default(),
            reserved: Amounts::default(),
        }
    }
}

impl SessionPlugin for Overcommit {
    fn name(&self) -> &'static str {
        "overcommit"
    }

    fn open(&mut self, state: &ClusterState, _now: Time) {
        self.requests = Requests::of(state);
        self.idle = Amounts::of_cluster(state).times(self.factor);
        self.reserved = Amounts::default();
        for (task, _) in state.tasks().filter(|(_, task)| task.status().holds_node()) {
            if let Some(request) = self.requests.task(state, task) {
                self.idle.subtract(request);
            }
        }
        for (_, job) in state.jobs() {
            let (held, _) = self.requests.job(state, job);
            if let Some(reserved) = self.requests.reserved(state, job, &held) {
                self.reserved.add(&reserved);
            }
        }
    }

    fn job_enqueueable(&self, state: &ClusterState, job: JobId) -> Vote {
        let gang = state.job(job).and_then(|job| job.spec.gang.as_ref());
        let Some(minimum) = gang.and_then(|gang| gang.min_resources.as_ref()).map(Amounts::of_quota) else {
            return Vote::Permit;
        };
        if self.reserved.first_beyond(&minimum, &self.idle).is_none() { Vote::Permit } else { Vote::Reject }
    }

    fn why_not_enqueueable(&self, state: &ClusterState, job: JobId) -> Option<Reason> {
        let minimum = state.job(job)?.spec.gang.as_ref()?.min_resources.as_ref()?;
        let (binding, _) = self.reserved.use_beyond(state, &Amounts::of_quota(minimum), &self.idle)?;
        Some(Reason::Overcommitted { binding })
    }

    fn job_enqueued(&mut self, state: &ClusterState, job: JobId) {
        if let Some(minimum) = state.job(job).and_then(|job| self.requests.minimum(state, job)) {
            self.reserved.add(&minimum);
        }
    }
}
