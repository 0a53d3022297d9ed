//! What Vidur says a batch takes, by the tables that it predicted operators with.

use std::path::Path;

use foretell_serving::{Batch, StepLaw};
use serde::Deserialize;

use super::config::Config;
use crate::DataError;
use crate::openb::existing;
use crate::rows::read_rows;

/// Nanoseconds of a millisecond.
const MS: f64 = 1e6;

#[derive(Deserialize)]
struct TokensRow {
    num_tokens: usize,
    add_ms: f64,
    all_reduce_ms: f64,
    attn_kv_cache_save_ms: f64,
    attn_post_proj_ms: f64,
    attn_pre_proj_ms: f64,
    attn_rope_ms: f64,
    input_layernorm_ms: f64,
    mlp_act_ms: f64,
    mlp_down_proj_ms: f64,
    mlp_up_proj_ms: f64,
    post_attention_layernorm_ms: f64,
    send_recv_ms: f64,
}

#[derive(Deserialize)]
struct DecodeRow {
    batch_size: usize,
    kv_cache_size: usize,
    ms: f64,
}

#[derive(Deserialize)]
struct PrefillRow {
    kv_cache_size: usize,
    chunk: usize,
    ms: f64,
}

/// The predictions of a run. Milliseconds; beyond the last entry of a table its last holds.
#[derive(Clone, Debug)]
pub(crate) struct VidurLaw {
    stages: usize,
    layers_per_stage: f64,
    /// Of a layer, by tokens rounded up to a multiple of eight, and of one send between stages.
    linear_ms: Vec<f64>,
    send_ms: Vec<f64>,
    /// Of a layer, by tokens.
    save_ms: Vec<f64>,
    /// By sequences, then by context in steps of [`Self::context_step`].
    decode_ms: Vec<Vec<f64>>,
    /// By context in the same steps, then by tokens of a chunk.
    prefill_ms: Vec<Vec<f64>>,
    context_step: u64,
    decode_overhead: f64,
    prefill_overhead: f64,
}

impl VidurLaw {
    /// Reads the tables of a folder.
    pub(crate) fn read(folder: &Path, config: &Config) -> Result<Self, DataError> {
        let replica = &config.cluster.replica_config;
        let predictor = &config.predictor;
        let stages = replica.num_pipeline_stages as usize;
        let context_step = u64::from(predictor.kv_cache_prediction_granularity.max(1));
        let rows: Vec<(u64, TokensRow)> = read_rows(&existing(&folder.join("table_per_num_tokens.csv"))?)?;
        let most = rows.iter().map(|(_, row)| row.num_tokens).max().unwrap_or(0);
        let (mut linear_ms, mut send_ms, mut save_ms) =
            (vec![0.0; most + 1], vec![0.0; most + 1], vec![0.0; most + 1]);
        for (_, row) in &rows {
            let collectives = if replica.tensor_parallel_size > 1 {
                let devices = f64::from(replica.tensor_parallel_size);
                let skew_ms = predictor.nccl_cpu_skew_overhead_per_device_ms * devices.powf(1.25);
                2.0 * (row.all_reduce_ms + predictor.nccl_cpu_launch_overhead_ms + skew_ms)
            } else {
                0.0
            };
            linear_ms[row.num_tokens] = row.add_ms
                + row.attn_post_proj_ms
                + row.attn_pre_proj_ms
                + row.attn_rope_ms
                + row.input_layernorm_ms
                + row.mlp_act_ms
                + row.mlp_down_proj_ms
                + row.mlp_up_proj_ms
                + row.post_attention_layernorm_ms
                + collectives;
            send_ms[row.num_tokens] = row.send_recv_ms;
            save_ms[row.num_tokens] = row.attn_kv_cache_save_ms;
        }
        let mut decode_ms: Vec<Vec<f64>> = Vec::new();
        let rows: Vec<(u64, DecodeRow)> = read_rows(&existing(&folder.join("table_attn_decode.csv"))?)?;
        for (_, row) in rows {
            place(&mut decode_ms, row.batch_size, row.kv_cache_size / context_step as usize, row.ms);
        }
        let mut prefill_ms: Vec<Vec<f64>> = Vec::new();
        let rows: Vec<(u64, PrefillRow)> = read_rows(&existing(&folder.join("table_attn_prefill.csv"))?)?;
        for (_, row) in rows {
            place(&mut prefill_ms, row.kv_cache_size / context_step as usize, row.chunk, row.ms);
        }
        Ok(Self {
            stages,
            layers_per_stage: f64::from(replica.model_config.num_layers) / stages as f64,
            linear_ms,
            send_ms,
            save_ms,
            decode_ms,
            prefill_ms,
            context_step,
            decode_overhead: 1.0 + predictor.attention_decode_batching_overhead_fraction,
            prefill_overhead: 1.0 + predictor.attention_prefill_batching_overhead_fraction,
        })
    }

    /// Context rounded up, as an index.
    fn context_index(&self, context_tokens: u64) -> usize {
        context_tokens.div_ceil(self.context_step) as usize
    }

    /// Attention of the decoding sequences: by the mean of their lengths, the token at hand included.
    fn decode_attention_ms(&self, batch: &Batch<'_>) -> f64 {
        if batch.decodes == 0 {
            return 0.0;
        }
        let decodes = u64::from(batch.decodes);
        let mean = (batch.decode_context_tokens + decodes) / decodes;
        let row = at(&self.decode_ms, batch.decodes as usize);
        let ms = row.map_or(0.0, |row| value(row, self.context_index(mean)));
        ms * if batch.decodes > 1 { self.decode_overhead } else { 1.0 }
    }

    /// Attention of what is read in: chunks count as one, as long as the root of the sum of their squares.
    fn prefill_attention_ms(&self, batch: &Batch<'_>) -> f64 {
        if batch.chunks.is_empty() {
            return 0.0;
        }
        let context: usize =
            batch.chunks.iter().map(|chunk| self.context_index(u64::from(chunk.context_tokens))).sum();
        let squares: f64 = batch.chunks.iter().map(|chunk| f64::from(chunk.tokens).powi(2)).sum();
        let row = at(&self.prefill_ms, context);
        let ms = row.map_or(0.0, |row| value(row, squares.sqrt().round_ties_even() as usize));
        ms * if batch.chunks.len() > 1 { self.prefill_overhead } else { 1.0 }
    }
}

impl StepLaw for VidurLaw {
    fn stages(&self) -> usize {
        self.stages
    }

    fn stage_ns(&self, batch: &Batch<'_>, stage: usize) -> f64 {
        let tokens = batch.tokens() as usize;
        let rounded = tokens.next_multiple_of(8);
        let layer_ms = value(&self.linear_ms, rounded)
            + value(&self.save_ms, tokens)
            + self.decode_attention_ms(batch)
            + self.prefill_attention_ms(batch);
        let send_ms = if stage + 1 < self.stages { value(&self.send_ms, rounded) } else { 0.0 };
        MS * (self.layers_per_stage * layer_ms + send_ms)
    }
}

fn place(table: &mut Vec<Vec<f64>>, row: usize, column: usize, ms: f64) {
    if table.len() <= row {
        table.resize(row + 1, Vec::new());
    }
    if table[row].len() <= column {
        table[row].resize(column + 1, 0.0);
    }
    table[row][column] = ms;
}

fn at(table: &[Vec<f64>], row: usize) -> Option<&[f64]> {
    table.get(row).or(table.last()).map(Vec::as_slice)
}

fn value(row: &[f64], column: usize) -> f64 {
    row.get(column).or(row.last()).copied().unwrap_or(0.0)
}
