//! What a GPU must hold: states of the parameters, activations, buffers.
//!
//! Activations after Korthikanti et al. 2022 (arXiv:2205.05198), in terms of a layer's widths: `s b h (10 + 24/t)` bytes in half precision
//! for a dense layer of width h and four times that inside, `34 s b h / t` under sequence parallelism, `2 s b h` where the layer is
//! computed again, and `5 a s^2 b / t` more where scores are kept. Of a sequence that is split a GPU has its part, and twice
//! the keys and values of one part that go round.

use crate::device::{Device, Precision};
use crate::model::{Kind, Model, Transformer};
use crate::plan::{Attention, DataParallel, Loss, Plan, Recompute};
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
    /// What is gathered for a while: weights and gradients of units, sequences that are split otherwise.
    pub gathered: f64,
    /// What the backward pass needs of the forward pass.
    pub activations: f64,
    /// Scores of the vocabulary, and the loss.
    pub logits: f64,
    /// The context of the device, NCCL's buffers, work spaces.
    pub buffers: f64,
    /// What the allocator reserves and cannot use: blocks of sizes that nobody asks for at the moment.
    pub gaps: f64,
}

/// Bytes of a GiB.
pub const GIB: f64 = 1_073_741_824.0;

/// The device's context and the libraries' work spaces.
const CONTEXT_BYTES: f64 = 0.6 * GIB;

/// NCCL's buffers for each communicator: 24 channels of about 9.4 MB in both directions.
const COMMUNICATOR_BYTES: f64 = 0.375 * GIB;

/// What a device leaves of its memory: firmware and error correction (80 GB cards have 79.3 GiB).
const USABLE: f64 = 0.991;

/// What the allocator reserves and cannot use, of what is allocated: 3 to 8 % are reported of jobs with a fixed shape.
const GAPS: f64 = 0.05;

/// Bytes for each score of the vocabulary, beside those of its precision's: in place its gradient, in 16 bits too.
const IN_PLACE_BYTES: f64 = 2.0;

/// Bytes for each score where the loss is computed operation by operation: at the widest moment of the backward pass its logarithm of
/// softmax, the gradient of that and what becomes of it are there in 32 bits.
const EAGER_BYTES: f64 = 12.0;

/// The same where the vocabulary is split over GPUs: exponentials are there too.
const EAGER_SPLIT_BYTES: f64 = 16.0;

/// Copies of a layer's whole sequence that are there under sequence parallelism while it computes backward: the gathered inputs of both groups
/// of products, and a gradient before it is reduced and split.
const GATHERED_SEQUENCES: f64 = 3.0;

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
            + self.gaps
    }

    /// The parts with their names, as tables show them.
    pub const fn parts(&self) -> [(&'static str, f64); 8] {
        [
            ("weights", self.weights),
            ("gradients", self.gradients),
            ("optimizer", self.optimizer),
            ("gathered", self.gathered),
            ("activations", self.activations),
            ("logits", self.logits),
            ("buffers", self.buffers),
            ("allocator's gaps", self.gaps),
        ]
    }

    /// Whether it fits a device.
    pub fn fits(&self, device: &Device) -> bool {
        self.total() <= capacity(device)
    }
}

/// What a job may use of a device, bytes.
pub fn capacity(device: &Device) -> f64 {
    device.memory_bytes * USABLE
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
    for tensor in [2, 4, 8] {
        if plan.tensor == 1 && plan.data.is_multiple_of(tensor) && setup.ranks.per_node.is_multiple_of(tensor)
        {
            try_plan(format!("tensor parallelism (tp{tensor}-sp)"), &|plan| {
                (plan.tensor, plan.data) = (tensor, plan.data / tensor);
                plan.is_sequence_parallel = true;
            });
        }
    }
    // All that saves memory, of what is not so already.
    let parts: Vec<&str> = [
        ("sharded states", plan.data_parallel == DataParallel::FullySharded || plan.copies() == 1),
        ("a micro-batch of 1", plan.micro_batch == 1),
        ("every layer recomputed", plan.recompute == Recompute::Full),
    ]
    .into_iter()
    .filter_map(|(part, is_so)| (!is_so).then_some(part))
    .collect();
    if found.is_empty() {
        let all = parts.join(" and ");
        let mut changed = plan.clone();
        (changed.data_parallel, changed.micro_batch) = (DataParallel::FullySharded, 1);
        changed.recompute = Recompute::Full;
        if parts.len() > 1
            && changed.check(setup.model).is_ok()
            && memory(&Setup { plan: &changed, ..*setup }).fits(setup.device)
        {
            found.push(all);
        }
    }
    // Of micro-batches the largest that fits is the first, of tensor parallelism the least.
    for kind in ["a micro-batch", "tensor parallelism"] {
        let mut seen = false;
        found.retain(|what| !what.starts_with(kind) || !std::mem::replace(&mut seen, true));
    }
    found
}

/// Copies of a block's weights, in the numbers that are computed with, that the allocator comes to reserve for what FSDP gathers and reduces: three
/// are gathered, two are gradients, two wait to be reduced; what one stream has freed another cannot have before it has passed that point. How many
/// there are in all follows from which jobs of llm-foundry are slow.
const STREAMED_BLOCKS: f64 = 10.0;

/// What is never whole enough to be given out: from the same jobs.
const SPLINTERS_BYTES: f64 = 3.6 * GIB;

/// Blocks that are missing where every block has to be allocated anew.
const MISSING_BLOCKS: f64 = 0.5;

/// Of the blocks that sharded data parallelism gathers, the share for which there is no room beside what else is reserved: from 0 to 1. The
/// allocator gives memory back to the device and asks for it again then, and every time waits for all that was begun.
pub(crate) fn squeezed(setup: &Setup<'_>) -> f64 {
    let plan = setup.plan;
    let is_sharded =
        matches!(plan.data_parallel, DataParallel::FullySharded | DataParallel::HybridSharded { .. });
    let Kind::Transformer(model) = &setup.model.kind else { return 0.0 };
    if !is_sharded || plan.pipeline > 1 || plan.copies() == 1 {
        return 0.0;
    }
    let held = memory(setup);
    // Gradients of the only micro-batch come when activations go.
    let gradients = if plan.micro_batches() > 1 { 0.0 } else { held.gradients };
    let layer = if model.expert_layers() > 0 {
        model.shared_layer_parameters() + model.routed_layer_parameters() / f64::from(plan.expert)
    } else {
        model.dense_layer_parameters()
    };
    let block_bytes = layer / f64::from(plan.tensor) * plan.precision.bytes();
    let wanted = held.total() - held.gaps - held.gathered - gradients + STREAMED_BLOCKS * block_bytes;
    let missing = wanted - (setup.device.memory_bytes * USABLE - SPLINTERS_BYTES);
    (missing / (MISSING_BLOCKS * block_bytes)).clamp(0.0, 1.0)
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
    let States { weight: weight_bytes, gradient: gradient_bytes, optimizer: mut optimizer_bytes } =
        states(setup.model, plan);
    if let DataParallel::ParameterServer { .. } = plan.data_parallel {
        // The servers have them.
        optimizer_bytes = 0.0;
    }
    let is_sharded = gradients_split && (plan.copies() > 1 || weights_split);
    let gathered = if is_sharded && plan.pipeline > 1 {
        // A stage keeps its weights over all micro-batches of a step, and gradients until the last of them; what is gathered and what
        // is reduced at the moment is there once more.
        let weights = if weights_split { width } else { 0.0 };
        let parts = parts_with_gradients(plan);
        (dense + experts) * (weights + plan.gradient_bytes * parts)
            + largest * (weights + plan.gradient_bytes)
    } else if weights_split {
        // Two units of weights, and the gradients of one before they are reduced.
        largest * (2.0 * width + plan.gradient_bytes)
    } else if gradients_split {
        largest * plan.gradient_bytes
    } else {
        0.0
    };
    let Activations { kept: activations, sequences, logits } = activations(setup);
    let sizes = [plan.tensor, plan.context, plan.data, plan.pipeline, plan.expert];
    let communicators = sizes.into_iter().filter(|&size| size > 1).count();
    let buffers = CONTEXT_BYTES + COMMUNICATOR_BYTES * communicators as f64;
    let mut held = Memory {
        // Gradients of tables are of a few rows, and their optimizer's states too small to count.
        weights: held(weight_bytes, weights_split) + tables * width,
        gradients: held(gradient_bytes, gradients_split),
        optimizer: held(optimizer_bytes, optimizer_split),
        gathered: gathered + sequences,
        activations,
        logits,
        buffers,
        gaps: 0.0,
    };
    // The context is none of the allocator's.
    held.gaps = GAPS * (held.total() - buffers);
    held
}

/// Of the parts of a stage that are interleaved, the share whose gradients wait for the last micro-batch at the same time. Micro-batches pass a part
/// in groups of as many as there are stages: a single group leaves one part before it comes to the next.
fn parts_with_gradients(plan: &Plan) -> f64 {
    if plan.micro_batches() <= plan.pipeline { 1.0 / f64::from(plan.interleave) } else { 1.0 }
}

/// Bytes that are kept of each parameter.
pub(crate) struct States {
    pub(crate) weight: f64,
    pub(crate) gradient: f64,
    /// Of the optimizer, with the weights in 32 bits where others are computed with.
    pub(crate) optimizer: f64,
}

/// Bytes of each parameter's states. Sharded weights are kept in 32 bits and are the optimizer's own; others keep a copy in 32 bits beside
/// the half ones.
pub(crate) fn states(model: &Model, plan: &Plan) -> States {
    let weights_split =
        matches!(plan.data_parallel, DataParallel::FullySharded | DataParallel::HybridSharded { .. });
    // Two moments of Adam for transformers, momentum for others.
    let moments = match model.kind {
        Kind::Transformer(_) => 8.0,
        Kind::Layered(_) => 4.0,
    };
    if weights_split || plan.precision == Precision::Fp32 {
        States { weight: 4.0, gradient: 4.0, optimizer: moments }
    } else {
        States { weight: plan.precision.bytes(), gradient: plan.gradient_bytes, optimizer: 4.0 + moments }
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

/// Bytes of what the forward pass leaves.
struct Activations {
    kept: f64,
    /// Of a layer, whole where they are split otherwise.
    sequences: f64,
    logits: f64,
}

fn activations(setup: &Setup<'_>) -> Activations {
    let plan = setup.plan;
    let width = plan.precision.bytes();
    match &setup.model.kind {
        Kind::Layered(model) => {
            let kept = model.activations() * f64::from(plan.micro_batch) * width;
            Activations { kept, sequences: 0.0, logits: 0.0 }
        }
        Kind::Transformer(model) => {
            let tokens = plan.local_tokens();
            let whole = layer_bytes(model, plan, plan.recompute);
            let every = layer_bytes(model, plan, Recompute::None);
            let tensor = f64::from(plan.tensor);
            let stream = if plan.is_sequence_parallel { tensor } else { 1.0 };
            let input = width * f64::from(model.width) / stream;
            let scores = if plan.attention == Attention::Unfused { scores_bytes(model, plan) } else { 0.0 };
            // What is computed again is there for one layer at a time.
            let (kept, working) = match plan.recompute {
                Recompute::Full => (input, every + scores),
                Recompute::Selective | Recompute::Alternate => (whole, every - whole + scores),
                Recompute::None => (whole + scores, 0.0),
            };
            let layers = f64::from(model.layers.div_ceil(plan.pipeline));
            let interleaved = if plan.interleave > 1 {
                1.0 + f64::from(plan.pipeline - 1) / f64::from(plan.pipeline * plan.interleave)
            } else {
                1.0
            };
            // The first stage is ahead by as many micro-batches as there are stages.
            let micro_batches = f64::from(plan.micro_batches());
            let in_flight = (f64::from(plan.pipeline) * interleaved).min(micro_batches);
            let working =
                working + if plan.context > 1 { 2.0 * width * model.kept_keys() / tensor } else { 0.0 };
            let sequences = if stream > 1.0 { GATHERED_SEQUENCES } else { 0.0 };
            let sequences = tokens * sequences * width * f64::from(model.width);
            let activations = |in_flight: f64| tokens * (kept * layers * in_flight + working);
            let scores_bytes = match plan.loss {
                Loss::InPlace => width + IN_PLACE_BYTES,
                // PyTorch's pipelines keep the scores of each micro-batch to the end of the step.
                Loss::Eager if plan.pipeline > 1 => EAGER_SPLIT_BYTES + width * (micro_batches - 1.0),
                Loss::Eager if plan.tensor > 1 => EAGER_SPLIT_BYTES,
                Loss::Eager => EAGER_BYTES,
            };
            let logits = tokens * f64::from(model.vocabulary) / tensor * scores_bytes;
            // The last stage has the logits and one micro-batch, of interleaved parts those before its last too: fuller where little is kept.
            let parts = f64::from(plan.interleave);
            let behind = ((parts - 1.0) * f64::from(plan.pipeline) + 1.0) / parts;
            let (first, last) = (activations(in_flight), activations(behind.min(micro_batches)));
            if plan.pipeline == 1 || last + logits > first {
                Activations { kept: last, sequences, logits }
            } else {
                Activations { kept: first, sequences, logits: 0.0 }
            }
        }
    }
}

/// Bytes of scores that are written, of a layer for each token.
fn scores_bytes(model: &Transformer, plan: &Plan) -> f64 {
    5.0 * f64::from(model.heads) * f64::from(plan.sequence_length) / f64::from(plan.tensor)
}

/// Bytes that the backward pass of a layer needs for each token, without scores.
fn layer_bytes(model: &Transformer, plan: &Plan, recompute: Recompute) -> f64 {
    let width = plan.precision.bytes();
    let tensor = f64::from(plan.tensor);
    let stream = if plan.is_sequence_parallel { tensor } else { 1.0 };
    let [residual, heads, kv_heads, head] =
        [model.width, model.heads, model.kv_heads, model.head_size].map(f64::from);
    // What is between products is not kept where it is computed again.
    let is_alternate = recompute == Recompute::Alternate;
    let is_selective =
        is_alternate || recompute == Recompute::Selective && plan.attention == Attention::Flash;
    // Inputs of both norms and of both groups of products, and the masks of two dropouts where there are some (old models).
    let inputs = if is_selective { 2.0 } else { 4.0 };
    let masks = if plan.attention == Attention::Unfused { 2.0 * residual } else { 0.0 };
    let between = width * inputs * residual + masks;
    // Queries, keys, values and what attention comes to; of four products the second, that of the keys, and the last are done again.
    let keys = if is_alternate { 1.0 } else { 2.0 };
    let attention = width * (2.0 * heads + keys * kv_heads) * head;
    let again = if is_alternate && model.is_gated {
        2.0
    } else if is_selective {
        1.0
    } else {
        0.0
    };
    let matrices = if model.is_gated { 3.0 } else { 2.0 } - again;
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
