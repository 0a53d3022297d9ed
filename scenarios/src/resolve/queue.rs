//! Queues, tiers of the network, and what jobs ask of them.

use std::collections::BTreeSet;

use foretell_sim::platform::WORKER;

use super::{Resolver, fabric};
use crate::file::{self, AmountFile, ClusterFile, ClusterQueueFile, SizeFile, TopologyMode};
use crate::scenario::{Amount, ClusterQueue, Fabric, JobTraits, NetworkTopology, NodeGroup, Role, Tier};
use crate::suggest;

impl Resolver<'_, '_> {
    /// The cluster's queues; parents exist, and no queue contains itself.
    pub(super) fn queues(&mut self, files: &[ClusterQueueFile]) -> Vec<ClusterQueue> {
        for (i, queue) in files.iter().enumerate() {
            if files[..i].iter().any(|earlier| earlier.name == queue.name) {
                self.problem(
                    &format!("queue[{i}].name"),
                    format!("two queues have the name `{}`", queue.name),
                    None,
                );
            }
            let Some(parent) = &queue.parent else { continue };
            let path = format!("queue[{i}].parent");
            if !files.iter().any(|other| other.name == *parent) {
                let help = suggest::hint(parent, files.iter().map(|queue| queue.name.as_str()));
                self.problem(&path, format!("unknown queue `{parent}`"), Some(help));
            } else if is_its_own_ancestor(files, &queue.name) {
                self.problem(&path, "a queue must not contain itself", None);
            }
        }
        let queue = |file: &ClusterQueueFile| ClusterQueue {
            name: file.name.clone(),
            parent: file.parent.clone(),
            weight: file.weight,
            priority: file.priority,
            capability: amount(file.capability.as_ref()),
            deserved: amount(file.deserved.as_ref()),
            guarantee: amount(file.guarantee.as_ref()),
            reclaimable: file.reclaimable,
        };
        files.iter().map(queue).collect()
    }

    /// The tiers of the network, lowest first; each must consist of whole domains of the one below. Where the file names
    /// none, those of the fabric.
    pub(super) fn tiers(&mut self, file: &ClusterFile, fabric: Option<&Fabric>) -> Vec<Tier> {
        if file.topology.is_empty() {
            return fabric.map(fabric::tiers).unwrap_or_default();
        }
        for (i, pair) in file.topology.windows(2).enumerate() {
            let (below, tier) = (&pair[0], &pair[1]);
            if tier.nodes <= below.nodes || !tier.nodes.is_multiple_of(below.nodes) {
                let message =
                    format!("expected a multiple of the tier below, which has {} nodes", below.nodes);
                self.problem(&format!("cluster.topology[{}].nodes", i + 1), message, None);
            }
            if file.topology[..=i].iter().any(|earlier| earlier.name == tier.name) {
                let message = format!("two tiers have the name `{}`", tier.name);
                self.problem(&format!("cluster.topology[{}].name", i + 1), message, None);
            }
        }
        file.topology.iter().map(|tier| Tier { name: tier.name.clone(), nodes: tier.nodes }).collect()
    }

    /// Nodes that take no tasks; they exist.
    pub(super) fn blocked_nodes(&mut self, file: &ClusterFile, nodes: &[NodeGroup]) -> BTreeSet<String> {
        let names: BTreeSet<&str> = nodes.iter().flat_map(|group| &group.names).map(String::as_str).collect();
        for (i, name) in file.blocked_nodes.iter().enumerate() {
            if !names.contains(name.as_str()) {
                let help = suggest::hint(name, names.iter().copied());
                self.problem(
                    &format!("cluster.blocked_nodes[{i}]"),
                    format!("unknown node `{name}`"),
                    Some(help),
                );
            }
        }
        file.blocked_nodes.iter().cloned().collect()
    }

    /// What jobs of a size are beyond what a trace tells.
    pub(super) fn traits(&mut self, index: usize, size: &SizeFile, tiers: &[Tier]) -> JobTraits {
        let path = |field: &str| format!("workload.synthetic.sizes[{index}].{field}");
        let min_tasks = size.min_tasks.unwrap_or(size.tasks);
        if min_tasks > size.tasks {
            let message = format!("expected at most the number of tasks ({}), got {min_tasks}", size.tasks);
            self.problem(&path("min_tasks"), message, None);
        }
        let network_topology = size.network_topology.as_ref().map(|topology| {
            let highest_tier = topology.highest_tier.as_ref().and_then(|name| {
                let tier = tiers.iter().position(|tier| tier.name == *name);
                if tier.is_none() {
                    let help = suggest::hint(name, tiers.iter().map(|tier| tier.name.as_str()));
                    let field = path("network_topology.highest_tier");
                    self.problem(&field, format!("unknown tier `{name}`"), Some(help));
                }
                tier.map(|tier| tier as u32 + 1)
            });
            NetworkTopology { hard: topology.mode == TopologyMode::Hard, highest_tier }
        });
        let mut names = BTreeSet::from([WORKER]);
        for (i, role) in size.roles.iter().enumerate() {
            if !names.insert(&role.name) {
                let message = format!("two roles have the name `{}`", role.name);
                self.problem(&path(&format!("roles[{i}].name")), message, None);
            }
        }
        let role = |role: &file::RoleFile| Role {
            name: role.name.clone(),
            tasks: role.tasks,
            cpu_milli: (role.cpus_per_task * 1000.0).round() as u64,
            memory_bytes: role.memory_per_task.0,
        };
        JobTraits {
            // Told by what fails, which the caller knows.
            on_failure: None,
            min_tasks: size.min_tasks,
            priority: size.priority,
            never_preempts: size.never_preempts,
            preemptable: size.preemptable,
            network_topology,
            worker_role: if size.roles.is_empty() { String::new() } else { WORKER.to_owned() },
            roles: size.roles.iter().map(role).collect(),
        }
    }
}

fn is_its_own_ancestor(files: &[ClusterQueueFile], name: &str) -> bool {
    let parent = |name: &str| files.iter().find(|queue| queue.name == name)?.parent.as_deref();
    // A chain longer than the list of queues goes round.
    let mut ancestors = std::iter::successors(parent(name), |name| parent(name)).take(files.len());
    ancestors.any(|ancestor| ancestor == name)
}

fn amount(file: Option<&AmountFile>) -> Amount {
    let milli = |amount: f64| (amount * 1000.0).round() as u64;
    file.map_or(Amount::default(), |file| Amount {
        gpu_milli: file.gpus.map(milli),
        cpu_milli: file.cpus.map(milli),
        memory_bytes: file.memory.map(|memory| memory.0),
    })
}
