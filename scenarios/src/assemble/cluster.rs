//! The cluster as policies see it: domains, nodes, queues, and what the fabric makes of being spread.

use std::sync::Arc;

use foretell_registry::PlacementCosts;
use foretell_sim::framework::DomainTree;
use foretell_sim::framework::spec;
use foretell_sim::framework::state::Domain;
use foretell_sim::framework::{ClusterState, DomainId, NodeSpec, QueueSpec, Quota, Resources, StateError};

use crate::FabricError;
use crate::scenario::{Amount, NodeGroup, Scenario, TaintEffect, Tier};

/// The empty cluster of a scenario.
pub(super) fn build(scenario: &Scenario) -> Result<ClusterState, StateError> {
    let mut state = ClusterState::new();
    let nodes = scenario.node_count();
    let leaves = add_domains(&mut state, &scenario.tiers, nodes);
    let mut position = 0;
    for group in &scenario.nodes {
        for node in group_nodes(&mut state, group)? {
            let domain = scenario.tiers.first().map(|tier| leaves[position / tier.nodes as usize]);
            state.add_node(NodeSpec { domain, ..node })?;
            position += 1;
        }
    }
    for queue in &scenario.queues {
        // Children may come before their parents.
        let parent = queue.parent.as_ref().map(|parent| state.queue_id(parent));
        let id = state.queue_id(&queue.name);
        let spec = QueueSpec {
            parent,
            weight: queue.weight,
            priority: queue.priority,
            capability: quota(queue.capability),
            deserved: quota(queue.deserved),
            guarantee: quota(queue.guarantee),
            reclaimable: queue.reclaimable,
            ..QueueSpec::default()
        };
        state.set_queue_spec(id, spec);
    }
    Ok(state)
}

/// What being spread costs on the fabric as the scenario has it; `None` without one.
pub(super) fn placement_costs(
    scenario: &Scenario,
    state: &ClusterState,
) -> Result<Option<Arc<PlacementCosts>>, FabricError> {
    let Some(fabric) = &scenario.fabric else { return Ok(None) };
    let (network, tree) = (fabric.network()?, DomainTree::new(state));
    let cost = |slowdown: f64| (slowdown * f64::from(PlacementCosts::WHOLE)).round() as u32;
    let nodes: Vec<u32> = (0..network.nodes()).map(|node| cost(network.card_slowdown(node))).collect();
    let leaving = |index: usize| {
        let mut inside: Vec<u32> =
            tree.nodes(DomainId::new(index)).iter().map(|node| node.index() as u32).collect();
        inside.sort_unstable();
        cost(network.way_out_slowdown(&inside))
    };
    let domains: Vec<u32> = (0..state.domains().len()).map(leaving).collect();
    Ok(Some(Arc::new(PlacementCosts::new(nodes, domains))))
}

/// Domains for nodes in their order, from the highest tier down. Returns those of the lowest tier.
fn add_domains(state: &mut ClusterState, tiers: &[Tier], nodes: usize) -> Vec<DomainId> {
    let mut above: Vec<DomainId> = Vec::new();
    let mut nodes_above = 1;
    for (index, tier) in tiers.iter().enumerate().rev() {
        let size = tier.nodes as usize;
        let domains = (0..nodes.div_ceil(size)).map(|number| {
            let parent = above.get(number * size / nodes_above).copied();
            state.add_domain(Domain {
                name: format!("{}-{number:04}", tier.name).into(),
                tier: index as u32 + 1,
                tier_name: tier.name.as_str().into(),
                parent,
            })
        });
        above = domains.collect();
        nodes_above = size;
    }
    above
}

fn group_nodes<'a>(
    state: &mut ClusterState,
    group: &'a NodeGroup,
) -> Result<impl Iterator<Item = NodeSpec> + use<'a>, StateError> {
    let node_type = &group.node_type;
    let gpu_model = match &node_type.gpus {
        Some(gpus) => Some(state.gpu_model(&gpus.model)?),
        None => None,
    };
    Ok(group.names.iter().map(move |name| NodeSpec {
        allocatable: Resources::new(node_type.cpu_milli, node_type.memory_bytes),
        max_tasks: node_type.max_pods,
        gpus: node_type.gpus.as_ref().map_or(0, |gpus| gpus.count),
        gpu_model,
        gpu_memory_bytes: node_type.gpus.as_ref().map_or(0, |gpus| gpus.memory_bytes),
        interconnect: node_type.links.clone(),
        labels: group
            .labels
            .iter()
            .map(|(key, value)| (key.as_str().into(), value.as_str().into()))
            .collect(),
        taints: group
            .taints
            .iter()
            .map(|taint| spec::Taint {
                key: taint.key.as_str().into(),
                value: taint.value.as_str().into(),
                effect: match taint.effect {
                    TaintEffect::NoSchedule => spec::TaintEffect::NoSchedule,
                    TaintEffect::PreferNoSchedule => spec::TaintEffect::PreferNoSchedule,
                    TaintEffect::NoExecute => spec::TaintEffect::NoExecute,
                },
            })
            .collect(),
        ..NodeSpec::new(name.as_str())
    }))
}

const fn quota(amount: Amount) -> Quota {
    let Amount { gpu_milli, cpu_milli, memory_bytes } = amount;
    Quota { gpu_milli, cpu_milli, memory_bytes, tasks: None, extended: Vec::new() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_fall_into_domains_in_their_order() {
        let tiers = [("leaf", 2), ("spine", 4)].map(|(name, nodes)| Tier { name: name.to_owned(), nodes });
        let mut state = ClusterState::new();
        let leaves = add_domains(&mut state, &tiers, 7);
        let path = |&leaf: &DomainId| {
            let leaf = state.domain(leaf);
            let spine = state.domain(leaf.parent.unwrap());
            (&*leaf.name, leaf.tier, &*spine.name, spine.tier, spine.parent)
        };
        let paths: Vec<_> = leaves.iter().map(path).collect();
        assert_eq!(
            paths,
            [
                ("leaf-0000", 1, "spine-0000", 2, None),
                ("leaf-0001", 1, "spine-0000", 2, None),
                ("leaf-0002", 1, "spine-0001", 2, None),
                ("leaf-0003", 1, "spine-0001", 2, None),
            ]
        );
    }
}
