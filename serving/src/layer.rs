//! What a layer takes beside attention, and what comes before the first layer and after the last.

use crate::calibration::{Calibration, CalibrationError, Constants, Family};
use crate::correction::{Correction, Prepared};
use crate::link::Links;
use crate::model::weights::Parallelism;
use crate::model::{Attention, Experts, Model};
use crate::options::{Compilation, ExpertExchange, FUSED_ELEMENTWISE, Options};
use crate::tables::{Measured, Operator};

/// Bytes of an activation.
const ACTIVATION_BYTES: f64 = 2.0;

/// Matrix products of one precision.
struct Products<'a> {
    family: Family,
    constants: &'a Constants,
    correction: Option<Prepared<'a>>,
    peak_flops: f64,
    weight_bytes: f64,
    activation_bytes: f64,
    /// Shares of operations and of bytes of weights that pruning leaves.
    left: (f64, f64),
}

/// A layer on one GPU.
pub(crate) struct Layer<'a> {
    model: &'a Model,
    parallelism: Parallelism,
    calibration: &'a Calibration,
    links: Links,
    measured: &'a Measured,
    products: Products<'a>,
    /// The projection on the vocabulary and the router keep 16 bits.
    half: Products<'a>,
    grouped: Products<'a>,
    elementwise_share: f64,
    exchange: ExpertExchange,
}

impl<'a> Layer<'a> {
    pub(crate) fn new(
        model: &'a Model,
        parallelism: Parallelism,
        calibration: &'a Calibration,
        links: Links,
        options: &Options,
        measured: &'a Measured,
    ) -> Result<Self, CalibrationError> {
        let device = &calibration.device;
        let (of_products, of_experts) = options.weights.families();
        // The first that is known; the error names the last, which has no replacement.
        let known = |families: &[Family]| {
            let mut last = Err(CalibrationError::Missing { device: device.name.clone(), family: "matrix" });
            for &family in families {
                last = calibration.of(family).map(|of| (family, of));
                if last.is_ok() {
                    break;
                }
            }
            last
        };
        let peak = if options.weights.eight_bits() { device.flops_8bit } else { device.flops_16bit };
        let weight_bytes = options.weights.bytes();
        let products = |(family, constants): (Family, &'a Constants)| Products {
            family,
            constants,
            correction: constants.correction.as_ref().map(Correction::prepared),
            peak_flops: peak,
            weight_bytes,
            activation_bytes: options.weights.activation_bytes(),
            left: options.pruning.left(weight_bytes),
        };
        let half = calibration.of(Family::Matrix)?;
        Ok(Self {
            model,
            parallelism,
            calibration,
            links,
            measured,
            products: products(known(of_products)?),
            half: Products {
                family: Family::Matrix,
                constants: half,
                correction: half.correction.as_ref().map(Correction::prepared),
                peak_flops: device.flops_16bit,
                weight_bytes: 2.0,
                activation_bytes: ACTIVATION_BYTES,
                left: (1.0, 1.0),
            },
            grouped: products(known(of_experts)?),
            exchange: options.expert_exchange,
            elementwise_share: match options.compilation {
                Compilation::TensorRt => FUSED_ELEMENTWISE,
                Compilation::Eager | Compilation::Graphs => 1.0,
            },
        })
    }

    /// A product of `rows` with a matrix of `inner` by `outer`.
    fn product_s(&self, products: &Products<'_>, rows: f64, inner: f64, outer: f64) -> f64 {
        let (flops_left, bytes_left) = products.left;
        let flops = 2.0 * rows * inner * outer * flops_left;
        let bytes = products.weight_bytes * inner * outer * bytes_left
            + rows * (inner * products.activation_bytes + outer * ACTIVATION_BYTES);
        let bandwidth = self.calibration.device.memory_bytes_per_s;
        let table = self.measured.products.get(&products.family);
        if let Some(efficiency) = table.and_then(|table| table.efficiency(rows, inner, outer)) {
            return (flops / products.peak_flops).max(bytes / bandwidth) / efficiency;
        }
        let factor = products.correction.as_ref().map_or(1.0, |of| of.factor(rows, inner, outer));
        factor * products.constants.seconds(flops, bytes, products.peak_flops, bandwidth)
    }

    /// What only moves bytes.
    fn elementwise_s(&self, family: Family, bytes: f64) -> f64 {
        let device = &self.calibration.device;
        let of = self.calibration.families.get(&family);
        let seconds = of.map_or(0.0, |of| of.moving_s(bytes, device.memory_bytes_per_s));
        self.elementwise_share * seconds
    }

    /// As measured, else by the law.
    fn measured_or(&self, operator: Operator, tokens: u32, law: impl FnOnce() -> f64) -> f64 {
        self.measured.operator_s(operator, tokens).unwrap_or_else(law)
    }

    /// A product as measured, but no shorter than its weights take from memory: profiled again and again, small ones are found in the cache,
    /// where a model has the weights of all other layers to read in between.
    fn measured_product_s(&self, operator: Operator, tokens: u32, inner: f64, outer: f64) -> f64 {
        let law = || self.product_s(&self.products, f64::from(tokens), inner, outer);
        let weights = 2.0 * inner * outer;
        let share = self.half.constants.bandwidth_share.min(1.0);
        let cold = weights / (self.calibration.device.memory_bytes_per_s * share);
        self.measured.operator_s(operator, tokens).map_or_else(law, |seconds| seconds.max(cold))
    }

    fn tensor(&self) -> f64 {
        f64::from(self.parallelism.tensor)
    }

    fn width(&self) -> f64 {
        f64::from(self.model.width)
    }

    /// Attention's projections, what rotates and norms, and the collective after it.
    pub(crate) fn around_s(&self, tokens: u32) -> f64 {
        let rows = f64::from(tokens);
        let (width, tensor) = (self.width(), self.tensor());
        let heads = f64::from(self.model.heads) / tensor;
        let product = |inner, outer| self.product_s(&self.products, rows, inner, outer);
        let norm = || self.elementwise_s(Family::Norm, 4.0 * rows * width * ACTIVATION_BYTES);
        let mut seconds = f64::from(self.model.norms) * self.measured_or(Operator::Norm, tokens, norm);
        match self.model.attention {
            Attention::Grouped { kv_heads, head_size } => {
                let head_size = f64::from(head_size);
                let cached = f64::from((kv_heads / self.parallelism.tensor).max(1)) * head_size;
                let queries = heads * head_size;
                let outer = queries + 2.0 * cached;
                seconds += self.measured_product_s(Operator::QueriesKeysValues, tokens, width, outer);
                let moved = 2.0 * rows * (queries + cached) * ACTIVATION_BYTES;
                let rotary = || self.elementwise_s(Family::Rotary, moved);
                seconds += self.measured_or(Operator::Rotary, tokens, rotary);
                if self.model.query_key_norm {
                    let norm = || self.elementwise_s(Family::QueryKeyNorm, moved);
                    seconds += self.measured_or(Operator::QueryKeyNorm, tokens, norm);
                }
                seconds += self.measured_product_s(Operator::Output, tokens, queries, width);
            }
            Attention::Latent { query_rank, kv_rank, plain_size, rotated_size, value_size } => {
                let key_size = f64::from(plain_size + rotated_size);
                let (rank, values) = (f64::from(kv_rank), f64::from(value_size));
                // Queries and keys are compressed by one product where both are.
                let compressed = rank + f64::from(rotated_size);
                seconds += match query_rank {
                    Some(of) => {
                        let of = f64::from(of);
                        product(width, of + compressed) + product(of, heads * key_size)
                    }
                    None => product(width, compressed) + product(width, heads * key_size),
                };
                seconds += product(rank, heads * (f64::from(plain_size) + values));
                seconds += product(heads * values, width);
                let moved = 2.0 * rows * (heads * key_size + compressed) * ACTIVATION_BYTES;
                seconds += self.elementwise_s(Family::Rotary, moved);
            }
        }
        // Where attention and the feed-forward network run side by side, one sum serves both.
        if self.model.norms > 1 {
            seconds += self.reduce_s(rows);
        }
        seconds
    }

    fn reduce_s(&self, rows: f64) -> f64 {
        self.links.tensor.all_reduce_s(rows * self.width() * ACTIVATION_BYTES, self.parallelism.tensor)
    }

    /// The feed-forward network of a layer without experts, and the collective after it.
    pub(crate) fn dense_s(&self, tokens: u32) -> f64 {
        let rows = f64::from(tokens);
        let inner = f64::from(self.model.ffn_width) / self.tensor();
        let up = if self.model.gated { 2.0 } else { 1.0 };
        let (width, moved) = (self.width(), (up + 1.0) * rows * inner * ACTIVATION_BYTES);
        self.measured_product_s(Operator::Up, tokens, width, up * inner)
            + self.measured_or(Operator::Activation, tokens, || self.elementwise_s(Family::Activation, moved))
            + self.measured_product_s(Operator::Down, tokens, inner, width)
            + self.reduce_s(rows)
    }

    /// The router of a layer with experts, and what all tokens pass there.
    pub(crate) fn router_s(&self, tokens: u32) -> f64 {
        let Some(experts) = self.model.experts else { return 0.0 };
        let rows = f64::from(tokens);
        // Measured experts include their router.
        let mut seconds = 0.0;
        if self.measured.experts.is_none() {
            seconds += self.product_s(&self.half, rows, self.width(), f64::from(experts.count));
        }
        if experts.shared_width > 0 {
            let inner = f64::from(experts.shared_width) / self.tensor();
            let moved = 3.0 * rows * inner * ACTIVATION_BYTES;
            seconds += self.product_s(&self.products, rows, self.width(), 2.0 * inner)
                + self.product_s(&self.products, rows, inner, self.width())
                + self.elementwise_s(Family::Activation, moved);
        }
        seconds
    }

    /// The experts of a layer for `tokens` of all replicas that share them, with what brings tokens there and back.
    pub(crate) fn experts_s(&self, tokens: u32) -> f64 {
        let Some(experts) = self.model.experts else { return 0.0 };
        let rows = f64::from(tokens);
        let Parallelism { data, expert, .. } = self.parallelism;
        let bytes = rows * self.width() * ACTIVATION_BYTES;
        let exchanged = if data == 1 {
            // Within a replica experts are summed with the rest.
            self.reduce_s(rows)
        } else if self.exchange == ExpertExchange::AllToAll && expert > 1 {
            // A GPU has its share of the tokens, and the others have all but its share of the experts.
            let away = f64::from(expert - 1) / f64::from(expert);
            let sent = bytes * f64::from(experts.active) / f64::from(expert) * away;
            2.0 * self.links.outer.send_s(sent)
        } else {
            let gathered = self.links.outer.gather_s(bytes, data);
            2.0 * gathered + self.reduce_s(rows / f64::from(data))
        };
        let spread = f64::from(expert);
        let activated = activated(experts, rows) / spread;
        if let Some(measured) = &self.measured.experts {
            let split = if expert > 1 { 1.0 } else { self.tensor() };
            return measured.seconds(rows / spread, activated) / split + exchanged;
        }
        let split = if expert > 1 { 1.0 } else { self.tensor() };
        let (width, inner) = (self.width(), f64::from(experts.width) / split);
        let matrices = if self.model.gated { 3.0 } else { 2.0 };
        let assigned = rows * f64::from(experts.active) / spread;
        let of = &self.grouped;
        let (flops_left, bytes_left) = of.left;
        let flops = 2.0 * assigned * matrices * width * inner * flops_left;
        let bytes = activated * matrices * width * inner * of.weight_bytes * bytes_left
            + assigned * (2.0 * width + (matrices + 1.0) * inner) * ACTIVATION_BYTES;
        let bandwidth = self.calibration.device.memory_bytes_per_s;
        // Two grouped products, an activation and a sum.
        of.constants.seconds(flops, bytes, of.peak_flops, bandwidth) + exchanged
    }

    /// Looking up the embedding.
    pub(crate) fn embedding_s(&self, tokens: u32) -> f64 {
        let rows = f64::from(tokens);
        let law = || self.elementwise_s(Family::Embedding, 2.0 * rows * self.width() * ACTIVATION_BYTES);
        // The vocabulary is split, so that what was looked up is summed.
        self.measured_or(Operator::Embedding, tokens, law) + self.reduce_s(rows)
    }

    /// The norm after the last layer.
    pub(crate) fn last_s(&self, tokens: u32) -> f64 {
        let law =
            || self.elementwise_s(Family::Norm, 4.0 * f64::from(tokens) * self.width() * ACTIVATION_BYTES);
        self.measured_or(Operator::LastNorm, tokens, law)
    }

    /// What the last layer of a stage sends to the next.
    pub(crate) fn send_s(&self, tokens: u32) -> f64 {
        self.links.outer.send_s(f64::from(tokens) * self.width() * ACTIVATION_BYTES)
    }

    /// The projection on the vocabulary and the choice of a token.
    pub(crate) fn sampled_s(&self, sequences: u32) -> f64 {
        let rows = f64::from(sequences);
        let vocabulary = f64::from(self.model.vocabulary);
        let projection = || self.product_s(&self.half, rows, self.width(), vocabulary / self.tensor());
        // Logits of every part of the vocabulary come together before a token is chosen.
        let gathered =
            self.links.tensor.gather_s(rows * vocabulary * ACTIVATION_BYTES, self.parallelism.tensor);
        let sampler = || self.elementwise_s(Family::Sampler, rows * vocabulary * 4.0);
        self.measured_or(Operator::Vocabulary, sequences, projection)
            + gathered
            + self.measured_or(Operator::Sampler, sequences, sampler)
    }
}

/// How many experts of a layer have at least one of so many tokens, if every token chooses evenly: `E (1 - (1 - k / E)^T)`.
pub(crate) fn activated(experts: Experts, tokens: f64) -> f64 {
    let count = f64::from(experts.count);
    count * (1.0 - libm::pow(1.0 - f64::from(experts.active) / count, tokens))
}
