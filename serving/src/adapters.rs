//! Low-rank adapters of a model (`LoRA`; Hu et al., 2022): their bytes, what they add to an iteration, and what loading them takes.
//!
//! To a product with a matrix of `inner` by `outer` an adapter of rank `r` adds two thin ones, with `inner` by `r` and `r` by `outer`. Sequences of one batch
//! have different adapters: one kernel goes over all of them (Punica's and S-LoRA's, which vLLM has), reads each adapter that is in the batch once, and adds what
//! comes of it to what the model's own product gave.

use foretell_serving_policies::AdapterSource;

use crate::calibration::{Calibration, CalibrationError, Constants, Family};
use crate::model::weights::Parallelism;
use crate::model::{Attention, Model};

/// Bytes of an adapter's number, and of an activation.
const NUMBER_BYTES: f64 = 2.0;

/// Bytes of a number between the two products (32 bits; as vLLM's kernels keep it, from memory).
const BETWEEN_BYTES: f64 = 4.0;

/// Which matrices adapters change.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum AdapterTargets {
    /// Those of attention.
    Attention,
    /// Those of the feed-forward network too, in layers without experts.
    #[default]
    All,
}

/// Matrices of a layer that one kernel serves, on one GPU.
#[derive(Clone, Copy, PartialEq, Debug)]
struct Product {
    inner: f64,
    /// Together.
    outer: f64,
    /// How many; each has a first matrix of its own.
    matrices: f64,
    layers: f64,
}

impl Product {
    /// Columns of the matrices are divided among GPUs: the first thin matrix is on each of them.
    fn columns(inner: f64, outer: f64, matrices: u32, layers: f64, tensor: f64) -> Self {
        Self { inner, outer: outer / tensor, matrices: f64::from(matrices), layers }
    }

    /// Rows are: the second is.
    fn rows(inner: f64, outer: f64, layers: f64, tensor: f64) -> Self {
        Self { inner: inner / tensor, outer, matrices: 1.0, layers }
    }

    /// Numbers of an adapter for each of its rank.
    fn numbers(&self) -> f64 {
        self.inner * self.matrices + self.outer
    }
}

/// Shape of the adapters of a model: all have the same.
#[derive(Clone, PartialEq, Debug)]
pub struct AdapterShape {
    rank: f64,
    products: Vec<Product>,
}

impl AdapterShape {
    /// Adapters of this rank.
    pub fn new(model: &Model, parallelism: Parallelism, rank: u32, targets: AdapterTargets) -> Self {
        let tensor = f64::from(parallelism.tensor);
        let (width, layers) = (f64::from(model.width), f64::from(model.layers));
        let heads = f64::from(model.heads);
        let mut products = match model.attention {
            Attention::Grouped { kv_heads, head_size } => {
                let head_size = f64::from(head_size);
                let queries = heads * head_size;
                // Keys and values are copied where there are fewer of them than GPUs.
                let cached = f64::from(kv_heads.max(parallelism.tensor)) * head_size;
                vec![
                    Product::columns(width, queries + 2.0 * cached, 3, layers, tensor),
                    Product::rows(queries, width, layers, tensor),
                ]
            }
            Attention::Latent { query_rank, kv_rank, plain_size, rotated_size, value_size } => {
                let (plain, values) = (f64::from(plain_size), f64::from(value_size));
                let (rank, rotated) = (f64::from(kv_rank), f64::from(rotated_size));
                let keys = heads * (plain + rotated);
                let mut products = match query_rank {
                    Some(of) => vec![
                        Product::rows(width, f64::from(of), layers, 1.0),
                        Product::columns(f64::from(of), keys, 1, layers, tensor),
                    ],
                    None => vec![Product::columns(width, keys, 1, layers, tensor)],
                };
                products.extend([
                    Product::rows(width, rank + rotated, layers, 1.0),
                    Product::columns(rank, heads * (plain + values), 1, layers, tensor),
                    Product::rows(heads * values, width, layers, tensor),
                ]);
                products
            }
        };
        let dense = f64::from(model.layers - model.expert_layers());
        if targets == AdapterTargets::All && dense > 0.0 {
            let (inner, up) = (f64::from(model.ffn_width), if model.gated { 2 } else { 1 });
            products.push(Product::columns(width, f64::from(up) * inner, up, dense, tensor));
            products.push(Product::rows(inner, width, dense, tensor));
        }
        Self { rank: f64::from(rank), products }
    }

    /// Bytes of one adapter on each GPU.
    pub fn bytes_per_gpu(&self) -> f64 {
        let numbers: f64 = self.products.iter().map(|product| product.layers * product.numbers()).sum();
        numbers * self.rank * NUMBER_BYTES
    }
}

/// What loading an adapter takes: bytes of each GPU over its own way from the host's memory, and before that from storage if they are not there.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct AdapterLinks {
    /// From the host's memory to a GPU.
    pub host_bytes_per_s: f64,
    /// From storage to the host's memory, for all GPUs together.
    pub storage_bytes_per_s: f64,
    /// Before the first byte comes from storage.
    pub storage_latency_ns: f64,
}

/// What adapters take on the GPUs of an engine.
///
/// Low-rank products are reckoned by the constants of matrix products in 16 bits: an assumption, nobody has measured these kernels here.
#[derive(Clone, PartialEq, Debug)]
pub struct AdapterLaw {
    shape: AdapterShape,
    constants: Constants,
    peak_flops: f64,
    bytes_per_s: f64,
    host_ns: f64,
    storage_ns: f64,
}

impl AdapterLaw {
    /// Of adapters of this shape.
    pub fn new(
        shape: AdapterShape,
        parallelism: Parallelism,
        calibration: &Calibration,
        links: AdapterLinks,
    ) -> Result<Self, CalibrationError> {
        let bytes = shape.bytes_per_gpu();
        let host_ns = bytes / links.host_bytes_per_s * 1e9;
        let all = bytes * f64::from(parallelism.tensor);
        Ok(Self {
            constants: calibration.of(Family::Matrix)?.clone(),
            peak_flops: calibration.device.flops_16bit,
            bytes_per_s: calibration.device.memory_bytes_per_s,
            host_ns,
            storage_ns: host_ns + links.storage_latency_ns + all / links.storage_bytes_per_s * 1e9,
            shape,
        })
    }

    /// What it takes to put an adapter on the GPUs.
    pub const fn load_ns(&self, from: AdapterSource) -> f64 {
        match from {
            AdapterSource::Host => self.host_ns,
            AdapterSource::Storage => self.storage_ns,
        }
    }

    /// What an iteration takes longer in which so many tokens need so many different adapters.
    pub fn added_ns(&self, tokens: u32, adapters: u32) -> f64 {
        if tokens == 0 {
            return 0.0;
        }
        let (rows, adapters, rank) = (f64::from(tokens), f64::from(adapters), self.shape.rank);
        let seconds = |flops, bytes| self.constants.seconds(flops, bytes, self.peak_flops, self.bytes_per_s);
        let of_product = |product: &Product| {
            let between = rows * product.matrices * rank * BETWEEN_BYTES;
            let first = product.inner * product.matrices * rank;
            let down = seconds(
                2.0 * rows * first,
                adapters * first * NUMBER_BYTES + rows * product.inner * NUMBER_BYTES + between,
            );
            let second = product.outer * rank;
            // What the model's own product gave is read and written again.
            let up = seconds(
                2.0 * rows * second,
                adapters * second * NUMBER_BYTES + 2.0 * rows * product.outer * NUMBER_BYTES + between,
            );
            product.layers * (down + up)
        };
        self.shape.products.iter().map(of_product).sum::<f64>() * 1e9
    }
}

/// What adapters did to an engine, or several.
#[derive(Clone, Copy, PartialEq, Default, Debug, serde::Serialize)]
pub struct AdapterTotals {
    /// Adapters put on the GPUs from the host's memory.
    pub loads_from_host: u64,
    /// The same from storage.
    pub loads_from_storage: u64,
    /// Time of all loads.
    #[serde(rename = "load_s", serialize_with = "seconds")]
    pub load_ns: f64,
    /// Time of low-rank products.
    #[serde(rename = "products_s", serialize_with = "seconds")]
    pub products_ns: f64,
    /// Requests that were passed over since there was no room for their adapter, or it was not there yet.
    pub held_back: u64,
    /// From when they first were until they were taken, all together.
    #[serde(rename = "held_back_s", serialize_with = "seconds")]
    pub held_back_ns: f64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn seconds<S: serde::Serializer>(ns: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(ns / 1e9)
}

impl AdapterTotals {
    /// An adapter is put on the GPUs.
    pub(crate) fn note(&mut self, from: AdapterSource, length_ns: f64) {
        match from {
            AdapterSource::Host => self.loads_from_host += 1,
            AdapterSource::Storage => self.loads_from_storage += 1,
        }
        self.load_ns += length_ns;
    }

    /// Both together.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            loads_from_host: self.loads_from_host + other.loads_from_host,
            loads_from_storage: self.loads_from_storage + other.loads_from_storage,
            load_ns: self.load_ns + other.load_ns,
            products_ns: self.products_ns + other.products_ns,
            held_back: self.held_back + other.held_back,
            held_back_ns: self.held_back_ns + other.held_back_ns,
        }
    }
}
