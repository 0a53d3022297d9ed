//! A service asked again and again, with other loads and seeds, by replicas that are placed once.

use std::cell::RefCell;
use std::rc::Rc;

use foretell_search::{Measure, Metric, Run, Sample, Slo, Statistic};
use foretell_serving::metrics::Objective;
use foretell_serving::{FleetOptions, Latencies, Observer, Outcome};
use foretell_sim::framework::{ClusterState, Time};
use foretell_sim::log::Record;

use super::Service;
use super::classical::group_of;
use super::controller::fleet;
use super::replica::{Blueprint, ServiceError};
use super::source::Feed;
use super::transport::Flows;
use crate::assemble::{Plan, RunError};
use crate::scenario::Scenario;

/// Replicas as a policy places them.
pub(crate) struct Placement {
    /// By variant and by kind of node.
    blueprints: Vec<Vec<Option<Blueprint>>>,
    /// In the order in which they were placed.
    replicas: Vec<Spot>,
    /// Their GPUs, each model once.
    pub(crate) gpu: String,
    /// How many GPUs they have.
    pub(crate) gpus: u64,
    /// Dollars an hour of these, where the price of each is known.
    pub(crate) dollars_per_hour: Option<f64>,
}

/// A replica and where it is.
struct Spot {
    /// A variant of its service.
    variant: u32,
    node: usize,
    /// The kind of the node.
    kind: usize,
}

impl Placement {
    /// Places the replicas of the only service of a plan.
    pub(crate) fn new(plan: &Plan, policy: &str) -> Result<Self, RunError> {
        let (_, services) = plan.run_services(policy, &mut Nobody, None, &mut |_| {})?;
        let Some(running) = services.running.into_iter().next() else {
            return Ok(Self {
                blueprints: Vec::new(),
                replicas: Vec::new(),
                gpu: String::new(),
                gpus: 0,
                dollars_per_hour: None,
            });
        };
        let scenario = plan.scenario();
        let replicas = running.serving.iter().filter_map(|one| {
            let node = one.placed.node;
            Some(Spot { variant: one.variant, node, kind: group_of(scenario, node)? })
        });
        let mut models: Vec<&str> = Vec::new();
        for one in &running.serving {
            if !models.contains(&one.built.gpu.as_str()) {
                models.push(&one.built.gpu);
            }
        }
        Ok(Self {
            replicas: replicas.collect(),
            gpu: models.join("+"),
            gpus: running.serving.iter().map(|one| u64::from(one.built.gpus)).sum(),
            dollars_per_hour: running
                .serving
                .iter()
                .map(|one| Some(f64::from(one.built.gpus) * one.built.price_per_gpu_hour?))
                .sum(),
            blueprints: running
                .variants
                .into_iter()
                .map(|variant| variant.blueprints.into_iter().map(|one| one.and_then(Result::ok)).collect())
                .collect(),
        })
    }

    /// How many replicas found room.
    pub(crate) const fn replicas(&self) -> usize {
        self.replicas.len()
    }

    /// What a run of a service by these replicas says of what is demanded. They are ready before the first request arrives. `total` is how many requests there are, if that is known:
    /// then a run is cut short once it has missed a demand by half for certain. `slice_ns` is how often that is looked after.
    pub(crate) fn sample(
        &self,
        scenario: &Scenario,
        service: &Service,
        seed: u64,
        slo: &Slo,
        total: Option<u64>,
        slice_ns: u64,
    ) -> Result<Sample, ServiceError> {
        let feed = Feed::new(service, seed, 0)?;
        let options = FleetOptions { seed, block_tokens: service.engine.block_tokens, ..service.admission };
        let heard = Rc::new(RefCell::new(Heard::new(slo, total, service.objective)));
        let hears_tokens = slo.needs_inter_token();
        let first = self.blueprints.first().and_then(|of| of.iter().flatten().next());
        let mut fleet = fleet(scenario, service, first, feed, options)?;
        let variants: Vec<&Service> = service.variants().map(|(variant, _)| variant).collect();
        for &Spot { variant, node, kind } in &self.replicas {
            let service = variants.get(variant as usize).copied().unwrap_or(service);
            let Some(blueprint) = self.blueprints.get(variant as usize).and_then(|of| of.get(kind)?.as_ref())
            else {
                continue;
            };
            if let Some(flows) = fleet.transport_mut() {
                flows.place(node, service);
            }
            let ear = Ear { heard: Rc::clone(&heard), hears_tokens };
            fleet.add(blueprint.replica(service), ear, 0, variant);
        }
        while let Some(next_ns) = fleet.next_ns() {
            fleet.run_until(next_ns.saturating_add(slice_ns));
            if let Some((term, value)) = heard.borrow().missed {
                return Ok(Sample::cut(slo, term, value));
            }
        }
        fleet.close();
        if let Some(cause) = fleet.transport_mut().and_then(Flows::take_error) {
            return Err(ServiceError::Transfer { service: service.name.clone(), cause });
        }
        let mut parts = fleet.into_parts();
        if let Some(error) = parts.arrivals.take_error() {
            return Err(error.into());
        }
        let heard = heard.borrow();
        let run = Run {
            outcomes: &heard.outcomes,
            refused: parts.refused.len() as u64,
            inter_token: &heard.inter_token,
            objective: &service.objective,
        };
        Ok(Sample::of(&run, slo))
    }
}

/// A time that exceeds its limit by this factor has missed it by far: then a run may be cut short.
const BY_FAR: f64 = 1.5;

/// A demand that can be missed for certain before all requests are done.
struct Watched {
    /// Its place.
    term: usize,
    what: Watch,
    /// Misses beyond which no more can be put right.
    bearable: u64,
    misses: u64,
}

enum Watch {
    /// Times of requests beyond this.
    Time(Metric, f64),
    /// Requests that do not keep what the scenario promises; their total.
    Promise(u64),
}

/// What replicas tell.
struct Heard {
    outcomes: Vec<Outcome>,
    inter_token: Latencies,
    objective: Objective,
    watched: Vec<Watched>,
    /// The demand that was missed for certain, and the least that its value can be.
    missed: Option<(usize, f64)>,
}

impl Heard {
    fn new(slo: &Slo, total: Option<u64>, objective: Objective) -> Self {
        let watched = slo.terms().iter().enumerate().filter_map(|(term, demand)| {
            let total = total?;
            let (what, bearable) = match demand.measure {
                Measure::Latency(Statistic::Mean, _)
                | Measure::Latency(_, Metric::Itl)
                | Measure::Rejected
                | Measure::Backlog => return None,
                Measure::Latency(statistic, metric) => {
                    // The value lies at or above this place of the values in order: it exceeds what all from there on exceed. With fewer values (requests of
                    // one token have no TPOT) the place lies further down.
                    let place = (statistic.share()? * total.saturating_sub(1) as f64).floor() as u64;
                    (Watch::Time(metric, demand.limit * BY_FAR), total - place.min(total) - 1)
                }
                Measure::Attainment => {
                    let bearable = BY_FAR * (1.0 - demand.limit) * total as f64;
                    (Watch::Promise(total), bearable.ceil() as u64)
                }
            };
            Some(Watched { term, what, bearable, misses: 0 })
        });
        Self {
            watched: watched.collect(),
            outcomes: Vec::new(),
            inter_token: Latencies::default(),
            objective,
            missed: None,
        }
    }

    fn finished(&mut self, outcome: &Outcome) {
        self.outcomes.push(*outcome);
        for watched in &mut self.watched {
            let is_missed = match watched.what {
                Watch::Promise(_) => !outcome.meets(&self.objective),
                Watch::Time(metric, limit_s) => {
                    let time_s = match metric {
                        Metric::Ttft => outcome.ttft_s(),
                        Metric::Tpot | Metric::Itl => outcome.tpot_s().unwrap_or(0.0),
                        Metric::E2e => outcome.e2e_s(),
                        Metric::Queue => outcome.queue_s(),
                    };
                    time_s > limit_s
                }
            };
            watched.misses += u64::from(is_missed);
            if watched.misses > watched.bearable && self.missed.is_none() {
                let value = match watched.what {
                    Watch::Time(_, limit_s) => limit_s,
                    Watch::Promise(total) => 1.0 - watched.misses as f64 / total as f64,
                };
                self.missed = Some((watched.term, value));
            }
        }
    }
}

/// Hears one replica.
struct Ear {
    heard: Rc<RefCell<Heard>>,
    hears_tokens: bool,
}

impl Observer for Ear {
    fn inter_token(&mut self, latency_ns: u64, tokens: u32) {
        if self.hears_tokens {
            self.heard.borrow_mut().inter_token.add(latency_ns, tokens);
        }
    }

    fn finished(&mut self, outcome: &Outcome) {
        self.heard.borrow_mut().finished(outcome);
    }
}

/// Does not look at the cluster.
pub(crate) struct Nobody;

impl foretell_sim::log::Observer for Nobody {
    fn advance(&mut self, _from: Time, _to: Time, _state: &ClusterState) {}

    fn record(&mut self, _now: Time, _record: &Record<'_>, _state: &ClusterState) {}
}
