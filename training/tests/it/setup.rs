//! Machines and jobs for tests.

use foretell_fabric::collectives::{self, Environment};
use foretell_fabric::hardware::{Architecture, Gpu, Interconnect, Machine, Network, Ranks};
use foretell_training::{Calibration, Device, Model, ModelCatalog, Plan, Setup};

/// What a [`Setup`] borrows.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) model: Model,
    pub(crate) device: Device,
    pub(crate) machine: Machine,
    pub(crate) ranks: Ranks,
    pub(crate) plan: Plan,
    pub(crate) network_share: f64,
    environment: Environment,
    calibration: Calibration,
    collectives: collectives::Calibration,
}

impl Job {
    /// A strategy on whole nodes of 8 A100 of 80 GB with 8 NICs of 200 Gbit/s, or a part of one.
    pub(crate) fn new(model: &str, gpus: u32, strategy: &str) -> Self {
        let model = ModelCatalog::builtin().get(model).unwrap().clone();
        let ranks = Ranks { per_node: gpus.min(8), nodes: gpus.div_ceil(8) };
        Self {
            plan: Plan::parse(strategy, gpus, &model).unwrap(),
            model,
            device: Device {
                name: "A100-80".to_owned(),
                architecture: Architecture::Ampere,
                memory_bytes: 80.0 * GIB,
                memory_bytes_per_s: 2.039e12,
                fp32_flops: Some(19.5e12),
                fp16_flops: Some(312e12),
                bf16_flops: Some(312e12),
                fp8_flops: None,
            },
            machine: Machine {
                gpu: Gpu::named("A100").unwrap(),
                gpus: 8,
                interconnect: Interconnect::NvSwitch,
                nics: 8,
                nic_gb_per_s: 25.0,
                network: Some(Network::InfiniBand),
                cpu: None,
            },
            ranks,
            network_share: 1.0,
            environment: Environment::default(),
            calibration: Calibration::default(),
            collectives: collectives::Calibration::default(),
        }
    }

    pub(crate) fn with(mut self, change: impl FnOnce(&mut Plan)) -> Self {
        change(&mut self.plan);
        self
    }

    pub(crate) fn setup(&self) -> Setup<'_> {
        Setup {
            model: &self.model,
            device: &self.device,
            machine: &self.machine,
            ranks: self.ranks,
            plan: &self.plan,
            environment: &self.environment,
            calibration: &self.calibration,
            collectives: &self.collectives,
            network_share: self.network_share,
        }
    }

    pub(crate) fn step(&self) -> foretell_training::Step {
        foretell_training::step(&self.setup()).unwrap()
    }
}

pub(crate) use foretell_training::memory::GIB;
