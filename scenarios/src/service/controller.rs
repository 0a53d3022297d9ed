//! Services while the run goes on: their pods are created and deleted on the cluster, their requests go to the replicas that run there.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use foretell_serving::Observer;
use foretell_serving::fleet::{ANSWERS, Fleet, FleetOptions, PROMPTS};
use foretell_serving::metrics::Recorder;
use foretell_serving::policies::Tier;
use foretell_serving::policies::autoscale::{Autoscaler, Observed, Role as Scaled};
use foretell_serving::policies::route::{Canary, Pool, Router};
use foretell_serving::served::{Role, RolloutEvent, ScalingEvent};
use foretell_sim::framework::{ClusterState, Time};
use foretell_sim::log::Record;
use foretell_sim::platform::{Action, Controller, Submission};

use super::classical::group_of;
use super::classical_fleet::ClassicalFleet;
use super::pipelines::{Outlook, Pipelines};
use super::replica::{Blueprint, Built, Place, Replica, ServiceError};
use super::rollout::Progress;
use super::source::Feed;
use super::transport::Flows;
use super::{ClassicalService, Estimates, RouterFile, Service};
use crate::assemble::{Laws, Plan, RunError};
use crate::scenario::Scenario;

/// When and where a replica came to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Placed {
    /// The replica, from 0.
    pub replica: u32,
    /// When its pods had all started.
    pub at: Duration,
    /// A node of it, by its place in the cluster.
    pub node: usize,
}

/// How often a service is looked after that no autoscaler does.
const LOOK_NS: u64 = 60_000_000_000;

/// For how long a service waits for replicas that it has asked for, once nothing else happens to it.
const IDLE_NS: u64 = 600_000_000_000;

/// A replica that served or serves.
#[derive(Debug, Clone)]
pub(super) struct Serving {
    pub(super) placed: Placed,
    pub(super) variant: u32,
    /// Since when it serves.
    pub(super) ready_ns: u64,
    pub(super) built: Built,
    /// When it went.
    pub(super) until_ns: Option<u64>,
}

/// A replica that was asked for.
#[derive(Debug, Clone, Copy, Default)]
struct Asked {
    variant: u32,
    job: Option<u64>,
    node: Option<usize>,
    /// Its place in the fleet while it serves, starts or drains.
    member: Option<usize>,
}

/// A kind of replicas of a service.
pub(super) struct Variant<'a> {
    service: &'a Service,
    /// By kind of node: how its replicas are there, or why they cannot be; none for those that they may not have.
    pub(super) blueprints: Vec<Option<Result<Blueprint, ServiceError>>>,
    pod: Submission,
    /// Replicas that are wanted, the latest last.
    wanted: Vec<u32>,
    autoscaler: Option<Box<dyn Autoscaler + Send>>,
    tick_ns: u64,
}

/// A service.
pub(super) struct Running<'a> {
    pub(super) service: &'a Service,
    pub(super) fleet: Fleet<Replica, Feed, Recorder, Flows<'a>>,
    /// By what they do.
    pub(super) variants: Vec<Variant<'a>>,
    rollout: Option<Progress<'a>>,
    /// By place in the fleet.
    pub(super) serving: Vec<Serving>,
    asked: Vec<Asked>,
    /// Jobs to be deleted when it is next looked after.
    leaving: Vec<u64>,
    /// What autoscalers and rollouts decided.
    pub(super) scaling: Vec<ScalingEvent>,
    /// When it was last seen that something would happen by itself.
    alive_ns: u64,
}

/// A service of a classical model: its replicas are there for good.
pub(super) struct Standing<'a> {
    service: &'a ClassicalService,
    pub(super) fleet: ClassicalFleet<'a>,
    nodes: Vec<Option<usize>>,
    pod: Submission,
}

/// Whose replica a job is.
#[derive(Debug, Clone, Copy)]
enum Owner {
    Service(usize, u32),
    Classical(usize, u32),
}

/// A service is looked after.
pub(super) struct Look<'l> {
    /// Its place among the services.
    index: usize,
    pub(super) now_ns: u64,
    owners: &'l mut Vec<Owner>,
    /// What is to be done.
    actions: &'l mut Vec<Action>,
}

/// The services of a scenario.
pub(crate) struct Services<'a> {
    pub(super) scenario: &'a Scenario,
    pub(super) running: Vec<Running<'a>>,
    pub(super) standing: Vec<Standing<'a>>,
    pub(super) pipelines: Pipelines<'a>,
    /// By what the controller calls a job.
    owners: Vec<Owner>,
    jobs: BTreeMap<u64, Owner>,
    next_ns: Option<u64>,
    begun: bool,
    pub(crate) error: Option<ServiceError>,
}

impl<'a> Services<'a> {
    /// Those of a plan, at the beginning of a run.
    pub(crate) fn new(plan: &'a Plan) -> Result<Self, RunError> {
        let scenario = plan.scenario();
        let mut laws = Laws::default();
        let running = scenario.services.iter().map(|service| {
            let feed = Feed::new(service, scenario.seed, 0).map_err(Box::new)?;
            let options = FleetOptions {
                seed: scenario.seed,
                block_tokens: service.engine.block_tokens,
                ..service.admission
            };
            let variants = (0..).zip(service.variants()).map(|(number, (variant, replicas))| {
                let blueprints = blueprints(scenario, variant).map_err(Box::new)?;
                let pod = plan.submission(variant.pod(), None, false, &mut laws)?;
                let scaled = match service.role_of(number) {
                    Role::Prefill => Scaled::Prefill,
                    Role::Decode => Scaled::Decode,
                    Role::Whole | Role::Canary => Scaled::Aggregated,
                };
                let file = variant.autoscaler.as_ref();
                let autoscaler = file.map(|file| file.build(replicas, scaled, &service.objective));
                let tick_ns = autoscaler.as_ref().map_or(LOOK_NS, |scaler| scaler.period_ns()).max(1);
                Ok(Variant { service: variant, blueprints, pod, wanted: Vec::new(), autoscaler, tick_ns })
            });
            let variants = variants.collect::<Result<Vec<Variant<'a>>, RunError>>()?;
            Ok(Running {
                service,
                fleet: fleet(scenario, service, first(&variants), feed, options)
                    .map_err(Box::new)?
                    .recording(),
                variants,
                rollout: service.rollout.as_ref().map(Progress::new),
                serving: Vec::new(),
                asked: Vec::new(),
                leaving: Vec::new(),
                scaling: Vec::new(),
                alive_ns: 0,
            })
        });
        let running = running.collect::<Result<_, RunError>>()?;
        let standing = scenario.classical_services.iter().map(|service| {
            let pod = plan.submission(service.pod(), None, false, &mut laws)?;
            let fleet = ClassicalFleet::new(service, scenario.seed).map_err(Box::new)?;
            Ok(Standing { service, fleet, nodes: Vec::new(), pod })
        });
        let standing = standing.collect::<Result<_, RunError>>()?;
        Ok(Self {
            scenario,
            running,
            standing,
            pipelines: Pipelines::new(scenario).map_err(Box::new)?,
            owners: Vec::new(),
            jobs: BTreeMap::new(),
            next_ns: Some(0),
            begun: false,
            error: None,
        })
    }

    /// Whether there are any.
    pub(crate) fn any(&self) -> bool {
        !self.running.is_empty() || !self.standing.is_empty()
    }

    /// Asks for all that are there from the beginning.
    fn begin(&mut self) -> Vec<Action> {
        let mut actions = Vec::new();
        for (index, running) in self.running.iter_mut().enumerate() {
            for (variant, (_, replicas)) in running.service.variants().enumerate() {
                running.resize(index, variant, replicas, &mut self.owners, &mut actions);
            }
        }
        for (index, standing) in self.standing.iter_mut().enumerate() {
            for replica in 0..standing.service.replicas {
                let key = self.owners.len() as u64;
                self.owners.push(Owner::Classical(index, replica));
                standing.nodes.push(None);
                let id = format!("{}-{replica}", standing.service.name).into();
                let submission = Box::new(Submission { id, ..standing.pod.clone() });
                actions.push(Action::Create { key, submission });
            }
        }
        actions
    }

    fn plan(&mut self) {
        let outlook = self.outlook();
        let pipelines = &self.pipelines;
        let running = self.running.iter_mut().enumerate();
        let next =
            running.filter_map(|(place, one)| one.next_ns(outlook.filter(|_| pipelines.ask(place)))).min();
        self.next_ns = next.filter(|_| self.error.is_none());
    }

    /// All pods of a replica run.
    fn started(&mut self, owner: Owner, now_ns: u64) -> Result<(), ServiceError> {
        let at = Duration::from_nanos(now_ns);
        self.come_to(now_ns);
        match owner {
            Owner::Service(index, replica) => {
                let running = &mut self.running[index];
                let Some(node) = running.asked[replica as usize].node else { return Ok(()) };
                let Some(kind) = group_of(self.scenario, node) else { return Ok(()) };
                let number = running.asked[replica as usize].variant;
                let variant = &mut running.variants[number as usize];
                let service = variant.service;
                let Some(blueprint) = variant.blueprints[kind].take() else { return Ok(()) };
                let blueprint = blueprint?;
                let (server, built) = (blueprint.replica(service), blueprint.built.clone());
                let work = Arc::clone(&blueprint.work);
                variant.blueprints[kind] = Some(Ok(blueprint));
                running.fleet.run_until(now_ns);
                if let Some(flows) = running.fleet.transport_mut() {
                    flows.place(node, service);
                }
                // With several models it is not known what an iteration has to do.
                let recorder = if service.swap.is_some() {
                    Recorder::default()
                } else {
                    Recorder::of(work).drawing(built.drawing)
                };
                let recorder = match &running.service.rollout {
                    Some(_) => recorder.promising(running.service.objective),
                    None => recorder,
                };
                let startup_ns = u64::try_from(service.startup.as_nanos()).unwrap_or(u64::MAX);
                let ready_ns = now_ns.saturating_add(startup_ns);
                let member = running.fleet.add(server, recorder, ready_ns, number);
                running.asked[replica as usize].member = Some(member);
                running.alive_ns = running.alive_ns.max(ready_ns);
                let placed = Placed { replica, at, node };
                running.serving.push(Serving { placed, variant: number, ready_ns, built, until_ns: None });
            }
            Owner::Classical(index, replica) => {
                let standing = &mut self.standing[index];
                let again = standing.fleet.has(replica);
                if let Some(node) = standing.nodes[replica as usize].filter(|_| !again) {
                    standing.fleet.add(self.scenario, replica, node, at)?;
                }
            }
        }
        Ok(())
    }
}

/// What replicas of the first variant are on the first kind of node that they can be on.
fn first<'b>(variants: &'b [Variant<'_>]) -> Option<&'b Blueprint> {
    variants.first()?.blueprints.iter().flatten().find_map(|one| one.as_ref().ok())
}

/// A fleet without replicas.
pub(super) fn fleet<'a, O: Observer>(
    scenario: &'a Scenario,
    service: &Service,
    blueprint: Option<&Blueprint>,
    feed: Feed,
    options: FleetOptions,
) -> Result<Fleet<Replica, Feed, O, Flows<'a>>, ServiceError> {
    let name = || service.name.clone();
    let failed = |cause| ServiceError::Transfer { service: name(), cause };
    let transfer = service.disaggregation.as_ref().map(|apart| apart.transfer).unwrap_or_default();
    let moves = service.router.copies() || service.disaggregation.is_some() || service.kv_store.is_some();
    let flows = moves.then(|| Flows::new(scenario, service, transfer)).transpose().map_err(failed)?;
    let estimates = match (blueprint, &flows) {
        (Some(blueprint), Some(flows)) if service.router.copies() => {
            Estimates::of(service, blueprint, flows.usual_bytes_per_s(service).map_err(failed)?)
        }
        _ => Estimates::default(),
    };
    let router = |file: &RouterFile| {
        file.build(service.engine.block_tokens, &estimates)
            .map_err(|cause| ServiceError::Router { service: name(), cause })
    };
    let all = router(&service.router)?;
    if let Some(rollout) = &service.rollout {
        let versions: Vec<(u32, u32, Box<dyn Router + Send>)> =
            vec![(0, 100, all), (1, 0, router(&service.router)?)];
        let canary = Canary::new(versions, rollout.file.sticky)
            .map_err(|cause| ServiceError::Router { service: name(), cause })?;
        return Ok(copying(Fleet::new(Box::new(canary), feed, options), flows, service));
    }
    match (&service.disaggregation, flows) {
        (Some(apart), Some(flows)) => {
            let prompts = Box::new(Pool::new(PROMPTS, all, apart.overflow_tokens));
            let answers = Box::new(Pool::new(ANSWERS, router(&apart.router)?, None));
            let fleet = Fleet::new(prompts, feed, options).handing_over(answers, flows);
            Ok(sharing(fleet, service))
        }
        (_, flows) => Ok(copying(Fleet::new(all, feed, options), flows, service)),
    }
}

/// The same fleet, in which beginnings are copied if there is a way for them.
fn copying<'a, O: Observer>(
    fleet: Fleet<Replica, Feed, O, Flows<'a>>,
    flows: Option<Flows<'a>>,
    service: &Service,
) -> Fleet<Replica, Feed, O, Flows<'a>> {
    match flows {
        Some(flows) => sharing(fleet.copying_over(flows), service),
        None => fleet,
    }
}

/// The same fleet, with the memory that its replicas share.
fn sharing<'a, O: Observer>(
    fleet: Fleet<Replica, Feed, O, Flows<'a>>,
    service: &Service,
) -> Fleet<Replica, Feed, O, Flows<'a>> {
    let Some(store) = &service.kv_store else { return fleet };
    let blocks = store.memory.0 as f64 / service.block_bytes();
    fleet.sharing(Tier::new(blocks as u32))
}

/// What replicas of a service are on each kind of node that they may have. An error if they can be on none.
fn blueprints(
    scenario: &Scenario,
    service: &Service,
) -> Result<Vec<Option<Result<Blueprint, ServiceError>>>, ServiceError> {
    let fabric = scenario.fabric.as_ref();
    let mut blueprints: Vec<_> = scenario
        .nodes
        .iter()
        .map(|group| {
            let gpus = group.node_type.gpus.as_ref()?;
            let accepted = service.gpu_models.is_empty() || service.gpu_models.contains(&gpus.model);
            accepted.then(|| Blueprint::new(service, Place { group, fabric }))
        })
        .collect();
    if !blueprints.iter().flatten().any(Result::is_ok)
        && let Some(Err(error)) = blueprints.iter_mut().find_map(Option::take)
    {
        return Err(error);
    }
    Ok(blueprints)
}

impl Running<'_> {
    /// Asks for a further replica.
    fn ask(&mut self, index: usize, variant: usize, owners: &mut Vec<Owner>) -> Action {
        let (key, replica) = (owners.len() as u64, self.asked.len() as u32);
        owners.push(Owner::Service(index, replica));
        let id = format!("{}-{replica}", self.service.name).into();
        self.asked.push(Asked { variant: variant as u32, ..Asked::default() });
        let variant = &mut self.variants[variant];
        variant.wanted.push(replica);
        Action::Create { key, submission: Box::new(Submission { id, ..variant.pod.clone() }) }
    }

    /// Asks for replicas of a variant until there are so many, or gives some up.
    fn resize(
        &mut self,
        index: usize,
        variant: usize,
        replicas: u32,
        owners: &mut Vec<Owner>,
        actions: &mut Vec<Action>,
    ) {
        let wanted = self.wanted(variant);
        for _ in wanted..replicas {
            let action = self.ask(index, variant, owners);
            actions.push(action);
        }
        for _ in replicas..wanted {
            self.give_up_one(variant, actions);
        }
    }

    /// The same, and notes why.
    pub(super) fn scale_to(
        &mut self,
        look: &mut Look<'_>,
        variant: usize,
        replicas: u32,
        reason: &dyn Display,
    ) {
        let from = self.wanted(variant);
        if replicas == from {
            return;
        }
        let (at_s, reason) = (look.now_ns as f64 / 1e9, reason.to_string());
        let role = self.service.role_of(variant as u32);
        self.scaling.push(ScalingEvent { at_s, role, from, to: replicas, reason });
        self.resize(look.index, variant, replicas, look.owners, look.actions);
    }

    /// Replicas of a variant that are wanted.
    pub(super) fn wanted(&self, variant: usize) -> u32 {
        self.variants[variant].wanted.len() as u32
    }

    /// When it is to be looked after; `pipelines` is what those hold whose stages ask it.
    fn next_ns(&mut self, pipelines: Option<Outlook>) -> Option<u64> {
        if !self.leaving.is_empty() {
            return Some(0);
        }
        let draining_ns = self.fleet.next_of_draining_ns();
        if !self.fleet.is_busy() && !pipelines.is_some_and(|pipelines| pipelines.is_busy) {
            return draining_ns;
        }
        let of_pipelines = pipelines.and_then(|pipelines| pipelines.next_ns);
        let next_ns = [self.fleet.next_ns(), of_pipelines].into_iter().flatten().min();
        self.alive_ns = self.alive_ns.max(next_ns.unwrap_or(0));
        let looks = self.variants.iter().map(|variant| variant.tick_ns);
        let look_ns = looks.chain(self.rollout.as_ref().and_then(Progress::next_ns)).min();
        let last_ns = self.alive_ns.saturating_add(IDLE_NS);
        let look_ns = look_ns.filter(|&look_ns| next_ns.is_some() || look_ns <= last_ns);
        [look_ns, draining_ns].into_iter().flatten().min()
    }

    /// Looks after it.
    fn act(&mut self, look: &mut Look<'_>) {
        let now_ns = look.now_ns;
        self.fleet.run_until(now_ns);
        for variant in 0..self.variants.len() {
            if now_ns >= self.variants[variant].tick_ns {
                let scaler = self.variants[variant].autoscaler.as_ref();
                let period_ns = scaler.map_or(LOOK_NS, |scaler| scaler.period_ns()).max(1);
                self.variants[variant].tick_ns = now_ns.saturating_add(period_ns);
                self.scale(look, variant);
            }
        }
        if let Some(mut rollout) = self.rollout.take() {
            rollout.act(self, look);
            self.rollout = Some(rollout);
        }
        look.actions.extend(self.leaving.drain(..).map(|job| Action::Delete { job }));
        for member in self.fleet.take_drained() {
            let serving = &mut self.serving[member];
            serving.until_ns = Some(now_ns);
            let asked = &mut self.asked[serving.placed.replica as usize];
            asked.member = None;
            look.actions.extend(asked.job.take().map(|job| Action::Delete { job }));
        }
    }

    /// What parts of the requests a new version got.
    pub(super) fn take_rollout(&mut self) -> Vec<RolloutEvent> {
        self.rollout.as_mut().map(Progress::take_events).unwrap_or_default()
    }

    /// Asks an autoscaler how many replicas there shall be, and sees to it.
    fn scale(&mut self, look: &mut Look<'_>, variant: usize) {
        let (desired, number) = (self.wanted(variant), variant as u32);
        let Some(autoscaler) = &mut self.variants[variant].autoscaler else { return };
        let watched = self.fleet.watch(number);
        let loads = self.fleet.serving().filter(|load| load.variant == number);
        let ready = loads.clone().count() as u32;
        let share = |part: f64, whole: f64| if whole > 0.0 { part / whole } else { 0.0 };
        let length_ns = watched.length_ns as f64;
        let kv_share: f64 =
            loads.map(|load| share(f64::from(load.used_blocks), f64::from(load.total_blocks))).sum();
        let ended = |sum: f64, count: u64| (count > 0).then(|| sum / count as f64);
        let decision = autoscaler.decide(&Observed {
            now_ns: look.now_ns,
            ready,
            desired,
            concurrency: share(watched.requests_ns, length_ns),
            arrivals: watched.arrivals,
            prompt_tokens: watched.prompt_tokens,
            output_tokens: watched.output_tokens,
            ttft_s: ended(watched.ttft_s, watched.answered),
            tpot_s: ended(watched.tpot_s, watched.answered_at_length),
            kv_share: share(kv_share, f64::from(ready)),
            busy_share: share(watched.busy_ns[variant] as f64, length_ns * f64::from(ready)).min(1.0),
        });
        self.scale_to(look, variant, decision.replicas, &decision.reason);
    }

    /// Gives up a replica: one that still waits for room, else one that starts, else the one with the fewest requests; the latest of several.
    fn give_up_one(&mut self, variant: usize, actions: &mut Vec<Action>) {
        let (fleet, asked, wanted) = (&self.fleet, &self.asked, &mut self.variants[variant].wanted);
        let key = |replica: u32| match asked[replica as usize].member {
            None => (0, 0),
            Some(member) if fleet.is_starting(member) => (1, 0),
            Some(member) => (2, fleet.loads()[member].outstanding()),
        };
        let least = wanted.iter().enumerate().rev().min_by_key(|&(_, &replica)| key(replica));
        let Some((place, _)) = least else { return };
        let asked = &mut self.asked[wanted.remove(place) as usize];
        match asked.member {
            Some(member) => self.fleet.drain(member),
            None => actions.extend(asked.job.take().map(|job| Action::Delete { job })),
        }
    }

    /// A replica stops where it is: its pods were evicted, or failed.
    fn stopped(&mut self, replica: u32, now_ns: u64) {
        self.fleet.run_until(now_ns);
        let asked = &mut self.asked[replica as usize];
        asked.node = None;
        if !self.variants[asked.variant as usize].wanted.contains(&replica) {
            // It was about to go; it need not come back.
            self.leaving.extend(asked.job.take());
        }
        if let Some(member) = asked.member.take() {
            self.serving[member].until_ns = Some(now_ns);
            self.fleet.lose(member);
        }
    }
}

impl Controller for Services<'_> {
    fn next(&self) -> Option<Time> {
        self.next_ns.map(Time::from_nanos)
    }

    fn act(&mut self, now: Time) -> Vec<Action> {
        let mut actions = if std::mem::replace(&mut self.begun, true) { Vec::new() } else { self.begin() };
        self.come_to(now.as_nanos());
        for (index, running) in self.running.iter_mut().enumerate() {
            let (now_ns, owners) = (now.as_nanos(), &mut self.owners);
            running.act(&mut Look { index, now_ns, owners, actions: &mut actions });
        }
        self.plan();
        actions
    }

    fn created(&mut self, key: u64, job: u64) {
        let Some(&owner) = self.owners.get(key as usize) else { return };
        self.jobs.insert(job, owner);
        if let Owner::Service(index, replica) = owner {
            self.running[index].asked[replica as usize].job = Some(job);
        }
    }

    fn record(&mut self, now: Time, record: &Record<'_>, _state: &ClusterState) {
        let now_ns = now.as_nanos();
        match *record {
            Record::PodBound { job, rank: 0, node, .. } => match self.jobs.get(&job) {
                Some(&Owner::Service(index, replica)) => {
                    self.running[index].asked[replica as usize].node = Some(node.index());
                }
                Some(&Owner::Classical(index, replica)) => {
                    self.standing[index].nodes[replica as usize].get_or_insert(node.index());
                }
                None => {}
            },
            Record::JobStarted { job, .. } => {
                let Some(&owner) = self.jobs.get(&job) else { return };
                if let Err(error) = self.started(owner, now_ns) {
                    self.error.get_or_insert(error);
                }
                self.plan();
            }
            Record::JobStopped { job, .. } => {
                if let Some(&Owner::Service(index, replica)) = self.jobs.get(&job) {
                    self.come_to(now_ns);
                    self.running[index].stopped(replica, now_ns);
                    self.plan();
                }
            }
            _ => {}
        }
    }
}
