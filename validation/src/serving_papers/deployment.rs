//! Scenarios with one service, as text, and what they hold or do.

use std::fmt::Write as _;
use std::path::Path;

use foretell_scenarios::Plan;
use foretell_scenarios::search::found::{Confidence, Goal, Slo};
use foretell_scenarios::search::{Question, search_text};
use foretell_scenarios::service::Served;
use foretell_scenarios::sim::framework::{ClusterState, Time};
use foretell_scenarios::sim::log::{Observer, Record};
use foretell_scenarios::{Environment, parse};
use rayon::prelude::*;

use crate::Error;

/// Loads that are looked at are this share apart, and so are ratios of them known.
pub(super) const STEP: f64 = 0.05;

/// A service that has a cluster to itself.
#[derive(Clone, Debug)]
pub(super) struct Deployment {
    /// The tables of `cluster.nodes`, and what else there is of the cluster.
    pub(super) cluster: &'static str,
    /// Fields of the service, a line each, without its requests.
    pub(super) service: String,
    /// The table of its requests.
    pub(super) requests: String,
}

impl Deployment {
    /// The same with further fields of the service.
    pub(super) fn with(&self, fields: &str) -> Self {
        let mut changed = self.clone();
        // Writing to a string cannot fail.
        let _ = write!(changed.service, "\n{fields}");
        changed
    }

    fn text(&self) -> String {
        let Self { cluster, service, requests } = self;
        format!(
            "version = 1\nname = \"paper\"\n[cluster]\n{cluster}\n[scheduler]\npolicies = [\"default\"]\n\
             [[service]]\nname = \"a\"\n{service}\n{requests}\n"
        )
    }

    /// What becomes of its requests.
    pub(super) fn served(&self, data: &Path) -> Result<Served, Error> {
        let cannot = |message: String| Error::Run { path: data.to_owned(), message };
        let loaded = parse("paper", &self.text(), &[], Path::new(""), environment(data))
            .map_err(|error| cannot(error.to_string()))?;
        let policy = loaded.scenario.scheduler.policies.first().cloned().unwrap_or_default();
        let run = Plan::new(loaded.scenario)
            .and_then(|plan| plan.run_and_serve(&policy, &mut Deaf, &mut |_| {}))
            .map_err(|error| cannot(error.to_string()))?;
        let served = run.services.into_iter().next();
        served.ok_or_else(|| cannot("the scenario has no [[service]]".to_owned()))
    }

    /// The most requests a second that it holds within what is demanded; 0 if none. Runs have so many requests, with one seed.
    fn capacity_per_s(&self, data: &Path, slo: &Slo, requests: u64) -> Result<f64, Error> {
        let cannot = |message: String| Error::Run { path: data.to_owned(), message };
        let question = Question {
            service: None,
            goal: Goal::MostLoad,
            slo: Some(slo.clone()),
            vary: Vec::new(),
            requests: Some(requests),
            confidence: Confidence { seeds_min: 1, seeds_max: 1, ..Confidence::default() },
            tolerance: STEP,
        };
        let searched = search_text("paper", &self.text(), environment(data), &question, &|_, _| {})
            .map_err(|error| cannot(error.to_string()))?;
        let found = searched.deployments.into_iter().next().map(|deployment| deployment.found);
        let found = found.ok_or_else(|| cannot("nothing was searched".to_owned()))?.map_err(cannot)?;
        Ok(found.held.map_or(0.0, |(per_s, _)| per_s))
    }
}

/// The most that each holds, requests a second, in order.
pub(super) fn capacities_per_s(
    data: &Path,
    deployments: &[Deployment],
    slo: &str,
    requests: u64,
) -> Result<Vec<f64>, Error> {
    let cannot = |message: String| Error::Run { path: data.to_owned(), message };
    let slo = Slo::parse(slo).map_err(|error| cannot(error.to_string()))?;
    deployments.par_iter().map(|deployment| deployment.capacity_per_s(data, &slo, requests)).collect()
}

/// The most of several, each beside its name.
pub(super) fn best<'a, T: Copy>(names: &'a [T], per_s: &[f64]) -> (Option<&'a T>, f64) {
    let better = |best: (Option<&'a T>, f64), (name, &per_s): (&'a T, &f64)| {
        if per_s > best.1 { (Some(name), per_s) } else { best }
    };
    names.iter().zip(per_s).fold((None, 0.0), better)
}

const fn environment(data: &Path) -> Environment<'_> {
    Environment { data_dir: Some(data) }
}

/// Listens to nothing.
struct Deaf;

impl Observer for Deaf {
    fn advance(&mut self, _from: Time, _to: Time, _state: &ClusterState) {}

    fn record(&mut self, _now: Time, _record: &Record<'_>, _state: &ClusterState) {}
}
