//! Sharded data parallelism: two streams, one that computes and one that gathers weights and reduces gradients, in the order in which
//! they are told to.

use foretell_fabric::collectives::Collective;

use super::{DataTimes, Pass};
use crate::groups::Group;
use crate::layer::Unit;
use crate::memory::squeezed;
use crate::plan::{DataParallel, PlanError, Prefetch};

/// Units whose weights may be gathered at a time (the limit of FSDP).
const GATHERED: usize = 2;

/// What the collectives of a unit take.
#[derive(Clone, Copy, Debug)]
struct Times {
    gather_s: f64,
    reduce_s: f64,
}

fn times(data: &DataTimes<'_>, unit: &Unit) -> Result<Times, PlanError> {
    let plan = data.plan();
    let weights = plan.precision.bytes();
    if let DataParallel::HybridSharded { .. } = plan.data_parallel {
        let group = data.shard_group();
        let shards = group.per_node * group.nodes;
        let parameters = unit.parameters + unit.expert_parameters;
        let gpus = data.communication.gpus_per_node();
        let copies = Group::new(plan.copies() / shards, plan.tensor * shards, gpus);
        let inside = |collective, bytes| data.communication.time_s(group, collective, parameters * bytes);
        let shard = parameters * plan.gradient_bytes / f64::from(shards);
        return Ok(Times {
            gather_s: inside(Collective::AllGather, weights)?,
            reduce_s: inside(Collective::ReduceScatter, plan.gradient_bytes)?
                + data.communication.time_s(copies, Collective::AllReduce, shard)?,
        });
    }
    Ok(Times {
        gather_s: data.over_replicas(unit, Collective::AllGather, weights)?,
        reduce_s: data.over_replicas(unit, Collective::ReduceScatter, plan.gradient_bytes)?,
    })
}

/// Whether weights are gathered again for the backward pass. In a pipeline they are kept for all micro-batches.
fn gathers_again(data: &DataTimes<'_>) -> bool {
    let plan = data.plan();
    plan.pipeline == 1
        && matches!(plan.data_parallel, DataParallel::FullySharded | DataParallel::HybridSharded { .. })
}

/// Seconds of all collectives of both passes.
pub(super) fn collectives_s(data: &DataTimes<'_>) -> Result<f64, PlanError> {
    let again = gathers_again(data);
    let mut sum = 0.0;
    for unit in data.stage {
        let Times { gather_s, reduce_s } = times(data, unit)?;
        sum += gather_s * if again { 2.0 } else { 1.0 } + reduce_s;
    }
    Ok(sum)
}

/// Bytes a second that the device takes back and gives out again, in pages of 2 MiB of some 9 us: what fits 13B on 8 A100 of 40 GB in llm-foundry's
/// rows, with the collectives that nothing hides then.
const ALLOCATED_BYTES_PER_S: f64 = 230e9;

/// Seconds of allocating anew what is gathered in both passes and what is reduced.
fn allocation_s(data: &DataTimes<'_>) -> f64 {
    let plan = data.plan();
    let gathers = if gathers_again(data) { 2.0 } else { 1.0 };
    let bytes = gathers * plan.precision.bytes() + plan.gradient_bytes;
    let parameters: f64 = data.stage.iter().map(|unit| unit.parameters + unit.expert_parameters).sum();
    parameters * bytes / ALLOCATED_BYTES_PER_S
}

/// Both passes over the stage.
pub(super) fn pass(data: &DataTimes<'_>) -> Result<Pass, PlanError> {
    let stage = data.stage;
    let times: Vec<Times> = stage.iter().map(|unit| times(data, unit)).collect::<Result<_, _>>()?;
    let plan = data.plan();
    let (mut gathered, mut computed) = (0.0_f64, 0.0_f64);
    let mut ends = vec![0.0_f64; stage.len()];
    for (index, unit) in stage.iter().enumerate() {
        // Told to when the unit before it, or the one before that, was freed.
        let ahead = if plan.forward_prefetch { GATHERED } else { 1 };
        let told = index.checked_sub(ahead).map_or(0.0, |before| ends[before]);
        gathered = gathered.max(told) + times[index].gather_s;
        computed = computed.max(gathered) + unit.forward();
        ends[index] = computed;
    }
    let again = gathers_again(data);
    // The last unit's weights are still there.
    let mut ready = vec![computed; stage.len()];
    let mut stream = gathered.max(computed);
    for index in (0..stage.len()).rev() {
        let next = index.checked_sub(1).filter(|_| again);
        let gather_next = |told: f64, stream: &mut f64, ready: &mut [f64]| {
            if let Some(next) = next {
                *stream = stream.max(told) + times[next].gather_s;
                ready[next] = *stream;
            }
        };
        if plan.backward_prefetch == Prefetch::Before {
            gather_next(computed, &mut stream, &mut ready);
        }
        computed = computed.max(ready[index]) + stage[index].backward();
        if plan.backward_prefetch == Prefetch::After {
            gather_next(computed, &mut stream, &mut ready);
        }
        stream = stream.max(computed) + times[index].reduce_s;
        if plan.backward_prefetch == Prefetch::None {
            gather_next(computed, &mut stream, &mut ready);
        }
    }
    let overlapped = computed.max(stream);
    let compute: f64 = stage.iter().map(|unit| unit.forward() + unit.backward()).sum();
    // Where there is no room every block waits for its memory, and that for all that was begun: nothing overlaps.
    let one_by_one = compute + collectives_s(data)? + allocation_s(data);
    let finish = overlapped + squeezed(data.setup) * (one_by_one - overlapped);
    Ok(Pass { time_s: finish, exposed_s: finish - compute })
}
