//! Requests on their way to replicas.

use foretell_serving::pipeline_served::Failure;
use foretell_serving::served::BatchServed;
use foretell_serving::{Arrivals, Refusal, Request};
use foretell_traces::TraceError;
use foretell_traces::requests::RequestRecord;

use super::Service;
use super::batch::Batches;
use super::by_arrival::ByArrival;
use super::lora::{Asked, with_adapter};
use super::replica::ServiceError;
use super::stream::Stream;

/// Which stage of which request of which pipeline sent a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Sender {
    /// The pipeline, by its place.
    pub(super) pipeline: u32,
    /// The request, by its number in the pipeline.
    pub(super) request: u32,
    /// The stage, by its place in the pipeline.
    pub(super) stage: u32,
}

/// A request of a stage ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Ended {
    pub(super) by: Sender,
    pub(super) at_ns: u64,
    /// Why it got nothing, if it did not get an answer.
    pub(super) failure: Option<Failure>,
}

/// Who sent the requests of a service that stages of pipelines sent; nothing beyond the last of these.
#[derive(Default)]
pub(super) struct Senders(Vec<Option<Sender>>);

impl Senders {
    /// A stage sent this one.
    pub(super) fn note(&mut self, request: u32, by: Sender) {
        self.0.resize(request as usize, None);
        self.0.push(Some(by));
    }

    /// Who sent a request, if a stage did.
    pub(super) fn of(&self, request: u32) -> Option<Sender> {
        self.0.get(request as usize).copied().flatten()
    }
}

/// Where the next request comes from.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Origin {
    Own,
    Stage,
    Job(usize),
}

/// Requests in order of arrival: the service's own, those that stages of pipelines send, and those of jobs.
pub(super) struct Feed {
    own: Stream,
    /// Those that stages sent.
    sent: ByArrival<(RequestRecord, Sender)>,
    senders: Senders,
    /// Those of them that ended and of which nobody was told.
    ended: Vec<Ended>,
    /// Requests that were taken.
    taken: u32,
    /// Sessions by request, up to the last that belongs to one.
    sessions: Vec<Option<u64>>,
    /// Nobody is served before that.
    ready_ns: u64,
    block_tokens: u32,
    adapters: Option<Asked>,
    batches: Batches,
    keys: Vec<u64>,
}

impl Feed {
    pub(super) fn new(service: &Service, seed: u64, ready_ns: u64) -> Result<Self, ServiceError> {
        Ok(Self {
            own: Stream::new(&service.requests, seed)?,
            sent: ByArrival::default(),
            senders: Senders::default(),
            ended: Vec::new(),
            taken: 0,
            sessions: Vec::new(),
            ready_ns,
            block_tokens: service.engine.block_tokens,
            adapters: Asked::of(service, seed)?,
            batches: Batches::new(service, seed)?,
            keys: Vec::new(),
        })
    }

    /// What went wrong, if something did; there are no more requests then.
    pub(super) fn take_error(&mut self) -> Option<TraceError> {
        self.own.take_error()
    }

    /// Which adapters or models were asked for.
    pub(super) fn take_adapters(&mut self) -> Option<Asked> {
        self.adapters.take()
    }

    /// The jobs of a service, and the job of each request.
    pub(super) fn take_batches(&mut self, service: &Service) -> (Vec<BatchServed>, Vec<u32>) {
        std::mem::take(&mut self.batches).served(service)
    }

    /// A stage of a pipeline sends a request.
    pub(super) fn send(&mut self, record: RequestRecord, by: Sender) {
        self.sent.push(record.arrival_ns, (record, by));
    }

    /// Requests of stages that ended since this was last asked, in that order.
    pub(super) fn take_ended(&mut self) -> Vec<Ended> {
        std::mem::take(&mut self.ended)
    }

    /// Who sent which request.
    pub(super) fn take_senders(&mut self) -> Senders {
        std::mem::take(&mut self.senders)
    }

    /// When the next one arrives and where it comes from: of several at an instant the service's own first, then those of stages, then those of jobs.
    fn peek(&self) -> Option<(u64, Origin)> {
        let own = self.own.next_ns().map(|at_ns| (at_ns, Origin::Own));
        let sent = self.sent.next_ns().map(|at_ns| (at_ns, Origin::Stage));
        let job = self.batches.next().map(|(at_ns, number)| (at_ns, Origin::Job(number)));
        [own, sent, job].into_iter().flatten().min()
    }

    /// A request ended; whether a stage had sent it.
    fn tell(&mut self, request: u32, at_ns: u64, failure: Option<Failure>) -> bool {
        let by = self.senders.of(request);
        self.ended.extend(by.map(|by| Ended { by, at_ns, failure }));
        by.is_some()
    }

    fn over(&mut self, request: u32, now_ns: u64, failure: Option<Failure>) {
        if self.tell(request, now_ns, failure) {
            return;
        }
        self.batches.done(request, now_ns);
        if let Some(session) = self.sessions.get(request as usize).copied().flatten() {
            self.own.finished(session, now_ns);
        }
    }
}

impl Arrivals for Feed {
    fn next_ns(&mut self) -> Option<u64> {
        self.peek().map(|(arrival_ns, _)| arrival_ns.max(self.ready_ns))
    }

    fn take(&mut self) -> Option<Request<'_>> {
        let origin = self.peek()?.1;
        let index = self.taken;
        let (record, job) = match origin {
            Origin::Own => (self.own.take()?, None),
            Origin::Stage => {
                let (record, by) = self.sent.pop()?.1;
                self.senders.note(index, by);
                (record, None)
            }
            Origin::Job(number) => (self.batches.take(number)?, Some(number)),
        };
        self.keys = record.blocks_of(self.block_tokens).unwrap_or_default();
        let adapter = self.adapters.as_mut().map_or(0, |asked| asked.next(&record));
        with_adapter(&mut self.keys, adapter);
        self.batches.taken(job);
        self.taken += 1;
        if record.session.is_some() {
            self.sessions.resize(index as usize, None);
            self.sessions.push(record.session);
        }
        Some(Request {
            index,
            arrival_ns: record.arrival_ns,
            prompt_tokens: record.prompt_tokens,
            output_tokens: record.output_tokens,
            limit_tokens: record.output_tokens,
            // Here lower goes first, in traces higher.
            priority: record.priority.saturating_neg(),
            adapter,
            block_keys: &self.keys,
        })
    }

    fn session(&self, request: u32) -> u64 {
        // 0 stands for none.
        self.sessions.get(request as usize).copied().flatten().map_or(0, |session| session.saturating_add(1))
    }

    fn done(&mut self, request: u32, now_ns: u64) {
        self.over(request, now_ns, None);
    }

    fn refused(&mut self, request: u32, now_ns: u64, why: Refusal) {
        self.over(request, now_ns, Some(why.into()));
    }
}
