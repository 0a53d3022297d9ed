//! The plans that fit a model on so many GPUs, and the best of them.

use crate::memory::{GIB, Memory, advice, capacity, memory};
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

/// What is not searched, beside what the plan says of precision, batch, length and attention.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Fixed {
    /// The split over GPUs is that of the plan.
    pub is_split: bool,
    /// The micro-batch.
    pub micro_batch: Option<u32>,
    /// What is computed again.
    pub recompute: Option<Recompute>,
    /// Whether what is computed again is every layer or nothing, as in configurations that know no more.
    pub is_all_or_nothing: bool,
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
    let (plan, least) = least(setup, fixed)?;
    let setup = Setup { plan: &plan, ..*setup };
    let advice = if fixed.is_split { advice(&setup).join(", or ") } else { "more GPUs".to_owned() };
    Err(PlanError::OutOfMemory {
        model: setup.model.name.clone(),
        device: setup.device.name.clone(),
        needed_gib: least.total() / GIB,
        usable_gib: capacity(setup.device) / GIB,
        advice: if advice.is_empty() { String::new() } else { format!(": what makes it fit is {advice}") },
    })
}

/// The plan that needs least memory, whether it fits or not; else why there is none.
pub fn least(setup: &Setup<'_>, fixed: Fixed) -> Result<(Plan, Memory), PlanError> {
    let candidates = candidates(setup, fixed).into_iter();
    let usable = candidates.filter(|plan| step(&Setup { plan, ..*setup }).is_ok());
    let held = usable.map(|plan| {
        let memory = memory(&Setup { plan: &plan, ..*setup });
        (plan, memory)
    });
    if let Some(least) = held.min_by(|(_, one), (_, other)| one.total().total_cmp(&other.total())) {
        return Ok(least);
    }
    // The plan itself says why it cannot be.
    step(setup)?;
    Ok((setup.plan.clone(), memory(setup)))
}

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

/// Numbers that divide another, least first; 1 alone of 0.
fn divisors(number: u32) -> Vec<u32> {
    let small = (1..).take_while(|&one: &u32| one.saturating_mul(one) <= number.max(1));
    let small: Vec<u32> = small.filter(|&one| number.is_multiple_of(one)).collect();
    let large = small.iter().rev().map(|&one| number / one).filter(|&other| other > 0);
    let mut all: Vec<u32> = small.iter().copied().chain(large).collect();
    all.dedup();
    all
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
    let all = match model.kind {
        Kind::Transformer(_) => vec![Recompute::None, Recompute::Selective, Recompute::Full],
        Kind::Layered(_) => vec![Recompute::None],
    };
    let mut recomputes = fixed.recompute.map_or(all, |recompute| vec![recompute]);
    recomputes.retain(|&recompute| recompute != Recompute::Selective || !fixed.is_all_or_nothing);
    for split in splits {
        for data_parallel in of_data.clone().unwrap_or_else(|| data_parallels(split.copies(), setup)) {
            let each = base.global_batch / split.data;
            let micro_batches = fixed.micro_batch.map_or_else(|| divisors(each), |one| vec![one]);
            for micro_batch in micro_batches {
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
        let divided = stages.flat_map(|stages| {
            powers_of_two((base.sequence_length / LEAST_TOKENS).max(1)).map(move |context| (stages, context))
        });
        for (pipeline, context) in
            divided.filter(|(stages, context)| gpus.is_multiple_of(tensor * context * stages))
        {
            let data = gpus / (tensor * context * pipeline);
            let experts = transformer.experts.map_or(1, |experts| experts.count.min(data * context));
            for expert in powers_of_two(experts) {
                let deep = transformer.layers / pipeline;
                for interleave in
                    [1, 2, 4].into_iter().filter(|&parts| parts == 1 || pipeline > 1 && parts <= deep)
                {
                    splits.push(Plan {
                        tensor,
                        is_sequence_parallel: tensor > 1,
                        context,
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

/// Sequences are not split into parts with fewer tokens than this: nothing is gained by that.
const LEAST_TOKENS: u32 = 8192;

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
