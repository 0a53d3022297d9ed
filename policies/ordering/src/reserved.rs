use foretell_framework::{ClusterState, JobId, Session, Time};

use crate::backfill::SharedHolds;

/// What is kept by reservations, for an action that tries jobs one by one.
pub(crate) struct Reserved {
    holds: SharedHolds,
    /// The next instant at which what is kept changes.
    boundary: Option<Time>,
}

impl Reserved {
    pub(crate) const fn new(holds: SharedHolds) -> Self {
        Self { holds, boundary: None }
    }

    /// Begins a cycle. Whether what is kept differs from the last one.
    pub(crate) fn open(&mut self, session: &mut Session<'_>) -> bool {
        self.holds.borrow_mut().refresh(session.state());
        let boundary = self.holds.borrow().next_boundary(session.now);
        if let Some(boundary) = boundary {
            session.wake_by(boundary);
        }
        core::mem::replace(&mut self.boundary, boundary) != boundary
    }

    /// From now on filters speak of this job, until [`Self::asked`].
    pub(crate) fn ask(&self, state: &ClusterState, job: JobId, now: Time) {
        self.holds.borrow_mut().ask(state, job, now);
    }

    /// No job is tried any more.
    pub(crate) fn asked(&self) {
        self.holds.borrow_mut().asked();
    }
}
