//! What a checkpoint holds, and who writes it.
//!
//! Weights and the optimizer's states, each once, however many copies the job has: 14 bytes a parameter of a transformer in half precision
//! with Adam (2 of the weights, 4 of their copy in 32 bits, 8 of both moments, as Megatron-LM and `DeepSpeed` save them), 12 where the copy
//! in 32 bits is the only one (FSDP; training in 32 bits), 8 with momentum alone. Gradients are not saved.

use crate::device::Precision;
use crate::memory::{States, states};
use crate::model::{Kind, Model};
use crate::plan::{DataParallel, Plan};

/// A checkpoint of a job.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Checkpoint {
    /// Its size.
    pub bytes: f64,
    /// GPUs that hold parts of it which no other writes; servers, where parameters are theirs.
    pub writers: u32,
}

/// The checkpoint of a plan on nodes of which it has so many GPUs each.
pub fn checkpoint(model: &Model, plan: &Plan, per_node: u32) -> Checkpoint {
    let States { weight, optimizer, .. } = states(model, plan);
    // Servers have no half ones beside the weights in 32 bits.
    let is_served = matches!(plan.data_parallel, DataParallel::ParameterServer { .. });
    let weight = if is_served && plan.precision != Precision::Fp32 { 0.0 } else { weight };
    let bytes = match &model.kind {
        Kind::Transformer(model) => model.parameters() * (weight + optimizer),
        // As in memory, no states of tables are counted.
        Kind::Layered(model) => {
            model.dense_parameters() * (weight + optimizer) + model.table_parameters * plan.precision.bytes()
        }
    };
    let has_tables = matches!(&model.kind, Kind::Layered(model) if model.table_parameters > 0.0);
    // One copy of the model is on so many GPUs; experts that are split are on as many times more.
    let of_copy = plan.tensor * plan.pipeline;
    let writers = match plan.data_parallel {
        // Tables are split over all GPUs whatever else is.
        _ if has_tables => plan.gpus(),
        DataParallel::Replicated => of_copy * plan.expert,
        DataParallel::OptimizerSharded | DataParallel::GradientSharded | DataParallel::FullySharded => {
            plan.gpus()
        }
        DataParallel::HybridSharded { .. } => of_copy * plan.shard_group(per_node),
        DataParallel::ParameterServer { servers, .. } => servers,
    };
    Checkpoint { bytes, writers: writers.clamp(1, plan.gpus().max(1)) }
}
