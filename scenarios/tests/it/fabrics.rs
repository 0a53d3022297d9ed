//! The network between nodes: what a file says of it, and what comes of that.

use foretell_scenarios::fabric::network::{
    Attachment, LinkTier, NetworkSpec, Routing, Shape, Tier, Uplinks, Width,
};
use foretell_scenarios::{Fabric, Scenario, topology};

use crate::{check, read, with};

/// A scenario of so many nodes of 8 cards of 400 Gbit/s, with a table `cluster.fabric`.
fn scenario(nodes: u32, fabric: &str) -> Scenario {
    let text = with("count = 2 }]", &format!("count = {nodes} }}]\n[cluster.fabric]\n{fabric}"));
    read(&text, &[]).unwrap()
}

fn fabric(nodes: u32, fabric: &str) -> Fabric {
    scenario(nodes, fabric).fabric.unwrap()
}

/// A bad table; lines count from the table's head as 6.
fn wrong(fabric: &str, expected: &str) {
    check(&with("count = 2 }]", &format!("count = 2 }}]\n[cluster.fabric]\n{fabric}")), expected);
}

const fn up(switches: u32, ratio: f64) -> Uplinks {
    Uplinks { switches, width: Width::Oversubscription(ratio) }
}

#[test]
fn a_file_describes_networks() {
    let check = |nodes: u32, text: &str, shape: Shape| {
        let expected = NetworkSpec { nodes, nics_per_node: 8, nic_gb_per_s: 50.0, shape };
        assert_eq!(fabric(nodes, text).spec, expected, "{text}");
    };
    let by_node = |nodes_per_leaf| Attachment::ByNode { nodes_per_leaf };
    let by_rail = |nodes_per_unit| Attachment::ByRail { nodes_per_unit };
    check(
        8,
        "shape = \"leaf_spine\"\nnodes_per_leaf = 4",
        Shape::LeafSpine { attachment: by_node(4), spines: up(1, 1.0) },
    );
    check(
        8,
        "shape = \"leaf_spine\"\nnodes_per_leaf = 4\nrails = true\nspines = 2\noversubscription = 2",
        Shape::LeafSpine { attachment: by_rail(4), spines: up(2, 2.0) },
    );
    // Hashed: 4 nodes of 8 cards, half as many cables up; 3 leaves of 16 cables over 16 spines come to 3 each, 2 of them up.
    check(
        24,
        "shape = \"three_tier\"\nnodes_per_leaf = 4\noversubscription = 2\nleaves_per_pod = 3\n\
         spine_oversubscription = 1.5\nrouting = \"ecmp\"",
        Shape::ThreeTier {
            attachment: by_node(4),
            spines: up(16, 2.0),
            leaves_per_pod: 3,
            cores: up(2, 1.5),
        },
    );
    check(4, "shape = \"fat_tree\"\narity = 16", Shape::FatTree { k: 16 });
}

#[test]
fn nodes_of_a_leaf_and_of_a_pod_are_domains() {
    let check = |text: &str, expected: &[(&str, u32)]| {
        let scenario = scenario(16, text);
        let tiers: Vec<_> = scenario.tiers.iter().map(|tier| (tier.name.as_str(), tier.nodes)).collect();
        assert_eq!(tiers, expected, "{text}");
    };
    check("shape = \"leaf_spine\"\nnodes_per_leaf = 4", &[("leaf", 4)]);
    check("shape = \"leaf_spine\"\nnodes_per_leaf = 4\nrails = true", &[("leaf", 4)]);
    check("shape = \"three_tier\"\nnodes_per_leaf = 2\nleaves_per_pod = 4", &[("leaf", 2), ("pod", 8)]);
    // With rails two units of 8 leaves make a pod of 16.
    check(
        "shape = \"three_tier\"\nnodes_per_leaf = 2\nleaves_per_pod = 16\nrails = true",
        &[("leaf", 2), ("pod", 4)],
    );
    check("shape = \"three_tier\"\nnodes_per_leaf = 2\nleaves_per_pod = 1", &[("leaf", 2)]);
    // Switches of 32 ports: 16 down to two nodes; 16 leaves of a pod to 32 nodes.
    check("shape = \"fat_tree\"\narity = 32", &[("leaf", 2), ("pod", 32)]);
    // Leaves with 4 ports down hold half a node.
    check("shape = \"fat_tree\"\narity = 8\nnics_per_node = 8", &[("pod", 2)]);
}

#[test]
fn a_topology_that_is_given_stays_and_tells_the_fabric_its_sizes() {
    let text = with(
        "count = 2 }]",
        "count = 16 }]\ntopology = [{ name = \"block\", nodes = 2 }, { name = \"super\", nodes = 8 }]\n\
         [cluster.fabric]\nshape = \"three_tier\"\nrails = true",
    );
    let text = text.replace(
        "gpus_per_task = 1 }",
        "gpus_per_task = 1, network_topology = { mode = \"hard\", highest_tier = \"super\" } }",
    );
    let scenario = read(&text, &[]).unwrap();
    assert_eq!(scenario.tiers[0].name, "block");
    let spec = scenario.fabric.unwrap().spec;
    let Shape::ThreeTier { attachment, leaves_per_pod, .. } = spec.shape else { panic!("{spec:?}") };
    assert_eq!((attachment, leaves_per_pod), (Attachment::ByRail { nodes_per_unit: 2 }, 32));
}

#[test]
fn jobs_may_name_the_tiers_of_a_fabric() {
    let text = with("count = 2 }]", "count = 16 }]\nfabric = { shape = \"leaf_spine\", nodes_per_leaf = 4 }");
    let text = text.replace(
        "gpus_per_task = 1 }",
        "gpus_per_task = 1, network_topology = { mode = \"hard\", highest_tier = \"leaf\" } }",
    );
    assert_eq!(read(&text, &[]).unwrap().tiers.len(), 1);
    check(
        &text.replace("\"leaf\" } }", "\"pod\" } }"),
        "9:94: workload.synthetic.sizes[0].network_topology.highest_tier: unknown tier `pod` (expected `leaf`)",
    );
}

#[test]
fn what_is_said_of_routing_and_nccl_is_kept() {
    let found = fabric(
        8,
        "shape = \"leaf_spine\"\nnodes_per_leaf = 4\nrouting = \"ecmp\"\nqueue_pairs = 4\n\
         environment = { NCCL_ALGO = \"Ring\", NCCL_BUFFSIZE = \"1\", NCCL_IB_QPS_PER_CONNECTION = \"2\" }",
    );
    // The seed of the scenario; each of the four connections has two queue pairs.
    assert_eq!(found.routing, Routing::Ecmp { seed: 42, queue_pairs: 8 });
    assert_eq!(found.environment.without_effect(), ["NCCL_BUFFSIZE"]);
    let plain = fabric(8, "shape = \"leaf_spine\"\nnodes_per_leaf = 4");
    assert_eq!(plain.routing, Routing::Adaptive);
    assert!(read(crate::GOOD, &[]).unwrap().fabric.is_none());
}

#[test]
fn the_most_and_fastest_cards_of_any_node_count() {
    let check = |nodes: &str, fields: &str, expected: (u32, f64)| {
        let text = with(
            "nodes = [{ type = \"dgx-h100\", count = 2 }]",
            &format!("nodes = [{nodes}]\nfabric = {{ shape = \"leaf_spine\", nodes_per_leaf = 4{fields} }}"),
        );
        let spec = read(&text, &[]).unwrap().fabric.unwrap().spec;
        assert_eq!((spec.nics_per_node, spec.nic_gb_per_s), expected, "{nodes}");
    };
    let (volta, hopper) = ("{ type = \"dgx-1-v100\", count = 2 }", "{ type = \"dgx-h100\", count = 1 }");
    check(&[volta, hopper].join(", "), "", (8, 50.0));
    check(volta, "", (4, 12.5));
    check(volta, ", nics_per_node = 2, nic_gbit_per_s = 200", (2, 25.0));
}

#[test]
fn a_node_type_of_the_file_may_have_cards() {
    let own = |cards: &str| {
        with(
            "nodes = [{ type = \"dgx-h100\", count = 2 }]",
            &format!(
                "nodes = [{{ type = \"box\", count = 2 }}]\nfabric = {{ shape = \"leaf_spine\", nodes_per_leaf = 4 }}\n\
                 node_types = [{{ name = \"box\", cpus = 8, memory = \"64 GiB\", gpu = \"T4\", gpus = 1{cards} }}]"
            ),
        )
    };
    let fabric =
        read(&own(", nics = 2, nic_gbit_per_s = 100, network = \"roce\""), &[]).unwrap().fabric.unwrap();
    assert_eq!((fabric.spec.nics_per_node, fabric.spec.nic_gb_per_s), (2, 12.5));
    check(
        &own(""),
        "5:10: cluster.fabric: no node type of the cluster says what network cards it has (give `nics_per_node` and \
         `nic_gbit_per_s`)",
    );
    let problem = read(&own(", nics = 2"), &[]).unwrap_err().to_string();
    assert!(
        problem.contains("node_types[0]: network cards need both their number and their speed"),
        "{problem}"
    );
}

#[test]
fn degraded_links_are_found() {
    let degraded = |links: &str| {
        fabric(8, &format!("shape = \"leaf_spine\"\nnodes_per_leaf = 4\nspines = 2\ndegraded = [{links}]"))
    };
    let check = |links: &str, expected: &[(LinkTier, f64)]| {
        let fabric = degraded(links);
        let network = fabric.network().unwrap();
        let found: Vec<_> = fabric
            .degraded
            .iter()
            .map(|&(link, _)| (network.tier(link), network.capacity_gb_per_s(link)))
            .collect();
        assert_eq!(found, expected, "{links}");
    };
    check("{ node = \"dgx-h100-0001\", nic = 3, factor = 0.5 }", &[(LinkTier::Nic, 25.0); 2]);
    check("{ node = \"dgx-h100-0001\", factor = 0.1 }", &[(LinkTier::Nic, 5.0); 16]);
    // 4 nodes of 400 GB/s over two spines.
    check("{ leaf = 1, spine = 0, factor = 0.25 }", &[(LinkTier::Leaf, 200.0); 2]);
    check("{ leaf = 1, factor = 0.5 }", &[(LinkTier::Leaf, 400.0); 4]);

    let network = degraded("{ leaf = 1, spine = 1, factor = 0.5 }").network().unwrap();
    let slow = (0..network.links())
        .map(foretell_scenarios::fabric::network::LinkId::new)
        .filter(|&link| network.capacity_gb_per_s(link) < network.nominal_gb_per_s(link));
    let ends: Vec<_> = slow.map(|link| network.ends(link)).collect();
    let switch = |tier, number: u32| {
        let first = if tier == Tier::Leaf { 0 } else { network.switches(Tier::Leaf) };
        foretell_scenarios::fabric::network::Vertex::Switch(
            foretell_scenarios::fabric::network::SwitchId::new(first + number),
        )
    };
    let (leaf, spine) = (switch(Tier::Leaf, 1), switch(Tier::Spine, 1));
    assert_eq!(ends, [(leaf, spine), (spine, leaf)]);
}

#[test]
fn what_cannot_be_is_said() {
    wrong(
        "shape = \"leafspine\"",
        "6:9: cluster.fabric.shape: unknown value `leafspine` (did you mean `leaf_spine`?)",
    );
    wrong(
        "shape = \"leaf_spine\"\nnodes_per_leaf = 4\noversubscription = 0",
        "8:20: cluster.fabric.oversubscription: expected a number above 0, got 0",
    );
    wrong(
        "shape = \"leaf_spine\"",
        "5:1: cluster.fabric: missing field `nodes_per_leaf` (or name the tiers of the network in `cluster.topology`, of \
         which the lowest counts)",
    );
    wrong(
        "shape = \"three_tier\"\nnodes_per_leaf = 4",
        "5:1: cluster.fabric: missing field `leaves_per_pod` (or name the tiers of the network in `cluster.topology`, of \
         which the second counts)",
    );
    wrong(
        "shape = \"fat_tree\"",
        "5:1: cluster.fabric: a fat tree needs `arity` (the number of ports of each switch)",
    );
    wrong(
        "shape = \"fat_tree\"\narity = 7",
        "7:9: cluster.fabric.arity: the arity of a fat tree must be even, not 7",
    );
    wrong(
        "shape = \"fat_tree\"\narity = 2",
        "7:9: cluster.fabric.arity: 16 NICs do not fit the 2 ports of a fat tree of arity 2",
    );
    wrong(
        "shape = \"three_tier\"\nnodes_per_leaf = 4\nrails = true\nleaves_per_pod = 4",
        "9:18: cluster.fabric.leaves_per_pod: leaves_per_pod (4) must be a multiple of the 8 rails, so that a unit is in one pod",
    );
    wrong(
        "shape = \"leaf_spine\"\nnodes_per_leaf = 4\narity = 4\ncores = 2\nqueue_pairs = 2",
        "8:9: cluster.fabric.arity: belongs to a `fat_tree` fabric\n\
         9:9: cluster.fabric.cores: belongs to a `three_tier` fabric\n\
         10:15: cluster.fabric.queue_pairs: belongs to `routing = \"ecmp\"`",
    );
    wrong(
        "shape = \"leaf_spine\"\nrails = true\nnodes_per_leaf = 1\nspines = 100000\nnics_per_node = 256",
        "5:1: cluster.fabric: the fabric has 102401024 links, expected at most 10000000",
    );
    wrong(
        "shape = \"leaf_spine\"\nnodes_per_leaf = 4\n\
         environment = { NCCL_ALGO = \"Rings\", NCCL_PROT = \"LL\", NCCL_IB_HCA = \"=ib7\" }",
        "8:29: cluster.fabric.environment.NCCL_ALGO: NCCL_ALGO: expected list of Ring, Tree, NVLS, NVLSTree; ^ excludes; per \
         collective as func:list;func:list, got `Rings`\n\
         8:50: cluster.fabric.environment.NCCL_PROT: unknown variable `NCCL_PROT` (did you mean `NCCL_PROTO`?)",
    );
    wrong(
        "shape = \"leaf_spine\"\nnodes_per_leaf = 4\nenvironment = { NCCL_IB_HCA = \"=ib7\" }",
        "8:15: cluster.fabric.environment: NCCL_IB_HCA==ib7 leaves no NIC of 8: they are called mlx5_0 and so on",
    );
    wrong(
        "shape = \"leaf_spine\"\nnodes_per_leaf = 1\ndegraded = [\n{ node = \"dgx-h100-0002\", factor = 0.5 },\n\
         { node = \"dgx-h100-0001\", nic = 8, factor = 0.5 },\n{ leaf = 2, factor = 0.5 },\n\
         { leaf = 1, spine = 1, factor = 0.5 },\n{ leaf = 1, nic = 0, factor = 0.5 },\n{ leaf = 1, factor = 0 } ]",
        "14:22: cluster.fabric.degraded[5].factor: expected a number above 0 and up to 1, got 0",
    );
    wrong(
        "shape = \"leaf_spine\"\nnodes_per_leaf = 1\ndegraded = [\n{ node = \"dgx-h100-0002\", factor = 0.5 },\n\
         { node = \"dgx-h100-0001\", nic = 8, factor = 0.5 },\n{ leaf = 2, factor = 0.5 },\n\
         { leaf = 1, spine = 1, factor = 0.5 },\n{ leaf = 1, nic = 0, factor = 0.5 } ]",
        "9:10: cluster.fabric.degraded[0].node: unknown node `dgx-h100-0002` (did you mean `dgx-h100-0000`?)\n\
         10:33: cluster.fabric.degraded[1].nic: expected a number below 8, the cards of a node, got 8\n\
         11:10: cluster.fabric.degraded[2].leaf: expected a number below 2, the leaves, got 2\n\
         12:21: cluster.fabric.degraded[3].spine: expected a number below 1, the spines of the leaf, got 1\n\
         13:1: cluster.fabric.degraded[4]: expected either a node or a leaf (`node`, and `nic` for one of its cards; or \
         `leaf`, and `spine` for one of its links up)",
    );
}

#[test]
fn a_fabric_is_drawn() {
    let check = |text: &str, expected: &[&str]| {
        let scenario = scenario(16, text);
        let drawn = topology::text(&scenario);
        let lines: Vec<&str> = drawn.lines().skip_while(|line| !line.starts_with("fabric:")).collect();
        let lines: Vec<&str> = lines.into_iter().take_while(|line| !line.is_empty()).collect();
        assert_eq!(lines, expected);
        for picture in [topology::svg(&scenario), topology::dot(&scenario)] {
            assert!(expected.iter().all(|line| picture.contains(line.trim())), "{picture}");
        }
    };
    check(
        "shape = \"three_tier\"\nrails = true\nnodes_per_leaf = 4\nleaves_per_pod = 16\nspines = 2\ncores = 4\n\
         oversubscription = 2\nspine_oversubscription = 4",
        &[
            "fabric: three tiers with rails, adaptive routing",
            "  8 NICs of 50.0 GB/s on each of 16 nodes",
            "  32 leaves, one for each rail of 4 nodes, each with 200.0 GB/s from below and 100.0 GB/s up",
            "  4 spines, each with 800.0 GB/s from below and 200.0 GB/s up",
            "  8 cores",
        ],
    );
    check(
        "shape = \"leaf_spine\"\nnodes_per_leaf = 8\nrouting = \"ecmp\"\nqueue_pairs = 4\n\
         degraded = [{ leaf = 0, spine = 3, factor = 0.5 }]",
        &[
            "fabric: leaf-spine, hashed routes of 4 queue pairs, 2 links degraded",
            "  8 NICs of 50.0 GB/s on each of 16 nodes",
            "  2 leaves of 8 nodes, each with 3200.0 GB/s from below and 3200.0 GB/s up",
            "  64 spines",
        ],
    );
}
