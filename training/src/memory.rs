//! What a GPU must hold: states of the parameters, activations, buffers.
//!
//! Activations after Korthikanti et al. 2022 (arXiv:2205.05198), in terms of a layer's widths: `s b h (10 + 24/t)` bytes in half precision
//! for a dense layer of width h and four times that inside, `34 s b h / t` under sequence parallelism, `2 s b h` where the layer is
//! computed again, and `5 a s^2 b / t` more where scores are kept. Of a sequence that is split a GPU has its part, and twice
//! the keys and values of one part that go round.

use crate::device::{Device, Precision};
use crate::model::{Kind, Transformer};
use crate::plan::{Attention, DataParallel, Plan, Recompute};
use crate::step::Setup;

/// What a GPU holds at its peak, bytes.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Memory {
    /// Weights, as they are computed with or kept.
    pub weights: f64,
    /// Gradients.
    pub gradients: f64,
    /// The optimizer's states.
    pub optimizer: f64,
    /// Weights and gradients of units that are gathered for a while.
    pub gathered: f64,
    /// What the backward pass needs of the forward pass.
    pub activations: f64,
    /// Scores of the vocabulary, and the loss.
    pub logits: f64,
    /// The context of the device, NCCL's buffers, work spaces.
    pub buffers: f64,
}

/// Bytes of a GiB.
pub const GIB: f64 = 1_073_741_824.0;

/// The device's context and the libraries' work spaces.
const CONTEXT_BYTES: f64 = 0.6 * GIB;

/// NCCL's buffers for each communicator: 24 channels of about 9.4 MB in both directions.
const COMMUNICATOR_BYTES: f64 = 0.375 * GIB;

/// What a device leaves of its memory: firmware and error correction (80 GB cards have 79.3 GiB).
const USABLE: f64 = 0.991;

/// Above this share of what is usable a job fails sooner or later: the allocator leaves gaps. The largest micro-batches of llm-foundry,
/// which were tried to the limit, come to just that by this reckoning.
const SAFE: f64 = 0.98;

impl Memory {
    /// All of it.
    pub fn total(&self) -> f64 {
        self.weights
            + self.gradients
            + self.optimizer
            + self.gathered
            + self.activations
            + self.logits
            + self.buffers
    }

    /// The parts with their names, as tables show them.
    pub const fn parts(&self) -> [(&'static str, f64); 7] {
        [
            ("weights", self.weights),
            ("gradients", self.gradients),
            ("optimizer", self.optimizer),
            ("gathered units", self.gathered),
            ("activations", self.activations),
            ("logits", self.logits),
            ("buffers", self.buffers),
        ]
    }

    /// Whether it fits a device.
    pub fn fits(&self, device: &Device) -> bool {
        self.total() <= capacity(device)
    }
}

/// What a job may use of a device, bytes: 98 % of what is usable.
pub fn capacity(device: &Device) -> f64 {
    device.memory_bytes * USABLE * SAFE
}

/// What would make a job fit that does not, the least change first; each alone may not suffice.
pub fn advice(setup: &Setup<'_>) -> Vec<String> {
    let plan = setup.plan;
    let mut found = Vec::new();
    let mut try_plan = |what: String, change: &dyn Fn(&mut Plan)| {
        let mut changed = plan.clone();
        change(&mut changed);
        if changed != *plan
            && changed.check(setup.model).is_ok()
            && memory(&Setup { plan: &changed, ..*setup }).fits(setup.device)
        {
            found.push(what);
        }
    };
    try_plan("recompute selectively".to_owned(), &|plan| plan.recompute = Recompute::Selective);
    try_plan("recompute every layer".to_owned(), &|plan| plan.recompute = Recompute::Full);
    for micro in
        (1..plan.micro_batch).rev().filter(|&micro| plan.global_batch.is_multiple_of(plan.data * micro))
    {
        try_plan(format!("a micro-batch of {micro}"), &|plan| plan.micro_batch = micro);
    }
    if plan.copies() > 1 {
        try_plan("sharded states (fsdp)".to_owned(), &|plan| {
            plan.data_parallel = DataParallel::FullySharded;
        });
    }
    try_plan("sharded states, a micro-batch of 1 and every layer recomputed".to_owned(), &|plan| {
        plan.data_parallel = DataParallel::FullySharded;
        plan.micro_batch = 1;
        plan.recompute = Recompute::Full;
    });
    // Four ways say enough; of micro-batches the largest that fits is the first.
    let mut seen_micro = false;
    found.retain(|what| !what.starts_with("a micro-batch") || !std::mem::replace(&mut seen_micro, true));
    found
}

/// What the fullest GPU of a job holds.
pub fn memory(setup: &Setup<'_>) -> Memory {
    let plan = setup.plan;
    let Parameters { dense, experts, tables, largest } = parameters(setup);
    let data = f64::from(plan.copies());
    let expert_copies = f64::from((plan.copies() / plan.expert).max(1));
    // What each kind of state is divided by: dense, experts.
    let shards = |is_split: bool| if is_split { (data, expert_copies) } else { (1.0, 1.0) };
    let (weights_split, gradients_split, optimizer_split) = match plan.data_parallel {
        DataParallel::Replicated | DataParallel::ParameterServer { .. } => (false, false, false),
        DataParallel::OptimizerSharded => (false, false, true),
        DataParallel::GradientSharded => (false, true, true),
        DataParallel::FullySharded | DataParallel::HybridSharded { .. } => (true, true, true),
    };
    let hybrid = match plan.data_parallel {
        DataParallel::HybridSharded { .. } => Some(f64::from(plan.shard_group(setup.ranks.per_node))),
        _ => None,
    };
    let held = |bytes: f64, is_split: bool| {
        let (by_dense, by_experts) = match hybrid {
            Some(group) if is_split => (group, group.min(expert_copies)),
            _ => shards(is_split),
        };
        bytes * (dense / by_dense + experts / by_experts)
    };
    let width = plan.precision.bytes();
    let half = plan.precision != Precision::Fp32;
    // Sharded weights are kept in 32 bits and are the optimizer's own; others keep a copy in 32 bits beside the half ones.
    let moments = moment_bytes(setup);
    let (weight_bytes, gradient_bytes, mut optimizer_bytes) = if weights_split && half {
        (4.0, 4.0, moments)
    } else if half {
        (width, plan.gradient_bytes, 4.0 + moments)
    } else {
        (4.0, 4.0, moments)
    };
    if let DataParallel::ParameterServer { .. } = plan.data_parallel {
        // The servers have them.
        optimizer_bytes = 0.0;
    }
    let is_sharded = gradients_split && (plan.copies() > 1 || weights_split);
    let gathered = if is_sharded && plan.pipeline > 1 {
        // A stage keeps its weights and its gradients over all micro-batches of a step.
        let kept = if weights_split { width + plan.gradient_bytes } else { plan.gradient_bytes };
        (dense + experts) * kept
    } else if weights_split {
        // Two units of weights, and the gradients of one before they are reduced.
        largest * (2.0 * width + plan.gradient_bytes)
    } else if gradients_split {
        largest * plan.gradient_bytes
    } else {
        0.0
    };
    let (activations, logits) = activations(setup);
    let sizes = [plan.tensor, plan.context, plan.data, plan.pipeline, plan.expert];
    let communicators = sizes.into_iter().filter(|&size| size > 1).count();
    let buffers = CONTEXT_BYTES + COMMUNICATOR_BYTES * communicators as f64;
    Memory {
        // Gradients of tables are of a few rows, and their optimizer's states too small to count.
        weights: held(weight_bytes, weights_split) + tables * width,
        gradients: held(gradient_bytes, gradients_split),
        optimizer: held(optimizer_bytes, optimizer_split),
        gathered,
        activations,
        logits,
        buffers,
    }
}

/// Bytes of the optimizer's moments: two of Adam for transformers, one for others.
const fn moment_bytes(setup: &Setup<'_>) -> f64 {
    match setup.model.kind {
        Kind::Transformer(_) => 8.0,
        Kind::Layered(_) => 4.0,
    }
}

/// Parameters on the fullest GPU, before data parallelism divides them.
struct Parameters {
    dense: f64,
    /// Of experts.
    experts: f64,
    /// Of embedding tables, which are split over all GPUs whatever else is.
    tables: f64,
    /// Of the largest unit.
    largest: f64,
}

fn parameters(setup: &Setup<'_>) -> Parameters {
    let plan = setup.plan;
    let tensor = f64::from(plan.tensor);
    match &setup.model.kind {
        Kind::Layered(model) => Parameters {
            dense: model.dense_parameters(),
            experts: 0.0,
            tables: model.table_parameters / f64::from(plan.data),
            largest: model.blocks.iter().map(|block| block.parameters).fold(0.0, f64::max),
        },
        Kind::Transformer(model) => {
            let layers = f64::from(model.layers.div_ceil(plan.pipeline));
            let expert_layers = f64::from(model.expert_layers()).min(layers);
            let shared = model.shared_layer_parameters() / tensor;
            let routed = model.routed_layer_parameters() / tensor / f64::from(plan.expert);
            let of_layers =
                expert_layers * shared + (layers - expert_layers) * model.dense_layer_parameters() / tensor;
            // Of embedding and head the larger; both where one stage has both.
            let (embedding, head) = (model.embedding_parameters() / tensor, model.head_parameters() / tensor);
            let ends = if plan.pipeline == 1 { embedding + head } else { embedding.max(head) };
            Parameters {
                dense: of_layers + ends,
                experts: expert_layers * routed,
                tables: 0.0,
                largest: (shared + routed).max(embedding),
            }
        }
    }
}

/// Bytes of activations and of logits.
fn activations(setup: &Setup<'_>) -> (f64, f64) {
    let plan = setup.plan;
    let width = plan.precision.bytes();
    match &setup.model.kind {
        Kind::Layered(model) => (model.activations() * f64::from(plan.micro_batch) * width, 0.0),
        Kind::Transformer(model) => {
            let tokens = plan.local_tokens();
            let whole = layer_bytes(model, plan);
            let tensor = f64::from(plan.tensor);
            let stream = if plan.is_sequence_parallel { tensor } else { 1.0 };
            let input = width * f64::from(model.width) / stream;
            let scores = if plan.attention == Attention::Unfused { scores_bytes(model, plan) } else { 0.0 };
            // What is computed again is there for one layer at a time.
            let (kept, working) = match plan.recompute {
                Recompute::Full => (input, whole + scores),
                Recompute::Selective => (whole, scores),
                Recompute::None => (whole + scores, 0.0),
            };
            let layers = f64::from(model.layers.div_ceil(plan.pipeline));
            let interleaved = if plan.interleave > 1 {
                1.0 + f64::from(plan.pipeline - 1) / f64::from(plan.pipeline * plan.interleave)
            } else {
                1.0
            };
            // The first stage is ahead by as many micro-batches as there are stages.
            let in_flight = f64::from(plan.micro_batches().min(plan.pipeline));
            let working =
                working + if plan.context > 1 { 2.0 * width * model.kept_keys() / tensor } else { 0.0 };
            let activations = |in_flight: f64| tokens * (kept * layers * in_flight * interleaved + working);
            // Half precision and 32 bits for the loss.
            let logits = tokens * f64::from(model.vocabulary) / tensor * (width + 4.0);
            // The last stage has the logits and one micro-batch: fuller where little is kept.
            let (first, last) = (activations(in_flight), activations(1.0));
            if plan.pipeline == 1 || last + logits > first { (last, logits) } else { (first, 0.0) }
        }
    }
}

/// Bytes of scores that are written, of a layer for each token.
fn scores_bytes(model: &Transformer, plan: &Plan) -> f64 {
    5.0 * f64::from(model.heads) * f64::from(plan.sequence_length) / f64::from(plan.tensor)
}

/// Bytes that the backward pass of a layer needs for each token, without scores.
fn layer_bytes(model: &Transformer, plan: &Plan) -> f64 {
    let width = plan.precision.bytes();
    let tensor = f64::from(plan.tensor);
    let stream = if plan.is_sequence_parallel { tensor } else { 1.0 };
    let [residual, heads, kv_heads, head] =
        [model.width, model.heads, model.kv_heads, model.head_size].map(f64::from);
    // What is between products is not kept where it is computed again.
    let is_selective = plan.recompute == Recompute::Selective && plan.attention == Attention::Flash;
    // Inputs of both norms and of both groups of products, and the masks of two dropouts where there are some (old models).
    let inputs = if is_selective { 2.0 } else { 4.0 };
    let masks = if plan.attention == Attention::Unfused { 2.0 * residual } else { 0.0 };
    let between = width * inputs * residual + masks;
    let attention = width * (2.0 * heads + 2.0 * kv_heads) * head;
    let matrices = if model.is_gated { 3.0 } else { 2.0 } - if is_selective { 1.0 } else { 0.0 };
    let inside = match model.experts {
        Some(experts) => {
            let routed = f64::from(experts.active + experts.shared) * f64::from(experts.width);
            // The tokens as they were sent to their experts, and what came back.
            width * (matrices * routed + 2.0 * f64::from(experts.active) * residual)
        }
        None => width * matrices * f64::from(model.ffn_width),
    };
    between / stream + (attention + inside) / tensor
}
