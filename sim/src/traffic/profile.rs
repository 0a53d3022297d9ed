//! Jobs of which one knows how much they communicate, and no more.

use std::sync::Arc;

use foretell_fabric::collectives::{
    Calibration, Choice, Collective, Environment, Estimate, EstimateError, choose,
};
use foretell_fabric::contention::sent;
use foretell_fabric::hardware::{Machine, Ranks};
use foretell_framework::{GpuModelId, GpuModelSet};

use super::{Pattern, PlacementShape, StepLaw, StepModel};

/// The nodes that jobs run on, as NCCL sees them.
#[derive(Clone, PartialEq, Debug)]
pub struct Machines {
    /// By GPU model; of several kinds of nodes with one model the first counts.
    pub by_model: Vec<(GpuModelId, Machine)>,
    /// What NCCL is told in all jobs.
    pub environment: Environment,
    /// What is measured of collectives.
    pub calibration: Calibration,
}

impl Machines {
    fn choose(
        &self,
        machine: &Machine,
        ranks: Ranks,
        collective: Collective,
        bytes: u64,
    ) -> Result<(Choice, Estimate), EstimateError> {
        let choice = choose(machine, ranks, collective, bytes, &self.environment)?;
        let estimate = choice.estimate(&self.calibration);
        Ok((choice, estimate))
    }

    /// The size of a collective that takes so long between full nodes, bytes: by bisection to a thousandth.
    pub fn size_taking(
        &self,
        machine: &Machine,
        nodes: u32,
        collective: Collective,
        time_s: f64,
    ) -> Result<u64, EstimateError> {
        let ranks = Ranks { per_node: machine.gpus, nodes };
        let (mut least, mut most) = (1.0_f64, 1e15_f64);
        while most / least > 1.001 {
            let middle = (least * most).sqrt();
            let (_, estimate) = self.choose(machine, ranks, collective, middle as u64)?;
            if estimate.time_us < time_s * 1e6 {
                least = middle;
            } else {
                most = middle;
            }
        }
        Ok(least as u64)
    }
}

/// What a step of a job is made of.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct ProfileSpec {
    /// Computation, on any placement.
    pub compute_s: f64,
    /// Share of the computation beside which the job communicates.
    pub overlap: f64,
    /// What it communicates with.
    pub collective: Collective,
    /// Size of all collectives of a step, as nccl-tests counts it.
    pub bytes: u64,
}

/// Steps of which one knows what they compute and what they communicate. The reference is the job alone on as few nodes as hold it.
///
/// Collectives of a step count as one of their size, whose time is NCCL's by [`foretell_fabric::collectives`]. Where nodes have different
/// numbers of the job's GPUs, each counts as the one with fewest: NCCL's rings pass through all nodes alike.
#[derive(Clone, PartialEq, Debug)]
pub struct CommunicationProfile {
    spec: ProfileSpec,
    machines: Arc<Machines>,
    reference_s: f64,
}

impl CommunicationProfile {
    /// Of a job with so many GPUs of any of these models.
    pub fn new(
        spec: ProfileSpec,
        machines: Arc<Machines>,
        gpus: u32,
        gpu_models: GpuModelSet,
    ) -> Result<Self, EstimateError> {
        let mut reference_s = f64::INFINITY;
        for (model, machine) in machines.by_model.iter().filter(|(model, _)| gpu_models.allows(*model)) {
            let shape = PlacementShape::packed(gpus, machine.gpus, [*model].into_iter().collect());
            reference_s = reference_s.min(law(&spec, &machines, machine, &shape)?.alone_s());
        }
        // No node has such GPUs: the job never runs.
        let reference_s = if reference_s.is_finite() { reference_s } else { spec.compute_s };
        Ok(Self { spec, machines, reference_s })
    }
}

impl StepModel for CommunicationProfile {
    fn law(&self, placement: &PlacementShape) -> StepLaw {
        let Self { spec, machines, .. } = self;
        let used = machines.by_model.iter().filter(|(model, _)| placement.gpu_models.allows(*model));
        // The slowest of several models sets the pace. That there is a law was seen when the profile was made.
        let laws = used.filter_map(|(_, machine)| law(spec, machines, machine, placement).ok());
        laws.max_by(|one, other| one.alone_s().total_cmp(&other.alone_s()))
            .unwrap_or_else(|| StepLaw::local(spec.compute_s))
    }

    fn reference_step_s(&self) -> f64 {
        self.reference_s
    }
}

fn law(
    spec: &ProfileSpec,
    machines: &Machines,
    machine: &Machine,
    placement: &PlacementShape,
) -> Result<StepLaw, EstimateError> {
    if placement.gpus() < 2 || spec.bytes == 0 {
        return Ok(StepLaw::local(spec.compute_s));
    }
    let overlapped_s = spec.overlap * spec.compute_s;
    let fixed_s = spec.compute_s - overlapped_s;
    let ranks = Ranks { per_node: placement.fewest().min(machine.gpus), nodes: placement.nodes() };
    let (choice, alone) = machines.choose(machine, ranks, spec.collective, spec.bytes)?;
    let time_s = alone.time_us / 1e6;
    // Of racks with one NVLink domain NCCL sees one node.
    if choice.ranks().nodes < 2 {
        return Ok(StepLaw { fixed_s, overlapped_s, latency_s: time_s, ..StepLaw::default() });
    }
    let bytes = spec.bytes as f64 * spec.collective.bus_factor(placement.gpus());
    Ok(StepLaw {
        fixed_s,
        overlapped_s,
        latency_s: (time_s - bytes / (alone.limit_gb_per_s * 1e9)).max(0.0),
        bytes,
        cap_gb_per_s: alone.limit_gb_per_s,
        sent: sent(&choice, alone.algorithm),
        pattern: match spec.collective {
            Collective::AllToAll => Pattern::AllToAll,
            _ => Pattern::Ring,
        },
    })
}
