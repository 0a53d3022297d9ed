//! Requests as they arrive from where a scenario has them.

use foretell_traces::TraceError;
use foretell_traces::requests::generate::{ClosedLoop, RequestGenerator, Sessions};
use foretell_traces::requests::{self, Open, RequestRecord, RequestSource};

use super::ServiceRequests;
use super::by_arrival::ByArrival;
use super::replica::ServiceError;

/// Requests in order of arrival, with those that follow from others.
pub(super) struct Stream {
    source: Box<dyn RequestSource>,
    /// The next of those that arrive whatever happens.
    open: Option<RequestRecord>,
    /// Those that follow.
    following: ByArrival<RequestRecord>,
    /// The first arrival of a file, from which its times count, once it is known.
    origin_ns: Option<u64>,
    rate_factor: f64,
    left: u64,
    error: Option<TraceError>,
}

impl Stream {
    pub(super) fn new(requests: &ServiceRequests, seed: u64) -> Result<Self, ServiceError> {
        let (source, left, rate_factor): (Box<dyn RequestSource>, u64, f64) = match requests {
            ServiceRequests::None => (Box::new(Open(std::iter::empty())), 0, 1.0),
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
        let of_file = matches!(requests, ServiceRequests::Trace { .. });
        let mut stream = Self {
            source,
            open: None,
            following: ByArrival::default(),
            origin_ns: (!of_file).then_some(0),
            rate_factor,
            left,
            error: None,
        };
        stream.draw();
        Ok(stream)
    }

    /// What went wrong, if something did; there are no more requests then.
    pub(super) fn take_error(&mut self) -> Option<TraceError> {
        self.error.take()
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

    /// When the next one arrives, and whether it follows from another.
    fn peek(&self) -> Option<(u64, bool)> {
        let open = self.open.as_ref().map(|record| record.arrival_ns);
        let following = self.following.next_ns();
        match (open, following) {
            (Some(open), Some(following)) if following < open => Some((following, true)),
            (Some(open), _) => Some((open, false)),
            (None, following) => following.map(|following| (following, true)),
        }
    }

    /// When the next one arrives.
    pub(super) fn next_ns(&self) -> Option<u64> {
        Some(self.peek()?.0)
    }

    /// The next one.
    pub(super) fn take(&mut self) -> Option<RequestRecord> {
        if self.peek()?.1 {
            return Some(self.following.pop()?.1);
        }
        let record = self.open.take()?;
        self.draw();
        Some(record)
    }

    /// A request of a session is done, or got nothing.
    pub(super) fn finished(&mut self, session: u64, now_ns: u64) {
        if let Some(next) = self.source.on_finished(session, now_ns) {
            self.following.push(next.arrival_ns, next);
        }
    }
}
