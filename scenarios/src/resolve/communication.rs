//! What jobs communicate.

use std::sync::Arc;

use foretell_fabric::collectives::{self, Calibration, Collective, EstimateError, choose};
use foretell_fabric::hardware::{Machine, Ranks};
use foretell_training::model::Kind;
use foretell_training::plan::{Plan, PlanError, Recompute};
use foretell_training::{ModelCatalog, Precision};

use super::Resolver;
use crate::file::{
    CommunicationClassFile, CommunicationCollective, CommunicationFile, CommunicationPhases, TrainFile,
    TrainPrecision, TrainRecompute,
};
use crate::scenario::{
    AUTO, Communication, CommunicationClass, CommunicationSize, Fabric, NodeGroup, Steps, TrainedModel,
    TrainingLength,
};
use crate::suggest;

const PATH: &str = "workload.communication";

impl Resolver<'_, '_> {
    /// What jobs communicate on these nodes.
    pub(super) fn communication(
        &mut self,
        file: Option<&CommunicationFile>,
        nodes: &[NodeGroup],
        fabric: Option<&Fabric>,
    ) -> Option<Communication> {
        let file = file?;
        if file.phases != CommunicationPhases::default() && fabric.is_none() {
            let help = "without `cluster.fabric` jobs share no links";
            self.problem(&format!("{PATH}.phases"), "there is no fabric", Some(help.to_owned()));
        }
        let environment = fabric.map_or_else(Default::default, |fabric| fabric.environment.clone());
        let machines = self.machines(nodes, fabric);
        let mut classes = Vec::with_capacity(file.classes.len());
        for (i, class) in file.classes.iter().enumerate() {
            let path = format!("{PATH}.classes[{i}]");
            if file.classes[..i].iter().any(|other| other.name == class.name) {
                let message = format!("there is another class `{}`", class.name);
                self.problem(&format!("{path}.name"), message, None);
            }
            let steps = match &class.train {
                Some(train) => self.trained(&path, class, train, nodes).map(Steps::Trained),
                None => self.profile(&path, class, &machines, &environment),
            };
            if let Some(steps) = steps {
                classes.push(CommunicationClass { name: class.name.clone(), weight: class.weight, steps });
            }
        }
        let is_synchronised = file.phases == CommunicationPhases::Synchronised;
        Some(Communication { is_synchronised, classes })
    }

    /// Steps of which computation and communication are told.
    fn profile(
        &mut self,
        path: &str,
        class: &CommunicationClassFile,
        machines: &[Machine],
        environment: &collectives::Environment,
    ) -> Option<Steps> {
        let collective = match class.collective.unwrap_or_default() {
            CommunicationCollective::AllReduce => Collective::AllReduce,
            CommunicationCollective::AllGather => Collective::AllGather,
            CommunicationCollective::ReduceScatter => Collective::ReduceScatter,
            CommunicationCollective::AllToAll => Collective::AllToAll,
        };
        let size = match (class.share, class.bytes) {
            (Some(share), None) => {
                CommunicationSize::Share { share, nodes: class.reference_nodes.unwrap_or(2) }
            }
            (None, Some(bytes)) => {
                if class.reference_nodes.is_some() {
                    self.problem(&format!("{path}.reference_nodes"), "belongs to `share`", None);
                }
                CommunicationSize::Bytes(bytes.0)
            }
            (both, _) => {
                let got = if both.is_some() { "both" } else { "none" };
                let message = format!("expected exactly one of `share`, `bytes` and `train`, got {got}");
                self.problem(path, message, None);
                return None;
            }
        };
        for machine in machines {
            if let Err(error) = is_possible(machine, collective, environment) {
                self.problem(path, error.to_string(), None);
            }
        }
        let (compute_s, overlap) = (class.compute_s.unwrap_or(1.0), class.overlap.unwrap_or(0.0));
        Some(Steps::Profile { compute_s, size, overlap, collective })
    }

    /// Steps of training a model on these nodes.
    fn trained(
        &mut self,
        path: &str,
        class: &CommunicationClassFile,
        train: &TrainFile,
        nodes: &[NodeGroup],
    ) -> Option<Arc<TrainedModel>> {
        let told = [
            ("compute_s", class.compute_s.is_some()),
            ("share", class.share.is_some()),
            ("reference_nodes", class.reference_nodes.is_some()),
            ("bytes", class.bytes.is_some()),
            ("overlap", class.overlap.is_some()),
            ("collective", class.collective.is_some()),
        ];
        for (field, _) in told.into_iter().filter(|&(_, is_told)| is_told) {
            self.problem(&format!("{path}.{field}"), "follows from the model that `train` names", None);
        }
        for group in nodes.iter().filter(|group| group.node_type.gpus.is_some()) {
            if group.device().is_none() {
                let name = &group.node_type.name;
                self.problem(path, format!("what GPUs of node type `{name}` can do is not known"), None);
            }
        }
        let catalog = ModelCatalog::builtin();
        let Some(model) = catalog.get(&train.model) else {
            let help = suggest::hint(&train.model, catalog.models().map(|model| model.name.as_str()));
            let message = format!("unknown model `{}`", train.model);
            self.problem(&format!("{path}.train.model"), message, Some(help));
            return None;
        };
        // Whether it fits depends on how many GPUs a job has.
        if train.strategy != AUTO
            && let Err(
                error @ (PlanError::Strategy { .. } | PlanError::Repeated { .. } | PlanError::Several { .. }),
            ) = Plan::parse(&train.strategy, 1 << 20, model)
        {
            self.problem(&format!("{path}.train.strategy"), error.to_string(), None);
        }
        let length = match (train.steps, train.tokens) {
            (None, None) => TrainingLength::OfWorkload,
            (Some(steps), None) => TrainingLength::Steps(steps),
            (None, Some(tokens)) => TrainingLength::Tokens(tokens),
            (Some(_), Some(_)) => {
                self.problem(
                    &format!("{path}.train.tokens"),
                    "expected one of `steps` and `tokens`, got both",
                    None,
                );
                TrainingLength::OfWorkload
            }
        };
        if train.tokens.is_some() && !matches!(model.kind, Kind::Transformer(_)) {
            let message = format!("`{}` knows no tokens", train.model);
            self.problem(&format!("{path}.train.tokens"), message, Some("give `steps`".to_owned()));
        }
        Some(Arc::new(TrainedModel {
            model,
            strategy: train.strategy.clone(),
            micro_batch: train.micro_batch,
            samples_per_gpu: train.samples_per_gpu,
            sequence_length: train.sequence_length,
            precision: train.precision.map(|precision| match precision {
                TrainPrecision::Fp32 => Precision::Fp32,
                TrainPrecision::Fp16 => Precision::Fp16,
                TrainPrecision::Bf16 => Precision::Bf16,
                TrainPrecision::Fp8 => Precision::Fp8,
            }),
            recompute: train.recompute.map(|recompute| match recompute {
                TrainRecompute::None => Recompute::None,
                TrainRecompute::Selective => Recompute::Selective,
                TrainRecompute::Alternate => Recompute::Alternate,
                TrainRecompute::Full => Recompute::Full,
            }),
            length,
        }))
    }

    /// The nodes with GPUs as NCCL sees them; each must be known well enough.
    fn machines(&mut self, nodes: &[NodeGroup], fabric: Option<&Fabric>) -> Vec<Machine> {
        let mut machines = Vec::new();
        for group in nodes.iter().filter(|group| group.node_type.gpus.is_some()) {
            if let Some(machine) = group.machine(fabric) {
                machines.push(machine);
            } else {
                let name = &group.node_type.name;
                let message = format!("what NCCL does on GPUs of node type `{name}` is not known");
                self.problem(PATH, message, None);
            }
        }
        machines
    }
}

/// Whether jobs can run the collective within nodes of that kind and between them.
fn is_possible(
    machine: &Machine,
    collective: Collective,
    environment: &collectives::Environment,
) -> Result<(), EstimateError> {
    let within = (machine.gpus > 1).then_some(Ranks { per_node: machine.gpus, nodes: 1 });
    for ranks in within.into_iter().chain([Ranks { per_node: machine.gpus, nodes: 2 }]) {
        choose(machine, ranks, collective, 1 << 30, environment)?.estimate(&Calibration::default());
    }
    Ok(())
}
