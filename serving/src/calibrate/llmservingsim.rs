//! Timings of vLLM's layers as `LLMServingSim`'s profiler writes them: `HARDWARE__ORGANISATION__MODEL__VARIANT__tpN__TABLE.csv.gz`, in
//! microseconds of one call on one GPU.

use std::path::Path;

use super::read::{ReadError, Table, names};
use super::{Timing, Timings};
use crate::attention::Shape;
use crate::batch::Chunk;
use crate::calibration::Family;
use crate::curve::Series;
use crate::model::{Attention, Model};
use crate::tables::{AttentionGrid, AttentionPoint, ExpertGrid, Measured, Operator};

/// Names of layers in the tables.
const OPERATORS: [(&str, Operator); 12] = [
    ("layernorm", Operator::Norm),
    ("qkv_proj", Operator::QueriesKeysValues),
    ("qk_norm", Operator::QueryKeyNorm),
    ("rotary_emb", Operator::Rotary),
    ("o_proj", Operator::Output),
    ("gate_up_proj", Operator::Up),
    ("act_fn", Operator::Activation),
    ("down_proj", Operator::Down),
    ("embedding", Operator::Embedding),
    ("final_layernorm", Operator::LastNorm),
    ("lm_head", Operator::Vocabulary),
    ("sampler", Operator::Sampler),
];

/// The tables of a model on a GPU under tensor parallelism: `prefix` is their name up to `__tpN`.
fn prefix_of(hardware: &str, model: &str, variant: &str) -> String {
    format!("{hardware}__{}__{variant}", model.replace('/', "__"))
}

/// Timings of operators: layer, tokens or sequences, seconds.
fn operators(path: &Path, counted: &str) -> Result<Vec<(Operator, f64, f64)>, ReadError> {
    let table = Table::read(path)?;
    let (layers, counts, times) = (table.texts("layer")?, table.numbers(counted)?, table.numbers("time_us")?);
    let mut read = Vec::with_capacity(layers.len());
    for ((layer, count), time) in layers.into_iter().zip(counts).zip(times) {
        if let Some(&(_, operator)) = OPERATORS.iter().find(|(name, _)| *name == layer) {
            read.push((operator, count, time * 1e-6));
        }
    }
    Ok(read)
}

/// Timings of attention.
pub fn attention_points(path: &Path) -> Result<Vec<AttentionPoint>, ReadError> {
    let table = Table::read(path)?;
    let axes = [
        table.numbers("prefill_chunk")?,
        table.numbers("kv_prefill")?,
        table.numbers("n_decode")?,
        table.numbers("kv_decode")?,
    ];
    let times = table.numbers("time_us")?;
    Ok((0..times.len())
        .map(|row| (axes.each_ref().map(|axis| axis[row] as u32), times[row] * 1e-6))
        .collect())
}

fn expert_points(path: &Path) -> Result<Vec<(f64, f64, f64)>, ReadError> {
    let table = Table::read(path)?;
    let (tokens, activated) = (table.numbers("tokens")?, table.numbers("activated_experts")?);
    let times = table.numbers("time_us")?;
    Ok((0..times.len()).map(|row| (tokens[row], activated[row], times[row] * 1e-6)).collect())
}

/// What was measured of a model (`meta-llama/Llama-3.1-8B`) on a GPU (`RTXPRO6000`) under tensor parallelism.
pub fn measured(
    folder: &Path,
    hardware: &str,
    model: &str,
    variant: &str,
    tensor: u32,
) -> Result<Measured, ReadError> {
    let prefix = format!("{}__tp{tensor}", prefix_of(hardware, model, variant));
    let path = |table: &str| folder.join(format!("{prefix}__{table}.csv.gz"));
    let mut measured = Measured::default();
    let mut all = operators(&path("dense"), "tokens")?;
    all.extend(operators(&path("per_sequence"), "sequences")?);
    for (_, operator) in OPERATORS {
        // Norms of queries and keys are profiled on one GPU and written down for all: under tensor parallelism each has its share of heads.
        let share = if operator == Operator::QueryKeyNorm { f64::from(tensor) } else { 1.0 };
        let of = all.iter().filter(|(one, ..)| *one == operator);
        let series = Series::new(of.map(|&(_, count, seconds)| (count * share, seconds)).collect());
        if !series.is_empty() {
            measured.operators.insert(operator, series);
        }
    }
    measured.attention = AttentionGrid::new(&attention_points(&path("attention"))?);
    let experts = path("moe");
    if experts.exists() {
        measured.experts = Some(ExpertGrid::new(&expert_points(&experts)?));
    }
    Ok(measured)
}

/// All timings of a GPU in a folder, of models in the catalogue.
pub fn timings(folder: &Path, hardware: &str) -> Result<Timings, ReadError> {
    let mut timings = Timings::default();
    let start = format!("{hardware}__");
    let mut found = false;
    for name in names(folder)? {
        let Some(rest) = name.strip_prefix(&start) else { continue };
        let parts: Vec<&str> = rest.split("__").collect();
        let [_, model, _, tensor, table] = parts[..] else { continue };
        let Some(tensor) = tensor.strip_prefix("tp").and_then(|tensor| tensor.parse().ok()) else { continue };
        let Ok(model) = Model::named(model) else { continue };
        found = true;
        let path = folder.join(&name);
        match table.split('.').next() {
            Some("dense") => push_operators(&mut timings, &model, tensor, operators(&path, "tokens")?),
            Some("per_sequence") => {
                push_operators(&mut timings, &model, tensor, operators(&path, "sequences")?);
            }
            Some("attention") => push_attention(&mut timings, &model, tensor, &attention_points(&path)?),
            Some("moe") => push_experts(&mut timings, &model, &expert_points(&path)?),
            _ => {}
        }
    }
    if found {
        return Ok(timings);
    }
    Err(ReadError::None { path: folder.to_owned(), wanted: format!("{start}*.csv.gz") })
}

fn push_operators(timings: &mut Timings, model: &Model, tensor: u32, of: Vec<(Operator, f64, f64)>) {
    let split = f64::from(tensor);
    let width = f64::from(model.width);
    let inner = f64::from(model.ffn_width) / split;
    let Attention::Grouped { kv_heads, head_size } = model.attention else { return };
    let head_size = f64::from(head_size);
    let queries = f64::from(model.heads) / split * head_size;
    let cached = f64::from((kv_heads / tensor).max(1)) * head_size;
    let vocabulary = f64::from(model.vocabulary);
    let shape = u64::from(model.width) << 32 | u64::from(model.ffn_width / tensor);
    for (operator, count, seconds) in of {
        let product = |inner, outer| Timing::product((count, inner, outer), (2.0, 2.0), seconds);
        let moving = |bytes| Timing::new(0.0, bytes, seconds, shape);
        let (family, timing) = match operator {
            Operator::QueriesKeysValues => (Family::Matrix, product(width, queries + 2.0 * cached)),
            Operator::Output => (Family::Matrix, product(queries, width)),
            Operator::Up => (Family::Matrix, product(width, 2.0 * inner)),
            Operator::Down => (Family::Matrix, product(inner, width)),
            Operator::Vocabulary => (Family::Matrix, product(width, vocabulary / split)),
            Operator::Norm | Operator::LastNorm => (Family::Norm, moving(8.0 * count * width)),
            Operator::Activation => (Family::Activation, moving(6.0 * count * inner)),
            Operator::Rotary => (Family::Rotary, moving(4.0 * count * (queries + cached))),
            // Of the whole model, whatever the parallelism (see `measured`).
            Operator::QueryKeyNorm => {
                (Family::QueryKeyNorm, moving(4.0 * split * count * (queries + cached)))
            }
            Operator::Embedding => (Family::Embedding, moving(4.0 * count * width)),
            Operator::Sampler => (Family::Sampler, moving(4.0 * count * vocabulary)),
        };
        timings.push(family, timing);
    }
}

fn push_attention(timings: &mut Timings, model: &Model, tensor: u32, points: &[AttentionPoint]) {
    let shape = Shape::new(model, tensor, 2.0);
    let which = (shape.heads as u64) << 32 | shape.kv_heads as u64;
    for &([tokens, before, decodes, each], seconds) in points {
        let each = f64::from(each);
        let chunk = Chunk { tokens, context_tokens: before };
        let (family, timing) = match (tokens, decodes) {
            (0, _) => (Family::AttentionDecode, Timing::decode(&shape, decodes, each, seconds, which)),
            (_, 0) => (Family::AttentionPrefill, Timing::chunks(&shape, &[chunk], (0, 0.0), seconds, which)),
            _ => (Family::AttentionMixed, Timing::chunks(&shape, &[chunk], (decodes, each), seconds, which)),
        };
        timings.push(family, timing);
    }
}

fn push_experts(timings: &mut Timings, model: &Model, points: &[(f64, f64, f64)]) {
    let Some(experts) = model.experts else { return };
    let (width, inner) = (f64::from(model.width), f64::from(experts.width));
    for &(tokens, activated, seconds) in points {
        let assigned = tokens * f64::from(experts.active);
        let bytes = activated * 6.0 * width * inner + 2.0 * assigned * (2.0 * width + 4.0 * inner);
        let flops = 6.0 * assigned * width * inner;
        timings.push(Family::Experts, Timing::new(flops, bytes, seconds, activated as u64));
    }
}
