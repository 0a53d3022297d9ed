//! The jobs: Gavel's generator, and its trace files.

use std::path::Path;

use super::random::PythonRandom;
use super::throughputs::{GPU_TYPES, Throughputs};
use crate::DataError;

/// A job.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Job {
    /// Its kind, by number.
    pub(super) kind: usize,
    /// Steps to run.
    pub(super) steps: f64,
    /// When it arrives.
    pub(super) arrival_s: f64,
}

/// The models with their batch sizes, in the order in which Gavel's generator chooses, and whether they run on several
/// GPUs.
const MODELS: [(&str, &[u32], bool); 7] = [
    ("ResNet-18", &[16, 32, 64, 128, 256], true),
    ("ResNet-50", &[16, 32, 64, 128], true),
    ("Transformer", &[16, 32, 64, 128, 256], true),
    ("A3C", &[], false),
    ("LM", &[5, 10, 20, 40, 80], true),
    ("Recommendation", &[512, 1024, 2048, 4096, 8192], false),
    ("CycleGAN", &[], false),
];

/// What Gavel adds to the seed of an experiment for each of its random streams.
const JOB_STREAM: u64 = 2;
const ARRIVAL_STREAM: u64 = 3;

/// Gavel's generator of jobs.
pub(super) struct Generator<'a> {
    throughputs: &'a Throughputs,
    models: Vec<(String, bool)>,
    /// Draws GPUs, duration and model of a job, in this order.
    random: PythonRandom,
    multi_gpu: bool,
}

impl<'a> Generator<'a> {
    pub(super) fn new(throughputs: &'a Throughputs, seed: u64, multi_gpu: bool) -> Self {
        let models = MODELS.iter().flat_map(|&(model, batch_sizes, is_distributed)| {
            let names: Vec<String> = match batch_sizes {
                [] => vec![model.to_owned()],
                sizes => sizes.iter().map(|size| format!("{model} (batch size {size})")).collect(),
            };
            names.into_iter().map(move |name| (name, is_distributed))
        });
        Self {
            throughputs,
            models: models.collect(),
            random: PythonRandom::new(seed + JOB_STREAM),
            multi_gpu,
        }
    }

    /// The next job, or the kind that has no measured throughput.
    fn next_job(&mut self, arrival_s: f64) -> Result<Job, String> {
        let drawn = self.random.uniform(0.0, 1.0);
        let scale_factor = match drawn {
            ..0.7 => 1,
            ..=0.8 => 2,
            ..=0.95 => 4,
            _ => 8,
        };
        let scale_factor = if self.multi_gpu { scale_factor } else { 1 };
        let exponents = if self.random.unit() >= 0.8 { (3.0, 4.0) } else { (1.5, 3.0) };
        let duration_s = 60.0 * 10_f64.powf(self.random.uniform(exponents.0, exponents.1));
        let model = loop {
            let (model, is_distributed) = &self.models[self.random.below(self.models.len())];
            if scale_factor == 1 || *is_distributed {
                break model;
            }
        };
        let kind = (model.clone(), scale_factor);
        let kind = self.throughputs.kind(&kind).ok_or_else(|| format!("{kind:?}"))?;
        // Durations are those on the fastest type.
        Ok(Job { kind, steps: duration_s * self.throughputs.alone(kind)[0], arrival_s })
    }

    /// Jobs that are all there from the beginning.
    pub(super) fn at_once(mut self, jobs: usize) -> Result<Vec<Job>, String> {
        (0..jobs).map(|_| self.next_job(0.0)).collect()
    }

    /// Jobs that arrive at random, the first at once.
    pub(super) fn over_time(mut self, jobs: usize, rate_per_h: f64, seed: u64) -> Result<Vec<Job>, String> {
        let mut arrivals = PythonRandom::new(seed + ARRIVAL_STREAM);
        let mut now_s = 0.0;
        let mut made = Vec::with_capacity(jobs);
        for _ in 0..jobs {
            made.push(self.next_job(now_s)?);
            now_s += arrivals.exponential(rate_per_h / 3600.0);
        }
        Ok(made)
    }
}

/// Reads a trace: tab-separated lines. Per-VC traces have job type, command, name of the steps flag, needs-data flag,
/// steps, arrival and scale factor; physical traces have job type, command, directory, name of the steps flag,
/// needs-data flag, steps, scale factor, priority, SLO and arrival.
pub(super) fn parse_trace(
    path: &Path,
    text: &str,
    throughputs: &mut Throughputs,
) -> Result<Vec<Job>, DataError> {
    let mut jobs = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let bad = |expected: &str| DataError::Line {
            path: path.to_owned(),
            line: index as u64 + 1,
            expected: expected.to_owned(),
        };
        let fields: Vec<&str> = line.split('\t').collect();
        let number =
            |text: &str| text.parse::<f64>().ok().filter(|number| number.is_finite() && *number >= 0.0);
        let ([_, _, _, _, steps, arrival, scale_factor]
        | [_, _, _, _, _, steps, scale_factor, _, _, arrival]) = fields[..]
        else {
            return Err(bad("7 or 10 fields between tabs"));
        };
        let steps = number(steps).ok_or_else(|| bad("a number of steps"))?;
        let arrival_s = number(arrival).ok_or_else(|| bad("an arrival in seconds"))?;
        let scale_factor: u32 = scale_factor.parse().map_err(|_| bad("a whole scale factor"))?;
        let kind = throughputs
            .kind_or_alike((fields[0].to_owned(), scale_factor))
            .ok_or_else(|| bad("a job type with measured throughputs"))?;
        jobs.push(Job { kind, steps, arrival_s });
    }
    if jobs.is_empty() {
        return Err(DataError::Line { path: path.to_owned(), line: 1, expected: "a job".to_owned() });
    }
    jobs.sort_by(|one, other| one.arrival_s.total_cmp(&other.arrival_s));
    Ok(jobs)
}

/// Whether a job of this kind can run anywhere.
pub(super) fn runs_on(throughputs: &Throughputs, kind: usize) -> [bool; GPU_TYPES.len()] {
    throughputs.alone(kind).map(|steps_per_s| steps_per_s > 0.0)
}
