//! Jobs that train a model of the catalogue: what their steps take follows from model, parallelism and placement.

use std::collections::BTreeMap;
use std::sync::Arc;

use foretell_fabric::collectives::{self, Collective, choose};
use foretell_fabric::hardware::{self, Machine, Ranks};
use foretell_sim::framework::{FULL_SPEED, GpuModelSet, GpuSet, Scaling, Time};
use foretell_sim::platform::CheckpointSize;
use foretell_sim::traffic::{Machines, Pattern, PlacementShape, StepLaw, StepModel};
use foretell_training::plan::{Plan, PlanError};
use foretell_training::search::{Fixed, best};
use foretell_training::{Calibration, Checkpoint, Device, Setup, checkpoint, law};

use crate::catalog::NodeType;
use crate::scenario::{AUTO, TrainedModel, TrainingLength};

/// What is known of a kind of nodes beside what NCCL sees of it.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct NodeKind {
    pub(super) node_type: NodeType,
    pub(super) device: Device,
}

impl NodeKind {
    /// What some of the GPUs have, where that differs from what any have: as a machine of their own.
    fn part(&self, machine: &Machine, devices: GpuSet) -> Option<Machine> {
        if machine.interconnect == hardware::Interconnect::NvSwitch || devices.len() < 2 {
            return None;
        }
        let devices: Vec<u32> = devices.iter().map(|device| device as u32).collect();
        let part = self.node_type.machine_of(&devices).ok()?;
        // The cards may hang on slower ports.
        Some(Machine { nic_gb_per_s: part.nic_gb_per_s.min(machine.nic_gb_per_s), ..part })
    }

    /// The GPUs of a node that have most for so many of them, of equals the first; none where all are alike, or all are meant.
    fn best_part(&self, machine: &Machine, gpus: u32) -> Option<GpuSet> {
        if gpus < 2 || gpus >= machine.gpus || machine.gpus > MOST_GPUS {
            return None;
        }
        let sets = (0..1_u64 << machine.gpus).filter(|bits| bits.count_ones() == gpus).map(GpuSet::from_bits);
        let mut best: Option<(f64, GpuSet)> = None;
        for set in sets {
            let part = self.part(machine, set)?;
            let ranks = Ranks { per_node: gpus, nodes: 1 };
            let environment = collectives::Environment::default();
            let choice = choose(&part, ranks, Collective::AllReduce, LARGE_BYTES, &environment).ok()?;
            let time_us = choice.estimate(&collectives::Calibration::default()).time_us;
            if best.is_none_or(|(least_us, _)| time_us < least_us) {
                best = Some((time_us, set));
            }
        }
        best.map(|(_, set)| set)
    }
}

/// GPUs of nodes whose parts are looked through for the best.
const MOST_GPUS: u32 = 8;

/// A message that bandwidth binds.
const LARGE_BYTES: u64 = 1 << 28;

/// A job that trains a model on some number of GPUs. The reference is the job alone on as few nodes as hold it.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct TrainedJob {
    model: Arc<TrainedModel>,
    /// One for each of the machines.
    kinds: Arc<[NodeKind]>,
    machines: Arc<Machines>,
    calibration: Calibration,
    plan: Plan,
    reference_s: f64,
    /// GPU models that it may run on.
    gpu_models: GpuModelSet,
    /// What is known of other numbers of GPUs: the plan that is fastest there for the same batch, and what a step takes; none where no plan
    /// is.
    others: BTreeMap<u32, Option<(Plan, f64)>>,
}

impl TrainedJob {
    /// A job with so many GPUs of any of these models: its plan is that which is fastest where it is fastest.
    pub(super) fn new(
        model: &Arc<TrainedModel>,
        machines: &Arc<Machines>,
        kinds: &Arc<[NodeKind]>,
        gpus: u32,
        gpu_models: GpuModelSet,
    ) -> Result<Self, PlanError> {
        Self::of_plan(plan(model, gpus)?, model, machines, kinds, gpu_models)
    }

    /// The same of a plan of which strategy, batch and length are given.
    fn of_plan(
        plan: Plan,
        model: &Arc<TrainedModel>,
        machines: &Arc<Machines>,
        kinds: &Arc<[NodeKind]>,
        gpu_models: GpuModelSet,
    ) -> Result<Self, PlanError> {
        let gpus = plan.gpus();
        let mut job = Self {
            plan,
            model: Arc::clone(model),
            kinds: Arc::clone(kinds),
            machines: Arc::clone(machines),
            calibration: Calibration::default(),
            // No node has such GPUs: the job never runs.
            reference_s: 1.0,
            gpu_models,
            others: BTreeMap::new(),
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
            let shape =
                kinds[index].best_part(machine, gpus).map_or(shape.clone(), |part| shape.on_devices(part));
            match job.on(index, &job.plan, &shape, |setup| best(setup, fixed)) {
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

    /// How fast it is on one task, on two and so on, of which it asks for `asked`: each number of GPUs has the plan that is fastest there for
    /// the same batch. Where there is none, for the GPUs do not divide the batch or hold too little, as on the next fewer.
    pub(super) fn scaling(&mut self, asked: u32, most: u32) -> Scaling {
        let of_task = self.plan.gpus() / asked.max(1);
        let mut speed = 1;
        let mut speeds = Vec::with_capacity(most as usize);
        for tasks in 1..=most {
            if tasks == asked {
                speed = FULL_SPEED;
            } else {
                let other = self.with_gpus(tasks * of_task);
                if let Some((_, step_s)) = &other {
                    speed = ((self.reference_s / step_s * FULL_SPEED as f64).round() as u64).max(1);
                }
                self.others.insert(tasks * of_task, other);
            }
            speeds.push(speed);
        }
        Scaling::of_tasks(asked, speeds)
    }

    /// The plan that is fastest on so many GPUs for the same batch, and what a step takes.
    fn with_gpus(&self, gpus: u32) -> Option<(Plan, f64)> {
        if let Some(known) = self.others.get(&gpus) {
            return known.clone();
        }
        let mut plan = plan(&self.model, gpus).ok()?;
        plan.global_batch = self.plan.global_batch;
        let found = Self::of_plan(plan, &self.model, &self.machines, &self.kinds, self.gpu_models).ok()?;
        Some((found.plan, found.reference_s))
    }

    /// The law of a plan on GPUs that are placed so, if there is one; the slowest of several models sets the pace.
    fn law_of(&self, plan: &Plan, placement: &PlacementShape) -> Option<StepLaw> {
        let used = self.machines.by_model.iter().enumerate();
        let used = used.filter(|(_, (model, _))| placement.gpu_models.allows(*model));
        let laws = used.filter_map(|(index, _)| self.on(index, plan, placement, law).ok());
        let laws = laws.map(|law| StepLaw {
            fixed_s: law.fixed_s,
            overlapped_s: law.overlapped_s,
            latency_s: 0.0,
            bytes: law.bytes,
            cap_gb_per_s: law.cap_gb_per_s,
            sent: law.sent,
            pattern: if law.is_all_to_all { Pattern::AllToAll } else { Pattern::Ring },
        });
        laws.max_by(|one, other| one.alone_s().total_cmp(&other.alone_s()))
    }

    /// What it writes when it takes a checkpoint.
    pub(super) fn checkpoint(&self, gpu_models: GpuModelSet) -> CheckpointSize {
        let allowed = self.machines.by_model.iter().find(|(model, _)| gpu_models.allows(*model));
        let per_node = allowed.map_or(1, |(_, machine)| machine.gpus).min(self.plan.gpus());
        let Checkpoint { bytes, writers } = checkpoint(self.model.model, &self.plan, per_node);
        CheckpointSize { bytes: bytes.round() as u64, writers }
    }

    /// What its work takes where it runs at full speed, if it says how long it trains.
    pub(super) fn duration(&self) -> Option<Time> {
        let steps = match self.model.length {
            TrainingLength::OfWorkload => return None,
            TrainingLength::Steps(steps) => steps,
            TrainingLength::Tokens(tokens) => {
                let of_step = u64::from(self.plan.global_batch) * u64::from(self.plan.sequence_length);
                tokens.div_ceil(of_step.max(1))
            }
        };
        Some(Time::from_s(steps as f64 * self.reference_s))
    }

    /// Looks at a plan of the job on GPUs of one of the models, placed so.
    fn on<T>(
        &self,
        index: usize,
        plan: &Plan,
        shape: &PlacementShape,
        look: impl FnOnce(&Setup<'_>) -> T,
    ) -> T {
        let (_, machine) = &self.machines.by_model[index];
        let part = shape.devices.and_then(|devices| self.kinds[index].part(machine, devices));
        let (machine, ranks) = match part {
            Some(machine) => (machine, Ranks { per_node: shape.gpus(), nodes: 1 }),
            None => seen(machine, shape),
        };
        look(&Setup {
            model: self.model.model,
            device: &self.kinds[index].device,
            machine: &machine,
            ranks,
            plan,
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
        // Where there is no law, such as of a plan that is too large for another model, the job goes on as if it were where it is fastest.
        let alone = || StepLaw::local(self.reference_s);
        if placement.gpus() == self.plan.gpus() {
            return self.law_of(&self.plan, placement).unwrap_or_else(alone);
        }
        // How fast an elastic job is on other numbers of GPUs where these are best is said by how it scales. What is left is how much slower it
        // is where these are: its step there over that at best. The job's work goes by steps of the reference, and so do the bytes of a step.
        let Some((plan, best_s)) = self.with_gpus(placement.gpus()) else { return alone() };
        let Some(law) = self.law_of(&plan, placement) else { return alone() };
        let factor = self.reference_s / best_s;
        StepLaw {
            fixed_s: law.fixed_s * factor,
            overlapped_s: law.overlapped_s * factor,
            bytes: law.bytes * factor,
            ..law
        }
    }

    fn reference_step_s(&self) -> f64 {
        self.reference_s
    }
}
