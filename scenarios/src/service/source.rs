//! Requests on their way to replicas.

use std::collections::BTreeMap;

use foretell_serving::served::BatchServed;
use foretell_serving::{Arrivals, Request};
use foretell_traces::TraceError;
use foretell_traces::requests::generate::{ClosedLoop, RequestGenerator, Sessions};
use foretell_traces::requests::{self, Open, RequestRecord, RequestSource};

use super::batch::Batches;
use super::lora::{Asked, with_adapter};
use super::replica::ServiceError;
use super::{Service, ServiceRequests};

/// Requests in order of arrival, with those that follow from others.
pub(super) struct Feed {
    source: Box<dyn RequestSource>,
    /// The next of those that arrive whatever happens.
    open: Option<RequestRecord>,
    /// Those that follow, by arrival and by when they became known.
    following: BTreeMap<(u64, u64), RequestRecord>,
    followed: u64,
    /// Requests that were taken.
    taken: u32,
    /// Sessions by request, up to the last that belongs to one.
    sessions: Vec<Option<u64>>,
    /// Nobody is served before that.
    ready_ns: u64,
    /// The first arrival of a file, from which its times count, once it is known.
    origin_ns: Option<u64>,
    rate_factor: f64,
    left: u64,
    block_tokens: u32,
    adapters: Option<Asked>,
    batches: Batches,
    keys: Vec<u64>,
    error: Option<TraceError>,
}

impl Feed {
    pub(super) fn new(service: &Service, seed: u64, ready_ns: u64) -> Result<Self, ServiceError> {
        let (source, left, rate_factor): (Box<dyn RequestSource>, u64, f64) = match &service.requests {
            ServiceRequests::Trace { path, limit, rate_factor } => {
                (Box::new(Open(requests::open(path, None)?)), *limit, *rate_factor)
            }
            ServiceRequests::Open { config, count } => {
                (Box::new(Open(RequestGenerator::new(config, seed)?.map(Ok))), *count, 1.0)
            }
            ServiceRequests::Sessions(config) => {
                (Box::new(Sessions::new(config.clone(), seed)?), u64::MAX, 1.0)
            }
            ServiceRequests::Users(config) => (Box::new(ClosedLoop::new(config, seed)?), u64::MAX, 1.0),
        };
        let of_file = matches!(service.requests, ServiceRequests::Trace { .. });
        let mut feed = Self {
            source,
            open: None,
            following: BTreeMap::new(),
            followed: 0,
            taken: 0,
            sessions: Vec::new(),
            ready_ns,
            origin_ns: (!of_file).then_some(0),
            rate_factor,
            left,
            block_tokens: service.engine.block_tokens,
            adapters: Asked::of(service, seed)?,
            batches: Batches::new(service, seed)?,
            keys: Vec::new(),
            error: None,
        };
        feed.draw();
        Ok(feed)
    }

    /// What went wrong, if something did; there are no more requests then.
    pub(super) fn take_error(&mut self) -> Option<TraceError> {
        self.error.take()
    }

    /// Which adapters or models were asked for.
    pub(super) fn take_adapters(&mut self) -> Option<Asked> {
        self.adapters.take()
    }

    fn draw(&mut self) {
        if self.left == 0 {
            return;
        }
        self.left -= 1;
        match self.source.next_open() {
            Some(Ok(mut record)) => {
                let origin_ns = *self.origin_ns.get_or_insert(record.arrival_ns);
                let since_ns = record.arrival_ns.saturating_sub(origin_ns);
                record.arrival_ns = match self.rate_factor {
                    1.0 => since_ns,
                    factor => (since_ns as f64 / factor).round() as u64,
                };
                self.open = Some(record);
            }
            Some(Err(error)) => self.error = Some(error),
            None => {}
        }
    }

    /// The jobs of a service, and the job of each request.
    pub(super) fn take_batches(&mut self, service: &Service) -> (Vec<BatchServed>, Vec<u32>) {
        std::mem::take(&mut self.batches).served(service)
    }

    /// When the next of a job is sent, if that is before any other arrives.
    fn peek_job(&self) -> Option<(u64, usize)> {
        let other_ns = self.peek().map(|(arrival_ns, _)| arrival_ns);
        self.batches.next().filter(|&(at_ns, _)| other_ns.is_none_or(|other_ns| at_ns < other_ns))
    }

    /// When the next one arrives that is not of a job, and whether it follows from another.
    fn peek(&self) -> Option<(u64, bool)> {
        let open = self.open.as_ref().map(|record| record.arrival_ns);
        let following = self.following.keys().next().map(|&(arrival_ns, _)| arrival_ns);
        match (open, following) {
            (Some(open), Some(following)) if following < open => Some((following, true)),
            (Some(open), _) => Some((open, false)),
            (None, following) => following.map(|following| (following, true)),
        }
    }
}

impl Arrivals for Feed {
    fn next_ns(&mut self) -> Option<u64> {
        let job_ns = self.peek_job().map(|(at_ns, _)| at_ns);
        job_ns.or_else(|| Some(self.peek()?.0)).map(|arrival_ns| arrival_ns.max(self.ready_ns))
    }

    fn take(&mut self) -> Option<Request<'_>> {
        let job = self.peek_job().map(|(_, number)| number);
        let record = if let Some(number) = job {
            self.batches.take(number)?
        } else if self.peek()?.1 {
            self.following.pop_first()?.1
        } else {
            let record = self.open.take()?;
            self.draw();
            record
        };
        self.keys = record.blocks_of(self.block_tokens).unwrap_or_default();
        let adapter = self.adapters.as_mut().map_or(0, |asked| asked.next(&record));
        with_adapter(&mut self.keys, adapter);
        self.batches.taken(job);
        let index = self.taken;
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
        self.batches.done(request, now_ns);
        let Some(session) = self.sessions.get(request as usize).copied().flatten() else { return };
        if let Some(next) = self.source.on_finished(session, now_ns) {
            self.followed += 1;
            self.following.insert((next.arrival_ns, self.followed), next);
        }
    }
}
