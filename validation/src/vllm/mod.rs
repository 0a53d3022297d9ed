//! `foretell validate vllm`: real runs of vLLM, request by request, beside what the engine makes of them with laws that were fitted to kernels alone.
//!
//! No constant comes from a run. What a model takes on a GPU is what was measured of its kernels there, where it was; else the law of the GPU's calibration.

mod meta;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use foretell_serving::calibrate::llmservingsim;
use foretell_serving::memory::{Beside, VISIBLE_SHARE, blocks};
use foretell_serving::model::weights::Parallelism;
use foretell_serving::options::Compilation;
use foretell_serving::policies::{Batcher, BlockPool, Order, State, Vllm};
use foretell_serving::tables::Measured;
use foretell_serving::{
    AnalyticLaw, Calibration, Engine, Group, Link, LinkKind, Model, Observer, Options, Outcome, Replica,
    Request, replay,
};
use foretell_traces::requests;
use serde::Deserialize;

use self::meta::{EngineArguments, Machine, Meta};
use crate::openb::{existing, open};
use crate::report::{Cell, Report, Row};
use crate::{DataError, Error, Progress};

/// Where the runs are below the data folder, and where the timings of kernels.
const RUNS: &str = "serving/llmservingsim-vllm-groundtruth";
const PROFILES: &str = "serving/llmservingsim-profiles";

/// Percent that means may be off: to the first token, between tokens, to the end.
const TOLERANCE_PERCENT: (f64, f64, f64) = (5.0, 3.0, 3.0);

/// vLLM's defaults.
const BLOCK_TOKENS: u32 = 16;
const MAX_SEQUENCES: u32 = 256;
const MAX_BATCHED_TOKENS: u32 = 2048;
const MEMORY_UTILIZATION: f64 = 0.9;

/// Microseconds of an iteration beside its kernels, and of each of its sequences: inference-sim's published figures for vLLM, not fitted to these runs.
const STEP_OVERHEAD_US: f64 = 126.0;
const SEQUENCE_OVERHEAD_US: f64 = 4.4;

/// A request as it went.
#[derive(Deserialize, Clone, Copy, Debug)]
struct RequestRow {
    input_toks: u32,
    output_toks: u32,
    queued_ts: f64,
    first_token_ts: f64,
    last_token_ts: f64,
}

const NS_PER_S: f64 = 1e9;

/// Runs every run found under `data`, or those of the given names.
pub fn run(data: &Path, names: &[String], progress: &Progress<'_>) -> Result<Report, Error> {
    let folder = if data.join(RUNS).is_dir() { data.join(RUNS) } else { data.to_owned() };
    let profiles = [data.join(PROFILES), folder.join("../llmservingsim-profiles"), folder.clone()];
    let profiles = profiles.into_iter().find(|path| path.is_dir()).unwrap_or_else(|| folder.clone());
    let mut found: Vec<PathBuf> = Vec::new();
    for entry in std::fs::read_dir(&folder).map_err(|error| DataError::io(&folder, error))? {
        let path = entry.map_err(|error| DataError::io(&folder, error))?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
        if path.join("meta.json").is_file() && (names.is_empty() || names.contains(&name)) {
            found.push(path);
        }
    }
    if found.is_empty() {
        return Err(Error::NothingSelected { path: folder });
    }
    found.sort();
    progress.begin(found.len());
    let mut rows = Vec::new();
    let mut remarks = String::new();
    for path in &found {
        let comparison = compare(path, &profiles)?;
        let preempted: u32 = comparison.predicted.iter().map(|outcome| outcome.preemptions).sum();
        // Writing to a string cannot fail.
        let _ = write!(
            remarks,
            "\n{}: kernels {}; {} blocks, {preempted} preemptions predicted.",
            comparison.name, comparison.kernels, comparison.blocks
        );
        rows.push(comparison.into_row());
        progress.step();
    }
    rows.sort_by_key(|row| row.passed);
    let good = rows.iter().filter(|row| row.passed).count();
    let (first, token, end) = TOLERANCE_PERCENT;
    Ok(Report {
        suite: "vllm",
        columns: vec![
            "run",
            "TTFT\ns",
            "TPOT\nms",
            "E2E\ns",
            "TTFT\nmean",
            "%\np99",
            "TPOT\nmean",
            "%\np99",
            "E2E\nmean",
            "%\np99",
        ],
        summary: format!(
            "{good} of {} real runs come out within {first} % of the mean time to the first token, {token} % between\n\
             tokens and {end} % to the end. Times are measured means; % is what ours is off by.{remarks}",
            rows.len()
        ),
        rows,
    })
}

/// Measured and predicted, in the order of requests.
struct Comparison {
    name: String,
    kernels: &'static str,
    blocks: u32,
    measured: Vec<RequestRow>,
    predicted: Vec<Outcome>,
}

/// Gathers what became of requests.
struct Outcomes(Vec<Option<Outcome>>);

impl Observer for Outcomes {
    fn finished(&mut self, outcome: &Outcome) {
        self.0[outcome.request as usize] = Some(*outcome);
    }
}

fn read_json<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T, Error> {
    let text = std::fs::read_to_string(path).map_err(|error| DataError::io(path, error))?;
    serde_json::from_str(&text)
        .map_err(|error| Error::Run { path: path.to_owned(), message: error.to_string() })
}

fn read_requests(path: &Path) -> Result<Vec<RequestRow>, Error> {
    let mut text = String::new();
    std::io::Read::read_to_string(&mut open(path)?, &mut text).map_err(|error| DataError::io(path, error))?;
    let mut rows: Vec<RequestRow> = Vec::new();
    for (line, row) in text.lines().enumerate().filter(|(_, row)| !row.trim().is_empty()) {
        rows.push(serde_json::from_str(row).map_err(|error| DataError::Line {
            path: path.to_owned(),
            line: line as u64 + 1,
            expected: error.to_string(),
        })?);
    }
    Ok(rows)
}

/// Keys of the blocks of each request, if the workload that was sent is there and is the same.
fn keys(folder: &Path, meta: &Meta, rows: &[RequestRow], block_tokens: u32) -> Result<Vec<Vec<u64>>, Error> {
    let none = vec![Vec::new(); rows.len()];
    let name = meta.dataset_path.as_deref().map(Path::new).and_then(Path::file_name);
    let Some(path) = name.and_then(|name| existing(&folder.join("..").join(name)).ok()) else {
        return Ok(none);
    };
    let mut keys = Vec::with_capacity(rows.len());
    for record in requests::open(&path, None)?.take(rows.len()) {
        let record = record?;
        keys.push(record.blocks_of(block_tokens).unwrap_or_default());
    }
    Ok(if keys.len() == rows.len() { keys } else { none })
}

fn compare(folder: &Path, profiles: &Path) -> Result<Comparison, Error> {
    let meta: Meta = read_json(&folder.join("meta.json"))?;
    let machine_path = folder.join("config.json");
    let machine: Machine =
        if machine_path.is_file() { read_json(&machine_path)? } else { Machine::default() };
    let name = folder.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
    let cannot = |message: String| Error::Run { path: folder.join("meta.json"), message };
    let arguments = &meta.engine_kwargs;
    let replica = Setup::new(&meta, &machine, &name, profiles).map_err(cannot)?;
    let requests_path = existing(&folder.join("requests.jsonl"))?;
    let mut rows = read_requests(&requests_path)?;
    let keys = keys(folder, &meta, &rows, replica.block_tokens)?;
    let mut order: Vec<usize> = (0..rows.len()).collect();
    order.sort_by(|&one, &other| rows[one].queued_ts.total_cmp(&rows[other].queued_ts));
    let begin_s = order.first().map_or(0.0, |&first| rows[first].queued_ts);
    let sent: Vec<Request<'_>> = order
        .iter()
        .enumerate()
        .map(|(index, &row)| Request {
            index: index as u32,
            arrival_ns: ((rows[row].queued_ts - begin_s) * NS_PER_S).round() as u64,
            prompt_tokens: rows[row].input_toks,
            output_tokens: rows[row].output_toks,
            limit_tokens: rows[row].output_toks,
            priority: 0,
            adapter: 0,
            block_keys: &keys[row],
        })
        .collect();
    let mut outcomes = Outcomes(vec![None; rows.len()]);
    let rejected = if arguments.data_parallel_size > 1 {
        let ranks = (0..arguments.data_parallel_size).map(|_| replica.engine()).collect();
        through(Group::new(ranks), &sent, &mut outcomes)
    } else {
        through(replica.engine(), &sent, &mut outcomes)
    };
    if let Some((request, rejection)) = rejected.first() {
        return Err(Error::Run { path: requests_path, message: format!("request {request}: {rejection}") });
    }
    let predicted: Vec<Outcome> = outcomes.0.into_iter().flatten().collect();
    rows = order.iter().map(|&row| rows[row]).collect();
    Ok(Comparison { name, kernels: replica.kernels, blocks: replica.blocks, measured: rows, predicted })
}

fn through<R: Replica>(
    replica: R,
    sent: &[Request<'_>],
    outcomes: &mut Outcomes,
) -> Vec<(u32, foretell_serving::Rejection)> {
    replay(&mut [replica], sent.iter().copied(), |_, _| 0, std::slice::from_mut(outcomes))
}

/// A replica as a run had it.
struct Setup {
    law: AnalyticLaw,
    batcher: Vllm,
    blocks: u32,
    block_tokens: u32,
    prefixes: bool,
    kernels: &'static str,
}

impl Setup {
    fn new(meta: &Meta, machine: &Machine, name: &str, profiles: &Path) -> Result<Self, String> {
        let arguments = &meta.engine_kwargs;
        let model = Model::named(&meta.model).map_err(|error| error.to_string())?;
        let hardware = machine.hardware().or_else(|| name.split('_').next()).unwrap_or_default();
        let calibration = Calibration::named(&catalogue_name(hardware)).map_err(|error| error.to_string())?;
        let tensor = arguments.tensor_parallel_size;
        let parallelism = Parallelism {
            tensor,
            pipeline: arguments.pipeline_parallel_size,
            data: arguments.data_parallel_size,
            expert: if arguments.enable_expert_parallel { tensor * arguments.data_parallel_size } else { 1 },
        };
        only_16_bits(arguments)?;
        let max_tokens = arguments.max_num_batched_tokens.unwrap_or(MAX_BATCHED_TOKENS);
        let max_sequences = arguments.max_num_seqs.unwrap_or(MAX_SEQUENCES);
        let options = Options {
            max_tokens,
            max_sequences,
            step_overhead_us: STEP_OVERHEAD_US,
            sequence_overhead_us: SEQUENCE_OVERHEAD_US,
            compilation: if arguments.enforce_eager { Compilation::Eager } else { Compilation::Graphs },
            ..Options::default()
        };
        let link = Link::additive(
            LinkKind::Pcie,
            machine.link_bw.unwrap_or(16.0) * 1e9,
            machine.link_latency.unwrap_or(20_000.0) * 1e-9,
        );
        let measured = llmservingsim::measured(profiles, hardware, &meta.model, "bf16", tensor);
        let (kernels, measured) = match measured {
            Ok(measured) => ("as measured", measured),
            Err(error) if error.is_missing() => ("by law", Measured::default()),
            Err(error) => return Err(error.to_string()),
        };
        let law = AnalyticLaw::with_measured(&model, parallelism, &calibration, &link, &options, &measured)
            .map_err(|error| error.to_string())?;
        let block_tokens = arguments.block_size.unwrap_or(BLOCK_TOKENS);
        let memory_bytes =
            machine.memory_gib().map_or(calibration.device.memory_bytes, |gib| gib * 1024.0_f64.powi(3));
        let counted = blocks(
            &model,
            parallelism,
            memory_bytes * VISIBLE_SHARE,
            arguments.gpu_memory_utilization.unwrap_or(MEMORY_UTILIZATION),
            Beside::estimate(&model, parallelism, max_tokens, max_sequences),
            2.0,
            2.0,
            block_tokens,
        );
        let blocks = arguments
            .num_gpu_blocks_override
            .or(counted)
            .ok_or_else(|| format!("the weights of {} do not fit on {hardware}", meta.model))?;
        let batcher = Vllm {
            max_sequences,
            max_batched_tokens: max_tokens,
            chunked_prefill: arguments.enable_chunked_prefill.unwrap_or(true),
            long_prefill_tokens: arguments.long_prefill_token_threshold,
            order: if arguments.scheduling_policy.as_deref() == Some("priority") {
                Order::Priority
            } else {
                Order::FirstCome
            },
            ..Vllm::default()
        };
        let prefixes = arguments.enable_prefix_caching.unwrap_or(true);
        Ok(Self { law, batcher, blocks, block_tokens, prefixes, kernels })
    }

    fn engine(&self) -> Engine<AnalyticLaw> {
        // vLLM keeps a block for padding.
        let blocks = self.blocks - 1;
        let pool = if self.prefixes {
            BlockPool::with_prefix_cache(blocks, self.block_tokens)
        } else {
            BlockPool::new(blocks, self.block_tokens)
        };
        let batcher: Box<dyn Batcher + Send> = Box::new(self.batcher.clone());
        Engine::new(self.law.clone(), batcher, State::new(pool))
    }
}

/// Says what of the numbers in use is not known here.
fn only_16_bits(arguments: &EngineArguments) -> Result<(), String> {
    let known =
        |value: &Option<String>, of: &[&str]| value.as_deref().is_none_or(|value| of.contains(&value));
    let half = ["auto", "bfloat16", "float16", "half"];
    if !known(&arguments.dtype, &half) || !known(&arguments.kv_cache_dtype, &half) {
        return Err("only 16-bit numbers are known here".to_owned());
    }
    match &arguments.quantization {
        None => Ok(()),
        Some(quantization) => Err(format!("quantization `{quantization}` is not known here")),
    }
}

/// `RTXPRO6000` as `rtx-pro-6000`, `RTX4090` as `rtx-4090`.
fn catalogue_name(hardware: &str) -> String {
    let plain = |name: &str| name.to_ascii_lowercase().replace(['-', '_', ' '], "");
    let wanted = plain(hardware);
    let known = Calibration::names().into_iter().find(|name| plain(name) == wanted);
    known.map_or_else(|| hardware.to_owned(), ToOwned::to_owned)
}

fn off(ours: f64, theirs: f64) -> f64 {
    100.0 * (ours - theirs) / theirs
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

impl Comparison {
    fn into_row(self) -> Row {
        let of = |values: &dyn Fn(usize) -> f64, keep: &dyn Fn(usize) -> bool| -> Vec<f64> {
            (0..self.measured.len()).filter(|&one| keep(one)).map(values).collect()
        };
        let several = |one: usize| self.measured[one].output_toks > 1;
        let all = |_: usize| true;
        let (measured, predicted) = (&self.measured, &self.predicted);
        let since = |from: u64, to: u64| (to - from) as f64 / NS_PER_S;
        let first = (
            of(&|one| since(predicted[one].arrival_ns, predicted[one].first_token_ns), &all),
            of(&|one| measured[one].first_token_ts - measured[one].queued_ts, &all),
        );
        let end = (
            of(&|one| since(predicted[one].arrival_ns, predicted[one].last_token_ns), &all),
            of(&|one| measured[one].last_token_ts - measured[one].queued_ts, &all),
        );
        let per_token = |one: usize, whole: f64| whole / f64::from(measured[one].output_toks - 1);
        let token = (
            of(
                &|one| per_token(one, since(predicted[one].first_token_ns, predicted[one].last_token_ns)),
                &several,
            ),
            of(&|one| per_token(one, measured[one].last_token_ts - measured[one].first_token_ts), &several),
        );
        let errors = |(ours, theirs): &(Vec<f64>, Vec<f64>)| {
            let p99 = |values: &[f64]| crate::vidur::quantile(values, 0.99);
            (off(mean(ours), mean(theirs)), off(p99(ours), p99(theirs)))
        };
        let (first_off, token_off, end_off) = (errors(&first), errors(&token), errors(&end));
        let (first_most, token_most, end_most) = TOLERANCE_PERCENT;
        Row {
            passed: first_off.0.abs() <= first_most
                && token_off.0.abs() <= token_most
                && end_off.0.abs() <= end_most,
            cells: vec![
                Cell::Text(self.name.clone()),
                Cell::Figure(mean(&first.1), 2),
                Cell::Figure(1e3 * mean(&token.1), 1),
                Cell::Figure(mean(&end.1), 2),
                Cell::Figure(first_off.0, 1),
                Cell::Figure(first_off.1, 1),
                Cell::Figure(token_off.0, 1),
                Cell::Figure(token_off.1, 1),
                Cell::Figure(end_off.0, 1),
                Cell::Figure(end_off.1, 1),
            ],
        }
    }
}
