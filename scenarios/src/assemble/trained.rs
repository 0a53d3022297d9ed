//! Jobs that train a model of the catalogue: what their steps take follows from model, parallelism and placement.

use std::sync::Arc;

use foretell_fabric::hardware::{Machine, Ranks};
use foretell_sim::framework::GpuModelSet;
use foretell_sim::traffic::{Machines, Pattern, PlacementShape, StepLaw, StepModel};
use foretell_training::plan::{Plan, PlanError};
use foretell_training::search::{Fixed, best};
use foretell_training::{Calibration, Device, Setup, law};

use crate::scenario::{AUTO, TrainedModel};

/// A job that trains a model on some number of GPUs. The reference is the job alone on as few nodes as hold it.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct TrainedJob {
    model: Arc<TrainedModel>,
    /// One for each of the machines.
    devices: Arc<[Device]>,
    machines: Arc<Machines>,
    calibration: Calibration,
    plan: Plan,
    reference_s: f64,
}

impl TrainedJob {
    /// A job with so many GPUs of any of these models: its plan is that which is fastest where it is fastest.
    pub(super) fn new(
        model: &Arc<TrainedModel>,
        machines: &Arc<Machines>,
        devices: &Arc<[Device]>,
        gpus: u32,
        gpu_models: GpuModelSet,
    ) -> Result<Self, PlanError> {
        let mut job = Self {
            plan: plan(model, gpus)?,
            model: Arc::clone(model),
            devices: Arc::clone(devices),
            machines: Arc::clone(machines),
            calibration: Calibration::default(),
            // No node has such GPUs: the job never runs.
            reference_s: 1.0,
        };
        let fixed = Fixed {
            is_split: model.strategy != AUTO,
            micro_batch: model.micro_batch,
            recompute: model.recompute,
            is_all_or_nothing: false,
        };
        let mut found: Option<(f64, Plan)> = None;
        let mut refused = None;
        for (index, (id, machine)) in machines.by_model.iter().enumerate() {
            if !gpu_models.allows(*id) {
                continue;
            }
            let shape = PlacementShape::packed(gpus, machine.gpus, [*id].into_iter().collect());
            match job.on(index, &shape, |setup| best(setup, fixed)) {
                Ok(best) if found.as_ref().is_none_or(|(step_s, _)| best.step.time_s < *step_s) => {
                    found = Some((best.step.time_s, best.plan));
                }
                Ok(_) => {}
                Err(error) => refused = Some(error),
            }
        }
        match (found, refused) {
            (Some((reference_s, plan)), _) => {
                (job.reference_s, job.plan) = (reference_s, plan);
                Ok(job)
            }
            (None, Some(error)) => Err(error),
            (None, None) => Ok(job),
        }
    }

    /// Looks at the job on GPUs of one of the models, placed so.
    fn on<T>(&self, index: usize, shape: &PlacementShape, look: impl FnOnce(&Setup<'_>) -> T) -> T {
        let (_, machine) = &self.machines.by_model[index];
        let (machine, ranks) = seen(machine, shape);
        look(&Setup {
            model: self.model.model,
            device: &self.devices[index],
            machine: &machine,
            ranks,
            plan: &self.plan,
            environment: &self.machines.environment,
            calibration: &self.calibration,
            collectives: &self.machines.calibration,
            network_share: 1.0,
        })
    }
}

/// The plan of a model on so many GPUs, without what is searched for.
fn plan(model: &TrainedModel, gpus: u32) -> Result<Plan, PlanError> {
    let mut plan = match model.strategy.as_str() {
        AUTO => Plan::of(gpus, model.model),
        strategy => Plan::parse(strategy, gpus, model.model)?,
    };
    if let Some(length) = model.sequence_length {
        plan.sequence_length = length;
    }
    if let Some(precision) = model.precision {
        plan.precision = precision;
        plan.gradient_bytes = precision.bytes();
    }
    plan.micro_batch = model.micro_batch.unwrap_or(1);
    plan.global_batch = match model.samples_per_gpu {
        Some(samples) => gpus.saturating_mul(samples),
        None => plan.usual_batch(model.model),
    };
    Ok(plan)
}

/// A placement as nodes that are alike: where nodes have different numbers of GPUs, as parts of nodes that have as many, each with its
/// part of the NICs.
fn seen(machine: &Machine, shape: &PlacementShape) -> (Machine, Ranks) {
    let per_node =
        shape.gpus_by_node().iter().copied().fold(0, greatest_common_divisor).clamp(1, machine.gpus);
    let mut machine = machine.clone();
    if per_node < machine.gpus {
        let nics = f64::from(machine.nics * per_node) / f64::from(machine.gpus);
        machine.nics = if machine.nics == 0 { 0 } else { (nics as u32).max(1) };
        if nics < 1.0 {
            machine.nic_gb_per_s *= nics;
        }
        machine.gpus = per_node;
    }
    (machine, Ranks { per_node, nodes: shape.gpus() / per_node })
}

const fn greatest_common_divisor(one: u32, other: u32) -> u32 {
    if other == 0 { one } else { greatest_common_divisor(other, one % other) }
}

impl StepModel for TrainedJob {
    fn law(&self, placement: &PlacementShape) -> StepLaw {
        // An elastic job on other GPUs than it asked for keeps its step: how it scales is said elsewhere.
        if placement.gpus() != self.plan.gpus() {
            return StepLaw::local(self.reference_s);
        }
        let used = self.machines.by_model.iter().enumerate();
        let used = used.filter(|(_, (model, _))| placement.gpu_models.allows(*model));
        // The slowest of several models sets the pace. Where there is no law, such as of a plan that is too large for another
        // model, the job goes on as if it were where it is fastest.
        let laws = used.filter_map(|(index, _)| self.on(index, placement, law).ok()).map(|law| StepLaw {
            fixed_s: law.fixed_s,
            overlapped_s: law.overlapped_s,
            latency_s: 0.0,
            bytes: law.bytes,
            cap_gb_per_s: law.cap_gb_per_s,
            sent: law.sent,
            pattern: if law.is_all_to_all { Pattern::AllToAll } else { Pattern::Ring },
        });
        laws.max_by(|one, other| one.alone_s().total_cmp(&other.alone_s()))
            .unwrap_or_else(|| StepLaw::local(self.reference_s))
    }

    fn reference_step_s(&self) -> f64 {
        self.reference_s
    }
}
