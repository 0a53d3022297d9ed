//! Synthetic requests: open arrivals, conversations of several turns, and users who wait for their answers.
//!
//! All are plain data plus a seed, and each purpose draws from its own stream of the seed, as for
//! [jobs](crate::generate). What depends on when a request is finished is a [`RequestSource`], which a simulation tells.

mod arrival;
mod closed_loop;
mod length;
mod popularity;
mod sessions;

use rand::SeedableRng;
use rand::rngs::ChaCha8Rng;

pub use arrival::{MmppState, RequestArrival};
pub use closed_loop::{ClosedLoop, ClosedLoopConfig, MAX_CLOSED_USERS};
pub use length::{CountLaw, LengthsLaw};
pub use popularity::{Choices, Popularity};
pub use sessions::{Groups, MAX_TURNS, Sessions, SessionsConfig};

use arrival::RequestArrivals;
use length::{LengthStreams, LengthsSampler};

use crate::error::TraceError;
use crate::generate::GenerateError;
use crate::record::check_text;
use crate::requests::record::{Lengths, MAX_ARRIVAL_NS, RequestRecord};

/// Requests that a simulation asks for as it goes.
pub trait RequestSource {
    /// The next request that arrives whatever happens to the others; these come in order of arrival. After an error
    /// there are no more.
    fn next_open(&mut self) -> Option<Result<RequestRecord, TraceError>>;

    /// The request that follows in this session now that its last one is finished; it arrives then or later. To be called
    /// once for every finished request that has a session.
    fn on_finished(&mut self, session: u64, now_ns: u64) -> Option<RequestRecord>;
}

/// Requests that wait for nothing, such as those of a file or of a [`RequestGenerator`].
pub struct Open<I>(pub I);

impl<I: Iterator<Item = Result<RequestRecord, TraceError>>> RequestSource for Open<I> {
    fn next_open(&mut self) -> Option<Result<RequestRecord, TraceError>> {
        self.0.next()
    }

    fn on_finished(&mut self, _session: u64, _now_ns: u64) -> Option<RequestRecord> {
        None
    }
}

/// What all requests of a generator have in common.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The model or service that is asked; `""` = the only one.
    pub model: String,
    /// Priority; higher goes first, 0 is usual.
    pub priority: i32,
    /// Most tokens of prompt and answer together. Longer prompts are cut so that an answer of one token fits, then longer
    /// answers so that both do.
    pub max_model_tokens: u32,
}

impl Target {
    fn validate(&self) -> Result<(), GenerateError> {
        length::check_model_tokens(self.max_model_tokens)?;
        check_text("model", &self.model)
            .map_err(|error| GenerateError::new("model", error.expected, error.got))
    }

    fn request(&self, arrival_ns: u64, lengths: Lengths) -> RequestRecord {
        RequestRecord {
            priority: self.priority,
            model: self.model.as_str().into(),
            ..RequestRecord::new(arrival_ns, lengths.prompt_tokens, lengths.output_tokens)
        }
    }
}

/// Requests that arrive whatever happens to the others.
#[derive(Debug, Clone, PartialEq)]
pub struct RequestGeneratorConfig {
    /// When they arrive.
    pub arrival: RequestArrival,
    /// How long they are.
    pub lengths: LengthsLaw,
    /// Whom they ask.
    pub target: Target,
}

/// One random stream per purpose; a number, once given, keeps its meaning. Those of jobs are others, so that both may
/// have the same seed.
#[derive(Clone, Copy)]
enum Stream {
    Arrivals = 0x100,
    Prompts = 0x101,
    Outputs = 0x102,
}

fn stream(seed: u64, number: u64) -> ChaCha8Rng {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(number);
    rng
}

/// Streams of single sessions and users: purpose `p` of number `k` has `OWN + 8 k + p`.
const OWN: u64 = 1 << 40;

/// What the stream of a session or user is for.
#[derive(Clone, Copy)]
enum Own {
    Shape = 0,
    Prompts = 1,
    Outputs = 2,
    Thinking = 3,
    Choice = 4,
}

fn own_stream(seed: u64, number: u64, purpose: Own) -> ChaCha8Rng {
    stream(seed, OWN + 8 * number + purpose as u64)
}

/// Whole microseconds, in nanoseconds: the last bits of a draw, which differ between mathematical libraries, do not
/// count, and written traces stay short. `None` beyond the latest arrival of a trace.
fn seconds_to_rounded_ns(seconds: f64) -> Option<u64> {
    let us = (seconds * 1e6).round();
    (0.0..=MAX_ARRIVAL_NS as f64 / 1e3).contains(&us).then_some(us as u64 * 1000)
}

/// An iterator of requests in order of arrival; the same configuration and seed give the same requests.
///
/// It has no end of its own (use [`Iterator::take`]), except that it stops before an arrival that no trace may have.
pub struct RequestGenerator {
    arrivals: RequestArrivals,
    lengths: LengthsSampler,
    streams: LengthStreams,
    target: Target,
}

impl RequestGenerator {
    /// Checks the configuration; the error names the first field that cannot be used.
    pub fn new(config: &RequestGeneratorConfig, seed: u64) -> Result<Self, GenerateError> {
        let stream = |purpose: Stream| stream(seed, purpose as u64);
        config.target.validate()?;
        Ok(Self {
            arrivals: RequestArrivals::new(&config.arrival, stream(Stream::Arrivals))?,
            lengths: LengthsSampler::new(&config.lengths, config.target.max_model_tokens)?,
            streams: LengthStreams { prompt: stream(Stream::Prompts), output: stream(Stream::Outputs) },
            target: config.target.clone(),
        })
    }
}

impl Iterator for RequestGenerator {
    type Item = RequestRecord;

    fn next(&mut self) -> Option<RequestRecord> {
        let arrival_ns = seconds_to_rounded_ns(self.arrivals.next_s())?;
        let lengths = self.lengths.sample(&mut self.streams);
        Some(self.target.request(arrival_ns, lengths))
    }
}
