//! Data parallelism whose replicas have all weights: gradients are reduced in buckets while others are computed.

use foretell_fabric::collectives::Collective;

use super::{DataTimes, Pass};
use crate::layer::Unit;
use crate::plan::PlanError;

/// The first bucket of `PyTorch`'s DDP is small, so that reducing begins early.
const FIRST_BUCKET_BYTES: f64 = 1_048_576.0;

/// Both passes without collectives of data parallelism.
pub(super) fn alone(stage: &[Unit]) -> Pass {
    Pass { time_s: stage.iter().map(|unit| unit.forward() + unit.backward()).sum(), exposed_s: 0.0 }
}

/// A bucket of gradients.
struct Bucket {
    /// When its last gradient is computed, from the begin of the backward pass.
    ready_s: f64,
    collective_s: f64,
}

/// Both passes, with buckets that are reduced one after the other: `end = max(ready, end of the one before) + time`.
pub(super) fn pass(data: &DataTimes<'_>, collective: Collective) -> Result<Pass, PlanError> {
    let forward: f64 = data.stage.iter().map(Unit::forward).sum();
    let backward: f64 = data.stage.iter().map(Unit::backward).sum();
    let mut end = 0.0_f64;
    for bucket in buckets(data, collective)? {
        end = end.max(bucket.ready_s) + bucket.collective_s;
    }
    let exposed_s = (end - backward).max(0.0);
    Ok(Pass { time_s: forward + backward + exposed_s, exposed_s })
}

/// Seconds of all collectives.
pub(super) fn collectives_s(data: &DataTimes<'_>, collective: Collective) -> Result<f64, PlanError> {
    Ok(buckets(data, collective)?.iter().map(|bucket| bucket.collective_s).sum())
}

/// Gradients in the order in which they are computed. A unit's become ready evenly while it computes; experts have replicas of
/// their own.
fn buckets(data: &DataTimes<'_>, collective: Collective) -> Result<Vec<Bucket>, PlanError> {
    let plan = data.plan();
    let bytes = plan.gradient_bytes;
    let (dense, experts) = (data.replicas(), data.expert_replicas());
    let mut buckets = Vec::new();
    let mut limit = FIRST_BUCKET_BYTES.min(plan.bucket_bytes);
    let (mut now, mut filled) = (0.0, 0.0);
    for unit in data.stage.iter().rev() {
        let backward = unit.backward();
        let mut left = unit.parameters * bytes;
        while filled + left >= limit {
            let taken = limit - filled;
            left -= taken;
            let done = 1.0 - left / (unit.parameters * bytes);
            let collective_s = data.communication.time_s(dense, collective, limit)?;
            buckets.push(Bucket { ready_s: now + backward * done, collective_s });
            filled = 0.0;
            limit = plan.bucket_bytes;
        }
        filled += left;
        now += backward;
        if unit.expert_parameters > 0.0 {
            let collective_s =
                data.communication.time_s(experts, collective, unit.expert_parameters * bytes)?;
            buckets.push(Bucket { ready_s: now, collective_s });
        }
    }
    if filled > 0.0 {
        buckets.push(Bucket {
            ready_s: now,
            collective_s: data.communication.time_s(dense, collective, filled)?,
        });
    }
    Ok(buckets)
}
