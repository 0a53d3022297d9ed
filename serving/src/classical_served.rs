//! What became of a classical model's requests: for reports.

use foretell_serving_policies::Refusal;
use serde::Serialize;

use crate::metrics::Spread;

const NS_PER_S: f64 = 1e9;

/// A replica that served.
#[derive(Clone, PartialEq, Debug)]
pub struct ClassicalServedBy {
    /// Its number, from 0.
    pub replica: u32,
    /// Seconds from the beginning until its pod ran.
    pub placed_s: f64,
    /// Seconds from the beginning until it served.
    pub ready_s: f64,
    /// The model of its GPU.
    pub gpu: String,
    /// Dollars for an hour of all of that, where they are known.
    pub price_per_gpu_hour: Option<f64>,
}

/// How a request ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ending {
    /// It got its answer.
    Done {
        /// When its batch began.
        dispatched_ns: u64,
        /// Items of its batch.
        batch_size: u32,
    },
    /// It waited too long.
    TimedOut,
    /// It was refused on arrival.
    Refused(Refusal),
}

/// What became of a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ClassicalEnd {
    /// Its number, from 0.
    pub request: u32,
    /// The place of its replica in [`ClassicalServed::replicas`].
    pub replica: u32,
    /// Its level of priority; 0 where there are none.
    pub priority_level: u32,
    /// When it arrived.
    pub arrival_ns: u64,
    /// When it had its answer, or its refusal.
    pub finished_ns: u64,
    /// How.
    pub ending: Ending,
}

impl ClassicalEnd {
    /// From arrival to answer, if it got one.
    pub const fn latency_ns(&self) -> Option<u64> {
        match self.ending {
            Ending::Done { .. } => Some(self.finished_ns - self.arrival_ns),
            Ending::TimedOut | Ending::Refused(_) => None,
        }
    }

    /// Whether it got its answer within so long.
    pub fn keeps(&self, limit_s: f64) -> bool {
        self.latency_ns().is_some_and(|nanos| nanos as f64 / NS_PER_S <= limit_s)
    }
}

/// What replicas executed, all together.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Executed {
    /// Batches.
    pub batches: u64,
    /// Requests in them.
    pub requests: u64,
    /// Nanoseconds of GPUs that they took.
    pub gpu_ns: u64,
}

/// What a service came to.
#[derive(Clone, PartialEq, Default, Debug, Serialize)]
pub struct ClassicalSummary {
    /// Requests that got their answers.
    pub requests: u64,
    /// Requests that waited too long.
    pub timed_out: u64,
    /// Requests that were refused on arrival.
    pub refused: u64,
    /// From the first arrival until the last request ended.
    pub duration_s: f64,
    /// Answers a second.
    pub requests_per_s: f64,
    /// From arrival to answer.
    pub latency_s: Spread,
    /// From arrival until the batch began.
    pub queue_s: Spread,
    /// The latency of each level of priority; empty where there are none.
    pub level_latency_s: Vec<Spread>,
    /// Batches that were executed.
    pub batches: u64,
    /// Requests of a batch on average.
    pub batch_size: f64,
    /// Share of the time of what replicas have of GPUs that batches took.
    pub gpu_busy_share: f64,
    /// Requests that kept the promise, of all. All that got their answers where nothing is promised.
    pub slo_attainment: f64,
    /// The same a second.
    pub goodput_per_s: f64,
}

impl ClassicalSummary {
    /// Of all requests of a service.
    pub fn new(
        ends: &[ClassicalEnd],
        executed: &Executed,
        replicas: usize,
        levels: u32,
        latency_objective_s: Option<f64>,
    ) -> Self {
        let first_ns = ends.iter().map(|end| end.arrival_ns).min().unwrap_or(0);
        let last_ns = ends.iter().map(|end| end.finished_ns).max().unwrap_or(0);
        let span_ns = last_ns.saturating_sub(first_ns) as f64;
        let share = |part: f64, whole: f64| if whole > 0.0 { part / whole } else { 0.0 };
        let per_s = |count: u64| share(count as f64, span_ns / NS_PER_S);
        let latencies = |of: &dyn Fn(&ClassicalEnd) -> bool| {
            let chosen = ends.iter().filter(|end| of(end));
            let seconds = chosen.filter_map(ClassicalEnd::latency_ns).map(|nanos| nanos as f64 / NS_PER_S);
            Spread::of(seconds.collect())
        };
        let queueing = ends.iter().filter_map(|end| match end.ending {
            Ending::Done { dispatched_ns, .. } => Some((dispatched_ns - end.arrival_ns) as f64 / NS_PER_S),
            Ending::TimedOut | Ending::Refused(_) => None,
        });
        let count = |of: fn(&Ending) -> bool| ends.iter().filter(|end| of(&end.ending)).count() as u64;
        let requests = count(|ending| matches!(ending, Ending::Done { .. }));
        let limit_s = latency_objective_s.unwrap_or(f64::INFINITY);
        let kept = ends.iter().filter(|end| end.keeps(limit_s)).count() as u64;
        Self {
            requests,
            timed_out: count(|ending| matches!(ending, Ending::TimedOut)),
            refused: count(|ending| matches!(ending, Ending::Refused(_))),
            duration_s: span_ns / NS_PER_S,
            requests_per_s: per_s(requests),
            latency_s: latencies(&|_| true),
            queue_s: Spread::of(queueing.collect()),
            level_latency_s: (1..=levels)
                .map(|level| latencies(&|end: &ClassicalEnd| end.priority_level == level))
                .collect(),
            batches: executed.batches,
            batch_size: share(executed.requests as f64, executed.batches as f64),
            gpu_busy_share: share(executed.gpu_ns as f64, span_ns * replicas as f64),
            slo_attainment: share(kept as f64, ends.len() as f64),
            goodput_per_s: per_s(kept),
        }
    }
}

/// What became of a service.
#[derive(Clone, PartialEq, Debug)]
pub struct ClassicalServed {
    /// Its name.
    pub service: String,
    /// Instances of each replica.
    pub instances: u32,
    /// Requests of a batch, at most.
    pub max_batch_size: u32,
    /// What each replica has of a GPU, in thousandths.
    pub gpu_milli: u32,
    /// Time to the answer that was promised.
    pub latency_objective_s: Option<f64>,
    /// What it came to.
    pub summary: ClassicalSummary,
    /// Requests, in their order.
    pub ends: Vec<ClassicalEnd>,
    /// Replicas that served.
    pub replicas: Vec<ClassicalServedBy>,
}
