//! Synthetic traces: arrivals, job shapes and run times drawn from named laws.
//!
//! A [`GeneratorConfig`] is plain data; a [`Generator`] turns it and a seed into an endless, streaming sequence of
//! [`JobRecord`]s in submit order. Each purpose (arrivals, sizes, durations, queues, users) draws from its own
//! stream of the seed, so that a change of one law leaves the draws of the others as they were.

mod arrival;
mod duration;
mod preset;

use std::sync::Arc;

pub use arrival::Arrival;
pub use duration::{Duration, DurationLaw};
pub use preset::Preset;

pub(crate) use arrival::{ArrivalSampler, exponential};
pub(crate) use duration::DurationSampler;
use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};
use rand_distr::weighted::WeightedAliasIndex;
use rand_distr::{Distribution, Zipf};

use crate::record::{self, JobRecord, JobStatus};
use crate::scaling::ScalingRecord;

/// Everything that describes a synthetic workload, but for the seed and the number of jobs.
#[derive(Debug, Clone, PartialEq)]
pub struct GeneratorConfig {
    /// When jobs arrive.
    pub arrival: Arrival,
    /// What jobs ask for; one entry is drawn per job, in proportion to its weight. Not empty.
    pub sizes: Vec<Size>,
    /// How long jobs run, unless their [`Size`] says otherwise.
    pub duration: Duration,
    /// Queues to draw from, in proportion to their weights. Empty = every job goes to the default queue `""`.
    pub queues: Vec<Queue>,
    /// Whether each queue has an arrival process of its own, at its share of the rate, so that its bursts are its own;
    /// else one process feeds all queues, and a burst hits them together.
    pub own_arrivals: bool,
    /// Who submits.
    pub users: Users,
}

/// One kind of job: a gang of equal tasks.
#[derive(Debug, Clone, PartialEq)]
pub struct Size {
    /// Relative frequency, above 0; weights need not sum to 1.
    pub weight: f64,
    /// Number of equal tasks.
    pub tasks: u32,
    /// GPUs of one task; 0 = a job without GPUs.
    pub gpus_per_task: u32,
    /// Thousandths of each GPU, 1..=1000; 1000 = whole GPUs. Ignored where `gpus_per_task` is 0.
    pub gpu_milli: u32,
    /// Thousandths of a core per task.
    pub cpu_milli: u64,
    /// Bytes of memory per task.
    pub memory_bytes: u64,
    /// GPU models that the job accepts; empty = any.
    pub gpu_models: Vec<String>,
    /// Run time of jobs of this size, where it differs from [`GeneratorConfig::duration`].
    pub duration: Option<Duration>,
    /// On how many tasks jobs of this size may run, and how fast they are then.
    pub scaling: Option<Arc<ScalingRecord>>,
    /// Deadlines, if any: how many times its run time after its submission a job should be done, drawn evenly between these.
    pub deadline_slack: Option<(f64, f64)>,
}

impl Size {
    /// A size of `tasks` tasks with `gpus_per_task` whole GPUs each and no other request.
    pub fn whole_gpus(weight: f64, tasks: u32, gpus_per_task: u32) -> Self {
        Self {
            weight,
            tasks,
            gpus_per_task,
            gpu_milli: record::WHOLE_GPU_MILLI,
            cpu_milli: 0,
            memory_bytes: 0,
            gpu_models: Vec::new(),
            duration: None,
            scaling: None,
            deadline_slack: None,
        }
    }

    /// GPUs of the whole job; a share counts as its fraction.
    pub fn gpus(&self) -> f64 {
        f64::from(self.tasks) * f64::from(self.gpus_per_task) * f64::from(self.gpu_milli) / 1000.0
    }
}

/// A queue (virtual cluster) and its relative share of jobs.
#[derive(Debug, Clone, PartialEq)]
pub struct Queue {
    /// Name of the queue.
    pub name: String,
    /// Relative frequency, above 0.
    pub weight: f64,
}

/// Users `user-0` .. `user-(count - 1)`; user `k` submits in proportion to `(k + 1)^-zipf_exponent`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Users {
    /// Number of users, up to 1,000,000; 0 = no user names.
    pub count: u32,
    /// Skew: 0 = all users alike, 1 = classic Zipf.
    pub zipf_exponent: f64,
}

/// Most users that a generator keeps names for.
pub const MAX_USERS: u32 = 1_000_000;

/// Why a [`GeneratorConfig`] cannot be used. `field` is the path inside the configuration.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("generator: {field}: expected {expected}, got {got}")]
pub struct GenerateError {
    /// Path of the field, e.g. `sizes[2].weight`.
    pub field: String,
    /// What would have been accepted.
    pub expected: String,
    /// What was given.
    pub got: String,
}

impl GenerateError {
    #[expect(clippy::needless_pass_by_value, reason = "most callers pass temporaries")]
    pub(crate) fn new(field: impl Into<String>, expected: impl Into<String>, got: impl ToString) -> Self {
        Self { field: field.into(), expected: expected.into(), got: got.to_string() }
    }
}

/// Checks that `value` lies in `range` (which no NaN does).
pub(crate) fn check_range(
    field: impl Into<String>,
    value: f64,
    range: std::ops::RangeInclusive<f64>,
) -> Result<(), GenerateError> {
    if range.contains(&value) {
        return Ok(());
    }
    Err(GenerateError::new(field, format!("a number from {} to {}", range.start(), range.end()), value))
}

/// Most times its run time after its submission that a job may be due.
const MAX_SLACK: f64 = 1e6;

/// Smallest and largest weight: far enough apart for any use, near enough that their sum stays exact and finite.
const WEIGHT_RANGE: std::ops::RangeInclusive<f64> = 1e-9..=1e12;

impl GeneratorConfig {
    /// Checks every parameter; the error names the first field that cannot be used.
    pub fn validate(&self) -> Result<(), GenerateError> {
        self.arrival.validate()?;
        self.duration.validate("duration")?;
        if self.sizes.is_empty() {
            return Err(GenerateError::new("sizes", "at least one size", "none"));
        }
        for (i, size) in self.sizes.iter().enumerate() {
            let field = |name: &str| format!("sizes[{i}].{name}");
            check_range(field("weight"), size.weight, WEIGHT_RANGE)?;
            if let Some(duration) = &size.duration {
                duration.validate(&field("duration"))?;
            }
            if let Some((least, most)) = size.deadline_slack {
                check_range(field("deadline.max_slack"), most, 0.0..=MAX_SLACK)?;
                check_range(field("deadline.min_slack"), least, 0.0..=most)?;
            }
            self.job(0, 0.0, 0.0, i, "", "").check().map_err(|e| {
                let scaling = matches!(e.column, "min_tasks" | "max_tasks");
                let prefix = if scaling { "scaling." } else { "" };
                GenerateError::new(field(&format!("{prefix}{}", e.column)), e.expected, e.got)
            })?;
        }
        for (i, queue) in self.queues.iter().enumerate() {
            check_range(format!("queues[{i}].weight"), queue.weight, WEIGHT_RANGE)?;
            record::check_text("queue", &queue.name)
                .map_err(|e| GenerateError::new(format!("queues[{i}].name"), e.expected, e.got))?;
        }
        if self.users.count > MAX_USERS {
            let expected = format!("a whole number from 0 to {MAX_USERS}");
            return Err(GenerateError::new("users.count", expected, self.users.count));
        }
        check_range("users.zipf_exponent", self.users.zipf_exponent, 0.0..=10.0)
    }

    /// Expected GPU-seconds of one job: the mean over sizes of GPUs x mean run time.
    pub fn mean_gpu_seconds(&self) -> f64 {
        let total_weight: f64 = self.sizes.iter().map(|size| size.weight).sum();
        let weighted: f64 = self
            .sizes
            .iter()
            .map(|size| size.weight * size.gpus() * size.duration.as_ref().unwrap_or(&self.duration).mean_s())
            .sum();
        weighted / total_weight
    }

    /// Arrival rate (jobs per second) at which the offered work is `load` (1 = 100 %) of `gpus` GPUs.
    ///
    /// Fails for a workload without GPU work, and for a load or a number of GPUs that is not above 0.
    pub fn rate_for_load(&self, load: f64, gpus: u64) -> Result<f64, GenerateError> {
        check_range("load", load, 1e-9..=1e3)?;
        if gpus == 0 {
            return Err(GenerateError::new("gpus", "at least one GPU", gpus));
        }
        let mean_gpu_seconds = self.mean_gpu_seconds();
        if mean_gpu_seconds > 0.0 {
            Ok(load * gpus as f64 / mean_gpu_seconds)
        } else {
            Err(GenerateError::new("sizes", "at least one size with GPUs and a run time", "none"))
        }
    }

    fn job(
        &self,
        number: u64,
        submit_s: f64,
        duration_s: f64,
        size: usize,
        queue: &str,
        user: &str,
    ) -> JobRecord {
        let size = &self.sizes[size];
        JobRecord {
            id: format!("job-{number}").into(),
            user: user.into(),
            queue: queue.into(),
            submit_s,
            duration_s,
            tasks: size.tasks,
            gpus_per_task: size.gpus_per_task,
            gpu_milli: if size.gpus_per_task == 0 { 0 } else { size.gpu_milli },
            cpu_milli: size.cpu_milli,
            memory_bytes: size.memory_bytes,
            gpu_models: size.gpu_models.clone(),
            priority: 0,
            status: JobStatus::Completed,
            account: Box::default(),
            qos: Box::default(),
            limit_s: None,
            scaling: size.scaling.clone(),
            deadline_s: None,
        }
    }
}

/// One random stream per purpose; a number, once given, keeps its meaning.
#[derive(Clone, Copy)]
enum Stream {
    Arrivals = 0,
    Sizes = 1,
    Durations = 2,
    Queues = 3,
    Users = 4,
    Deadlines = 5,
}

fn stream(seed: u64, stream: Stream) -> ChaCha8Rng {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(stream as u64);
    rng
}

/// The first stream of arrivals of single queues: queue `k` has `OWN_ARRIVALS + k`.
const OWN_ARRIVALS: u64 = 1 << 32;

/// An arrival process, its next arrival, and the queue that it feeds if it feeds only one.
struct Arrivals {
    sampler: ArrivalSampler,
    rng: ChaCha8Rng,
    next_s: f64,
    queue: Option<usize>,
}

impl Arrivals {
    fn of(config: &GeneratorConfig, seed: u64) -> Result<Vec<Self>, GenerateError> {
        if !config.own_arrivals || config.queues.is_empty() {
            return Ok(vec![Self::new(&config.arrival, stream(seed, Stream::Arrivals), None)?]);
        }
        let total: f64 = config.queues.iter().map(|queue| queue.weight).sum();
        let own = config.queues.iter().enumerate().map(|(index, queue)| {
            let rate_per_s = config.arrival.rate_per_s() * queue.weight / total;
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            rng.set_stream(OWN_ARRIVALS + index as u64);
            Self::new(&config.arrival.with_rate_per_s(rate_per_s), rng, Some(index))
        });
        own.collect()
    }

    fn new(arrival: &Arrival, rng: ChaCha8Rng, queue: Option<usize>) -> Result<Self, GenerateError> {
        let mut arrivals = Self { sampler: ArrivalSampler::new(arrival)?, rng, next_s: 0.0, queue };
        arrivals.advance();
        Ok(arrivals)
    }

    fn advance(&mut self) {
        self.next_s = self.sampler.next_arrival_s(&mut self.rng);
    }
}

/// A law, and the random stream that it alone draws from.
struct Drawn<D> {
    law: D,
    rng: ChaCha8Rng,
}

impl<D> Drawn<D> {
    fn new(law: D, seed: u64, purpose: Stream) -> Self {
        Self { law, rng: stream(seed, purpose) }
    }

    fn draw<T>(&mut self) -> T
    where
        D: Distribution<T>,
    {
        self.law.sample(&mut self.rng)
    }
}

/// An iterator of synthetic jobs in submit order; the same configuration and seed give the same jobs.
///
/// It has no end of its own (use [`Iterator::take`]), except that it stops before a submit time above
/// [`record::MAX_TIME_S`]. Times are whole milliseconds, which hides the last-bit differences between platforms'
/// mathematical libraries and keeps written traces short.
pub struct Generator {
    config: GeneratorConfig,
    /// One that feeds all queues, or one per queue.
    arrivals: Vec<Arrivals>,
    sizes: Drawn<WeightedAliasIndex<f64>>,
    /// The common law first, then those of sizes that have their own.
    durations: Vec<DurationSampler>,
    duration_of_size: Vec<usize>,
    durations_rng: ChaCha8Rng,
    deadlines_rng: ChaCha8Rng,
    queues: Option<Drawn<WeightedAliasIndex<f64>>>,
    users: Option<Drawn<Zipf<f64>>>,
    user_names: Vec<Box<str>>,
    next_number: u64,
}

impl Generator {
    /// Validates `config` and starts at time 0 with job 0.
    pub fn new(config: GeneratorConfig, seed: u64) -> Result<Self, GenerateError> {
        config.validate()?;
        let alias_index = |weights: Vec<f64>, field: &str| {
            WeightedAliasIndex::new(weights).map_err(|e| GenerateError::new(field, "usable weights", e))
        };
        let sizes = alias_index(config.sizes.iter().map(|size| size.weight).collect(), "sizes")?;
        let queues = if config.queues.is_empty() || config.own_arrivals {
            None
        } else {
            let weights = config.queues.iter().map(|queue| queue.weight).collect();
            Some(Drawn::new(alias_index(weights, "queues")?, seed, Stream::Queues))
        };
        let users = if config.users.count == 0 {
            None
        } else {
            let law = Zipf::new(f64::from(config.users.count), config.users.zipf_exponent)
                .map_err(|e| GenerateError::new("users", "a usable Zipf law", e))?;
            Some(Drawn::new(law, seed, Stream::Users))
        };

        let mut durations = vec![DurationSampler::new(&config.duration)?];
        let mut duration_of_size = Vec::with_capacity(config.sizes.len());
        for size in &config.sizes {
            duration_of_size.push(match &size.duration {
                None => 0,
                Some(own) => {
                    durations.push(DurationSampler::new(own)?);
                    durations.len() - 1
                }
            });
        }
        Ok(Self {
            arrivals: Arrivals::of(&config, seed)?,
            sizes: Drawn::new(sizes, seed, Stream::Sizes),
            durations,
            duration_of_size,
            durations_rng: stream(seed, Stream::Durations),
            deadlines_rng: stream(seed, Stream::Deadlines),
            queues,
            users,
            user_names: (0..config.users.count).map(|k| format!("user-{k}").into()).collect(),
            next_number: 0,
            config,
        })
    }
}

/// Rounds to whole milliseconds.
fn round_to_ms(seconds: f64) -> f64 {
    (seconds * 1000.0).round() / 1000.0
}

impl Generator {
    /// The next job, and which of [`GeneratorConfig::sizes`] it is of.
    pub fn next_with_size(&mut self) -> Option<(JobRecord, usize)> {
        // The earliest; of those at one time, the first queue's.
        let next = |one: &&mut Arrivals, other: &&mut Arrivals| one.next_s.total_cmp(&other.next_s);
        let arrivals = self.arrivals.iter_mut().min_by(next)?;
        let (submit_s, own_queue) = (arrivals.next_s, arrivals.queue);
        arrivals.advance();
        if submit_s > record::MAX_TIME_S {
            return None;
        }
        let size: usize = self.sizes.draw();
        let duration_s = self.durations[self.duration_of_size[size]].sample(&mut self.durations_rng);
        let queue = match &mut self.queues {
            Some(queues) => Some(queues.draw()),
            None => own_queue,
        };
        let queue = queue.map_or("", |queue| self.config.queues[queue].name.as_str());
        let user = match &mut self.users {
            // Zipf draws a rank from 1.
            Some(users) => &self.user_names[users.draw() as usize - 1],
            None => "",
        };
        let number = self.next_number;
        self.next_number += 1;
        let (submit_s, duration_s) = (round_to_ms(submit_s), round_to_ms(duration_s));
        let slack = self.config.sizes[size].deadline_slack;
        let deadline_s = slack.map(|(least, most)| {
            let slack: f64 = self.deadlines_rng.random_range(least..=most);
            round_to_ms(submit_s + slack * duration_s).min(record::MAX_TIME_S)
        });
        let job = self.config.job(number, submit_s, duration_s, size, queue, user);
        Some((JobRecord { deadline_s, ..job }, size))
    }
}

impl Iterator for Generator {
    type Item = JobRecord;

    fn next(&mut self) -> Option<JobRecord> {
        self.next_with_size().map(|(job, _)| job)
    }
}
