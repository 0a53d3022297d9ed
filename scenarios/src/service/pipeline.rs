//! Requests that go through several services, one stage after another.
//!
//! Services that stages ask have one clock: whatever happens next at any of them happens next. When the requests of a stage have ended, the stages that
//! wait for it send theirs in the same instant.

use std::collections::BTreeMap;

use foretell_serving::pipeline_served::{
    PipelineEnding, PipelineRequest, PipelineServed, PipelineStage, StageEnding, StageRun,
};
use foretell_serving::policies::route::mixed;
use foretell_traces::requests::RequestRecord;
use foretell_traces::requests::generate::{RequestGenerator, RequestGeneratorConfig};
use foretell_traces::requests::record::MAX_TOKENS;

use super::ServiceRequests;
use super::replica::ServiceError;
use super::source::{Ended, Sender};
use super::stream::Stream;

/// Services that a request goes through.
#[derive(Debug, Clone, PartialEq)]
pub struct Pipeline {
    /// Its name.
    pub name: String,
    /// Where requests come from.
    pub requests: ServiceRequests,
    /// Its stages, one at least. None depends on itself, directly or not.
    pub stages: Vec<Stage>,
    /// Time to the answer that is promised.
    pub latency_objective_s: Option<f64>,
}

/// A stage of a pipeline.
#[derive(Debug, Clone, PartialEq)]
pub struct Stage {
    /// Its name.
    pub name: String,
    /// The service that it asks.
    pub service: String,
    /// Stages that must be done before it begins, by their places.
    pub after: Vec<usize>,
    /// Requests that it sends at once.
    pub requests: u32,
    /// Share of the pipeline's requests that need it.
    pub probability: f64,
    /// Tokens of its prompts and answers; of what the pipeline's request says if there is no law.
    pub lengths: StageLengths,
    /// Whether answers of the stages in `after` become part of its prompts.
    pub adds_answers: bool,
}

/// Tokens of what a stage sends and gets.
#[derive(Debug, Clone, PartialEq)]
pub struct StageLengths {
    /// Both drawn; only one of them counts where the other is that of the pipeline's request.
    pub drawn: Option<RequestGeneratorConfig>,
    /// Whether the drawn prompt counts.
    pub has_prompt: bool,
    /// Whether the drawn answer counts.
    pub has_output: bool,
}

/// Sets draws of pipelines apart from those of services.
const DRAWS: u64 = 0x7069_7065_6c69_6e65;

/// A request that a stage sends to a service.
pub(super) struct Sent {
    pub(super) record: RequestRecord,
    pub(super) by: Sender,
}

/// A stage of a request that is under way.
#[derive(Default)]
struct Under {
    /// Stages that it still waits for.
    waits: u32,
    /// Its requests that have not ended.
    outstanding: u32,
    /// Whether it is skipped.
    is_skipped: bool,
    /// Tokens of prompts and answers of its requests, as drawn.
    lengths: Vec<(u32, u32)>,
    /// Tokens of all its answers.
    answer_tokens: u32,
}

/// A request that is under way.
struct Progress {
    record: RequestRecord,
    stages: Vec<Under>,
    /// Stages that are not done.
    left: usize,
    /// Requests of stages that have not ended.
    outstanding: u32,
    has_failed: bool,
}

impl Progress {
    /// A stage is done, for which these wait; those that wait for nothing any more are added to `ready`.
    fn done(&mut self, before: &[usize], ready: &mut Vec<usize>) {
        self.left -= 1;
        for &next in before {
            self.stages[next].waits -= 1;
            if self.stages[next].waits == 0 {
                ready.push(next);
            }
        }
    }
}

/// A pipeline in a run.
pub(super) struct Flowing<'a> {
    place: u32,
    pipeline: &'a Pipeline,
    seed: u64,
    entry: Stream,
    /// By stage.
    lengths: Vec<Option<RequestGenerator>>,
    /// By stage: those that wait for it.
    before: Vec<Vec<usize>>,
    under_way: BTreeMap<u32, Progress>,
    requests: Vec<PipelineRequest>,
    runs: Vec<StageRun>,
    /// Requests that are in it, since when, and how long requests were before.
    present: u64,
    since_ns: u64,
    requests_ns: u128,
}

impl<'a> Flowing<'a> {
    pub(super) fn new(place: u32, pipeline: &'a Pipeline, seed: u64) -> Result<Self, ServiceError> {
        let seed = mixed(seed ^ DRAWS);
        let drawn = |(stage, number): (&Stage, u64)| {
            let config = stage.lengths.drawn.as_ref();
            config.map(|config| RequestGenerator::new(config, mixed(seed ^ mixed(number)))).transpose()
        };
        let mut before = vec![Vec::new(); pipeline.stages.len()];
        for (place, stage) in pipeline.stages.iter().enumerate() {
            stage.after.iter().for_each(|&after| before[after].push(place));
        }
        Ok(Self {
            place,
            pipeline,
            seed,
            entry: Stream::new(&pipeline.requests, seed)?,
            lengths: pipeline.stages.iter().zip(1..).map(drawn).collect::<Result<_, _>>()?,
            before,
            under_way: BTreeMap::new(),
            requests: Vec::new(),
            runs: Vec::new(),
            present: 0,
            since_ns: 0,
            requests_ns: 0,
        })
    }

    /// When the next request arrives.
    pub(super) fn next_ns(&self) -> Option<u64> {
        self.entry.next_ns()
    }

    /// Whether requests are there, or may still come.
    pub(super) fn is_busy(&self) -> bool {
        !self.under_way.is_empty() || self.entry.next_ns().is_some()
    }

    fn count(&mut self, now_ns: u64) {
        let passed_ns = now_ns.saturating_sub(self.since_ns);
        self.requests_ns += u128::from(passed_ns) * u128::from(self.present);
        self.since_ns += passed_ns;
    }

    /// The next request arrives.
    pub(super) fn enter(&mut self, sends: &mut Vec<Sent>) {
        let Some(record) = self.entry.take() else { return };
        let (number, now_ns) = (self.requests.len() as u32, record.arrival_ns);
        self.count(now_ns);
        self.present += 1;
        let ending = PipelineEnding::Answered;
        self.requests.push(PipelineRequest { arrival_ns: now_ns, finished_ns: now_ns, ending });
        let stages: Vec<Under> =
            (0..self.pipeline.stages.len()).map(|stage| self.drawn(number, stage)).collect();
        self.runs.resize(self.runs.len() + stages.len(), StageRun::default());
        let left = stages.len();
        let progress = Progress { record, stages, left, outstanding: 0, has_failed: false };
        self.under_way.insert(number, progress);
        let ready = (0..left).filter(|&stage| self.pipeline.stages[stage].after.is_empty()).collect();
        self.begin(number, ready, now_ns, sends);
    }

    /// A stage of a new request. Whether it is skipped or not, what is drawn for the others is the same.
    fn drawn(&mut self, request: u32, place: usize) -> Under {
        let stage = &self.pipeline.stages[place];
        let lengths = self.lengths[place].as_mut().map_or_else(Vec::new, |drawn| {
            let drawn = drawn.take(stage.requests as usize);
            drawn.map(|one| (one.prompt_tokens, one.output_tokens)).collect()
        });
        let draw = mixed(self.seed ^ mixed((u64::from(request) << 32) | place as u64));
        // As many of the 2^53 numbers that the first bits may be are below.
        let is_skipped = (draw >> 11) as f64 / (1_u64 << 53) as f64 >= stage.probability;
        Under { waits: stage.after.len() as u32, is_skipped, lengths, ..Under::default() }
    }

    /// Stages of a request have nothing left to wait for.
    fn begin(&mut self, request: u32, mut ready: Vec<usize>, now_ns: u64, sends: &mut Vec<Sent>) {
        let mut next = 0;
        while let Some(&place) = ready.get(next) {
            next += 1;
            let Some(progress) = self.under_way.get_mut(&request) else { return };
            let stage = &self.pipeline.stages[place];
            let run = &mut self.runs[request as usize * self.pipeline.stages.len() + place];
            (run.sent_ns, run.ended_ns) = (now_ns, now_ns);
            if progress.stages[place].is_skipped {
                run.ending = StageEnding::Skipped;
                progress.done(&self.before[place], &mut ready);
                continue;
            }
            let answers = stage.after.iter().map(|&after| progress.stages[after].answer_tokens);
            let added = if stage.adds_answers { answers.fold(0, u32::saturating_add) } else { 0 };
            let by = Sender { pipeline: self.place, request, stage: place as u32 };
            for number in 0..stage.requests {
                let drawn = progress.stages[place].lengths.get(number as usize).copied();
                let record = record_of(&progress.record, stage, drawn, added, now_ns, self.place);
                let under = &mut progress.stages[place];
                under.answer_tokens = under.answer_tokens.saturating_add(record.output_tokens);
                sends.push(Sent { record, by });
            }
            progress.stages[place].outstanding = stage.requests;
            progress.outstanding += stage.requests;
        }
        self.leave(request, now_ns);
    }

    /// A request of a stage ended.
    pub(super) fn ended(&mut self, ended: &Ended, sends: &mut Vec<Sent>) {
        let Ended { by: Sender { request, stage, .. }, at_ns, failure } = *ended;
        let Some(progress) = self.under_way.get_mut(&request) else { return };
        let place = stage as usize;
        let run = &mut self.runs[request as usize * self.pipeline.stages.len() + place];
        run.ended_ns = run.ended_ns.max(at_ns);
        progress.outstanding -= 1;
        let under = &mut progress.stages[place];
        under.outstanding -= 1;
        if let Some(why) = failure {
            if !matches!(run.ending, StageEnding::Failed(_)) {
                run.ending = StageEnding::Failed(why);
            }
            if !progress.has_failed {
                progress.has_failed = true;
                self.finish(request, at_ns, PipelineEnding::Failed { stage, why });
            }
        } else if under.outstanding == 0 && run.ending == StageEnding::NotReached {
            run.ending = StageEnding::Answered;
            let mut ready = Vec::new();
            progress.done(&self.before[place], &mut ready);
            if !progress.has_failed {
                self.begin(request, ready, at_ns, sends);
                return;
            }
        }
        self.leave(request, at_ns);
    }

    /// A request is forgotten once all its stages are done, or, if it failed, once all that was sent for it has ended.
    fn leave(&mut self, request: u32, now_ns: u64) {
        let Some(progress) = self.under_way.get(&request) else { return };
        if progress.has_failed && progress.outstanding == 0 {
            self.under_way.remove(&request);
        } else if !progress.has_failed && progress.left == 0 {
            self.finish(request, now_ns, PipelineEnding::Answered);
            self.under_way.remove(&request);
        }
    }

    fn finish(&mut self, request: u32, now_ns: u64, ending: PipelineEnding) {
        self.count(now_ns);
        self.present -= 1;
        let of = &mut self.requests[request as usize];
        (of.finished_ns, of.ending) = (now_ns, ending);
        if let Some(session) = self.under_way.get(&request).and_then(|progress| progress.record.session) {
            self.entry.finished(session, now_ns);
        }
    }

    /// The service of a stage says how long one of its requests waited until it was first part of a batch.
    pub(super) fn waited(&mut self, by: Sender, number: u32, ended_ns: u64, waiting_ns: u64) {
        let run = &mut self.runs[by.request as usize * self.pipeline.stages.len() + by.stage as usize];
        if run.last_request.is_none() && ended_ns == run.ended_ns {
            (run.last_request, run.waiting_ns) = (Some(number), waiting_ns);
        }
    }

    /// What became of its requests.
    pub(super) fn served(mut self) -> Result<PipelineServed, ServiceError> {
        if let Some(error) = self.entry.take_error() {
            return Err(error.into());
        }
        let stages = self.pipeline.stages.iter().map(|stage| PipelineStage {
            name: stage.name.clone(),
            service: stage.service.clone(),
            after: stage.after.iter().map(|&place| place as u32).collect(),
            requests: stage.requests,
        });
        Ok(PipelineServed::new(
            &self.pipeline.name,
            stages.collect(),
            self.pipeline.latency_objective_s,
            (self.requests, self.runs),
            self.requests_ns,
        ))
    }
}

/// What a stage sends.
fn record_of(
    of: &RequestRecord,
    stage: &Stage,
    drawn: Option<(u32, u32)>,
    added: u32,
    now_ns: u64,
    pipeline: u32,
) -> RequestRecord {
    let StageLengths { has_prompt, has_output, .. } = stage.lengths;
    let own_prompt = drawn.filter(|_| has_prompt).map(|(prompt, _)| prompt);
    let output = drawn.filter(|_| has_output).map(|(_, output)| output);
    let mut record = RequestRecord {
        arrival_ns: now_ns,
        prompt_tokens: own_prompt.unwrap_or(of.prompt_tokens).saturating_add(added).min(MAX_TOKENS),
        output_tokens: output.unwrap_or(of.output_tokens),
        // Conversations of different pipelines are different ones.
        session: of.session.map(|session| session | (u64::from(pipeline + 1) << 48)),
        ..of.clone()
    };
    // Beginnings are shared as far as the prompt is that of the pipeline's request; what is answered to it here is not known to be what comes next there.
    record.output_blocks = Box::default();
    if own_prompt.is_some() {
        record.prompt_blocks = Box::default();
        record.block_tokens = 0;
    }
    record
}
