//! The plans that fit a model on so many GPUs, and the best of them.

use crate::memory::{Memory, advice, capacity, memory};
use crate::model::{Kind, Model};
use crate::plan::{DataParallel, Plan, PlanError, Recompute};
use crate::step::{Setup, Step, step};

/// A plan that fits, and what it comes to.
#[derive(Clone, PartialEq, Debug)]
pub struct Found {
    /// The plan.
    pub plan: Plan,
    /// Its step.
    pub step: Step,
    /// What a GPU holds.
    pub memory: Memory,
}

/// Largest micro-batch that is tried.
const MAX_MICRO_BATCH: u32 = 64;

/// What is not searched, beside what the plan says of precision, batch, length and attention.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Fixed {
    /// The split over GPUs is that of the plan.
    pub is_split: bool,
    /// The micro-batch.
    pub micro_batch: Option<u32>,
    /// What is computed again.
    pub recompute: Option<Recompute>,
}

/// All plans that fit, the fastest first.
pub fn plans(setup: &Setup<'_>, fixed: Fixed) -> Vec<Found> {
    let mut found: Vec<Found> = candidates(setup, fixed)
        .into_iter()
        .filter_map(|plan| {
            let setup = Setup { plan: &plan, ..*setup };
            let memory = memory(&setup);
            if !memory.fits(setup.device) {
                return None;
            }
            let step = step(&setup).ok()?;
            Some(Found { plan, step, memory })
        })
        .collect();
    // Equals: the one that leaves more memory, then by name.
    found.sort_by(|one, other| {
        one.step
            .time_s
            .total_cmp(&other.step.time_s)
            .then_with(|| one.memory.total().total_cmp(&other.memory.total()))
            .then_with(|| one.plan.to_string().cmp(&other.plan.to_string()))
    });
    found
}

/// The fastest plan that fits; else why none does.
pub fn best(setup: &Setup<'_>, fixed: Fixed) -> Result<Found, PlanError> {
    if let Some(found) = plans(setup, fixed).into_iter().next() {
        return Ok(found);
    }
    let recompute = fixed.recompute.unwrap_or(Recompute::None);
    let plan = Plan { recompute, ..setup.plan.clone() };
    let setup = Setup { plan: &plan, ..*setup };
    // A plan that cannot be says why itself.
    step(&setup)?;
    let advice = if fixed.is_split { advice(&setup).join(", or ") } else { "more GPUs".to_owned() };
    Err(PlanError::OutOfMemory {
        model: setup.model.name.clone(),
        device: setup.device.name.clone(),
        needed_gib: memory(&setup).total() / GIB,
        usable_gib: capacity(setup.device) / GIB,
        advice: if advice.is_empty() { String::new() } else { format!(": what makes it fit is {advice}") },
    })
}

const GIB: f64 = 1_073_741_824.0;

/// Of plans the fastest first: those that none is both faster and smaller than.
pub fn pareto(found: &[Found]) -> Vec<&Found> {
    let mut least = f64::INFINITY;
    let is_smaller = |found: &&Found| {
        let is_smaller = found.memory.total() < least;
        least = least.min(found.memory.total());
        is_smaller
    };
    found.iter().filter(is_smaller).collect()
}

fn powers_of_two(most: u32) -> impl Iterator<Item = u32> {
    (0..31).map(|power| 1 << power).take_while(move |&size| size <= most)
}

fn candidates(setup: &Setup<'_>, fixed: Fixed) -> Vec<Plan> {
    let base = setup.plan;
    let gpus = setup.ranks.count();
    let model = setup.model;
    let mut plans = Vec::new();
    let (splits, of_data): (Vec<Plan>, _) = if fixed.is_split {
        (vec![base.clone()], Some(vec![base.data_parallel]))
    } else {
        (splits(setup, model, gpus), None)
    };
    let micro_batches: Vec<u32> =
        fixed.micro_batch.map_or_else(|| powers_of_two(MAX_MICRO_BATCH).collect(), |one| vec![one]);
    let recomputes = fixed.recompute.map_or_else(
        || vec![Recompute::None, Recompute::Selective, Recompute::Full],
        |recompute| vec![recompute],
    );
    for split in splits {
        for data_parallel in of_data.clone().unwrap_or_else(|| data_parallels(split.data, setup)) {
            for &micro_batch in &micro_batches {
                if !base.global_batch.is_multiple_of(split.data.saturating_mul(micro_batch)) {
                    continue;
                }
                for &recompute in &recomputes {
                    let plan = Plan { data_parallel, micro_batch, recompute, ..split.clone() };
                    plans.extend(plan.check(model).is_ok().then_some(plan));
                }
            }
        }
    }
    plans
}

/// How the model is divided, before data parallelism.
fn splits(setup: &Setup<'_>, model: &Model, gpus: u32) -> Vec<Plan> {
    let base = setup.plan;
    let Kind::Transformer(transformer) = &model.kind else {
        return vec![Plan { data: gpus, ..base.clone() }];
    };
    let mut splits = Vec::new();
    // Tensor parallelism stays inside a node.
    for tensor in powers_of_two(setup.ranks.per_node) {
        let stages = (1..=transformer.layers).filter(|&stages| transformer.layers.is_multiple_of(stages));
        for pipeline in stages.filter(|&stages| gpus.is_multiple_of(tensor * stages)) {
            let data = gpus / (tensor * pipeline);
            let experts = transformer.experts.map_or(1, |experts| experts.count.min(data));
            for expert in powers_of_two(experts) {
                let deep = transformer.layers / pipeline;
                for interleave in
                    [1, 2, 4].into_iter().filter(|&parts| parts == 1 || pipeline > 1 && parts <= deep)
                {
                    splits.push(Plan {
                        tensor,
                        is_sequence_parallel: tensor > 1,
                        pipeline,
                        interleave,
                        expert,
                        data,
                        ..base.clone()
                    });
                }
            }
        }
    }
    splits
}

fn data_parallels(data: u32, setup: &Setup<'_>) -> Vec<DataParallel> {
    if data == 1 {
        return vec![DataParallel::Replicated];
    }
    let mut all = vec![
        DataParallel::Replicated,
        DataParallel::OptimizerSharded,
        DataParallel::GradientSharded,
        DataParallel::FullySharded,
    ];
    if setup.ranks.nodes > 1 {
        all.push(DataParallel::HybridSharded { group: 0 });
    }
    all
}
