//! Promises that hold for every cluster and job.

use std::sync::Arc;

use foretell_framework::state::{Domain, GangSpec, NetworkTopology, TopologyMode};
use foretell_framework::{
    ClusterState, DomainId, DomainTree, JobSpec, NodeId, NodeSpec, PlaceJob, Session, Time,
};
use foretell_testkit::placement::{plugins, random};
use foretell_testkit::{check_invariants, task_spec};
use foretell_topology::{ByDomain, ClassSlots, Division, DomainPlacement, PlacementCosts, divide};
use proptest::prelude::*;

/// A tree of `parents.len()` domains of falling tiers, and nodes with 0 to 8 devices, each in one of the domains or in none.
fn clusters() -> impl Strategy<Value = ClusterState> {
    let parents = proptest::collection::vec(any::<prop::sample::Index>(), 1..8);
    let nodes = proptest::collection::vec((any::<prop::sample::Index>(), 0_u32..=8), 1..14);
    (parents, nodes).prop_map(|(parents, nodes)| {
        let mut state = ClusterState::new();
        for (index, parent) in parents.iter().enumerate() {
            let parent = parent.index(index + 1).checked_sub(1).map(DomainId::new);
            let tier = parent.map_or(4, |parent| state.domain(parent).tier.saturating_sub(1));
            state.add_domain(Domain { name: format!("d{index}").into(), tier, tier_name: "".into(), parent });
        }
        let model = state.gpu_model("H100").unwrap();
        for (index, (domain, gpus)) in nodes.iter().enumerate() {
            let domain = domain.index(parents.len() + 1).checked_sub(1).map(DomainId::new);
            let gpu_model = (*gpus > 0).then_some(model);
            let spec = NodeSpec { gpus: *gpus, gpu_model, domain, ..NodeSpec::new(format!("n{index}")) };
            state.add_node(spec).unwrap();
        }
        state
    })
}

fn topologies() -> impl Strategy<Value = NetworkTopology> {
    (any::<bool>(), 0_u32..6).prop_map(|(is_hard, tier)| NetworkTopology {
        mode: if is_hard { TopologyMode::Hard } else { TopologyMode::Soft },
        highest_tier: Some(tier),
        highest_tier_name: None,
    })
}

fn divisions() -> impl Strategy<Value = Division> {
    prop_oneof![Just(Division::BestFit), Just(Division::Balanced)]
}

proptest! {
    /// Jobs one after the other: none crosses the tier that it demands, a job that is not placed leaves no trace, and
    /// a job that could be together inside a domain of some tier is not spread over a higher one.
    #[test]
    fn jobs_are_together(
        mut state in clusters(),
        jobs in proptest::collection::vec((1_u32..12, 1_u32..=8, topologies(), divisions()), 1..6),
    ) {
        let queue = state.queue_id("default");
        let tree = DomainTree::new(&state);
        for (sequence, (tasks, gpus, topology, division)) in jobs.into_iter().enumerate() {
            let spec = task_spec(&mut state, &format!("{gpus}gpu"));
            let class = state.class(&spec);
            let gang = GangSpec { network_topology: Some(topology.clone()), ..GangSpec::default() };
            let spec = JobSpec::new(sequence as u64, queue, [(class, tasks)]);
            let job = state.add_job(JobSpec { gang: Some(Box::new(gang)), ..spec });
            let before = state.clone();
            // The obvious way: count what each node holds, and look through all domains.
            let room = |domain| -> u32 {
                let nodes = tree.nodes(domain).iter();
                nodes.map(|&node| before.gpu_free_milli(node).iter().filter(|&&free| free == 1000).count() as u32 / gpus).sum()
            };
            let is_hard = topology.mode == TopologyMode::Hard;
            let fitting = (0..tree.len()).map(DomainId::new)
                .filter(|&domain| room(domain) >= tasks)
                .map(|domain| tree.tier(domain))
                .filter(|&tier| !is_hard || Some(tier) <= topology.highest_tier)
                .min();

            let (mut random, mut decisions) = (random(0), Vec::new());
            let mut session = Session::new(&mut state, Time::ZERO, &mut random, &mut decisions);
            let (mut transaction, random) = session.begin();
            let mut placer = ByDomain::new(DomainPlacement { division, ..DomainPlacement::default() });
            let mut plugins = plugins(foretell_framework::select::BestNode);
            let is_placed = placer.place(&mut transaction, &mut plugins, random, job);
            if is_placed { transaction.commit() } else { drop(transaction) }

            prop_assert_eq!(is_placed, fitting.is_some());
            prop_assert_eq!(check_invariants(&state), Ok(()));
            if !is_placed {
                prop_assert_eq!(&state, &before);
                continue;
            }
            let nodes: Vec<NodeId> = state.job(job).unwrap().tasks().iter()
                .map(|&task| state.task(task).unwrap().placement().unwrap().node)
                .collect();
            let domain = tree.common_of(nodes.iter().copied()).unwrap();
            prop_assert!(Some(tree.tier(domain)) <= fitting);
            // Ranks are contiguous: in the order of the tree, no node is left and met again.
            let order = |node| tree.nodes(tree.top()).iter().position(|&other| other == node);
            prop_assert!(nodes.is_sorted_by_key(|&node| order(node)));
        }
    }

    /// No other set of nodes costs less: all of them are looked at. A job that is not placed fits nowhere.
    #[test]
    fn jobs_are_where_it_costs_least(
        mut state in clusters(),
        costs in proptest::collection::vec(prop::sample::select(vec![1000_u32, 2000, 4000]), 14 + 8),
        jobs in proptest::collection::vec((2_u32..12, 1_u32..=8, divisions()), 1..4),
    ) {
        let (queue, tree) = (state.queue_id("default"), DomainTree::new(&state));
        let costs = Arc::new(PlacementCosts::new(&costs[..14], &costs[14..]));
        for (sequence, (tasks, gpus, division)) in jobs.into_iter().enumerate() {
            let class = task_spec(&mut state, &format!("{gpus}gpu"));
            let class = state.class(&class);
            let job = state.add_job(JobSpec::new(sequence as u64, queue, [(class, tasks)]));
            let rooms: Vec<u32> = state.node_ids()
                .map(|node| state.gpu_free_milli(node).iter().filter(|&&free| free == 1000).count() as u32 / gpus)
                .collect();
            let cost = |nodes: &[NodeId]| costs.of(&tree, nodes);
            let least = (1_u32..1 << rooms.len()).filter_map(|set| {
                let nodes: Vec<NodeId> = (0..rooms.len()).filter(|&node| set >> node & 1 == 1).map(NodeId::new).collect();
                let has_room = nodes.iter().all(|node| rooms[node.index()] > 0);
                let room: u32 = nodes.iter().map(|node| rooms[node.index()]).sum();
                (has_room && nodes.len() <= tasks as usize && room >= tasks).then(|| cost(&nodes))
            });
            let least = least.min();
            let (mut random, mut decisions) = (random(0), Vec::new());
            let mut session = Session::new(&mut state, Time::ZERO, &mut random, &mut decisions);
            let (mut transaction, random) = session.begin();
            let costs = Some(Arc::clone(&costs));
            let mut placer = ByDomain::new(DomainPlacement { division, costs, ..DomainPlacement::default() });
            let mut plugins = plugins(foretell_framework::select::BestNode);
            let is_placed = placer.place(&mut transaction, &mut plugins, random, job);
            if is_placed { transaction.commit() } else { drop(transaction) }
            let placed: Option<Vec<NodeId>> = is_placed.then(|| state.job(job).unwrap().tasks().iter()
                .map(|&task| state.task(task).unwrap().placement().unwrap().node)
                .collect());
            prop_assert_eq!(placed.as_deref().map(cost), least);
        }
    }

    /// What is divided adds up, fits, and takes no more nodes of a flat domain than must be.
    #[test]
    fn a_division_adds_up(
        state in clusters(), rooms in proptest::collection::vec(0_u32..9, 14), tasks in 0_u64..60, division in divisions(),
    ) {
        let tree = DomainTree::new(&state);
        let slots = ClassSlots::from_nodes(&tree, rooms[..state.nodes().len()].to_vec());
        for domain in (0..tree.len()).map(DomainId::new) {
            let plan = divide(&tree, &slots, domain, tasks, division);
            prop_assert_eq!(plan.is_some(), slots.in_domain(domain) >= tasks);
            let Some(plan) = plan else { continue };
            prop_assert_eq!(plan.iter().map(|&(_, count)| u64::from(count)).sum::<u64>(), tasks);
            for &(node, count) in &plan {
                prop_assert!(count > 0 && count <= slots.on_node(node));
                prop_assert!(tree.nodes(domain).contains(&node));
            }
            if tree.children(domain).is_empty() {
                let mut sorted: Vec<u64> = tree.nodes(domain).iter().map(|&node| u64::from(slots.on_node(node))).collect();
                sorted.sort_unstable_by(|a, b| b.cmp(a));
                let mut left = tasks;
                let fewest = sorted.iter().take_while(|&&room| {
                    let more = left > 0;
                    left = left.saturating_sub(room);
                    more
                });
                prop_assert_eq!(plan.len(), fewest.count());
            }
        }
    }
}
