//! Timings as Vidur's profiler writes them, in milliseconds of one call on one GPU: `*.mlp.csv.gz`, `*.attention.csv.gz` (also with the columns of
//! its raw output, `time_stats.NAME.median`), `*.all_reduce.csv.gz`, `*.send_recv.csv.gz`.

use std::path::Path;

use super::read::{ReadError, Table, names};
use super::{Timing, Timings};
use crate::attention::Shape;
use crate::batch::Chunk;
use crate::calibration::Family;

/// The column of an operator's median; what was not timed is NaN, or 0.
fn median(table: &Table, operator: &str) -> Result<Vec<f64>, ReadError> {
    let raw = format!("time_stats.{operator}.median");
    if table.has(&raw) { table.numbers(&raw) } else { table.numbers(&format!("{operator}_ms")) }
}

/// What an operator does for a row of the table.
type Of = fn(&Sizes) -> (Family, Timing);

/// Adds the timings of operators that depend on tokens alone.
fn push_operators(path: &Path, timings: &mut Timings) -> Result<(), ReadError> {
    let table = Table::read(path)?;
    let column = |name: &str| table.numbers(name);
    let (heads, kv_heads, width) = (column("n_head")?, column("n_kv_head")?, column("n_embd")?);
    let (inner, rows) = (column("n_expanded_embd")?, column("num_tokens")?);
    let split = column("num_tensor_parallel_workers")?;
    let gated = table.texts("use_gated_mlp")?;
    let operators: [(&str, Of); 9] = [
        ("attn_pre_proj", |of| (Family::Matrix, of.product(of.width, of.queries + 2.0 * of.cached))),
        ("attn_post_proj", |of| (Family::Matrix, of.product(of.queries, of.width))),
        ("mlp_up_proj", |of| (Family::Matrix, of.product(of.width, (of.matrices - 1.0) * of.inner))),
        ("mlp_down_proj", |of| (Family::Matrix, of.product(of.inner, of.width))),
        ("input_layernorm", |of| (Family::Norm, of.moving(8.0 * of.width))),
        ("post_attention_layernorm", |of| (Family::Norm, of.moving(8.0 * of.width))),
        ("mlp_act", |of| (Family::Activation, of.moving(2.0 * of.matrices * of.inner))),
        ("attn_rope", |of| (Family::Rotary, of.moving(4.0 * (of.queries + of.cached)))),
        ("emb", |of| (Family::Embedding, of.moving(4.0 * of.width))),
    ];
    for (operator, law) in operators {
        // Models with one norm a layer have no second.
        let Ok(times) = median(&table, operator) else { continue };
        for row in 0..rows.len() {
            let head_size = width[row] / heads[row];
            let sizes = Sizes {
                rows: rows[row],
                width: width[row],
                queries: width[row] / split[row],
                cached: (kv_heads[row] / split[row]).max(1.0) * head_size,
                inner: inner[row] / split[row],
                matrices: if gated[row] == "True" { 3.0 } else { 2.0 },
                seconds: times[row] * 1e-3,
            };
            let (family, timing) = law(&sizes);
            timings.push(family, timing);
        }
    }
    Ok(())
}

/// What a row of the table is of.
struct Sizes {
    rows: f64,
    width: f64,
    queries: f64,
    cached: f64,
    inner: f64,
    matrices: f64,
    seconds: f64,
}

impl Sizes {
    fn product(&self, inner: f64, outer: f64) -> Timing {
        Timing::product((self.rows, inner, outer), (2.0, 2.0), self.seconds)
    }

    /// Of so many bytes for each token.
    fn moving(&self, bytes: f64) -> Timing {
        Timing::new(0.0, self.rows * bytes, self.seconds, self.width as u64)
    }
}

/// Adds the timings of attention.
fn push_attention(path: &Path, timings: &mut Timings) -> Result<(), ReadError> {
    let table = Table::read(path)?;
    let column = |name: &str| table.numbers(name);
    let (heads, kv_heads, width) = (column("n_q_head")?, column("n_kv_head")?, column("n_embd")?);
    let (batch, chunk, cached) =
        (column("batch_size")?, column("prefill_chunk_size")?, column("kv_cache_size")?);
    let split = column("num_tensor_parallel_workers")?;
    let (decode, prefill) = (median(&table, "attn_decode")?, median(&table, "attn_prefill")?);
    let is_prefill = table.texts("is_prefill")?;
    for row in 0..batch.len() {
        let (heads_here, kv_here) = (heads[row] / split[row], (kv_heads[row] / split[row]).max(1.0));
        let shape = Shape::grouped(heads_here, kv_here, width[row] / heads[row], 2.0);
        // One model: hold out batches or chunks of one size.
        if is_prefill[row] == "True" {
            let chunks = [Chunk { tokens: chunk[row] as u32, context_tokens: cached[row] as u32 }];
            let timing = Timing::chunks(&shape, &chunks, (0, 0.0), prefill[row] * 1e-3, chunk[row] as u64);
            timings.push(Family::AttentionPrefill, timing);
        } else {
            let seconds = decode[row] * 1e-3;
            let timing = Timing::decode(&shape, batch[row] as u32, cached[row], seconds, batch[row] as u64);
            timings.push(Family::AttentionDecode, timing);
        }
    }
    Ok(())
}

/// Adds the timings of collectives inside a node.
fn push_collectives(path: &Path, machine: &str, timings: &mut Timings) -> Result<(), ReadError> {
    let table = Table::read(path)?;
    let column = |name: &str| table.numbers(name);
    let (gpus, per_node, sizes) = (column("num_workers")?, column("devices_per_node")?, column("size")?);
    for (name, operation) in [("all_reduce", "all_reduce"), ("send_recv", "send")] {
        let Ok(times) = median(&table, name) else { continue };
        for row in 0..times.len() {
            let (count, milliseconds) = (gpus[row], times[row]);
            if per_node[row] < count || milliseconds.is_nan() || milliseconds <= 0.0 {
                continue;
            }
            let sent = if operation == "send" { 1.0 } else { 2.0 * (count - 1.0) / count };
            let of = (operation.to_owned(), format!("nccl-{machine}"), count as u32);
            timings.collectives.entry(of).or_default().push((sent * sizes[row], milliseconds * 1e-3));
        }
    }
    Ok(())
}

/// All timings of a GPU: those in `folder/gpu`, and collectives in `folder/network` of machines whose name begins with `gpu_`. A folder without such
/// subfolders is read itself, with its `attention.csv.gz` and `mlp.csv.gz`. Tables may be compressed or not.
pub fn timings(folder: &Path, gpu: &str) -> Result<Timings, ReadError> {
    let mut timings = Timings::default();
    let own = folder.join(gpu);
    let tables = if own.is_dir() { own } else { folder.to_owned() };
    for name in names(&tables)? {
        let path = tables.join(&name);
        let plain = name.strip_suffix(".gz").unwrap_or(&name);
        if plain.ends_with("mlp.csv") {
            push_operators(&path, &mut timings)?;
        } else if plain.ends_with("attention.csv") {
            push_attention(&path, &mut timings)?;
        }
    }
    if timings.families.is_empty() {
        return Err(ReadError::None { path: tables, wanted: "*mlp.csv` or `*mlp.csv.gz".to_owned() });
    }
    let network = folder.join("network");
    if network.is_dir() {
        for name in names(&network)? {
            let Some((machine, _)) = name.split_once('.') else { continue };
            // This file equals the A100's.
            let distrusted = name.starts_with("h100_pairwise_nvlink.send_recv");
            if machine.split('_').next() == Some(gpu) && !distrusted {
                let machine = machine.split_once('_').map_or(machine, |(_, rest)| rest).replace('_', "-");
                push_collectives(&network.join(&name), &machine, &mut timings)?;
            }
        }
    }
    Ok(timings)
}
