//! The replicas of a classical model and their requests.

use std::time::Duration;

use foretell_serving::classical::{
    ClassicalObserver, ClassicalOutcome, ClassicalRequest, ClassicalServer, Execution, Fate,
};
use foretell_serving::classical_served::{
    ClassicalEnd, ClassicalServed, ClassicalServedBy, ClassicalSummary, Ending, Executed,
};
use foretell_serving::pipeline_served::Failure;
use foretell_serving::policies::route::mixed;
use foretell_traces::requests::generate::RequestGenerator;

use super::by_arrival::ByArrival;
use super::classical::{LEVEL_DRAWS, group_of, level, server};
use super::source::{Ended, Sender, Senders};
use super::{ClassicalService, ServiceError};
use crate::scenario::Scenario;

/// Notes what a replica does.
struct Watch {
    replica: u32,
    ends: Vec<ClassicalEnd>,
    executed: Executed,
}

impl ClassicalObserver for Watch {
    fn finished(&mut self, outcome: &ClassicalOutcome) {
        self.ends.push(ClassicalEnd {
            request: outcome.request,
            replica: self.replica,
            priority_level: 0,
            arrival_ns: outcome.arrival_ns,
            finished_ns: outcome.finished_ns,
            ending: match outcome.fate {
                Fate::Served { dispatched_ns, batch_items, .. } => {
                    Ending::Done { dispatched_ns, batch_size: batch_items }
                }
                Fate::TimedOut => Ending::TimedOut,
            },
        });
    }

    fn executed(&mut self, execution: &Execution) {
        self.executed.batches += 1;
        self.executed.requests += u64::from(execution.requests);
        self.executed.gpu_ns += execution.gpu_ns.round() as u64;
    }
}

/// A replica that was placed.
struct Member {
    ready_ns: u64,
    placed_s: f64,
    ready_s: f64,
    gpu: String,
    price_per_gpu_hour: Option<f64>,
    server: ClassicalServer,
    watch: Watch,
    /// Ends of which stages of pipelines were told.
    told: usize,
}

impl Member {
    /// Carries out all that ends up to an instant, and at it.
    fn come_to(&mut self, until_ns: u64) {
        while self.server.next_ns().is_some_and(|next_ns| next_ns <= until_ns) {
            self.server.advance(&mut self.watch);
        }
    }
}

/// A request on its way to a replica.
struct Coming {
    arrival_ns: u64,
    priority_level: u32,
    by: Option<Sender>,
}

/// The replicas of a classical model. Requests go to them in turn, among those that serve.
pub(super) struct ClassicalFleet<'a> {
    service: &'a ClassicalService,
    seed: u64,
    own: Option<RequestGenerator>,
    left: u64,
    /// The next of its own, with its level.
    next_own: Option<(u64, u32)>,
    /// Those that stages of pipelines sent.
    sent: ByArrival<Sender>,
    senders: Senders,
    ended: Vec<Ended>,
    /// By number of the replica; none for those that were not placed.
    members: Vec<Option<Member>>,
    turn: usize,
    /// When the first of them serves. Who comes before waits outside.
    first_ns: Option<u64>,
    /// Levels of the requests that were taken.
    levels: Vec<u32>,
}

impl<'a> ClassicalFleet<'a> {
    /// Without replicas. The seed decides what is drawn.
    pub(super) fn new(service: &'a ClassicalService, seed: u64) -> Result<Self, ServiceError> {
        let own = service.requests.as_ref();
        let mut fleet = Self {
            service,
            seed,
            own: own.map(|(config, _)| RequestGenerator::new(config, seed)).transpose()?,
            left: own.map_or(0, |&(_, count)| count),
            next_own: None,
            sent: ByArrival::default(),
            senders: Senders::default(),
            ended: Vec::new(),
            members: (0..service.replicas).map(|_| None).collect(),
            turn: 0,
            first_ns: None,
            levels: Vec::new(),
        };
        fleet.draw();
        Ok(fleet)
    }

    fn draw(&mut self) {
        let Some(own) = self.own.as_mut().filter(|_| self.left > 0) else { return };
        self.left -= 1;
        let level = |draw| level(draw, &self.service.level_weights);
        self.next_own = own.next().map(|record| (record.arrival_ns, level(record.prompt_tokens)));
    }

    /// A replica was placed on a node. It was not placed before.
    pub(super) fn add(
        &mut self,
        scenario: &Scenario,
        replica: u32,
        node: usize,
        at: Duration,
    ) -> Result<(), ServiceError> {
        let kind = group_of(scenario, node).map(|kind| &scenario.nodes[kind]);
        let gpus = kind.and_then(|kind| kind.node_type.gpus.as_ref());
        let gpu = gpus.map_or("", |gpus| gpus.model.as_str()).to_owned();
        let ready = at + self.service.startup;
        let ready_ns = u64::try_from(ready.as_nanos()).unwrap_or(u64::MAX);
        self.first_ns = Some(self.first_ns.map_or(ready_ns, |first_ns| first_ns.min(ready_ns)));
        self.members[replica as usize] = Some(Member {
            ready_ns,
            placed_s: at.as_secs_f64(),
            price_per_gpu_hour: kind.and_then(|kind| kind.price_per_gpu_hour),
            ready_s: ready.as_secs_f64(),
            server: server(self.service, &gpu)?,
            gpu,
            watch: Watch { replica, ends: Vec::new(), executed: Executed::default() },
            told: 0,
        });
        Ok(())
    }

    /// Whether a replica was placed.
    pub(super) fn has(&self, replica: u32) -> bool {
        self.members.get(replica as usize).is_some_and(Option::is_some)
    }

    /// A stage of a pipeline sends a request.
    pub(super) fn send(&mut self, arrival_ns: u64, by: Sender) {
        self.sent.push(arrival_ns, by);
    }

    /// Requests of stages that ended since this was last asked.
    pub(super) fn take_ended(&mut self) -> Vec<Ended> {
        std::mem::take(&mut self.ended)
    }

    /// When the next request reaches a replica, and whether a stage sends it: of several at an instant, the service's own go first.
    fn next_arrival(&self) -> Option<(u64, bool)> {
        let own = self.next_own.map(|(at_ns, _)| (at_ns, false));
        let sent = self.sent.next_ns().map(|at_ns| (at_ns, true));
        let (at_ns, is_sent) = [own, sent].into_iter().flatten().min()?;
        Some((at_ns.max(self.first_ns?), is_sent))
    }

    /// When something next happens.
    pub(super) fn next_ns(&self) -> Option<u64> {
        let ends = self.members.iter().flatten().filter_map(|member| member.server.next_ns());
        ends.chain(self.next_arrival().map(|(at_ns, _)| at_ns)).min()
    }

    /// Carries out all that happens up to an instant, and at it.
    pub(super) fn run_until(&mut self, until_ns: u64) {
        while let Some((now_ns, is_sent)) = self.next_arrival().filter(|&(at_ns, _)| at_ns <= until_ns) {
            if let Some(coming) = self.take(is_sent) {
                self.arrive(now_ns, &coming);
            }
        }
        for replica in 0..self.members.len() {
            if let Some(member) = &mut self.members[replica] {
                member.come_to(until_ns);
                self.tell(replica);
            }
        }
    }

    fn take(&mut self, is_sent: bool) -> Option<Coming> {
        if is_sent {
            let (arrival_ns, by) = self.sent.pop()?;
            let drawn = mixed(self.seed ^ mixed(self.levels.len() as u64)) % u64::from(LEVEL_DRAWS);
            let priority_level = level(drawn as u32 + 1, &self.service.level_weights);
            return Some(Coming { arrival_ns, priority_level, by: Some(by) });
        }
        let (arrival_ns, priority_level) = self.next_own.take()?;
        self.draw();
        Some(Coming { arrival_ns, priority_level, by: None })
    }

    fn arrive(&mut self, now_ns: u64, coming: &Coming) {
        let count = self.members.len();
        let serves = |&one: &usize| self.members[one].as_ref().is_some_and(|one| one.ready_ns <= now_ns);
        let next = (0..count).map(|step| (self.turn + step) % count).find(serves);
        // There is one, since nobody arrives before the first serves.
        let Some(replica) = next else { return };
        self.turn = (replica + 1) % count;
        let Some(member) = &mut self.members[replica] else { return };
        let request = self.levels.len() as u32;
        self.levels.push(coming.priority_level);
        if let Some(by) = coming.by {
            self.senders.note(request, by);
        }
        member.come_to(now_ns);
        let arriving = ClassicalRequest {
            index: request,
            arrival_ns: coming.arrival_ns,
            items: 1,
            priority_level: coming.priority_level,
            timeout_ns: 0,
        };
        if let Err(refusal) = member.server.arrive(now_ns, &arriving, &mut member.watch) {
            member.watch.ends.push(ClassicalEnd {
                request,
                replica: replica as u32,
                priority_level: coming.priority_level,
                arrival_ns: coming.arrival_ns,
                finished_ns: now_ns,
                ending: Ending::Refused(refusal),
            });
        }
        self.tell(replica);
    }

    /// Tells stages what became of their requests at a replica.
    fn tell(&mut self, replica: usize) {
        let Some(member) = &mut self.members[replica] else { return };
        for end in &member.watch.ends[member.told..] {
            let Some(by) = self.senders.of(end.request) else { continue };
            let failure = match end.ending {
                Ending::Done { .. } => None,
                Ending::TimedOut => Some(Failure::TimedOut),
                Ending::Refused(_) => Some(Failure::Refused),
            };
            self.ended.push(Ended { by, at_ns: end.finished_ns, failure });
        }
        member.told = member.watch.ends.len();
    }

    /// What became of its requests, and who of stages sent which; an error if no replica found room.
    pub(super) fn finish(mut self) -> Result<(ClassicalServed, Senders), ServiceError> {
        self.run_until(u64::MAX);
        let service = self.service;
        if self.first_ns.is_none() {
            let why = "the cluster has no room for them, or other jobs keep it".to_owned();
            return Err(ServiceError::NotPlaced { service: service.name.clone(), why });
        }
        let mut ends = Vec::with_capacity(self.levels.len());
        let mut executed = Executed::default();
        let mut replicas = Vec::new();
        for member in self.members.into_iter().flatten() {
            let (place, Watch { replica, ends: of_member, executed: one }) =
                (replicas.len() as u32, member.watch);
            ends.extend(of_member.into_iter().map(|end| ClassicalEnd {
                replica: place,
                priority_level: self.levels[end.request as usize],
                ..end
            }));
            executed.batches += one.batches;
            executed.requests += one.requests;
            executed.gpu_ns += one.gpu_ns;
            let Member { placed_s, ready_s, gpu, price_per_gpu_hour, .. } = member;
            replicas.push(ClassicalServedBy { replica, placed_s, ready_s, gpu, price_per_gpu_hour });
        }
        ends.sort_unstable_by_key(|end| end.request);
        let levels = service.level_weights.len() as u32;
        let summary =
            ClassicalSummary::new(&ends, &executed, replicas.len(), levels, service.latency_objective_s);
        let served = ClassicalServed {
            service: service.name.clone(),
            instances: service.instances,
            max_batch_size: service.batching.max_batch_size,
            gpu_milli: service.gpu_milli,
            latency_objective_s: service.latency_objective_s,
            summary,
            ends,
            replicas,
        };
        Ok((served, self.senders))
    }
}
