//! Links and routes, against counts and loads that a person can work out, and against a search of the graph.

use std::collections::BTreeMap;

use foretell_fabric::network::{
    AllToAllRails, Attachment, HealthError, LinkId, LinkTier, LinkWeight, Loads, Member, Network,
    NetworkSpec, RouteError, Routing, Shape, SpecError, SwitchId, Tier, Uplinks, Vertex, Width,
};
use petgraph::algo::dijkstra;
use petgraph::visit::EdgeRef;
use proptest::prelude::*;

const ECMP: Routing = Routing::Ecmp { seed: 1, queue_pairs: 1 };

fn fat_tree(k: u32) -> Network {
    let nodes = k * k * k / 4;
    Network::new(&NetworkSpec { nodes, nics_per_node: 1, nic_gb_per_s: 50.0, shape: Shape::FatTree { k } })
        .unwrap()
}

fn oversubscribed(switches: u32, ratio: f64) -> Uplinks {
    Uplinks { switches, width: Width::Oversubscription(ratio) }
}

fn leaf_spine(nodes: u32, nodes_per_leaf: u32, spines: u32, ratio: f64) -> Network {
    let attachment = Attachment::ByNode { nodes_per_leaf };
    let shape = Shape::LeafSpine { attachment, spines: oversubscribed(spines, ratio) };
    Network::new(&NetworkSpec { nodes, nics_per_node: 1, nic_gb_per_s: 50.0, shape }).unwrap()
}

/// Units of 20 nodes with 8 rails, as in a `DGX SuperPOD`.
fn rails(nodes: u32) -> Network {
    let attachment = Attachment::ByRail { nodes_per_unit: 20 };
    let shape = Shape::LeafSpine { attachment, spines: oversubscribed(4, 1.0) };
    Network::new(&NetworkSpec { nodes, nics_per_node: 8, nic_gb_per_s: 25.0, shape }).unwrap()
}

/// 16 nodes of 2 NICs: 2 a leaf, 2 leaves a pod, two spines a pod by two cables, three cores above each.
fn three_tiers(attachment: Attachment) -> Network {
    let cables = |switches, parallel| Uplinks { switches, width: Width::Cables { parallel, gb_per_s: 40.0 } };
    let shape = Shape::ThreeTier { attachment, spines: cables(2, 2), leaves_per_pod: 2, cores: cables(3, 2) };
    Network::new(&NetworkSpec { nodes: 16, nics_per_node: 2, nic_gb_per_s: 50.0, shape }).unwrap()
}

fn route(network: &Network, from: u32, to: u32, routing: Routing) -> Result<Vec<LinkWeight>, RouteError> {
    let mut route = Vec::new();
    network.route(network.nic(from, 0).unwrap(), network.nic(to, 0).unwrap(), routing, &mut route)?;
    Ok(route)
}

/// The sum of weights on links of a tier.
fn on_tier(network: &Network, loads: &[LinkWeight], tier: LinkTier) -> f64 {
    loads.iter().filter(|load| network.tier(load.link) == tier).map(|load| load.weight).sum()
}

/// The largest weight on a link of a tier.
fn heaviest(network: &Network, loads: &[LinkWeight], tier: LinkTier) -> f64 {
    loads.iter().filter(|load| network.tier(load.link) == tier).map(|load| load.weight).fold(0.0, f64::max)
}

fn assert_near(found: f64, expected: f64, tolerance: f64) {
    assert!((found - expected).abs() <= tolerance, "{found} is not {expected} within {tolerance}");
}

#[test]
fn fat_trees_have_their_counts() {
    for k in [2, 4, 6, 8, 16] {
        let network = fat_tree(k);
        assert_eq!(network.nodes(), k * k * k / 4, "hosts of arity {k}");
        assert_eq!(network.all_switches(), 5 * k * k / 4, "switches of arity {k}");
        assert_eq!(network.switches(Tier::Core), k * k / 4, "cores of arity {k}");
        // Each of the three tiers has as many links as there are hosts, each way.
        assert_eq!(network.links(), 6 * network.nodes(), "links of arity {k}");
        let graph = network.graph();
        for switch in graph.node_indices().filter(|&at| matches!(graph[at], Vertex::Switch(_))) {
            assert_eq!(graph.edges(switch).count(), k as usize, "ports of {:?}", graph[switch]);
        }
    }
}

#[test]
fn descriptions_that_mean_nothing_are_refused() {
    let good = NetworkSpec { nodes: 4, nics_per_node: 2, nic_gb_per_s: 50.0, shape: Shape::FatTree { k: 4 } };
    let by_rail = Attachment::ByRail { nodes_per_unit: 2 };
    let three = |leaves_per_pod| Shape::ThreeTier {
        attachment: by_rail,
        spines: oversubscribed(1, 1.0),
        leaves_per_pod,
        cores: oversubscribed(1, 1.0),
    };
    let two = |spines| Shape::LeafSpine { attachment: by_rail, spines };
    let check = |spec: NetworkSpec, message: &str| {
        assert_eq!(Network::new(&spec).unwrap_err().to_string(), message);
    };
    assert!(Network::new(&good).is_ok());
    check(NetworkSpec { nodes: 0, ..good }, "nodes must be at least 1");
    check(NetworkSpec { nodes: 9, ..good }, "18 NICs do not fit the 16 ports of a fat tree of arity 4");
    check(NetworkSpec { nic_gb_per_s: 0.0, ..good }, "nic_gb_per_s must be positive and finite, not 0");
    check(
        NetworkSpec { shape: Shape::FatTree { k: 5 }, ..good },
        "the arity of a fat tree must be even, not 5",
    );
    check(
        NetworkSpec { shape: three(3), ..good },
        "leaves_per_pod (3) must be a multiple of the 2 rails, so that a unit is in one pod",
    );
    check(NetworkSpec { shape: two(oversubscribed(0, 1.0)), ..good }, "spines must be at least 1");
    check(
        NetworkSpec { shape: two(oversubscribed(1, f64::NAN)), ..good },
        "the leaves' oversubscription must be positive and finite, not NaN",
    );
    let huge =
        NetworkSpec { nodes: u32::MAX, nics_per_node: u32::MAX, shape: two(oversubscribed(1, 1.0)), ..good };
    assert!(matches!(Network::new(&huge), Err(SpecError::TooManyLinks { .. })));
    for k in [1 << 22, u32::MAX - 1] {
        let huge = NetworkSpec { shape: Shape::FatTree { k }, ..good };
        assert!(matches!(Network::new(&huge), Err(SpecError::TooManyLinks { .. })), "{k}");
    }
}

#[test]
fn oversubscription_narrows_a_tier() {
    // 16 nodes of 50 GB/s on a leaf: 800 below, 400 above by 4 spines.
    let network = leaf_spine(64, 16, 4, 2.0);
    let up = LinkId::new(2 * 64);
    assert_eq!(network.tier(up), LinkTier::Leaf);
    assert_near(network.nominal_gb_per_s(up), 100.0, 1e-9);
    let shape = Shape::ThreeTier {
        attachment: Attachment::ByNode { nodes_per_leaf: 16 },
        spines: oversubscribed(4, 2.0),
        leaves_per_pod: 8,
        cores: oversubscribed(2, 4.0),
    };
    let spec = NetworkSpec { nodes: 256, nics_per_node: 1, nic_gb_per_s: 50.0, shape };
    let network = Network::new(&spec).unwrap();
    // A spine has 8 leaves of 100 GB/s below, 200 above by 2 cores.
    let last = LinkId::new(network.links() - 1);
    assert_eq!(network.tier(last), LinkTier::Spine);
    assert_near(network.nominal_gb_per_s(last), 100.0, 1e-9);
    // The bisection: all 128 nodes of one pod send 6,400 GB/s into the other by links of 800 in all.
    let pairs: Vec<LinkWeight> = (0..128)
        .flat_map(|node| route(&network, node, node + 128, Routing::Adaptive).unwrap())
        .filter(|hop| network.tier(hop.link) == LinkTier::Spine)
        .collect();
    assert_near(pairs.iter().map(|hop| hop.weight).sum::<f64>() / 2.0, 128.0, 1e-9);
    let links: std::collections::BTreeSet<LinkId> = pairs.iter().map(|hop| hop.link).collect();
    assert_eq!(links.len(), 16, "8 links up, 8 down");
}

#[test]
fn rails_stay_on_their_leaf_inside_a_unit() {
    let network = rails(40);
    assert_eq!((network.switches(Tier::Leaf), network.switches(Tier::Spine)), (16, 4));
    let every_rail: Vec<u32> = (0..8).collect();
    for rail in 0..8 {
        let leaf = network.leaf(network.nic(0, rail).unwrap());
        assert!((0..20).all(|node| network.leaf(network.nic(node, rail).unwrap()) == leaf));
    }
    let mut loads = Loads::new(&network, ECMP);
    let unit: Vec<u32> = (0..20).collect();
    let inside = loads.ring(&unit, &every_rail).unwrap();
    // No spine is used.
    assert_near(on_tier(&network, &inside, LinkTier::Leaf), 0.0, 0.0);
    // 20 boundaries, each byte once up and once down.
    assert_near(on_tier(&network, &inside, LinkTier::Nic), 40.0, 1e-9);
    assert_near(heaviest(&network, &inside, LinkTier::Nic), 1.0 / 8.0, 1e-12);
    // Two units: two boundaries between them, one flow a rail, each up and down again.
    let both: Vec<u32> = (0..40).collect();
    let across = loads.ring(&both, &every_rail).unwrap();
    assert_near(on_tier(&network, &across, LinkTier::Leaf), 4.0, 1e-9);
    // In the order 0, 20, 1, 21, ... every boundary is one between units.
    let shuffled: Vec<u32> = (0..20).flat_map(|node| [node, node + 20]).collect();
    let shuffled = loads.ring(&shuffled, &every_rail).unwrap();
    assert_near(on_tier(&network, &shuffled, LinkTier::Leaf), 80.0, 1e-9);
}

#[test]
fn all_to_all_leaves_its_rails_unless_nodes_forward() {
    let network = rails(20);
    let every_rail: Vec<u32> = (0..8).collect();
    let unit: Vec<u32> = (0..20).collect();
    let mut loads = Loads::new(&network, Routing::Adaptive);
    let same = loads.all_to_all(&unit, &every_rail, AllToAllRails::Same).unwrap();
    assert_near(on_tier(&network, &same, LinkTier::Leaf), 0.0, 0.0);
    let all = loads.all_to_all(&unit, &every_rail, AllToAllRails::All).unwrap();
    for loads in [&same, &all] {
        // Each node sends one byte, an eighth by each NIC, and receives as much.
        assert_near(on_tier(&network, loads, LinkTier::Nic), 40.0, 1e-9);
        assert_near(heaviest(&network, loads, LinkTier::Nic), 1.0 / 8.0, 1e-9);
    }
    // Seven of eight bytes go to another rail: up to a spine and down.
    assert_near(on_tier(&network, &all, LinkTier::Leaf), 2.0 * 20.0 * 7.0 / 8.0, 1e-9);
}

#[test]
fn members_may_have_rails_of_their_own() {
    let network = rails(40);
    let mut loads = Loads::new(&network, Routing::Adaptive);
    let nodes = [0, 1, 25];
    let every_rail: Vec<u32> = (0..8).collect();
    let members = |rails: [&[u32]; 3]| -> Vec<Member> {
        let members = nodes.iter().zip(rails);
        members.map(|(&node, rails)| Member { node, rails: rails.to_vec() }).collect()
    };
    let alike = members([&every_rail; 3]);
    assert_eq!(loads.ring_of(&alike), loads.ring(&nodes, &every_rail));
    let same = loads.all_to_all(&nodes, &every_rail, AllToAllRails::Same).unwrap();
    let own = loads.all_to_all_of(&alike).unwrap();
    assert!(same.iter().zip(&own).all(|(one, other)| one.link == other.link));
    for tier in [LinkTier::Nic, LinkTier::Leaf] {
        assert_near(on_tier(&network, &own, tier), on_tier(&network, &same, tier), 1e-12);
    }
    // One NIC faces two: it carries both flows.
    let apart = members([&[0, 1], &[0], &[0, 1]]);
    let own = loads.ring_of(&apart).unwrap();
    assert_near(heaviest(&network, &own, LinkTier::Nic), 1.0, 1e-12);
    assert_near(on_tier(&network, &own, LinkTier::Nic), 6.0, 1e-12);
    assert_eq!(loads.ring_of(&members([&[0], &[], &[0]])), Err(RouteError::NoRails));
}

/// Whether a link leads from a leaf to a spine.
fn is_up(network: &Network, link: LinkId) -> bool {
    network.tier(link) == LinkTier::Leaf && link.index().is_multiple_of(2)
}

#[test]
fn hashed_flows_collide_as_balls_in_bins() {
    // n flows from one leaf to another over m spines: the mean over seeds against 1 - (1 - 1/m)^n, and the fullest uplink.
    let check = |flows: u32, spines: u32, expected_max: (f64, f64)| {
        let network = leaf_spine(2 * flows, flows, spines, 1.0);
        let seeds = 4000;
        let (mut used, mut fullest) = (0.0, 0.0);
        for seed in 0..seeds {
            let mut occupancy = BTreeMap::<LinkId, u32>::new();
            for node in 0..flows {
                let hops =
                    route(&network, node, node + flows, Routing::Ecmp { seed, queue_pairs: 1 }).unwrap();
                assert_eq!(hops.len(), 4);
                let up = hops.iter().find(|hop| is_up(&network, hop.link)).unwrap();
                *occupancy.entry(up.link).or_default() += 1;
            }
            used += occupancy.len() as f64 / f64::from(spines);
            fullest += f64::from(*occupancy.values().max().unwrap());
        }
        let expected = 1.0 - (1.0 - 1.0 / f64::from(spines)).powi(flows as i32);
        assert_near(used / seeds as f64, expected, 0.005);
        let fullest = fullest / seeds as f64;
        assert!(fullest > expected_max.0 && fullest < expected_max.1, "{flows} on {spines}: {fullest}");
    };
    // The synchronous collective runs at one over the fullest: about 2.3 to 3.6 for 8 to 32 flows on as many links.
    check(8, 8, (2.3, 3.0));
    check(32, 32, (3.0, 3.7));
    check(64, 8, (11.0, 14.0));
}

#[test]
fn more_queue_pairs_even_the_load() {
    let network = leaf_spine(64, 32, 32, 1.0);
    let mean_of_fullest = |queue_pairs: u32| {
        let seeds = 50;
        let total: f64 = (0..seeds)
            .map(|seed| {
                let mut loads = BTreeMap::<LinkId, f64>::new();
                for node in 0..32 {
                    for hop in route(&network, node, node + 32, Routing::Ecmp { seed, queue_pairs }).unwrap()
                    {
                        *loads.entry(hop.link).or_default() += hop.weight;
                    }
                }
                let on_leaf = loads.iter().filter(|(link, _)| network.tier(**link) == LinkTier::Leaf);
                on_leaf.map(|(_, load)| *load).fold(0.0, f64::max)
            })
            .sum();
        total / f64::from(seeds as u32)
    };
    let fullest: Vec<f64> = [1, 4, 16, 64].map(mean_of_fullest).to_vec();
    assert!(fullest.is_sorted_by(|more, less| more > less), "{fullest:?}");
    // The excess over an even load falls about as one over the root of the queue pairs.
    let excess = |at: usize| fullest[at] - 1.0;
    assert!(excess(3) < excess(1) / 3.0 && excess(3) > excess(1) / 6.0, "{fullest:?}");
}

#[test]
fn adaptive_routing_spreads_evenly() {
    let network = fat_tree(4);
    // Under another pod: 1 up, 1 down, 2 to and from each of the spines, 4 to and from each of the cores.
    let hops = route(&network, 0, 15, Routing::Adaptive).unwrap();
    let count = |tier, weight: f64| {
        hops.iter()
            .filter(|hop| network.tier(hop.link) == tier && (hop.weight - weight).abs() < 1e-12)
            .count()
    };
    assert_eq!(hops.len(), 14);
    assert_eq!(
        (count(LinkTier::Nic, 1.0), count(LinkTier::Leaf, 0.5), count(LinkTier::Spine, 0.25)),
        (2, 4, 8)
    );
}

#[test]
fn a_failed_link_is_avoided_and_the_last_one_missed() {
    let mut network = leaf_spine(4, 2, 2, 1.0);
    // Leaf 0 has links 8 and 10 up to spines 0 and 1, leaf 1 has 12 and 14; odd ones lead down.
    let ends = |link| network.ends(LinkId::new(link));
    let switch = |at| Vertex::Switch(SwitchId::new(at));
    assert_eq!([ends(8), ends(15)], [(switch(0), switch(2)), (switch(3), switch(1))]);
    let links = |network: &Network, routing| -> Vec<(usize, f64)> {
        route(network, 0, 2, routing).unwrap().iter().map(|hop| (hop.link.index(), hop.weight)).collect()
    };
    assert_eq!(
        links(&network, Routing::Adaptive),
        [(0, 1.0), (5, 1.0), (8, 0.5), (13, 0.5), (10, 0.5), (15, 0.5)]
    );
    // Spine 1 loses its way down to leaf 1: of no use, though the link up to it is healthy.
    network.fail(LinkId::new(15)).unwrap();
    for routing in [Routing::Adaptive, ECMP, Routing::Ecmp { seed: 3, queue_pairs: 16 }] {
        assert_eq!(links(&network, routing), [(0, 1.0), (5, 1.0), (8, 1.0), (13, 1.0)], "{routing:?}");
    }
    network.fail(LinkId::new(8)).unwrap();
    for routing in [Routing::Adaptive, ECMP] {
        let error = route(&network, 0, 2, routing).unwrap_err();
        assert_eq!(error.to_string(), "failed links leave no way from NIC 0 to NIC 2");
    }
    // The way back is another link, and whole.
    assert!(route(&network, 2, 0, ECMP).is_ok());
    network.restore(LinkId::new(15)).unwrap();
    assert_eq!(links(&network, ECMP), [(0, 1.0), (5, 1.0), (10, 1.0), (15, 1.0)]);
    network.fail(network.nic_up(network.nic(0, 0).unwrap())).unwrap();
    assert!(matches!(route(&network, 0, 1, ECMP), Err(RouteError::Unreachable { .. })), "under one leaf too");
}

#[test]
fn a_failed_core_is_avoided() {
    let mut network = fat_tree(4);
    // The two cores above the spines of number 0, each with links to and from four pods.
    for core in [16, 17].map(SwitchId::new) {
        let links: Vec<LinkId> = network.switch_links(core).collect();
        assert_eq!((network.switch_tier(core), links.len()), (Tier::Core, 8));
        for link in links {
            network.fail(link).unwrap();
        }
    }
    let hops = route(&network, 0, 15, Routing::Adaptive).unwrap();
    assert_eq!(hops.len(), 2 + 2 + 4, "one spine at either end, two cores");
    // Inside a pod the spines of number 0 still serve.
    assert_eq!(route(&network, 0, 2, Routing::Adaptive).unwrap().len(), 2 + 4);
}

#[test]
fn a_degraded_link_keeps_its_place() {
    let mut network = leaf_spine(4, 2, 2, 1.0);
    let before = route(&network, 0, 2, Routing::Adaptive).unwrap();
    network.degrade(LinkId::new(8), 0.25).unwrap();
    assert_near(network.capacity_gb_per_s(LinkId::new(8)), 12.5, 0.0);
    assert_eq!(network.capacities_gb_per_s()[8..11], [12.5, 50.0, 50.0]);
    assert_eq!(route(&network, 0, 2, Routing::Adaptive).unwrap(), before);
    assert_eq!(network.degrade(LinkId::new(8), 0.0), Err(HealthError::Factor { factor: 0.0 }));
    assert!(matches!(network.fail(LinkId::new(99)), Err(HealthError::UnknownLink { links: 16, .. })));
}

#[test]
fn ways_out_are_as_slow_as_what_is_narrowest_on_them() {
    let check = |network: &Network, nodes: std::ops::Range<u32>, expected: f64| {
        let nodes: Vec<u32> = nodes.collect();
        assert_near(network.way_out_slowdown(&nodes), expected, 1e-9);
    };
    // Four nodes a leaf at 2:1 over two spines; a node alone of a leaf has all that leads out of it.
    let mut network = leaf_spine(16, 4, 2, 2.0);
    check(&network, 0..4, 2.0);
    check(&network, 4..8, 2.0);
    check(&network, 0..8, 2.0);
    check(&network, 0..1, 1.0);
    check(&network, 0..16, 1.0);
    // Half of one link up: half of the flows go over it. Nothing fails that is not on the way of these nodes.
    let nic = network.nic(0, 0).unwrap();
    let up =
        network.switch_links(network.leaf(nic)).find(|&link| network.tier(link) == LinkTier::Leaf).unwrap();
    network.degrade(up, 0.5).unwrap();
    check(&network, 0..4, 4.0);
    check(&network, 4..8, 2.0);
    // Three tiers: 2:1 and then 4:1. Out of a leaf the spines of its pod lead, out of a pod the cores.
    let attachment = Attachment::ByNode { nodes_per_leaf: 2 };
    let (spines, cores) = (oversubscribed(1, 2.0), oversubscribed(1, 4.0));
    let shape = Shape::ThreeTier { attachment, spines, leaves_per_pod: 2, cores };
    let spec = NetworkSpec { nodes: 16, nics_per_node: 2, nic_gb_per_s: 50.0, shape };
    let network = Network::new(&spec).unwrap();
    check(&network, 0..2, 2.0);
    check(&network, 4..8, 8.0);
    // Rails are all as wide as their cards; a failed card leaves no way, and one of half its rate counts for the node.
    let mut network = rails(40);
    check(&network, 0..20, 1.0);
    assert_near(network.card_slowdown(3), 1.0, 0.0);
    network.degrade(network.nic_down(network.nic(3, 5).unwrap()), 0.25).unwrap();
    assert_near(network.card_slowdown(3), 4.0, 1e-9);
    check(&network, 0..20, 1.0);
    network.fail(network.nic_up(network.nic(3, 5).unwrap())).unwrap();
    assert_eq!((network.card_slowdown(3), network.way_out_slowdown(&[3])), (f64::INFINITY, f64::INFINITY));
}

#[test]
fn what_is_not_there_is_named() {
    let network = leaf_spine(4, 2, 2, 1.0);
    let mut loads = Loads::new(&network, ECMP);
    let error = loads.ring(&[0, 4], &[0]).unwrap_err();
    assert_eq!(error.to_string(), "node 4 with rail 0 is not one of 4 nodes with 1 rails");
    assert_eq!(loads.ring(&[0, 1], &[]), Err(RouteError::NoRails));
    assert_eq!(route(&network, 0, 0, ECMP).unwrap_err().to_string(), "NIC 0 sends to itself");
    let none = Routing::Ecmp { seed: 0, queue_pairs: 0 };
    assert_eq!(route(&network, 0, 2, none), Err(RouteError::NoQueuePairs));
    assert_eq!(loads.ring(&[2], &[0]).unwrap(), []);
    // A failed attempt leaves nothing behind.
    assert_eq!(loads.ring(&[0, 1], &[0]).unwrap().len(), 4);
}

/// A route leads from one end to the other: at every switch as much leaves as enters; and no way is shorter.
fn check_route(network: &Network, from: u32, to: u32, routing: Routing) {
    let (source, destination) = (network.nic(from, 0).unwrap(), network.nic(to, 0).unwrap());
    let mut hops = Vec::new();
    network.route(source, destination, routing, &mut hops).unwrap();
    let mut balance = BTreeMap::<Vertex, f64>::new();
    let mut links = std::collections::BTreeSet::new();
    for hop in &hops {
        assert!(links.insert(hop.link), "{:?} comes twice", hop.link);
        assert!(network.capacity_gb_per_s(hop.link) > 0.0, "{:?} has failed", hop.link);
        let (begin, end) = network.ends(hop.link);
        *balance.entry(begin).or_default() -= hop.weight;
        *balance.entry(end).or_default() += hop.weight;
    }
    assert_near(balance.remove(&Vertex::Node(from)).unwrap(), -1.0, 1e-9);
    assert_near(balance.remove(&Vertex::Node(to)).unwrap(), 1.0, 1e-9);
    for (vertex, rest) in balance {
        assert!(rest.abs() < 1e-9, "{vertex:?} keeps {rest}");
    }
    // From leaf to leaf, since another NIC of the node may be nearer.
    let graph = network.graph();
    let at = |nic| network.vertex_index(Vertex::Switch(network.leaf(nic)));
    let whole = graph.filter_map(
        |_, vertex| Some(*vertex),
        |_, link| {
            (network.capacity_gb_per_s(*link) > 0.0 && network.tier(*link) != LinkTier::Nic).then_some(*link)
        },
    );
    let distance = dijkstra(&whole, at(source), Some(at(destination)), |_| 1.0);
    let length: f64 = hops.iter().map(|hop| hop.weight).sum();
    assert_near(length - 2.0, distance[&at(destination)], 1e-9);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(400) })]

    #[test]
    fn routes_lead_there_by_the_shortest_way(
        shape in 0..4_u32,
        (from, to) in (0..16_u32, 0..15_u32),
        failures in prop::collection::vec(any::<u32>(), 0..12),
        seed in any::<u64>(),
        queue_pairs in 1..5_u32,
    ) {
        let to = if to >= from { to + 1 } else { to };
        let mut network = match shape {
            0 => fat_tree(4),
            1 => leaf_spine(16, 4, 3, 1.0),
            2 => three_tiers(Attachment::ByNode { nodes_per_leaf: 2 }),
            _ => three_tiers(Attachment::ByRail { nodes_per_unit: 2 }),
        };
        for failure in failures {
            network.fail(LinkId::new(failure % network.links())).unwrap();
        }
        for routing in [Routing::Adaptive, Routing::Ecmp { seed, queue_pairs }] {
            match route(&network, from, to, routing) {
                Ok(_) => check_route(&network, from, to, routing),
                Err(error) => {
                    let unreachable = matches!(error, RouteError::Unreachable { .. });
                    prop_assert!(unreachable, "{}", error);
                    prop_assert!(!up_and_down_exists(&network, from, to), "a way was missed");
                }
            }
        }
    }
}

/// Whether any way leads up and then down, by a search of the graph.
fn up_and_down_exists(network: &Network, from: u32, to: u32) -> bool {
    let graph = network.graph();
    let (source, destination) = (network.nic(from, 0).unwrap(), network.nic(to, 0).unwrap());
    let healthy = |link| network.capacity_gb_per_s(link) > 0.0;
    if !healthy(network.nic_up(source)) || !healthy(network.nic_down(destination)) {
        return false;
    }
    let target = network.vertex_index(Vertex::Switch(network.leaf(destination)));
    let mut stack = vec![(network.vertex_index(Vertex::Switch(network.leaf(source))), true)];
    let mut shortest = usize::MAX;
    let crosses_pods = {
        let whole = dijkstra(&graph, stack[0].0, Some(target), |_| 1_usize);
        whole[&target]
    };
    let mut depth = vec![0_usize];
    while let (Some((vertex, rising)), Some(length)) = (stack.pop(), depth.pop()) {
        if vertex == target {
            shortest = shortest.min(length);
            continue;
        }
        if length == crosses_pods {
            continue;
        }
        for edge in graph.edges(vertex).filter(|edge| healthy(*edge.weight())) {
            let goes_up = edge.weight().index() % 2 == 0;
            if network.tier(*edge.weight()) != LinkTier::Nic && (rising || !goes_up) {
                stack.push((edge.target(), goes_up));
                depth.push(length + 1);
            }
        }
    }
    shortest < usize::MAX
}
