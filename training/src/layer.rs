//! How long the units of a model take on one GPU of a plan: layers, and what is before and behind them.

use foretell_fabric::collectives::Collective;

use crate::groups::{Communication, Group};
use crate::kernels::{Kernels, Parameter, launch_s};
use crate::model::{Kind, Layered, Transformer};
use crate::plan::{Attention, Plan, PlanError, Recompute};
use crate::step::Setup;

/// What is computed, gathered and reduced as one, for one micro-batch on one GPU.
#[derive(Clone, Copy, Default, PartialEq, Debug)]
pub(crate) struct Unit {
    /// Kernels of the forward pass.
    pub(crate) forward_s: f64,
    /// Kernels of the backward pass.
    pub(crate) backward_s: f64,
    /// Of those, what is computed again.
    pub(crate) recompute_s: f64,
    /// Collectives inside the unit that nothing overlaps, forward.
    pub(crate) inner_forward_s: f64,
    /// Backward.
    pub(crate) inner_backward_s: f64,
    /// Parameters on this GPU that all replicas have.
    pub(crate) parameters: f64,
    /// Parameters on this GPU of experts that replicas split among them.
    pub(crate) expert_parameters: f64,
}

impl Unit {
    pub(crate) const fn forward(&self) -> f64 {
        self.forward_s + self.inner_forward_s
    }

    pub(crate) const fn backward(&self) -> f64 {
        self.backward_s + self.inner_backward_s
    }
}

/// How long most loaded experts take over the mean (1.1 to 1.5 are common).
const EXPERT_IMBALANCE: f64 = 1.2;

/// Kernels of a transformer's layer, forward.
const LAYER_KERNELS: f64 = 14.0;

/// Bytes moved between products for each number of the residual stream, forward: two norms and two residual sums in 16 bits, each a kernel
/// that reads and writes.
const STREAM_BYTES: f64 = 28.0;

/// The same where the norm is computed in 32 bits and positions are rotated in, operation by operation.
const STREAM_ROTATED_BYTES: f64 = 110.0;

/// The same where it is fused.
const STREAM_FUSED_BYTES: f64 = 24.0;

/// Backward over forward, of what is moved one by one.
const MOVED_BACKWARD: f64 = 2.0;

/// The same of fused kernels: a norm reads its input and two gradients and writes one, a dropout reads a gradient and its mask.
const FUSED_BACKWARD: f64 = 1.2;

/// Operations of flash attention backward over forward: five products for two.
const FLASH_BACKWARD: f64 = 2.5;

/// Bytes moved for each score that is written out, forward: mask, softmax and dropout in half precision (Korthikanti et al. count 5 that are
/// kept).
const SCORE_BYTES: f64 = 14.0;

/// Passes over a convolutional network's activations, forward and backward: written, normalised, read; and gradients likewise.
const ACTIVATION_PASSES: (f64, f64) = (2.0, 3.0);

/// The units of one replica's model on the GPUs that split it, in order of the forward pass.
pub(crate) fn units(
    setup: &Setup<'_>,
    kernels: &Kernels<'_>,
    communication: &Communication<'_>,
) -> Result<Vec<Unit>, PlanError> {
    match &setup.model.kind {
        Kind::Transformer(model) => {
            let layers = Layers { model, plan: setup.plan, kernels, communication };
            let mut units = vec![layers.embedding()];
            let experts = model.expert_layers();
            let dense = model.layers - experts;
            if dense > 0 {
                units.extend(std::iter::repeat_n(layers.layer(false)?, dense as usize));
            }
            if experts > 0 {
                units.extend(std::iter::repeat_n(layers.layer(true)?, experts as usize));
            }
            units.push(layers.head());
            Ok(units)
        }
        Kind::Layered(model) => layered(model, setup.plan, kernels, communication),
    }
}

struct Layers<'a> {
    model: &'a Transformer,
    plan: &'a Plan,
    kernels: &'a Kernels<'a>,
    communication: &'a Communication<'a>,
}

impl Layers<'_> {
    /// Tokens of a micro-batch on this GPU.
    fn tokens(&self) -> f64 {
        self.plan.local_tokens()
    }

    /// What the GPUs of tensor parallelism divide between the products: 1 if each does all of it.
    fn stream_split(&self) -> f64 {
        if self.plan.is_sequence_parallel { f64::from(self.plan.tensor) } else { 1.0 }
    }

    fn embedding(&self) -> Unit {
        let width = f64::from(self.model.width);
        let moved = self.kernels.memory_s(self.tokens() * width * 6.0) / self.stream_split();
        Unit {
            forward_s: moved,
            backward_s: 2.0 * moved,
            parameters: self.model.embedding_parameters() / f64::from(self.plan.tensor),
            ..Unit::default()
        }
    }

    /// The projection on the vocabulary, and the loss.
    fn head(&self) -> Unit {
        let tensor = f64::from(self.plan.tensor);
        let (width, vocabulary) = (f64::from(self.model.width), f64::from(self.model.vocabulary));
        let product = self.kernels.half_matrix_s(
            2.0 * self.tokens() * width * vocabulary / tensor,
            width,
            vocabulary / tensor,
        );
        let bytes = self.kernels.get(Parameter::Logits) * self.tokens() * vocabulary / tensor;
        let moved = self.kernels.memory_s(bytes);
        Unit {
            forward_s: product + 0.4 * moved,
            backward_s: 2.0 * product + 0.6 * moved,
            parameters: self.model.head_parameters() / tensor,
            ..Unit::default()
        }
    }

    fn layer(&self, has_experts: bool) -> Result<Unit, PlanError> {
        let attention = self.attention();
        let (ffn_s, moved_bytes) = self.feed_forward(has_experts);
        let stream = match (self.plan.is_fused, self.model.is_gated) {
            (true, _) => STREAM_FUSED_BYTES,
            (false, true) => STREAM_ROTATED_BYTES,
            (false, false) => STREAM_BYTES,
        } * f64::from(self.model.width)
            / self.stream_split();
        // Of fused kernels each byte is counted; what is moved one by one is fitted.
        let share = if self.plan.is_fused { 1.0 } else { self.kernels.get(Parameter::Moved) };
        let moved = share * self.kernels.memory_s(self.tokens() * (stream + moved_bytes));
        let launch = launch_s(LAYER_KERNELS);
        let forward_s = attention.products + attention.core_forward + ffn_s + moved + launch;
        let Inner { exposed_s: inner_s, mut beside_s } = self.inner(has_experts)?;
        let ring = self.ring(&attention)?;
        let [ring_s, ring_backward_s] = ring.late_s;
        beside_s += ring.beside_s;
        let is_full = self.plan.recompute == Recompute::Full;
        let recompute_s = match self.plan.recompute {
            Recompute::Full => forward_s,
            Recompute::Alternate => {
                let ffn = if self.model.is_gated { 1.0 / 3.0 } else { 0.5 };
                moved + 0.5 * attention.products + ffn * ffn_s + attention.core_again
            }
            // With flash attention what lies between products.
            Recompute::Selective if self.plan.attention == Attention::Flash => moved,
            Recompute::Selective => attention.core_again,
            Recompute::None => 0.0,
        };
        let backward_s = 2.0 * (attention.products + ffn_s)
            + attention.core_backward
            + if self.plan.is_fused { FUSED_BACKWARD } else { MOVED_BACKWARD } * moved
            + 2.0 * launch
            + self.kernels.get(Parameter::Beside) * beside_s
            + recompute_s;
        let tensor = f64::from(self.plan.tensor);
        let shared = if has_experts {
            self.model.shared_layer_parameters()
        } else {
            self.model.dense_layer_parameters()
        };
        let routed = if has_experts { self.model.routed_layer_parameters() } else { 0.0 };
        Ok(Unit {
            forward_s,
            backward_s,
            recompute_s,
            inner_forward_s: inner_s + ring_s,
            inner_backward_s: if is_full { 2.0 * inner_s + ring_s } else { inner_s } + ring_backward_s,
            parameters: shared / tensor,
            expert_parameters: routed / tensor / f64::from(self.plan.expert),
        })
    }

    fn attention(&self) -> AttentionTimes {
        let (model, plan) = (self.model, self.plan);
        let tensor = f64::from(plan.tensor);
        let width = f64::from(model.width);
        let queries = f64::from(model.heads) * f64::from(model.head_size) / tensor;
        let keys = 2.0 * f64::from(model.kv_heads) * f64::from(model.head_size) / tensor;
        let tokens = self.tokens();
        let products_s = if model.latent.is_some() {
            self.kernels.matrix_s(2.0 * tokens * model.attention_parameters() / tensor, width, queries)
        } else {
            self.kernels.matrix_s(2.0 * tokens * width * (queries + keys), width, queries + keys)
                + self.kernels.matrix_s(2.0 * tokens * queries * width, queries, width)
        };
        let sequence = f64::from(plan.sequence_length);
        let all_scores = 4.0 * sequence * tokens * queries;
        match plan.attention {
            Attention::Flash => {
                let flops = if model.is_causal { all_scores / 2.0 } else { all_scores };
                let core = self.kernels.attention_s(flops, model.head_size);
                AttentionTimes {
                    products: products_s,
                    core_forward: core,
                    core_backward: FLASH_BACKWARD * core,
                    core_again: 0.0,
                }
            }
            Attention::Unfused => {
                let heads = f64::from(model.heads) / tensor;
                let moved = self.kernels.memory_s(SCORE_BYTES * heads * sequence * tokens);
                let product = self.kernels.scores_s(all_scores);
                AttentionTimes {
                    products: products_s,
                    core_forward: product + moved,
                    core_backward: 2.0 * product + 1.6 * moved,
                    core_again: product + moved,
                }
            }
        }
    }

    /// Seconds of the feed-forward network's products, and bytes that it moves for each token.
    fn feed_forward(&self, has_experts: bool) -> (f64, f64) {
        let (model, tensor) = (self.model, f64::from(self.plan.tensor));
        let width = f64::from(model.width);
        let matrices = if model.is_gated { 3.0 } else { 2.0 };
        let tokens = self.tokens();
        let network = |inside: f64, tokens: f64, rows: f64| {
            let inside = inside / tensor;
            let outer = (matrices - 1.0) * inside;
            // Few rows fill the units no better than narrow matrices do.
            let fill = 1.0 + self.kernels.get(Parameter::MatrixSize) / rows;
            let seconds = self.kernels.matrix_s(2.0 * tokens * width * outer, width, outer)
                + self.kernels.matrix_s(2.0 * tokens * inside * width, inside, width);
            (seconds * fill, 2.0 * matrices * inside)
        };
        match model.experts.filter(|_| has_experts) {
            None => network(f64::from(model.ffn_width), tokens, tokens),
            Some(experts) => {
                let inside = f64::from(experts.width);
                // Tokens of the replicas that split the experts meet in the experts of each.
                let active = f64::from(experts.active);
                let local = f64::from(experts.count) / f64::from(self.plan.expert);
                let rows = (tokens * active / local).max(1.0);
                let (routed_s, routed_bytes) = network(inside, tokens * active, rows);
                let (shared_s, shared_bytes) = if experts.shared > 0 {
                    network(inside * f64::from(experts.shared), tokens, tokens)
                } else {
                    (0.0, 0.0)
                };
                // Tokens are sorted by expert and back.
                let sorted = 8.0 * width * active;
                (
                    routed_s * EXPERT_IMBALANCE + shared_s,
                    routed_bytes * active * EXPERT_IMBALANCE + shared_bytes + sorted,
                )
            }
        }
    }

    /// Keys and values that go round among the GPUs that split a sequence (Liu et al. 2023): each computes the scores of its tokens with
    /// those of one part while those of the next come. Backward their gradients go round with them.
    fn ring(&self, attention: &AttentionTimes) -> Result<Ring, PlanError> {
        let (model, plan) = (self.model, self.plan);
        if plan.context < 2 {
            return Ok(Ring::default());
        }
        // Of grouped heads that are fewer than the GPUs of tensor parallelism each has one.
        let split = if model.latent.is_some() { 1 } else { plan.tensor.min(model.kv_heads) };
        let bytes = self.tokens() * model.kept_keys() / f64::from(split) * plan.precision.bytes();
        let sends = f64::from(plan.context - 1);
        let send = |bytes: f64| self.communication.send_s(plan.context, plan.tensor, bytes);
        let (forward, backward) = (send(bytes)?, send(2.0 * bytes)?);
        let beside = |core_s: f64, send_s: f64| send_s.min(core_s / f64::from(plan.context));
        let hidden = [beside(attention.core_forward, forward), beside(attention.core_backward, backward)];
        Ok(Ring {
            late_s: [sends * (forward - hidden[0]), sends * (backward - hidden[1])],
            beside_s: sends * (hidden[0] + hidden[1]),
        })
    }

    /// Collectives inside a layer.
    fn inner(&self, has_experts: bool) -> Result<Inner, PlanError> {
        let (model, plan) = (self.model, self.plan);
        let gpus = self.communication.gpus_per_node();
        let bytes = self.tokens() * f64::from(model.width) * plan.precision.bytes();
        let (mut exposed_s, mut beside_s) = (0.0, 0.0);
        if plan.tensor > 1 {
            let group = Group::new(plan.tensor, 1, gpus);
            let once = if plan.is_sequence_parallel {
                let gather = self.communication.time_s(group, Collective::AllGather, bytes)?;
                // Inputs of products are kept as parts, and gathered again while gradients are computed.
                beside_s += 2.0 * gather;
                self.communication.time_s(group, Collective::ReduceScatter, bytes)? + gather
            } else {
                self.communication.time_s(group, Collective::AllReduce, bytes)?
            };
            exposed_s += 2.0 * once;
        }
        if let Some(experts) = model.experts.filter(|_| has_experts && plan.expert > 1) {
            let group = Group::new(plan.expert, plan.tensor, gpus);
            let sent = bytes * f64::from(experts.active) * EXPERT_IMBALANCE / self.stream_split();
            exposed_s += 2.0 * self.communication.time_s(group, Collective::AllToAll, sent)?;
        }
        Ok(Inner { exposed_s, beside_s })
    }
}

/// Seconds of collectives inside a layer.
struct Inner {
    /// In each direction, and once more where the layer is computed again.
    exposed_s: f64,
    /// Beside kernels of the backward pass.
    beside_s: f64,
}

/// Seconds of sending keys and values round.
#[derive(Clone, Copy, Default)]
struct Ring {
    /// Longer than what is computed meanwhile: forward, backward.
    late_s: [f64; 2],
    /// Beside kernels.
    beside_s: f64,
}

/// Seconds of a layer's attention.
struct AttentionTimes {
    products: f64,
    core_forward: f64,
    core_backward: f64,
    core_again: f64,
}

/// Blocks of a model that is no transformer; tables add exchanges of rows before the first and behind the last.
fn layered(
    model: &Layered,
    plan: &Plan,
    kernels: &Kernels<'_>,
    communication: &Communication<'_>,
) -> Result<Vec<Unit>, PlanError> {
    let samples = f64::from(plan.micro_batch);
    let bytes = plan.precision.bytes();
    let mut units: Vec<Unit> = model
        .blocks
        .iter()
        .map(|block| {
            let product =
                kernels.convolution_s(block.forward_flops * samples, block.three_by_three_flops * samples);
            let numbers = block.activations * samples * bytes;
            // Weights are read in both directions, and their gradients written.
            let weights = block.parameters * bytes;
            let moved = |passes: f64| kernels.memory_s(numbers * passes + weights);
            let launch = launch_s(block.kernels);
            Unit {
                forward_s: product + moved(ACTIVATION_PASSES.0) + launch,
                backward_s: 2.0 * product
                    + moved(ACTIVATION_PASSES.1)
                    + kernels.memory_s(weights)
                    + 2.0 * launch,
                parameters: block.parameters,
                ..Unit::default()
            }
        })
        .collect();
    if model.row_bytes_per_sample > 0.0
        && let Some(first) = units.first_mut()
    {
        let group = Group::new(plan.copies(), 1, communication.gpus_per_node());
        let rows = model.row_bytes_per_sample * samples;
        let exchange = communication.time_s(group, Collective::AllToAll, rows)?;
        // Rows of the whole batch are looked up where their table is, and summed.
        let looked_up = kernels.memory_s(rows * ROWS_PER_SUM);
        first.inner_forward_s += exchange + looked_up;
        first.inner_backward_s += exchange + 2.0 * looked_up;
    }
    Ok(units)
}

/// Rows that are looked up for each that is sent: those of one feature are summed (214 of 26 in `dlrm-dcnv2`).
const ROWS_PER_SUM: f64 = 214.0 / 26.0;
