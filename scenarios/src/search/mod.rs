//! Capacity search over scenarios with a model server: the most load that a deployment holds, or the fewest replicas that hold a load.
//!
//! ```text
//!  scenario + --vary ──► a deployment for each combination of values        side by side, results in order
//!                            │ placed once for each number of replicas
//!                            ▼
//!         load and seed ──► run ──► Sample ──► search::border               runs cut short once they are decided
//!                            ▼
//!                          Found ──► frontier
//! ```
//!
//! The service has the cluster to itself, and its replicas are ready before the first request. Where replicas come and go (autoscaler, faults) a run is the whole
//! simulation instead.

mod deployment;
mod load;
mod vary;

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use foretell_search::{Confidence, Deployment, Goal, Searched, Slo, SloError, Term, Unit, mark_frontier};
use foretell_traces::TraceError;
use rayon::prelude::*;
use thiserror::Error;

pub use foretell_search as found;
pub use vary::{Values, Vary};

use crate::assemble::RunError;
use crate::error::{InvalidScenario, ScenarioError};
use crate::load::{Loaded, parse};
use crate::resolve::Environment;
use crate::scenario::Scenario;
use crate::service::{Service, ServiceError, ServiceRequests};
use crate::suggest;

use deployment::Search;
use vary::{LOAD, REPLICAS, Target, combinations};

/// Why nothing was searched.
#[derive(Debug, Error)]
pub enum SearchError {
    /// The scenario is none.
    #[error(transparent)]
    Scenario(#[from] ScenarioError),
    /// It could not be run.
    #[error(transparent)]
    Run(#[from] RunError),
    /// Its trace cannot be read.
    #[error(transparent)]
    Trace(#[from] TraceError),
    /// Demands that are none.
    #[error(transparent)]
    Slo(#[from] SloError),
    /// Something to vary that is not understood.
    #[error("--vary {text}: {what}")]
    Vary {
        /// What was written.
        text: String,
        /// What is wrong with it.
        what: String,
    },
    /// Something to vary that does not exist.
    #[error("--vary: unknown key `{key}`: {help}")]
    Key {
        /// What was written.
        key: String,
        /// What would be right.
        help: String,
    },
    /// A service that does not exist.
    #[error("unknown service `{name}`: {known}")]
    Service {
        /// What was written.
        name: String,
        /// What there is.
        known: String,
    },
    /// Something else that was asked for and makes no sense.
    #[error("{0}")]
    Question(String),
}

impl From<InvalidScenario> for SearchError {
    fn from(error: InvalidScenario) -> Self {
        Self::Scenario(error.into())
    }
}

impl From<ServiceError> for SearchError {
    fn from(error: ServiceError) -> Self {
        Self::Run(Box::new(error).into())
    }
}

/// What is asked.
#[derive(Debug, Clone, PartialEq)]
pub struct Question {
    /// The service; the only one if none.
    pub service: Option<String>,
    /// What is looked for.
    pub goal: Goal,
    /// What is demanded; the 99th percentiles of what the scenario promises if none.
    pub slo: Option<Slo>,
    /// What is varied.
    pub vary: Vec<Vary>,
    /// Requests of a run, at least.
    pub requests: Option<u64>,
    /// How sure one wants to be.
    pub confidence: Confidence,
    /// Rates are looked at that are this share apart.
    pub tolerance: f64,
}

/// Deployments at most.
const DEPLOYMENTS_MAX: usize = 100_000;

/// A scenario file with its overrides, read again for each deployment.
struct Template<'a> {
    name: String,
    text: String,
    overrides: &'a [String],
    base_dir: &'a Path,
    environment: Environment<'a>,
}

impl Template<'_> {
    fn with(&self, more: &[String]) -> Result<Loaded, InvalidScenario> {
        let overrides: Vec<String> = self.overrides.iter().chain(more).cloned().collect();
        parse(&self.name, &self.text, &overrides, self.base_dir, self.environment)
    }
}

/// Searches over a scenario file. `progress` is told how many deployments are done, and of how many.
pub fn search(
    path: &Path,
    overrides: &[String],
    environment: Environment<'_>,
    question: &Question,
    progress: &(dyn Fn(u64, u64) + Sync),
) -> Result<Searched, SearchError> {
    let text = std::fs::read_to_string(path)
        .map_err(|cause| ScenarioError::Read { path: path.to_owned(), cause })?;
    let template = Template {
        name: path.display().to_string(),
        text,
        overrides,
        base_dir: path.parent().unwrap_or(Path::new("")),
        environment,
    };
    search_of(&template, question, progress)
}

/// Searches over a scenario that is there as text; `name` stands for the file in messages, and relative paths start from the working directory.
pub fn search_text(
    name: &str,
    text: &str,
    environment: Environment<'_>,
    question: &Question,
    progress: &(dyn Fn(u64, u64) + Sync),
) -> Result<Searched, SearchError> {
    let template = Template {
        name: name.to_owned(),
        text: text.to_owned(),
        overrides: &[],
        base_dir: Path::new(""),
        environment,
    };
    search_of(&template, question, progress)
}

fn search_of(
    template: &Template<'_>,
    question: &Question,
    progress: &(dyn Fn(u64, u64) + Sync),
) -> Result<Searched, SearchError> {
    let loaded = template.with(&[])?;
    let place = service_place(&loaded.scenario, question.service.as_deref())?;
    let service = &loaded.scenario.services[place];
    let slo = slo_of(question, service)?;
    let names: Vec<String> = loaded.scenario.services.iter().map(|one| one.name.clone()).collect();
    let unit = unit_of(service, question.goal)?;
    let asked = Asked::of(question, place, &names)?;
    let search = Search { template, question, slo: &slo, place, asked: &asked };
    let done = AtomicU64::new(0);
    let total = asked.combinations.len() as u64;
    progress(0, total);
    let outcomes: Vec<_> = asked
        .combinations
        .par_iter()
        .map(|values| {
            let found = search.deployment(values);
            progress(done.fetch_add(1, Ordering::Relaxed) + 1, total);
            (values, found)
        })
        .collect();
    // What none of them can do is no property of one: a field that does not exist, a cluster that is too small.
    if outcomes.iter().all(|(_, found)| found.is_err()) {
        let first = outcomes.into_iter().find_map(|(_, found)| found.err());
        return Err(first.unwrap_or_else(|| SearchError::Question("nothing to search".to_owned())));
    }
    let mut deployments: Vec<Deployment> = outcomes
        .into_iter()
        .map(|(values, found)| Deployment {
            values: values.clone(),
            found: found.map_err(|error| in_a_line(&error)),
        })
        .collect();
    mark_frontier(&mut deployments);
    Ok(Searched {
        goal: question.goal,
        service: names[place].clone(),
        unit,
        terms: slo.terms().iter().map(ToString::to_string).collect(),
        measures: slo.terms().iter().map(Term::name).collect(),
        times: slo.terms().iter().map(Term::is_time).collect(),
        limits: slo.terms().iter().map(|term| term.limit).collect(),
        confidence: question.confidence.level,
        keys: asked.keys.iter().map(|(key, _)| key.clone()).collect(),
        deployments,
    })
}

/// An error without the text that it points into.
fn in_a_line(error: &SearchError) -> String {
    let SearchError::Scenario(ScenarioError::Invalid(invalid)) = error else { return error.to_string() };
    let Some(problem) = invalid.problems.first() else { return error.to_string() };
    if problem.path.is_empty() {
        problem.message.clone()
    } else {
        format!("{}: {}", problem.path, problem.message)
    }
}

/// The place of the service that is meant.
fn service_place(scenario: &Scenario, name: Option<&str>) -> Result<usize, SearchError> {
    let names = || scenario.services.iter().map(|service| service.name.as_str());
    match (name, scenario.services.len()) {
        (_, 0) => {
            let classical = if scenario.classical_services.is_empty() {
                ""
            } else {
                " (those of a [[classical_service]] are not searched yet)"
            };
            Err(SearchError::Question(format!(
                "the scenario has no [[service]], whose capacity could be searched{classical}"
            )))
        }
        (None, 1) => Ok(0),
        (None, _) => Err(SearchError::Question(format!(
            "the scenario has several services: say with --service which one, {}",
            suggest::one_of(names())
        ))),
        (Some(name), _) => names().position(|known| known == name).ok_or_else(|| SearchError::Service {
            name: name.to_owned(),
            known: suggest::hint(name, names()),
        }),
    }
}

fn slo_of(question: &Question, service: &Service) -> Result<Slo, SearchError> {
    let promised = Slo::of_objective(&service.objective);
    let Some(slo) = &question.slo else {
        return promised.ok_or_else(|| {
            SearchError::Question(format!(
                "service `{}` promises nothing (`slo`): say with --slo what is demanded, such as --slo \"p99 ttft < 2s, p99 tpot < 100ms\"",
                service.name
            ))
        });
    };
    if slo.needs_objective() && promised.is_none() {
        return Err(SearchError::Question(format!(
            "--slo: `attainment` is of what the scenario promises, and service `{}` promises nothing (`slo`)",
            service.name
        )));
    }
    Ok(slo.clone())
}

/// What load of a service is counted in.
fn unit_of(service: &Service, goal: Goal) -> Result<Unit, SearchError> {
    match (&service.requests, goal) {
        (ServiceRequests::Users(_), Goal::MostLoad) => Err(SearchError::Question(format!(
            "service `{}` has users who wait for their answers: there is no rate of arrivals that could be searched; search for the fewest replicas (--least replicas)",
            service.name
        ))),
        (ServiceRequests::Users(_), Goal::FewestReplicas) => Ok(Unit::Users),
        (ServiceRequests::None, _) => Err(SearchError::Question(format!(
            "service `{}` gets its requests from pipelines, which are not searched yet: give it `requests` of its own",
            service.name
        ))),
        (ServiceRequests::Sessions(_), _) => Ok(Unit::Conversations),
        (ServiceRequests::Open { .. } | ServiceRequests::Trace { .. }, _) => Ok(Unit::Requests),
    }
}

/// Where a key's value goes.
enum Place {
    /// Into the scenario.
    Fields(Target),
    /// It is the load.
    Load,
}

/// What is to be looked at.
struct Asked {
    /// Bounds of what is looked for.
    bounds: Option<(f64, f64)>,
    /// What is varied beside it.
    keys: Vec<(String, Place)>,
    combinations: Vec<Vec<String>>,
}

impl Asked {
    fn of(question: &Question, place: usize, services: &[String]) -> Result<Self, SearchError> {
        let searched = match question.goal {
            Goal::MostLoad => LOAD,
            Goal::FewestReplicas => REPLICAS,
        };
        let (mut bounds, mut keys, mut lists) = (None, Vec::new(), Vec::new());
        let mut written: Vec<String> = Vec::new();
        for Vary { key, values } in &question.vary {
            let wrong = |what: String| SearchError::Vary { text: key.clone(), what };
            let target = match key.as_str() {
                LOAD => Place::Load,
                key => Place::Fields(Target::of(key, place, services)?),
            };
            let fields = match &target {
                Place::Load => vec![LOAD.to_owned()],
                Place::Fields(target) => target.paths().map(str::to_owned).collect(),
            };
            if fields.iter().any(|field| written.contains(field)) {
                return Err(wrong("is varied twice".to_owned()));
            }
            written.extend(fields);
            match (values, key == searched) {
                (Values::Range(low, high), true) => bounds = Some((*low, *high)),
                (Values::Range(..), false) => {
                    return Err(wrong(format!(
                        "only what is looked for (`{searched}`) has bounds: list the values, such as {key}=1,2,4"
                    )));
                }
                (Values::List(_), true) => {
                    return Err(wrong(format!(
                        "is what is looked for: give bounds, such as {key}=1..100, or leave it out"
                    )));
                }
                (Values::List(list), false) => {
                    let is_load =
                        |value: &String| value.parse().is_ok_and(|load: f64| load > 0.0 && load.is_finite());
                    if let Some(value) = list.iter().find(|value| key == LOAD && !is_load(value)) {
                        return Err(wrong(format!("expected a rate above zero, got `{value}`")));
                    }
                    keys.push((key.clone(), target));
                    lists.push(list.as_slice());
                }
            }
        }
        let count = lists.iter().fold(1_usize, |count, list| count.saturating_mul(list.len()));
        if count > DEPLOYMENTS_MAX {
            return Err(SearchError::Question(format!(
                "--vary: {count} combinations, of which {DEPLOYMENTS_MAX} can be searched at most"
            )));
        }
        Ok(Self { bounds, keys, combinations: combinations(&lists) })
    }
}
