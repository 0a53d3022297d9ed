//! How long a step takes.

mod replicated;
mod sharded;

use foretell_fabric::collectives::{self, Collective, Environment, EstimateError};
use foretell_fabric::hardware::{Machine, Ranks};

use crate::device::Device;
use crate::groups::{Bus, Communication, Group};
use crate::kernels::{Calibration, Kernels, Parameter};
use crate::layer::{Unit, units};
use crate::model::{Kind, Model, Transformer};
use crate::plan::{Attention, DataParallel, Plan, PlanError, Recompute};

/// A job on machines.
#[derive(Clone, Copy, Debug)]
pub struct Setup<'a> {
    /// What is trained.
    pub model: &'a Model,
    /// The GPU.
    pub device: &'a Device,
    /// The node.
    pub machine: &'a Machine,
    /// Where its GPUs are.
    pub ranks: Ranks,
    /// How it is split.
    pub plan: &'a Plan,
    /// NCCL's environment.
    pub environment: &'a Environment,
    /// Constants of kernels.
    pub calibration: &'a Calibration,
    /// Constants of collectives.
    pub collectives: &'a collectives::Calibration,
    /// Of what its collectives have alone between nodes, the share that it gets beside neighbours: above 0 and up to 1.
    pub network_share: f64,
}

/// A step, and where its time goes.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Step {
    /// From one step to the next.
    pub time_s: f64,
    /// Kernels, of the slowest stage.
    pub compute_s: f64,
    /// Of those, what is computed a second time.
    pub recompute_s: f64,
    /// Collectives of tensor, context and expert parallelism that nothing overlaps.
    pub inner_s: f64,
    /// Collectives of data parallelism that stick out.
    pub data_s: f64,
    /// Stages that wait, and what is sent between them.
    pub pipeline_s: f64,
    /// The optimizer, and what else comes once in a step.
    pub optimizer_s: f64,
    /// Sequences or samples a second, of the whole job.
    pub samples_per_s: f64,
    /// Tokens a second of each GPU; samples of models that are no transformers.
    pub tokens_per_s_per_gpu: f64,
    /// Operations a second of each GPU, as counted for MFU.
    pub flops_per_gpu: f64,
    /// Of the peak of its precision: nothing computed again counts.
    pub mfu: f64,
    /// The same counting what is computed again. Kernels that only move bytes count nowhere.
    pub hfu: f64,
    /// Of the blocks that sharded data parallelism gathers, the share for which memory has no room: those wait for the allocator, and nothing
    /// hides what they wait for.
    pub squeezed: f64,
}

/// Bytes that the optimizer moves for each parameter it holds: Adam on 32 bits reads four numbers and writes three; the norm reads
/// gradients once more, weights are cast, here and there by kernels of their own.
const OPTIMIZER_BYTES: f64 = 44.0;

/// The same in one kernel.
const FUSED_OPTIMIZER_BYTES: f64 = 34.0;

/// Time of a step of a pass: what is computed and what of the communication sticks out.
#[derive(Clone, Copy, Default, Debug)]
struct Pass {
    time_s: f64,
    /// Of which collectives of data parallelism.
    exposed_s: f64,
}

/// How long a step of the job takes.
pub fn step(setup: &Setup<'_>) -> Result<Step, PlanError> {
    Ok(step_and_bus(setup)?.0)
}

/// The same, and what its longest collective between nodes does with the network, if there is one.
pub(crate) fn step_and_bus(setup: &Setup<'_>) -> Result<(Step, Option<Bus>), PlanError> {
    let Setup { model, plan, .. } = *setup;
    plan.check(model)?;
    let gpus = setup.ranks.count();
    if gpus != plan.gpus() {
        let what = format!("a plan of {} GPUs on {gpus}", plan.gpus());
        return Err(PlanError::Sizes { what });
    }
    plan.check_alignment(setup.ranks.per_node)?;
    let kernels = Kernels::new(setup.device, plan.precision, setup.calibration)?;
    let communication = Communication::new(setup);
    let units = units(setup, &kernels, &communication)?;
    let stage = slowest_stage(&units, plan.pipeline);
    let sum = |of: fn(&Unit) -> f64| stage.iter().map(of).sum::<f64>();
    let (forward, backward) = (sum(Unit::forward), sum(Unit::backward));
    let micro_batches = f64::from(plan.micro_batches());
    // Each micro-batch crosses the boundaries of each part of a stage, forward and backward.
    let sends_s = 2.0 * boundary_s(setup, &communication)? * f64::from(plan.interleave);
    let each = forward + backward + sends_s;
    let ramp = f64::from(plan.pipeline - 1) / f64::from(plan.interleave) * each;
    let data = DataTimes { setup, communication: &communication, stage: &stage };
    let last = data.last_micro_batch()?;
    let before = match plan.data_parallel {
        // Every micro-batch gathers and reduces.
        DataParallel::FullySharded | DataParallel::GradientSharded | DataParallel::HybridSharded { .. }
            if plan.pipeline == 1 =>
        {
            (micro_batches - 1.0) * last.time_s
        }
        _ => (micro_batches - 1.0) * each,
    };
    let once_s = data.once_s(&kernels)?;
    let time_s = before + last.time_s + sends_s + ramp + once_s;
    let gathers = (time_s - once_s - ramp - micro_batches * each).max(0.0);
    let samples = f64::from(plan.global_batch);
    let flops = model.flops_per_sample(plan.sequence_length) * samples / f64::from(gpus);
    let flops_per_gpu = flops / time_s;
    let peak = setup.device.peak_flops(plan.precision)?;
    let compute_s = micro_batches * (sum(|unit| unit.forward_s) + sum(|unit| unit.backward_s));
    let recompute_s = micro_batches * sum(|unit| unit.recompute_s);
    let again = match &model.kind {
        Kind::Transformer(transformer) => {
            again(transformer, plan, model.flops_per_sample(plan.sequence_length))
        }
        Kind::Layered(_) => 0.0,
    };
    let per_sample =
        if matches!(model.kind, Kind::Transformer(_)) { f64::from(plan.sequence_length) } else { 1.0 };
    let found = Step {
        time_s,
        compute_s,
        recompute_s,
        inner_s: micro_batches * (sum(|unit| unit.inner_forward_s) + sum(|unit| unit.inner_backward_s)),
        data_s: gathers,
        pipeline_s: ramp + micro_batches * sends_s,
        optimizer_s: once_s,
        samples_per_s: samples / time_s,
        tokens_per_s_per_gpu: samples * per_sample / time_s / f64::from(gpus),
        flops_per_gpu,
        mfu: flops_per_gpu / peak,
        hfu: flops_per_gpu * (1.0 + again) / peak,
        squeezed: crate::memory::squeezed(setup),
    };
    let bus = match plan.data_parallel {
        DataParallel::ParameterServer { .. } => {
            // All NICs of a node, to the servers and back.
            let limit_gb_per_s = f64::from(setup.machine.nics) * setup.machine.nic_gb_per_s;
            Some(Bus { limit_gb_per_s, sent: 1.0, is_all_to_all: true })
        }
        _ => communication.bus(),
    };
    Ok((found, bus))
}

/// Of the operations that are counted, those that are done a second time. What only moves bytes counts nowhere.
fn again(model: &Transformer, plan: &Plan, flops_per_sample: f64) -> f64 {
    let length = f64::from(plan.sequence_length);
    let of_layers = |parameters: f64| 2.0 * parameters * length * f64::from(model.layers);
    let scores = 4.0 * length * length * f64::from(model.heads) * f64::from(model.head_size);
    match (plan.recompute, plan.attention) {
        (Recompute::None, _) | (Recompute::Selective, Attention::Flash) => 0.0,
        (Recompute::Selective, Attention::Unfused) => scores * f64::from(model.layers) / flops_per_sample,
        (Recompute::Alternate, _) => {
            let attention = model.attention_parameters();
            let inside = model.dense_layer_parameters() - attention;
            let share = if model.is_gated { 1.0 / 3.0 } else { 0.5 };
            of_layers(0.5 * attention + share * inside) / flops_per_sample
        }
        // All of the forward pass once more is a third of what is counted.
        (Recompute::Full, _) => 1.0 / 3.0,
    }
}

/// The units of the stage that takes longest: the first has the embedding, the last the projection on the vocabulary.
fn slowest_stage(units: &[Unit], pipeline: u32) -> Vec<Unit> {
    if pipeline <= 1 {
        return units.to_vec();
    }
    let stages = pipeline as usize;
    let layers = &units[1..units.len() - 1];
    let (base, more) = (layers.len() / stages, layers.len() % stages);
    let mut begin = 0;
    let mut slowest: (f64, Vec<Unit>) = (-1.0, Vec::new());
    for stage in 0..stages {
        // Stages in the middle have those layers that do not divide.
        let is_longer = stage > 0 && stage <= more || more == stages;
        let count = base + usize::from(is_longer);
        let end = (begin + count).min(layers.len());
        let mut of_stage: Vec<Unit> = Vec::with_capacity(count + 1);
        of_stage.extend((stage == 0).then_some(units[0]));
        of_stage.extend_from_slice(&layers[begin..end]);
        of_stage.extend((stage + 1 == stages).then_some(units[units.len() - 1]));
        begin = end;
        let time: f64 = of_stage.iter().map(|unit| unit.forward() + unit.backward()).sum();
        if time > slowest.0 {
            slowest = (time, of_stage);
        }
    }
    slowest.1
}

/// Seconds of sending a micro-batch's activations to the next stage; the GPUs of tensor parallelism send a part each.
fn boundary_s(setup: &Setup<'_>, communication: &Communication<'_>) -> Result<f64, PlanError> {
    let plan = setup.plan;
    let (Kind::Transformer(model), 2..) = (&setup.model.kind, plan.pipeline) else { return Ok(0.0) };
    let numbers = plan.local_tokens() * f64::from(model.width);
    let bytes = numbers * plan.precision.bytes() / f64::from(plan.tensor);
    Ok(communication.send_s(plan.pipeline, plan.tensor * plan.copies(), bytes)?)
}

/// What data parallelism adds to the passes of a stage.
struct DataTimes<'a> {
    setup: &'a Setup<'a>,
    communication: &'a Communication<'a>,
    stage: &'a [Unit],
}

impl DataTimes<'_> {
    fn plan(&self) -> &Plan {
        self.setup.plan
    }

    /// Copies of dense parameters.
    fn replicas(&self) -> Group {
        Group::new(self.plan().copies(), self.plan().tensor, self.communication.gpus_per_node())
    }

    /// Replicas of the same experts: every so many.
    fn expert_replicas(&self) -> Group {
        let plan = self.plan();
        Group::new(plan.copies() / plan.expert, plan.tensor * plan.expert, self.communication.gpus_per_node())
    }

    /// Seconds of a collective over the replicas of a unit, `bytes` for each parameter.
    fn over_replicas(&self, unit: &Unit, collective: Collective, bytes: f64) -> Result<f64, PlanError> {
        let dense = self.communication.time_s(self.replicas(), collective, unit.parameters * bytes)?;
        let experts =
            self.communication.time_s(self.expert_replicas(), collective, unit.expert_parameters * bytes)?;
        Ok(dense + experts)
    }

    /// The forward and backward pass that ends with reduced gradients.
    fn last_micro_batch(&self) -> Result<Pass, PlanError> {
        let plan = self.plan();
        if let DataParallel::ParameterServer { servers, is_asynchronous } = plan.data_parallel {
            let micro_batch_s = replicated::alone(self.stage).time_s;
            let before_s = f64::from(plan.micro_batches() - 1) * micro_batch_s;
            return self.parameter_server(servers, is_asynchronous, before_s);
        }
        if plan.copies() == 1 {
            return Ok(replicated::alone(self.stage));
        }
        let pass = match plan.data_parallel {
            DataParallel::Replicated => replicated::pass(self, Collective::AllReduce)?,
            DataParallel::OptimizerSharded => replicated::pass(self, Collective::ReduceScatter)?,
            DataParallel::GradientSharded
            | DataParallel::FullySharded
            | DataParallel::HybridSharded { .. } => sharded::pass(self)?,
            // Its collectives are none.
            DataParallel::ParameterServer { .. } => replicated::alone(self.stage),
        };
        // What runs beside kernels takes from them.
        let collectives = self.hidden_s(&pass)?;
        let beside = self.setup.calibration.get(Parameter::Beside);
        Ok(Pass { time_s: pass.time_s + beside * collectives, exposed_s: pass.exposed_s })
    }

    /// Seconds of collectives that run beside kernels.
    fn hidden_s(&self, pass: &Pass) -> Result<f64, PlanError> {
        let compute: f64 = self.stage.iter().map(|unit| unit.forward() + unit.backward()).sum();
        let all = match self.plan().data_parallel {
            DataParallel::ParameterServer { .. } => 0.0,
            DataParallel::Replicated => replicated::collectives_s(self, Collective::AllReduce)?,
            DataParallel::OptimizerSharded => replicated::collectives_s(self, Collective::ReduceScatter)?,
            _ => sharded::collectives_s(self)?,
        };
        Ok((all - pass.exposed_s).clamp(0.0, compute))
    }

    /// Gradients to the servers and weights back (Li et al. 2014): bound by the NICs of the workers, or by those of the servers. What a step
    /// computes before is given.
    fn parameter_server(
        &self,
        servers: u32,
        is_asynchronous: bool,
        before_s: f64,
    ) -> Result<Pass, PlanError> {
        let compute = replicated::alone(self.stage).time_s;
        let machine = self.setup.machine;
        if machine.nics == 0 || machine.network.is_none() {
            return Err(EstimateError::NoNetwork { nodes: self.setup.ranks.nodes }.into());
        }
        let node_bytes_per_s =
            f64::from(machine.nics) * machine.nic_gb_per_s * 1e9 * self.setup.network_share;
        let parameters: f64 = self.stage.iter().map(|unit| unit.parameters + unit.expert_parameters).sum();
        let bytes = 2.0 * parameters * self.plan().gradient_bytes;
        let worker = bytes * f64::from(self.setup.ranks.per_node) / node_bytes_per_s;
        let all = f64::from(self.plan().data) * f64::from(self.plan().tensor);
        let server = bytes * all / (f64::from(servers) * node_bytes_per_s);
        let exposed_s = if is_asynchronous {
            // Each worker goes on by itself, until the servers are full.
            (before_s + compute + worker).max(server) - before_s - compute
        } else {
            worker.max(server)
        };
        Ok(Pass { time_s: compute + exposed_s, exposed_s })
    }

    /// What comes once in a step: the optimizer, weights that are gathered after it.
    fn once_s(&self, kernels: &Kernels<'_>) -> Result<f64, PlanError> {
        let plan = self.plan();
        let experts = f64::from(plan.copies() / plan.expert.max(1));
        let shards = match plan.data_parallel {
            DataParallel::Replicated | DataParallel::ParameterServer { .. } => (1.0, 1.0),
            DataParallel::HybridSharded { .. } => {
                let group = f64::from(self.shard_group().per_node * self.shard_group().nodes);
                (group, group.min(experts))
            }
            _ => (f64::from(plan.copies()), experts),
        };
        let held: f64 = self
            .stage
            .iter()
            .map(|unit| unit.parameters / shards.0 + unit.expert_parameters / shards.1)
            .sum();
        let bytes = if plan.is_fused { FUSED_OPTIMIZER_BYTES } else { OPTIMIZER_BYTES };
        let is_served = matches!(plan.data_parallel, DataParallel::ParameterServer { .. });
        // Servers update what they hold.
        let mut once = if is_served { 0.0 } else { kernels.memory_s(bytes * held) };
        match plan.data_parallel {
            DataParallel::OptimizerSharded => {
                for unit in self.stage {
                    once += self.over_replicas(unit, Collective::AllGather, plan.precision.bytes())?;
                }
            }
            DataParallel::GradientSharded
            | DataParallel::FullySharded
            | DataParallel::HybridSharded { .. } => once += kernels.get(Parameter::ShardedStep),
            DataParallel::Replicated | DataParallel::ParameterServer { .. } => {}
        }
        Ok(once)
    }

    /// The replicas that share one copy under hybrid sharding.
    fn shard_group(&self) -> Group {
        let plan = self.plan();
        let gpus = self.communication.gpus_per_node();
        Group::new(plan.shard_group(gpus), plan.tensor, gpus)
    }
}
