//! Timings as aiconfigurator keeps them, in milliseconds: `SYSTEM_*_gemm_perf.parquet`, `context_attention`, `generation_attention`, `moe`, `nccl`,
//! `custom_allreduce`. Needs the feature `aiconfigurator`.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;

use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::{Field, RowAccessor};

use super::read::{ReadError, names};
use super::{Timing, Timings};
use crate::attention::Shape;
use crate::batch::Chunk;
use crate::calibration::Family;
use crate::layer::activated;
use crate::model::Experts;

/// Inner and outer sizes of products below this are no layer of a model that is served.
const LEAST_SIZE: f64 = 512.0;

/// Products in 8 bits are taken at rows up to this or multiples of it: engines pad batches to graphs, and others take up to 40 us more.
const ROWS: f64 = 16.0;

/// Bytes of an element of a collective in half precision: `message_size` counts elements.
const HALF_BYTES: f64 = 2.0;

/// A file by columns.
struct Columns {
    path: std::path::PathBuf,
    numbers: BTreeMap<String, Vec<f64>>,
    texts: BTreeMap<String, Vec<String>>,
}

impl Columns {
    fn read(path: &Path) -> Result<Self, ReadError> {
        let wrong = |error: parquet::errors::ParquetError| ReadError::Table {
            path: path.to_owned(),
            error: error.to_string(),
        };
        let file = File::open(path).map_err(|error| ReadError::File { path: path.to_owned(), error })?;
        let reader = SerializedFileReader::new(file).map_err(wrong)?;
        let (mut numbers, mut texts) =
            (BTreeMap::<String, Vec<f64>>::new(), BTreeMap::<String, Vec<String>>::new());
        for row in reader.get_row_iter(None).map_err(wrong)? {
            let row = row.map_err(wrong)?;
            for (place, (name, field)) in row.get_column_iter().enumerate() {
                let number = match field {
                    Field::Str(text) => {
                        texts.entry(name.clone()).or_default().push(text.clone());
                        continue;
                    }
                    Field::Int(value) => f64::from(*value),
                    Field::Long(value) => *value as f64,
                    Field::Float(value) => f64::from(*value),
                    Field::Double(_) => row.get_double(place).map_err(wrong)?,
                    _ => f64::NAN,
                };
                numbers.entry(name.clone()).or_default().push(number);
            }
        }
        Ok(Self { path: path.to_owned(), numbers, texts })
    }

    fn missing(&self, column: &str) -> ReadError {
        ReadError::Column { path: self.path.clone(), column: column.to_owned() }
    }

    fn numbers(&self, column: &str) -> Result<&[f64], ReadError> {
        self.numbers.get(column).map(Vec::as_slice).ok_or_else(|| self.missing(column))
    }

    fn texts(&self, column: &str) -> Result<&[String], ReadError> {
        self.texts.get(column).map(Vec::as_slice).ok_or_else(|| self.missing(column))
    }

    /// Milliseconds of a row as seconds.
    fn seconds(&self) -> Result<Vec<f64>, ReadError> {
        Ok(self.numbers("latency")?.iter().map(|milliseconds| milliseconds * 1e-3).collect())
    }
}

fn push_products(of: &Columns, timings: &mut Timings) -> Result<(), ReadError> {
    let (rows, outer, inner) = (of.numbers("m")?, of.numbers("n")?, of.numbers("k")?);
    let (kinds, seconds) = (of.texts("gemm_dtype")?, of.seconds()?);
    for row in 0..seconds.len() {
        let (family, bytes) = match kinds[row].as_str() {
            "bfloat16" => (Family::Matrix, (2.0, 2.0)),
            "fp8" => (Family::MatrixFp8, (1.0, 1.0)),
            "fp8_block" => (Family::MatrixFp8Block, (1.0, 1.0)),
            "int4_wo" => (Family::MatrixWeightOnly, (0.5 + 2.0 / 128.0, 2.0)),
            _ => continue,
        };
        let unaligned = family != Family::Matrix && rows[row] > ROWS && rows[row] % ROWS > 0.0;
        if unaligned || inner[row] < LEAST_SIZE || outer[row] < LEAST_SIZE {
            continue;
        }
        timings.push(family, Timing::product((rows[row], inner[row], outer[row]), bytes, seconds[row]));
    }
    Ok(())
}

fn push_attention(of: &Columns, decode: bool, timings: &mut Timings) -> Result<(), ReadError> {
    let (batch, tokens, seconds) = (of.numbers("batch_size")?, of.numbers("isl")?, of.seconds()?);
    let (heads, kv_heads) = (of.numbers("num_heads")?, of.numbers("num_key_value_heads")?);
    let (size, before, cache) = (of.numbers("head_dim")?, of.numbers("step")?, of.texts("kv_cache_dtype")?);
    let window = of.numbers("window_size").ok();
    for row in 0..seconds.len() {
        if cache[row] != "bfloat16" || window.is_some_and(|window| window[row] > 0.0) {
            continue;
        }
        let shape = Shape::grouped(heads[row], kv_heads[row], size[row], 2.0);
        let which = (heads[row] as u64) << 32 | (kv_heads[row] as u64) << 16 | size[row] as u64;
        if decode {
            let timing = Timing::decode(&shape, batch[row] as u32, before[row] + 1.0, seconds[row], which);
            timings.push(Family::AttentionDecode, timing);
        } else {
            let chunk = Chunk { tokens: tokens[row] as u32, context_tokens: before[row] as u32 };
            let chunks = vec![chunk; batch[row] as usize];
            let timing = Timing::chunks(&shape, &chunks, (0, 0.0), seconds[row], which);
            timings.push(Family::AttentionPrefill, timing);
        }
    }
    Ok(())
}

fn push_experts(of: &Columns, timings: &mut Timings) -> Result<(), ReadError> {
    let (tokens, width, inner) =
        (of.numbers("num_tokens")?, of.numbers("hidden_size")?, of.numbers("inter_size")?);
    let (count, active, seconds) = (of.numbers("num_experts")?, of.numbers("topk")?, of.seconds()?);
    let (tensor, expert) = (of.numbers("moe_tp_size")?, of.numbers("moe_ep_size")?);
    let (kinds, spreads) = (of.texts("moe_dtype")?, of.texts("distribution")?);
    // Tokens spread evenly if that was measured, else as evenly as there is.
    let even = spreads.iter().any(|spread| spread == "balanced");
    let spread = if even { "balanced" } else { "power_law_1.01" };
    for row in 0..seconds.len() {
        let (family, weight_bytes) = match kinds[row].as_str() {
            "bfloat16" => (Family::Experts, 2.0),
            "fp8" => (Family::ExpertsFp8, 1.0),
            _ => continue,
        };
        // How tokens fall on the experts of one of several GPUs is not said.
        if spreads[row] != spread || expert[row] > 1.0 {
            continue;
        }
        let (width, inner) = (width[row], inner[row] / tensor[row]);
        let assigned = tokens[row] * active[row];
        let experts = Experts {
            count: count[row] as u32,
            active: active[row] as u32,
            width: inner as u32,
            shared_width: 0,
            layers: 1,
        };
        let bytes = activated(experts, tokens[row]) * 3.0 * width * inner * weight_bytes
            + 2.0 * assigned * (2.0 * width + 4.0 * inner);
        let which = (width as u64) << 40 | (inner as u64) << 16 | count[row] as u64;
        timings.push(family, Timing::new(6.0 * assigned * width * inner, bytes, seconds[row], which));
    }
    Ok(())
}

fn push_collectives(of: &Columns, timings: &mut Timings) -> Result<(), ReadError> {
    let (gpus, sizes, seconds) = (of.numbers("num_gpus")?, of.numbers("message_size")?, of.seconds()?);
    let (operations, by) = (of.texts("op_name")?, of.texts("kernel_source")?);
    let kinds = of.texts("nccl_dtype").or_else(|_| of.texts("allreduce_dtype"))?;
    for row in 0..seconds.len() {
        if kinds[row] != "half" && kinds[row] != "bfloat16" {
            continue;
        }
        let operation = match operations[row].as_str() {
            "alltoall" => "all_to_all",
            other => other,
        };
        let rounds = if operation == "all_reduce" { 2.0 } else { 1.0 };
        let sent = rounds * (gpus[row] - 1.0) / gpus[row] * sizes[row] * HALF_BYTES;
        let by = by[row].to_ascii_lowercase().replace('_', "-");
        let key = (operation.to_owned(), by, gpus[row] as u32);
        timings.collectives.entry(key).or_default().push((sent, seconds[row]));
    }
    Ok(())
}

/// All timings of a system (`h100_sxm`) in a folder.
pub fn timings(folder: &Path, system: &str) -> Result<Timings, ReadError> {
    let mut timings = Timings::default();
    let start = format!("{system}_");
    let mut found = false;
    for name in names(folder)? {
        if !name.starts_with(&start) || !name.ends_with("_perf.parquet") {
            continue;
        }
        let path = folder.join(&name);
        let ends = |what: &str| name.ends_with(&format!("{what}_perf.parquet"));
        found = true;
        if ends("gemm") {
            push_products(&Columns::read(&path)?, &mut timings)?;
        } else if ends("context_attention") {
            push_attention(&Columns::read(&path)?, false, &mut timings)?;
        } else if ends("generation_attention") {
            push_attention(&Columns::read(&path)?, true, &mut timings)?;
        } else if ends("moe") {
            push_experts(&Columns::read(&path)?, &mut timings)?;
        } else if ends("nccl") || ends("custom_allreduce") {
            push_collectives(&Columns::read(&path)?, &mut timings)?;
        }
    }
    if found {
        return Ok(timings);
    }
    Err(ReadError::None { path: folder.to_owned(), wanted: format!("{start}*_perf.parquet") })
}
