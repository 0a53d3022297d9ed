//! Loads: the requests of a service, more or less of them.

use foretell_search::Unit;
use foretell_traces::TraceError;
use foretell_traces::requests;
use foretell_traces::requests::generate::{
    CountLaw, LengthsLaw, RequestArrival, RequestGeneratorConfig, Target,
};

use crate::service::{Service, ServiceRequests};

/// How many requests a run has at most, however long it would have to be.
const REQUESTS_MAX: u64 = 1_000_000;

/// How much arrives in a scenario as it stands.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Load {
    pub(super) unit: Unit,
    /// Arrivals a second, of users their number.
    pub(super) per_s: f64,
}

impl Load {
    /// Of a service. Of a trace as many requests a second as it has on average.
    pub(super) fn of(service: &Service, limit: Option<u64>) -> Result<Self, TraceError> {
        let (unit, per_s) = match &service.requests {
            // Nobody asks how much of nothing it holds.
            ServiceRequests::None => (Unit::Requests, 1.0),
            ServiceRequests::Open { config, .. } => (Unit::Requests, config.arrival.rate_per_s()),
            ServiceRequests::Sessions(config) => (Unit::Conversations, config.arrival.rate_per_s()),
            ServiceRequests::Users(config) => (Unit::Users, f64::from(config.users)),
            ServiceRequests::Trace { path, limit: own, rate_factor } => {
                let limit = limit.unwrap_or(u64::MAX).min(*own);
                let (mut first_ns, mut last_ns, mut count) = (None, 0, 0_u64);
                for record in requests::open(path, None)?.take(usize::try_from(limit).unwrap_or(usize::MAX)) {
                    let arrival_ns = record?.arrival_ns;
                    first_ns.get_or_insert(arrival_ns);
                    last_ns = arrival_ns;
                    count += 1;
                }
                let length_s = last_ns.saturating_sub(first_ns.unwrap_or(0)) as f64 / 1e9;
                let per_s = if length_s > 0.0 { count as f64 / length_s } else { 1.0 };
                (Unit::Requests, per_s * rate_factor)
            }
        };
        Ok(Self { unit, per_s })
    }
}

/// A service under another load and with another seed.
pub(super) struct Loaded {
    pub(super) service: Service,
    /// How many requests there are, where that is known.
    pub(super) total: Option<u64>,
    /// About how long they take to arrive.
    pub(super) length_s: f64,
}

/// How a run has to be.
#[derive(Debug, Clone, Copy)]
pub(super) struct Length {
    /// Requests, at least; all of a file if none.
    pub(super) requests: Option<u64>,
    /// Seconds, at least, in which they arrive.
    pub(super) seconds: f64,
}

/// Requests of a run, unless something else is asked for.
const REQUESTS: u64 = 1000;

/// A service with `per_s` in place of `base`.
pub(super) fn loaded(service: &Service, base: Load, per_s: f64, length: Length, seed: u64) -> Loaded {
    let mut service = service.clone();
    // Nobody searches for what jobs of requests get.
    service.batches.clear();
    if let Some(speculation) = &mut service.speculation {
        speculation.seed = seed;
    }
    let wanted = length.requests.unwrap_or(REQUESTS).max((per_s * length.seconds).ceil() as u64);
    let wanted = wanted.min(REQUESTS_MAX.max(length.requests.unwrap_or(0)));
    let mut total = None;
    let mut length_s = wanted as f64 / per_s;
    match &mut service.requests {
        ServiceRequests::None => {}
        ServiceRequests::Open { config, count } => {
            config.arrival = config.arrival.clone().with_rate_per_s(per_s);
            *count = wanted;
            total = Some(wanted);
        }
        ServiceRequests::Sessions(config) => {
            config.arrival = config.arrival.clone().with_rate_per_s(per_s);
            config.sessions = length.requests.or(config.sessions);
            length_s = config.sessions.unwrap_or(wanted) as f64 / per_s;
        }
        ServiceRequests::Users(config) => {
            config.users = per_s.round().max(1.0) as u32;
            config.requests = length.requests.or(config.requests);
        }
        ServiceRequests::Trace { limit, rate_factor, .. } => {
            *limit = length.requests.unwrap_or(u64::MAX).min(*limit);
            *rate_factor *= per_s / base.per_s;
        }
    }
    Loaded { service, total, length_s }
}

/// Requests of a calm run.
const CALM: u64 = 16;

/// A service that few ask, one after another as good as: what its requests take without others beside them.
pub(super) fn calm(service: &Service) -> Option<Service> {
    let ServiceRequests::Open { config, .. } = &service.requests else { return None };
    let config =
        RequestGeneratorConfig { arrival: RequestArrival::Constant { rate_per_s: 1e-3 }, ..config.clone() };
    let requests = ServiceRequests::Open { config, count: CALM };
    Some(Service { requests, batches: Vec::new(), ..service.clone() })
}

/// A service that hardly anybody asks: to see where its replicas are placed.
pub(super) fn idle(service: &Service) -> Service {
    let one = CountLaw::Constant { count: 1 };
    let config = RequestGeneratorConfig {
        arrival: RequestArrival::Constant { rate_per_s: 1.0 },
        lengths: LengthsLaw::Independent { prompt: one.clone(), output: one },
        target: Target { model: String::new(), priority: 0, max_model_tokens: 2 },
    };
    let requests = ServiceRequests::Open { config, count: 1 };
    Service { requests, batches: Vec::new(), ..service.clone() }
}
