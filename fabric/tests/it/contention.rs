//! Collectives beside others, against rates worked out by hand. Eight NICs of 25 GB/s on a node; a ring alone has 192 GB/s and
//! its share of that.

use foretell_fabric::collectives::{Calibration, Choice, Collective, Environment, Parameter, choose};
use foretell_fabric::contention::{ContentionError, Neighbours, Placement, Shared, Spread};
use foretell_fabric::hardware::Ranks;
use foretell_fabric::network::{Attachment, LinkTier, NetworkSpec, Routing, Shape, Uplinks, Width};

use crate::dgx_a100;

/// Nothing fitted: rings have what NCCL reckons.
fn calibration() -> Calibration {
    let mut calibration = Calibration::prior();
    calibration.set(Parameter::RingNodes, 1.0);
    calibration
}

fn choice(nodes: u32, collective: Collective, algorithm: &str) -> Choice {
    let machine = dgx_a100();
    let variable = format!("NCCL_ALGO={algorithm}");
    let environment = Environment::parse([variable.as_str()]).unwrap();
    choose(&machine, Ranks { per_node: 8, nodes }, collective, 8 << 30, &environment).unwrap()
}

/// Leaves of four nodes whose uplinks are oversubscribed so much.
fn leaves(nodes: u32, oversubscription: f64) -> NetworkSpec {
    NetworkSpec {
        nodes,
        nics_per_node: 8,
        nic_gb_per_s: 25.0,
        shape: Shape::LeafSpine {
            attachment: Attachment::ByNode { nodes_per_leaf: 4 },
            spines: Uplinks { switches: 4, width: Width::Oversubscription(oversubscription) },
        },
    }
}

/// What one of several jobs has beside the others.
fn among(
    choice: &Choice,
    jobs: u32,
    spec: &NetworkSpec,
    spread: Spread,
    routing: Routing,
) -> Result<Shared, ContentionError> {
    Neighbours::new(
        choice.ranks(),
        choice.collective(),
        jobs,
        spec,
        spread,
        routing,
        &Environment::default(),
    )?
    .share(choice, &calibration())
}

fn shared(choice: &Choice, jobs: u32, oversubscription: f64, spread: Spread) -> Shared {
    let nodes = jobs * choice.ranks().nodes;
    among(choice, jobs, &leaves(nodes, oversubscription), spread, Routing::Adaptive).unwrap()
}

#[test]
fn rings_share_the_uplinks_of_leaves() {
    let check = |nodes, jobs, oversubscription, spread, expected: f64, full: &[LinkTier]| {
        let ring = choice(nodes, Collective::AllReduce, "Ring");
        let found = shared(&ring, jobs, oversubscription, spread);
        let rate = found.estimate.limit_gb_per_s;
        assert!((rate / expected - 1.0).abs() < 1e-9, "{nodes} {jobs} {oversubscription} {spread:?}: {rate}");
        assert_eq!(found.full, full, "{nodes} {jobs} {oversubscription} {spread:?}");
        assert!((found.alone.limit_gb_per_s - 192.0).abs() < 1e-9);
        assert_eq!(found.estimate.time_us > found.alone.time_us, expected < 192.0);
    };
    // Packed on one leaf: nothing goes up. A leaf's uplinks have 4 x 200 GB/s over the oversubscription.
    check(4, 2, 8.0, Spread::Packed, 192.0, &[]);
    // Eight nodes on two leaves: each ring leaves a leaf once.
    check(8, 2, 4.0, Spread::Packed, 192.0, &[]);
    check(8, 2, 8.0, Spread::Packed, 100.0, &[LinkTier::Leaf]);
    // Dealt out, two nodes of each of two jobs on each of two leaves: 0 and 2, 4 and 6. Each ring leaves each leaf once.
    check(4, 2, 2.0, Spread::Dealt, 192.0, &[]);
    check(4, 2, 4.0, Spread::Dealt, 100.0, &[LinkTier::Leaf]);
    // Four jobs, one node of each on each leaf: every ring leaves every leaf, four share it.
    check(4, 4, 1.0, Spread::Dealt, 192.0, &[]);
    check(4, 4, 2.0, Spread::Dealt, 100.0, &[LinkTier::Leaf]);
}

/// On two nodes a tree sends half of what a ring sends, in both directions.
#[test]
fn a_tree_of_two_nodes_needs_less() {
    let rate = |algorithm| {
        let found = shared(&choice(2, Collective::AllReduce, algorithm), 4, 8.0, Spread::Dealt);
        found.estimate.limit_gb_per_s
    };
    // One node of each job on each of two leaves of 100 GB/s up, which four share.
    assert!((rate("Ring") - 25.0).abs() < 1e-9);
    assert!((rate("Tree") - 25.0 * 2.0 * 15.0 / 16.0).abs() < 1e-9);
}

/// Flows of a hash meet on cables; more queue pairs spread them, and packets that take the next free cable do not meet.
#[test]
fn hashed_flows_collide() {
    let ring = choice(8, Collective::AllReduce, "Ring");
    let spec = NetworkSpec {
        shape: Shape::LeafSpine {
            attachment: Attachment::ByNode { nodes_per_leaf: 1 },
            spines: Uplinks { switches: 8, width: Width::Cables { parallel: 1, gb_per_s: 25.0 } },
        },
        ..leaves(8, 1.0)
    };
    let of = |routing| {
        let found = among(&ring, 1, &spec, Spread::Packed, routing).unwrap();
        found.estimate.limit_gb_per_s
    };
    assert!((of(Routing::Adaptive) - 192.0).abs() < 1e-9);
    let mean = |queue_pairs| (0..20).map(|seed| of(Routing::Ecmp { seed, queue_pairs })).sum::<f64>() / 20.0;
    let (one, four, many) = (mean(1), mean(4), mean(64));
    // Of eight flows on eight cables, on each of eight leaves, some cable has three or four: a third to a quarter is left.
    assert!((40.0..75.0).contains(&one), "{one}");
    assert!(one < four && four < many && many < 192.0, "{one} {four} {many}");
}

#[test]
fn all_to_all_loads_what_leaves_the_leaf() {
    let all = choice(8, Collective::AllToAll, "Ring");
    let alone = shared(&all, 1, 1.0, Spread::Packed);
    assert_eq!(alone.full, []);
    let bound = shared(&all, 1, 8.0, Spread::Packed);
    // A node sends 4 of 7 parts to the other leaf; four nodes fill 100 GB/s. A GPU sends 8 x 7 of its 63 parts off the node.
    let node = 100.0 / 4.0 * 7.0 / 4.0;
    let expected = node / 8.0 * 63.0 / 56.0;
    assert!((bound.estimate.limit_gb_per_s / expected - 1.0).abs() < 1e-9, "{:?}", bound.estimate);
    assert_eq!(bound.full, [LinkTier::Leaf]);
}

#[test]
fn one_node_shares_nothing() {
    let ring = choice(1, Collective::AllReduce, "Ring");
    let found = among(&ring, 2, &leaves(2, 1.0), Spread::Packed, Routing::Adaptive);
    assert_eq!(found, Err(ContentionError::OneNode));
}

#[test]
fn jobs_need_their_nodes_and_choices_their_jobs() {
    let ring = choice(4, Collective::AllReduce, "Ring");
    let few = among(&ring, 1 << 31, &leaves(8, 1.0), Spread::Dealt, Routing::Adaptive);
    assert_eq!(few, Err(ContentionError::TooFewNodes { needed: 1 << 33, nodes: 8 }));
    let spec = leaves(8, 1.0);
    let neighbours = Neighbours::new(
        ring.ranks(),
        Collective::AllReduce,
        2,
        &spec,
        Spread::Packed,
        Routing::Adaptive,
        &Environment::default(),
    )
    .unwrap();
    let other = choice(2, Collective::AllReduce, "Ring");
    assert_eq!(neighbours.share(&other, &calibration()), Err(ContentionError::AnotherJob));
}

/// Jobs of four GPUs and four NICs of 25 GB/s on each of two nodes: 96 GB/s alone, by the slots of their GPUs.
#[test]
fn jobs_on_parts_of_nodes_share_their_nics() {
    let check =
        |nics_per_node: u32, rails: &[&[u32]], nodes: &[[u32; 2]], expected: f64, full: &[LinkTier]| {
            let machine = foretell_fabric::hardware::Machine { gpus: 4, nics: 4, ..dgx_a100() };
            let environment = Environment::parse(["NCCL_ALGO=Ring"]).unwrap();
            let ranks = Ranks { per_node: 4, nodes: 2 };
            let ring = choose(&machine, ranks, Collective::AllReduce, 8 << 30, &environment).unwrap();
            let placements: Vec<Placement> = rails
                .iter()
                .zip(nodes)
                .map(|(rails, nodes)| Placement { nodes: nodes.to_vec(), rails: rails.to_vec() })
                .collect();
            let spec = NetworkSpec { nics_per_node, ..leaves(4, 1.0) };
            let neighbours = Neighbours::placed(
                ranks,
                Collective::AllReduce,
                &placements,
                &spec,
                Routing::Adaptive,
                &environment,
            )
            .unwrap();
            let found = neighbours.share(&ring, &calibration()).unwrap();
            let rate = found.estimate.limit_gb_per_s;
            assert!((rate / expected - 1.0).abs() < 1e-9, "{rails:?} {nodes:?}: {rate}");
            assert_eq!(
                (found.full.as_slice(), found.alone.limit_gb_per_s.round()),
                (full, 96.0),
                "{rails:?} {nodes:?}"
            );
        };
    let (low, high, same) = (&[0, 1, 2, 3][..], &[4, 5, 6, 7][..], [[0, 1], [0, 1]]);
    // NICs of their own.
    check(8, &[low, high], &same, 96.0, &[]);
    // The same four NICs: 100 GB/s of a node for two.
    check(4, &[low, low], &same, 50.0, &[LinkTier::Nic]);
    // Two of four in common, each of which carries a quarter of either.
    check(8, &[low, &[2, 3, 4, 5]], &same, 50.0, &[LinkTier::Nic]);
    // Three on one node in common, from which the first sends to node 1, the others to nodes 2 and 3.
    check(4, &[low, low, low], &[[0, 1], [0, 2], [0, 3]], 100.0 / 3.0, &[LinkTier::Nic]);
    // Other nodes.
    check(4, &[low, low], &[[0, 1], [2, 3]], 96.0, &[]);
}

/// Where NIC i of all nodes hangs on leaf i, rings stay on their leaves, and alltoall too; told otherwise, they take the spines.
#[test]
fn variables_take_collectives_off_their_rails() {
    let spec = NetworkSpec {
        shape: Shape::LeafSpine {
            attachment: Attachment::ByRail { nodes_per_unit: 4 },
            spines: Uplinks { switches: 4, width: Width::Oversubscription(8.0) },
        },
        ..leaves(4, 1.0)
    };
    let full = |collective, variable: &str| {
        let environment = Environment::parse([variable]).unwrap();
        let job = choice(4, collective, "Ring");
        let (ranks, routing) = (job.ranks(), Routing::Adaptive);
        let neighbours =
            Neighbours::new(ranks, collective, 1, &spec, Spread::Packed, routing, &environment).unwrap();
        neighbours.share(&job, &calibration()).unwrap().full
    };
    assert_eq!(full(Collective::AllReduce, "NCCL_CROSS_NIC=2"), []);
    assert_eq!(full(Collective::AllReduce, "NCCL_CROSS_NIC=1"), [LinkTier::Leaf]);
    assert_eq!(full(Collective::AllToAll, "NCCL_PXN_DISABLE=0"), []);
    assert_eq!(full(Collective::AllToAll, "NCCL_PXN_DISABLE=1"), [LinkTier::Leaf]);
}
