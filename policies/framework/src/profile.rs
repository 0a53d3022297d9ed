//! A profile: which plugins have a say, and which actions make up a cycle.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;

use crate::id::{ClassId, JobId};
use crate::plugin::{Action, ClusterEvent};
use crate::plugins::Plugins;
use crate::reason::{Reason, Rejection};
use crate::session::Session;
use crate::state::ClusterState;
use crate::time::Time;

/// A scheduling policy, ready to run: plugins, and the actions of a cycle in order.
pub struct Profile {
    /// The name under which it was asked for.
    pub name: String,
    plugins: Plugins,
    actions: Vec<Box<dyn Action>>,
}

impl Profile {
    /// A profile.
    pub const fn new(name: String, plugins: Plugins, actions: Vec<Box<dyn Action>>) -> Self {
        Self { name, plugins, actions }
    }

    /// With other plugins made of its own.
    #[must_use]
    pub fn with_plugins(mut self, change: impl FnOnce(Plugins) -> Plugins) -> Self {
        self.plugins = change(self.plugins);
        self
    }

    /// With one more action, before all others.
    #[must_use]
    pub fn with_first_action(mut self, action: Box<dyn Action>) -> Self {
        self.actions.insert(0, action);
        self
    }

    /// Tells the actions what happened.
    pub fn notify(&mut self, state: &ClusterState, event: ClusterEvent) {
        for action in &mut self.actions {
            action.notify(state, &mut self.plugins, event);
        }
    }

    /// Whether it wants its cycles although nobody waits.
    pub fn follows_running_jobs(&self) -> bool {
        self.actions.iter().any(|action| action.follows_running_jobs())
    }

    /// Its plugins.
    pub const fn plugins(&self) -> &Plugins {
        &self.plugins
    }

    /// Lets the plugins of the tiers take their sums, as at the start of a cycle.
    pub fn open(&mut self, state: &ClusterState, now: Time) {
        self.plugins.tiers_mut().open(state, now);
    }

    /// Runs one scheduling cycle.
    pub fn cycle(&mut self, session: &mut Session<'_>) {
        self.act(session);
        if !self.plugins.tiers().is_empty() {
            session.update_job_phases();
        }
    }

    /// Runs one scheduling cycle, and leaves what jobs' phases become of it to the caller.
    pub fn act(&mut self, session: &mut Session<'_>) {
        if !self.plugins.tiers().is_empty() {
            session.forget_nominations();
            self.open(session.state(), session.now);
        }
        for action in &mut self.actions {
            action.run(session, &mut self.plugins);
        }
        session.finish();
    }

    /// Why a job waits.
    pub fn explain(&mut self, session: &mut Session<'_>, job: JobId) -> Reason {
        self.open(session.state(), session.now);
        self.explain_open(session, job)
    }

    /// Why each of some jobs waits: cheaper than to ask about one after the other.
    pub fn explain_each(
        &mut self,
        session: &mut Session<'_>,
        jobs: impl Iterator<Item = JobId>,
    ) -> Vec<Reason> {
        self.open(session.state(), session.now);
        jobs.map(|job| self.explain_open(session, job)).collect()
    }

    fn explain_open(&mut self, session: &mut Session<'_>, job: JobId) -> Reason {
        self.actions
            .iter_mut()
            .find_map(|action| action.explain(session, &mut self.plugins, job))
            .unwrap_or(Reason::NotTried)
    }

    /// Why each node cannot take a class of tasks; `None` for those that can.
    pub fn verdicts(&mut self, state: &ClusterState, class: ClassId) -> Vec<Option<Rejection>> {
        self.plugins.verdicts(state, class)
    }

    /// Whether the cluster could hold the job if it were empty.
    pub fn fits_empty_cluster(&mut self, state: &ClusterState, job: JobId) -> Result<(), Reason> {
        state.job(job).map_or(Ok(()), |job| self.plugins.fits_empty_cluster(state, job))
    }
}
