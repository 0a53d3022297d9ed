//! Configurations that a platform would inject: of FSDP, of NCCL.

use foretell_scenarios::fabric::collectives::{self, Collective, tune};
use foretell_scenarios::training::Precision;
use foretell_scenarios::training::plan::{DataParallel, Plan, Prefetch, Recompute};
use foretell_scenarios::training::search::Found;

use super::Asked;

/// The block that FSDP's trainers read.
pub(super) fn fsdp_config(found: &Found) -> Result<String, String> {
    let plan = &found.plan;
    if plan.tensor * plan.context * plan.pipeline * plan.expert > 1 {
        return Err(format!(
            "--emit fsdp-config: `{plan}` is more than FSDP: expected a strategy such as fsdp or fsdp-hybrid"
        ));
    }
    let strategy = match plan.data_parallel {
        DataParallel::HybridSharded { group: 1.. } => {
            return Err("--emit fsdp-config: expected groups of a node: fsdp-hybrid".to_owned());
        }
        DataParallel::FullySharded => "FULL_SHARD",
        DataParallel::GradientSharded => "SHARD_GRAD_OP",
        DataParallel::HybridSharded { .. } => "HYBRID_SHARD",
        DataParallel::Replicated => "NO_SHARD",
        DataParallel::OptimizerSharded | DataParallel::ParameterServer { .. } => {
            return Err(format!(
                "--emit fsdp-config: `{plan}` is not FSDP: expected a strategy such as fsdp or fsdp-hybrid"
            ));
        }
    };
    let prefetch = match plan.backward_prefetch {
        Prefetch::Before => "BACKWARD_PRE",
        Prefetch::After => "BACKWARD_POST",
        Prefetch::None => "NONE",
    };
    let (mixed, precision) = match plan.precision {
        Precision::Fp32 => ("DEFAULT", "fp32"),
        Precision::Fp16 => ("PURE", "amp_fp16"),
        Precision::Bf16 => ("PURE", "amp_bf16"),
        Precision::Fp8 => ("PURE", "amp_fp8"),
    };
    // What the report says without `--emit` may be another plan, since that can recompute a part of each layer.
    Ok(format!(
        "# {plan}, micro-batch {}, recompute {}: {:.3} s a step,\n\
         # the fastest of plans that recompute every layer or nothing\n\
         fsdp_config:\n  sharding_strategy: {strategy}\n  mixed_precision: {mixed}\n  \
         activation_checkpointing: {}\n  backward_prefetch: {prefetch}\n  forward_prefetch: {}\n  \
         limit_all_gathers: true\n  sync_module_states: true\n\
         precision: {precision}\ndevice_train_microbatch_size: {}\nglobal_train_batch_size: {}",
        plan.micro_batch,
        plan.recompute.name(),
        found.step.time_s,
        plan.recompute == Recompute::Full,
        plan.forward_prefetch,
        plan.micro_batch,
        plan.global_batch
    ))
}

/// The variables that a platform would set.
pub(super) fn nccl_environment(asked: &Asked, plan: &Plan) -> Result<String, Box<dyn std::error::Error>> {
    if asked.ranks.count() < 2 {
        return Err("--emit nccl-env: one GPU has no collectives".into());
    }
    let calibration = collectives::Calibration::default();
    let collective = match plan.data_parallel {
        DataParallel::FullySharded | DataParallel::GradientSharded => Collective::AllGather,
        _ => Collective::AllReduce,
    };
    let machine = asked.environment.applied_to(&asked.machine);
    let advice = tune(&machine, asked.ranks, collective, &calibration)?;
    if advice.is_empty() {
        return Ok("# nothing to set: NCCL's own choices are the best known here".to_owned());
    }
    let lines: Vec<String> = advice
        .into_iter()
        .map(|advice| format!("# {}\n{}={}", advice.reason, advice.variable, advice.value))
        .collect();
    Ok(lines.join("\n"))
}
