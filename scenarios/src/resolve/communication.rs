//! What jobs communicate.

use foretell_fabric::collectives::{self, Calibration, Collective, EstimateError, choose};
use foretell_fabric::hardware::{Machine, Ranks};

use super::Resolver;
use crate::file::{CommunicationCollective, CommunicationFile, CommunicationPhases};
use crate::scenario::{Communication, CommunicationClass, CommunicationSize, Fabric, NodeGroup};

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
            let collective = match class.collective {
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
                    let got = if both.is_some() { "both" } else { "neither" };
                    let message = format!("expected exactly one of `share` and `bytes`, got {got}");
                    self.problem(&path, message, None);
                    continue;
                }
            };
            for machine in &machines {
                if let Err(error) = is_possible(machine, collective, &environment) {
                    self.problem(&path, error.to_string(), None);
                }
            }
            classes.push(CommunicationClass {
                name: class.name.clone(),
                weight: class.weight,
                compute_s: class.compute_s,
                size,
                overlap: class.overlap,
                collective,
            });
        }
        let is_synchronised = file.phases == CommunicationPhases::Synchronised;
        Some(Communication { is_synchronised, classes })
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
