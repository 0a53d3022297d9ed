//! Splitwise's measured prompts and tokens (ISCA'24): Llama-2-70B and BLOOM-176B on DGX A100 and H100.
//!
//! Its engine launched kernels one by one, and from four GPUs on its token times do not fall with further GPUs: the host is what they wait for. What the host takes for a
//! layer and for a sequence is fitted on token times of the same host, without the number of GPUs that is predicted.

use std::collections::BTreeMap;
use std::path::Path;

use foretell_serving::model::weights::Parallelism;
use foretell_serving::options::{Compilation, EAGER_STEP_US};
use foretell_serving::policies::{Batcher, BlockPool, State, Vllm};
use foretell_serving::{
    AnalyticLaw, Calibration, Engine, LinkKind, Model, Observer, Options, Outcome, Request, replay,
};
use serde::Deserialize;

use super::{BY_PROMPT, Line};
use crate::Error;
use crate::openb::existing;
use crate::rows::read_rows;

/// Where it is below the data folder.
pub(super) const TABLE: &str = "serving/splitwise-perfmodel/perf_model.csv";

/// Tokens of the answers of the rows in use, and of the prompts by which token times go.
pub(super) const ANSWER_TOKENS: u32 = 128;
const PROMPT_TOKENS: u32 = 512;

/// What is capped in power is scaled, not measured.
const CAPPED: &str = "-pcap";

/// Outliers, as whoever gathered the data found.
const OUTLIERS: (&str, u32, u32) = ("llama2-70b", 2, 64);

/// The largest batch in one piece.
const MAX_TOKENS: u32 = 64 * PROMPT_TOKENS;
const MAX_SEQUENCES: u32 = 64;

/// A row of the table: sizes in tokens, times in milliseconds, power as a share of the limit.
#[derive(Deserialize)]
pub(super) struct Measured {
    pub(super) model: String,
    pub(super) hardware: String,
    pub(super) prompt_size: u32,
    pub(super) batch_size: u32,
    pub(super) token_size: u32,
    pub(super) peak_power: f64,
    pub(super) average_power: f64,
    pub(super) prompt_time: f64,
    pub(super) token_time: f64,
    pub(super) tensor_parallel: u32,
}

/// Model, GPU and number of GPUs.
type Machine = (String, String, u32);

/// By prompt size and batch, the times of each repetition.
type Repetitions = BTreeMap<(u32, u32), Vec<(f64, f64)>>;

/// Prompt and token times of each model on each machine.
pub(super) fn lines(data: &Path) -> Result<Vec<Line>, Error> {
    let path = existing(&data.join(TABLE))?;
    let mut machines: BTreeMap<Machine, Repetitions> = BTreeMap::new();
    for (_, row) in read_rows::<Measured>(&path)? {
        let (model, gpus, batch) = OUTLIERS;
        let outlier = row.model == model && row.tensor_parallel == gpus && row.batch_size == batch;
        if row.hardware.ends_with(CAPPED) || outlier || row.token_size != ANSWER_TOKENS {
            continue;
        }
        let repetitions = machines.entry((row.model, row.hardware, row.tensor_parallel)).or_default();
        let times = (row.prompt_time, row.token_time);
        repetitions.entry((row.prompt_size, row.batch_size)).or_default().push(times);
    }
    let cannot = |message| Error::Run { path: path.clone(), message };
    let mut launched = BTreeMap::new();
    for (machine, repetitions) in &machines {
        launched.insert(machine, Launched::rows(machine, repetitions).map_err(cannot)?);
    }
    let mut lines = Vec::new();
    for (machine, repetitions) in &machines {
        let (model, hardware, gpus) = machine;
        let law = law(machine, host(machine, &launched)).map_err(cannot)?;
        let name = if model.starts_with("llama") { "70B" } else { "BLOOM" };
        let gpu = hardware.split('-').next().unwrap_or(hardware).to_uppercase();
        let line = |figure| Line::new(format!("{BY_PROMPT} {name} {gpu} TP{gpus}"), figure);
        let (mut prompt, mut token) = (line("prompt ms"), line("token ms"));
        for (&(prompt_tokens, batch), times) in repetitions {
            let ours = ours_ms(&law, prompt_tokens, batch).map_err(cannot)?;
            if batch == 1 {
                prompt.push(median(times.iter().map(|times| times.0)), ours.0);
            }
            if prompt_tokens == PROMPT_TOKENS {
                token.push(median(times.iter().map(|times| times.1)), ours.1);
            }
        }
        lines.extend([prompt, token]);
    }
    Ok(lines)
}

/// What a host takes, in microseconds.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
struct Host {
    layer_launch_us: f64,
    sequence_overhead_us: f64,
}

/// Steps of the search, and how many of them, for a layer and for a sequence.
const STEPS_US: (f64, u32) = (10.0, 100);

/// A time between tokens, and what it would be if the host took none.
#[derive(Clone, Copy, Debug)]
struct Launched {
    layers: f64,
    batch: f64,
    device_us: f64,
    measured_us: f64,
}

impl Launched {
    fn rows(machine: &Machine, repetitions: &Repetitions) -> Result<Vec<Self>, String> {
        let layers = f64::from(model(machine)?.layers);
        let law = law(machine, Host::default())?;
        let of_tokens = repetitions.iter().filter(|((prompt_tokens, _), _)| *prompt_tokens == PROMPT_TOKENS);
        of_tokens
            .map(|(&(prompt_tokens, batch), times)| {
                let device_us = 1e3 * ours_ms(&law, prompt_tokens, batch)?.1;
                let measured_us = 1e3 * median(times.iter().map(|times| times.1));
                Ok(Self { layers, batch: f64::from(batch), device_us, measured_us })
            })
            .collect()
    }

    fn predicted_us(&self, host: Host) -> f64 {
        let launched_us = EAGER_STEP_US + self.layers * host.layer_launch_us;
        self.device_us.max(launched_us) + self.batch * host.sequence_overhead_us
    }
}

impl Host {
    /// The one by whose times the logarithms are least far off, in squares.
    fn fit(rows: &[Launched]) -> Self {
        let off = |host| rows.iter().map(|row| (row.predicted_us(host) / row.measured_us).ln().powi(2)).sum();
        let (step_us, steps) = STEPS_US;
        let of = |step| step_us * f64::from(step);
        let hosts = (0..steps).flat_map(|layer| {
            (0..steps)
                .map(move |sequence| Self { layer_launch_us: of(layer), sequence_overhead_us: of(sequence) })
        });
        let judged = hosts.map(|host| -> (f64, Self) { (off(host), host) });
        judged.min_by(|one, other| one.0.total_cmp(&other.0)).map_or_else(Self::default, |(_, host)| host)
    }
}

/// What the host of a machine takes, by its other numbers of GPUs, or by other models where there is but one: kernels of a layer differ among models.
fn host(machine: &Machine, launched: &BTreeMap<&Machine, Vec<Launched>>) -> Host {
    let (model, hardware, _) = machine;
    let others = || launched.iter().filter(|(other, _)| **other != machine && other.1 == *hardware);
    let of_model = others().any(|(other, _)| other.0 == *model);
    let used = others().filter(|(other, _)| !of_model || other.0 == *model);
    Host::fit(&used.flat_map(|(_, rows)| rows.iter().copied()).collect::<Vec<_>>())
}

fn model((name, ..): &Machine) -> Result<Model, String> {
    Model::named(&name.replace("llama2", "llama-2")).map_err(|error| error.to_string())
}

/// `PyTorch` without graphs and NCCL: what there was when these were measured.
fn law(machine: &Machine, host: Host) -> Result<AnalyticLaw, String> {
    let (_, hardware, gpus) = machine;
    let gpu = hardware.split('-').next().unwrap_or_default();
    let calibration = Calibration::named(gpu).map_err(|error| error.to_string())?;
    let collective = calibration
        .collective("all_reduce", "nccl-dgx", *gpus)
        .ok_or_else(|| format!("no all-reduce of {gpus} {gpu} was timed"))?;
    let options = Options {
        compilation: Compilation::Eager,
        layer_launch_us: host.layer_launch_us,
        sequence_overhead_us: host.sequence_overhead_us,
        max_tokens: MAX_TOKENS,
        max_sequences: MAX_SEQUENCES,
        ..Options::default()
    };
    let link = collective.link(LinkKind::NvLink);
    AnalyticLaw::new(&model(machine)?, Parallelism::tensor(*gpus), &calibration, &link, &options)
        .map_err(|error| error.to_string())
}

/// Milliseconds to the first token and between tokens, where so many requests come at once.
fn ours_ms(law: &AnalyticLaw, prompt_tokens: u32, batch: u32) -> Result<(f64, f64), String> {
    let batcher: Box<dyn Batcher + Send> =
        Box::new(Vllm { max_sequences: MAX_SEQUENCES, max_batched_tokens: MAX_TOKENS, ..Vllm::default() });
    // Memory is no concern here.
    let pool = BlockPool::new(batch * (prompt_tokens + ANSWER_TOKENS), 1);
    let engine = Engine::new(law.clone(), batcher, State::new(pool));
    let requests = (0..batch).map(|index| Request {
        index,
        arrival_ns: 0,
        prompt_tokens,
        output_tokens: ANSWER_TOKENS,
        limit_tokens: ANSWER_TOKENS,
        priority: 0,
        adapter: 0,
        block_keys: &[],
    });
    let mut last = [Last(None)];
    let rejected = replay(&mut [engine], requests, |_, _| 0, &mut last);
    let outcome = last[0].0.filter(|_| rejected.is_empty()).ok_or("a batch does not fit")?;
    let tokens = f64::from(ANSWER_TOKENS - 1);
    let after_ns = outcome.last_token_ns - outcome.first_token_ns;
    Ok((outcome.first_token_ns as f64 / 1e6, after_ns as f64 / 1e6 / tokens))
}

/// The request that was done last.
struct Last(Option<Outcome>);

impl Observer for Last {
    fn finished(&mut self, outcome: &Outcome) {
        self.0 = Some(*outcome);
    }
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
