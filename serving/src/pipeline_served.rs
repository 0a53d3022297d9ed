//! What became of requests that go through several services, one stage after another: for reports.

use serde::Serialize;

use crate::fleet::Refusal;
use crate::metrics::Spread;

const NS_PER_S: f64 = 1e9;

/// Why a stage failed a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Failure {
    /// Its service turned a request away: the queue was full, a router foresaw that it would be late, or it could never be served.
    Refused,
    /// It waited too long.
    TimedOut,
    /// Its replica was lost.
    ReplicaLost,
    /// No replica was there to serve it.
    NoReplica,
}

impl Failure {
    /// As it is written in tables and files.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::TimedOut => "timed_out",
            Self::ReplicaLost => "replica_lost",
            Self::NoReplica => "no_replica",
        }
    }
}

impl From<Refusal> for Failure {
    fn from(why: Refusal) -> Self {
        match why {
            Refusal::TimedOut => Self::TimedOut,
            Refusal::ReplicaLost => Self::ReplicaLost,
            Refusal::NoReplica => Self::NoReplica,
            Refusal::Replica(_)
            | Refusal::QueueFull
            | Refusal::FirstTokenTooLate
            | Refusal::TokensTooSlow => Self::Refused,
        }
    }
}

/// How a request of a pipeline ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PipelineEnding {
    /// All stages were done.
    Answered,
    /// A stage failed it, the first that did.
    Failed {
        /// Which, by its place.
        stage: u32,
        /// Why.
        why: Failure,
    },
}

/// What became of a request of a pipeline.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PipelineRequest {
    /// When it arrived.
    pub arrival_ns: u64,
    /// When its last stage was done, or a stage failed it.
    pub finished_ns: u64,
    /// How.
    pub ending: PipelineEnding,
}

impl PipelineRequest {
    /// From arrival to answer, if it got one.
    pub const fn latency_ns(&self) -> Option<u64> {
        match self.ending {
            PipelineEnding::Answered => Some(self.finished_ns - self.arrival_ns),
            PipelineEnding::Failed { .. } => None,
        }
    }
}

/// How a stage of a request ended.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum StageEnding {
    /// It never began: the request had failed before.
    #[default]
    NotReached,
    /// The request did not need it.
    Skipped,
    /// All of its requests were answered.
    Answered,
    /// One of them was not.
    Failed(Failure),
}

/// A stage of a request.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct StageRun {
    /// How it ended.
    pub ending: StageEnding,
    /// When the stages that it depends on were done, and its requests were sent.
    pub sent_ns: u64,
    /// When the last of its requests ended. Of one that was skipped when it was sent.
    pub ended_ns: u64,
    /// The request that ended last, by its number in the service; the first of several.
    pub last_request: Option<u32>,
    /// From when that was sent until it was first part of a batch. Tries that failed before count.
    pub waiting_ns: u64,
}

impl StageRun {
    /// From when its requests were sent until the last had ended.
    pub const fn latency_ns(&self) -> u64 {
        self.ended_ns - self.sent_ns
    }
}

/// A stage of a pipeline.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PipelineStage {
    /// Its name.
    pub name: String,
    /// The service that it asks.
    pub service: String,
    /// The stages that it depends on, by their places: all are before it or behind it, and none depends on itself.
    pub after: Vec<u32>,
    /// Requests that it sends for each of the pipeline's.
    pub requests: u32,
}

/// What a stage came to.
#[derive(Clone, PartialEq, Default, Debug, Serialize)]
pub struct StageSummary {
    /// Its name.
    pub stage: String,
    /// The service that it asks.
    pub service: String,
    /// Requests of the pipeline that it was done for.
    pub answered: u64,
    /// Those that did not need it.
    pub skipped: u64,
    /// Those that it failed, as the first stage that did.
    pub failed: u64,
    /// Seconds from when its requests were sent until all were answered, over those that it was done for.
    pub latency_s: Spread,
    /// Seconds until its last request to end was first part of a batch, over the same, on average.
    pub waiting_s: f64,
    /// Seconds of answered requests that went by while they were held up by this stage, over all that were answered, on average: the stage was the last to end
    /// of those that something waited for. Stages come to the mean latency of the pipeline.
    pub critical_s: f64,
    /// Of these, those until its last request to end was first part of a batch.
    pub critical_waiting_s: f64,
    /// Share of the mean latency of the pipeline.
    pub critical_share: f64,
}

/// What a pipeline came to.
#[derive(Clone, PartialEq, Default, Debug, Serialize)]
pub struct PipelineSummary {
    /// Requests that arrived.
    pub arrived: u64,
    /// Requests that were answered.
    pub answered: u64,
    /// Requests that a stage failed.
    pub failed: u64,
    /// From the first arrival until the last request ended.
    pub duration_s: f64,
    /// Answers a second.
    pub requests_per_s: f64,
    /// Requests in the pipeline over that time, on average; those that fail until they do.
    pub concurrency: f64,
    /// From arrival to answer.
    pub latency_s: Spread,
    /// Requests that kept the promise, of all. All that were answered where nothing is promised.
    pub slo_attainment: f64,
    /// The same a second.
    pub goodput_per_s: f64,
    /// Stages, in their order.
    pub stages: Vec<StageSummary>,
}

/// What became of a pipeline.
#[derive(Clone, PartialEq, Debug)]
pub struct PipelineServed {
    /// Its name.
    pub pipeline: String,
    /// Its stages.
    pub stages: Vec<PipelineStage>,
    /// Time to the answer that was promised.
    pub latency_objective_s: Option<f64>,
    /// What it came to.
    pub summary: PipelineSummary,
    /// Requests, in order of arrival.
    pub requests: Vec<PipelineRequest>,
    /// Their stages: those of the first request, those of the second, and so on.
    pub runs: Vec<StageRun>,
}

impl PipelineServed {
    /// Of all requests of a pipeline and their stages. `requests_ns` are nanoseconds that requests were in it, summed up.
    pub fn new(
        pipeline: &str,
        stages: Vec<PipelineStage>,
        latency_objective_s: Option<f64>,
        (requests, runs): (Vec<PipelineRequest>, Vec<StageRun>),
        requests_ns: u128,
    ) -> Self {
        let mut served = Self {
            pipeline: pipeline.to_owned(),
            stages,
            latency_objective_s,
            summary: PipelineSummary::default(),
            requests,
            runs,
        };
        served.summary = served.summed_up(requests_ns);
        served
    }

    /// The stages of a request.
    pub fn runs_of(&self, request: usize) -> &[StageRun] {
        let count = self.stages.len();
        self.runs.get(request * count..(request + 1) * count).unwrap_or_default()
    }

    /// The stages that held up an answered request, the last first: of the stages that something waited for the one that ended last, the first of several.
    /// Each began when the next ended, so that they come to the whole latency.
    pub fn critical(&self, request: usize) -> impl Iterator<Item = u32> + '_ {
        let runs = self.runs_of(request);
        let last = move |of: &mut dyn Iterator<Item = u32>| {
            of.max_by_key(|&stage| (runs[stage as usize].ended_ns, std::cmp::Reverse(stage)))
        };
        let is_answered = self.requests.get(request).is_some_and(|one| one.latency_ns().is_some());
        let end = if is_answered { last(&mut (0..self.stages.len() as u32)) } else { None };
        std::iter::successors(end, move |&stage| last(&mut self.stages[stage as usize].after.iter().copied()))
    }

    fn summed_up(&self, requests_ns: u128) -> PipelineSummary {
        let first_ns = self.requests.iter().map(|one| one.arrival_ns).min().unwrap_or(0);
        let last_ns = self.requests.iter().map(|one| one.finished_ns).max().unwrap_or(0);
        let span_ns = last_ns.saturating_sub(first_ns) as f64;
        let share = |part: f64, whole: f64| if whole > 0.0 { part / whole } else { 0.0 };
        let per_s = |count: u64| share(count as f64, span_ns / NS_PER_S);
        let seconds = |nanos: u64| nanos as f64 / NS_PER_S;
        let latencies: Vec<f64> =
            self.requests.iter().filter_map(PipelineRequest::latency_ns).map(seconds).collect();
        let answered = latencies.len() as u64;
        let limit_s = self.latency_objective_s.unwrap_or(f64::INFINITY);
        let kept = latencies.iter().filter(|&&latency_s| latency_s <= limit_s).count() as u64;
        let latency_s = Spread::of(latencies);
        let mut critical_ns = vec![(0_u128, 0_u128); self.stages.len()];
        for request in 0..self.requests.len() {
            for stage in self.critical(request) {
                let run = self.runs_of(request)[stage as usize];
                let of = &mut critical_ns[stage as usize];
                *of = (of.0 + u128::from(run.latency_ns()), of.1 + u128::from(run.waiting_ns));
            }
        }
        let all_ns: u128 = critical_ns.iter().map(|of| of.0).sum();
        let each_s = |nanos: u128| share(nanos as f64 / NS_PER_S, answered as f64);
        let of_stage = |place: usize| {
            let stage = &self.stages[place];
            let runs = self.runs.iter().skip(place).step_by(self.stages.len());
            let done = runs.clone().filter(|run| run.ending == StageEnding::Answered);
            let waiting_ns: u128 = done.clone().map(|run| u128::from(run.waiting_ns)).sum();
            let latency_s = Spread::of(done.map(|run| seconds(run.latency_ns())).collect());
            let failed = self.requests.iter().filter(
                |one| matches!(one.ending, PipelineEnding::Failed { stage, .. } if stage as usize == place),
            );
            StageSummary {
                stage: stage.name.clone(),
                service: stage.service.clone(),
                answered: latency_s.count,
                skipped: runs.filter(|run| run.ending == StageEnding::Skipped).count() as u64,
                failed: failed.count() as u64,
                latency_s,
                waiting_s: share(waiting_ns as f64 / NS_PER_S, latency_s.count as f64),
                critical_s: each_s(critical_ns[place].0),
                critical_waiting_s: each_s(critical_ns[place].1),
                critical_share: share(critical_ns[place].0 as f64, all_ns as f64),
            }
        };
        PipelineSummary {
            arrived: self.requests.len() as u64,
            answered,
            failed: self.requests.len() as u64 - answered,
            duration_s: span_ns / NS_PER_S,
            requests_per_s: per_s(answered),
            concurrency: share(requests_ns as f64, span_ns),
            latency_s,
            slo_attainment: share(kept as f64, self.requests.len() as f64),
            goodput_per_s: per_s(kept),
            stages: (0..self.stages.len()).map(of_stage).collect(),
        }
    }
}
