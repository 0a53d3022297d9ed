//! One deployment: where its border lies.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use foretell_search::{
    Border, Confidence, Found, FoundPoint, Goal, Measure, Metric, Point, Range, Run, Sample, Slo, Statistic,
    Term, border, verdict,
};

use super::load::{Length, Load, Loaded, calm, idle, loaded};
use super::{Asked, Place, Question, SearchError, Template};
use crate::assemble::Plan;
use crate::file::RouterFile;
use crate::scenario::{Scenario, Workload};
use crate::service::{Nobody, Placement, Service, ServiceRequests};

/// A run lasts at least as long as so many requests take, one after another, that nobody disturbs: else it would be over before the number of requests in the system settles.
const STAYS: f64 = 20.0;

/// A run that may be cut short is looked at so often while its requests arrive.
const LOOKS: f64 = 64.0;

/// Loads that are looked at where no bounds are given.
const LOADS: (f64, f64) = (1e-3, 1e6);

/// Replicas that are looked at, at most.
const REPLICAS_MAX: u64 = 10_000;

/// What all deployments have in common.
pub(super) struct Search<'a> {
    pub(super) template: &'a Template<'a>,
    pub(super) question: &'a Question,
    pub(super) slo: &'a Slo,
    /// The place of the service in the scenario.
    pub(super) place: usize,
    pub(super) asked: &'a Asked,
}

impl Search<'_> {
    /// What a deployment with these values holds.
    pub(super) fn deployment(&self, values: &[String]) -> Result<Found, SearchError> {
        let mut overrides = Vec::new();
        let mut per_s = None;
        for ((_, place), value) in self.asked.keys.iter().zip(values) {
            match place {
                Place::Fields(target) => overrides.extend(target.overrides(value)),
                Place::Load => per_s = value.parse().ok(),
            }
        }
        let scenario = self.template.with(&overrides)?.scenario;
        let deployment = Deployed::new(self, alone(scenario, self.place))?;
        match self.question.goal {
            Goal::MostLoad => deployment.most_load(),
            Goal::FewestReplicas => deployment.fewest_replicas(per_s),
        }
    }
}

/// A scenario with nothing but one of its services.
fn alone(mut scenario: Scenario, place: usize) -> Scenario {
    scenario.workload = Workload::None;
    scenario.classical_services.clear();
    scenario.pipelines.clear();
    scenario.services = scenario.services.into_iter().skip(place).take(1).collect();
    scenario
}

/// A service with other numbers of replicas: of those that read prompts in and those that generate answers as nearly in proportion as can be.
fn with_replicas(service: &Service, replicas: u32) -> Service {
    let mut changed = Service { replicas, ..service.clone() };
    if let Some(apart) = &mut changed.disaggregation
        && replicas != service.replicas
    {
        let share = f64::from(apart.prefill_replicas) / f64::from(service.replicas.max(1));
        let most = replicas.saturating_sub(1).max(1);
        apart.prefill_replicas = ((share * f64::from(replicas)).round() as u32).clamp(1, most);
        apart.decode.replicas = replicas.saturating_sub(apart.prefill_replicas);
    }
    changed
}

/// A deployment that is looked at.
struct Deployed<'a> {
    search: &'a Search<'a>,
    scenario: Scenario,
    service: Service,
    policy: String,
    base: Load,
    confidence: Confidence,
    placements: Mutex<BTreeMap<u32, Arc<Placement>>>,
}

impl<'a> Deployed<'a> {
    fn new(search: &'a Search<'a>, scenario: Scenario) -> Result<Self, SearchError> {
        let Some(service) = scenario.services.first().cloned() else {
            return Err(SearchError::Question("the scenario has no [[service]]".to_owned()));
        };
        let base = Load::of(&service, search.question.requests)?;
        let policy = scenario.scheduler.policies.first().cloned().unwrap_or_default();
        let mut confidence = search.question.confidence;
        // The requests of a file are always the same.
        let is_drawn = !matches!(service.requests, ServiceRequests::Trace { .. })
            || service.speculation.is_some()
            || matches!(service.router, RouterFile::Random | RouterFile::PowerOfTwo);
        if !is_drawn {
            (confidence.seeds_min, confidence.seeds_max) = (1, 1);
        }
        Ok(Self { search, scenario, service, policy, base, confidence, placements: Mutex::default() })
    }

    /// Whether its replicas stay where they are placed.
    fn is_static(&self) -> bool {
        let mut kinds = self.service.variants();
        let is_scaled = kinds.any(|(variant, _)| variant.autoscaler.is_some());
        !is_scaled && self.service.rollout.is_none() && self.scenario.faults.is_none()
    }

    fn most_load(&self) -> Result<Found, SearchError> {
        let replicas = self.service.replicas;
        let step = (1.0 + self.search.question.tolerance).ln();
        let (low, high) = self.search.asked.bounds.unwrap_or(LOADS);
        // The least is looked at as it was given.
        let per_s = |at: i64| low * (at as f64 * step).exp();
        let range = Range {
            low: 0,
            high: ((high / low).ln() / step + 1e-9).floor() as i64,
            start: ((self.base.per_s / low).ln() / step).round() as i64,
            stride: (2_f64.ln() / step).ceil() as i64,
        };
        let length = self.length(replicas)?;
        let probe = |at: i64, seed: u32| self.sample(per_s(at), replicas, length, seed);
        let border = border(range, self.search.slo, &self.confidence, &probe)?;
        self.found(&border, |at| (per_s(at), replicas))
    }

    fn fewest_replicas(&self, per_s: Option<f64>) -> Result<Found, SearchError> {
        if self.service.autoscaler.is_some() {
            return Err(SearchError::Question(format!(
                "service `{}` has an autoscaler, which says how many replicas there are: search for the most load",
                self.service.name
            )));
        }
        let per_s = per_s.unwrap_or(self.base.per_s);
        let room = self.room()?;
        let (low, high) = self.search.asked.bounds.unwrap_or((1.0, f64::from(room)));
        // One reads prompts in and one generates answers, if these are not the same.
        let fewest = if self.service.disaggregation.is_some() { 2.0 } else { 1.0 };
        let (least, most) = (low.ceil().max(fewest) as i64, (high.floor() as i64).min(i64::from(room)));
        if least > most {
            return Err(SearchError::Question(format!(
                "the cluster has room for {room} replicas of `{}`",
                self.service.name
            )));
        }
        let length = self.length(least as u32)?;
        // The more replicas, the less load each has.
        let range = Range { low: -most, high: -least, start: -i64::from(self.service.replicas), stride: 1 };
        let probe = |at: i64, seed: u32| self.sample(per_s, at.unsigned_abs() as u32, length, seed);
        let border = border(range, self.search.slo, &self.confidence, &probe)?;
        self.found(&border, |at| (per_s, at.unsigned_abs() as u32))
    }

    /// How many replicas the cluster has room for.
    fn room(&self) -> Result<u32, SearchError> {
        let (pods, each) = self.service.pods;
        let of_node = self.scenario.nodes.iter().filter_map(|group| {
            let gpus = group.node_type.gpus.as_ref()?;
            let accepted =
                self.service.gpu_models.is_empty() || self.service.gpu_models.contains(&gpus.model);
            accepted.then(|| u64::from(gpus.count / each.max(1)) * group.names.len() as u64)
        });
        let mut most = (of_node.sum::<u64>() / u64::from(pods.max(1))).min(REPLICAS_MAX) as u32;
        // Those of several kinds may leave less room than the first kind alone.
        loop {
            let placed = self.place(most)?.replicas() as u32;
            if placed >= most {
                return Ok(most);
            }
            most = placed;
        }
    }

    fn place(&self, replicas: u32) -> Result<Placement, SearchError> {
        let idle = with_replicas(&idle(&self.service), replicas);
        let mut service = Service { autoscaler: None, rollout: None, ..idle };
        if let Some(apart) = &mut service.disaggregation {
            apart.decode.autoscaler = None;
        }
        let scenario = Scenario { services: vec![service], ..self.scenario.clone() };
        Ok(Placement::new(&Plan::new(scenario)?, &self.policy)?)
    }

    /// So many replicas, all of them placed.
    fn placement(&self, replicas: u32) -> Result<Arc<Placement>, SearchError> {
        let known = || self.placements.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(placement) = known().get(&replicas) {
            return Ok(Arc::clone(placement));
        }
        let placement = self.place(replicas)?;
        let placed = placement.replicas();
        if placed < replicas as usize {
            return Err(SearchError::Question(format!(
                "the cluster has room for {placed} of {replicas} replicas of `{}`",
                self.service.name
            )));
        }
        Ok(Arc::clone(known().entry(replicas).or_insert_with(|| Arc::new(placement))))
    }

    /// How long runs have to be.
    fn length(&self, replicas: u32) -> Result<Length, SearchError> {
        let requests = self.search.question.requests;
        if !self.is_static() {
            let own = match self.service.requests {
                ServiceRequests::Open { count, .. } => Some(count),
                _ => None,
            };
            return Ok(Length { requests: requests.or(own), seconds: 0.0 });
        }
        let Some(calm) = calm(&self.service) else { return Ok(Length { requests, seconds: 0.0 }) };
        let measure = Measure::Latency(Statistic::Mean, Metric::E2e);
        let stay = Slo::of(vec![Term { measure, limit: 1.0, strict: true }]);
        let sample = self.placement(replicas)?.sample(
            &self.scenario,
            &calm,
            self.scenario.seed,
            &stay,
            None,
            u64::MAX,
        )?;
        let stay_s = sample.values.first().copied().flatten().filter(|stay_s| stay_s.is_finite());
        Ok(Length { requests, seconds: STAYS * stay_s.unwrap_or(0.0) })
    }

    fn sample(&self, per_s: f64, replicas: u32, length: Length, seed: u32) -> Result<Sample, SearchError> {
        let seed = self.scenario.seed.wrapping_add(u64::from(seed));
        let Loaded { service, total, length_s } = loaded(&self.service, self.base, per_s, length, seed);
        if self.is_static() {
            let slice_ns = (length_s / LOOKS * 1e9) as u64;
            let placement = self.placement(replicas)?;
            return Ok(placement.sample(
                &self.scenario,
                &with_replicas(&service, replicas),
                seed,
                self.search.slo,
                total,
                slice_ns,
            )?);
        }
        let service = with_replicas(&service, replicas);
        let scenario = Scenario { seed, services: vec![service], ..self.scenario.clone() };
        let services = Plan::new(scenario)?.run_and_serve(&self.policy, &mut Nobody, &mut |_| {})?.services;
        let Some(served) = services.first() else {
            return Err(SearchError::Question("the scenario has no [[service]]".to_owned()));
        };
        let outcomes: Vec<_> = served.outcomes.iter().map(|(_, outcome)| outcome).collect();
        let run = Run {
            outcomes: &outcomes,
            refused: served.refused.len() as u64,
            inter_token: &served.recorder.inter_token,
            objective: &served.objective,
        };
        Ok(Sample::of(&run, self.search.slo))
    }

    fn found(&self, border: &Border, at: impl Fn(i64) -> (f64, u32)) -> Result<Found, SearchError> {
        let slo = self.search.slo;
        let point = |place: i64| border.points.iter().find(|point| point.at == place);
        let shown = border.held.and_then(point).or(border.points.first());
        // An autoscaler may begin with none.
        let replicas = at(border.held.or(border.missed).unwrap_or_default()).1.max(1);
        let points = border.points.iter().map(|point| {
            let (load, replicas) = at(point.at);
            FoundPoint {
                load,
                replicas,
                seeds: point.samples.len() as u32,
                verdict: verdict(&point.samples, slo, &self.confidence),
                values: means(point, slo),
            }
        });
        let placement = self.placement(replicas)?;
        Ok(Found {
            gpu: placement.gpu.clone(),
            gpu_count: placement.gpus,
            dollars_per_hour: placement.dollars_per_hour,
            held: border.held.map(&at),
            missed: border.missed.map(&at),
            values: shown.map(|point| means(point, slo)).unwrap_or_default(),
            limit: border.missed.and_then(point).and_then(|point| exceeded(point, slo)),
            is_on_frontier: false,
            runs: border.points.iter().map(|point| point.samples.len() as u64).sum(),
            points: points.collect(),
        })
    }
}

/// Means over seeds, demand by demand.
fn means(point: &Point, slo: &Slo) -> Vec<Option<f64>> {
    let mean = |index: usize| {
        let known: Vec<f64> =
            point.samples.iter().filter_map(|sample| sample.values.get(index).copied().flatten()).collect();
        (!known.is_empty()).then(|| known.iter().sum::<f64>() / known.len() as f64)
    };
    (0..slo.terms().len()).map(mean).collect()
}

/// The demand that is exceeded most.
fn exceeded(point: &Point, slo: &Slo) -> Option<usize> {
    let excess =
        means(point, slo).into_iter().zip(slo.terms()).enumerate().filter_map(|(index, (value, term))| {
            let excess = term.excess(value?);
            (!term.is_met(excess)).then_some((index, excess))
        });
    excess.max_by(|(_, one), (_, other)| one.total_cmp(other)).map(|(index, _)| index)
}
