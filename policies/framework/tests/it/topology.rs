//! The tree of topology domains.

use foretell_framework::state::Domain;
use foretell_framework::{ClusterState, DomainId, DomainTree, NodeId};
use foretell_testkit::{cluster, node};

fn domain(state: &ClusterState, name: &str) -> DomainId {
    let found = state.domains().iter().position(|domain| *domain.name == *name);
    DomainId::new(found.unwrap_or(state.domains().len()))
}

fn names(state: &ClusterState, nodes: &[NodeId]) -> String {
    nodes.iter().map(|&node| state.node(node).spec.name.to_string()).collect::<Vec<_>>().join(" ")
}

#[test]
fn a_tree_knows_its_domains() {
    let state = cluster(
        "a1: domain=pod1/rack1
         loose:
         b1: domain=pod2/rack3
         a2: domain=pod1/rack2
         a3: domain=pod1/rack1",
    );
    let tree = DomainTree::new(&state);
    let [rack1, rack2, rack3, pod1] = ["rack1", "rack2", "rack3", "pod1"].map(|name| domain(&state, name));
    let top = tree.top();
    assert_eq!(tree.tier_range(), (1, 3));
    assert_eq!(tree.tier(top), 3);
    assert_eq!(names(&state, tree.nodes(pod1)), "a1 a3 a2");
    assert_eq!(names(&state, tree.nodes(top)), "loose a1 a3 a2 b1");
    assert_eq!(names(&state, tree.own_nodes(top)), "loose");
    assert_eq!(tree.own_nodes(pod1), []);
    assert_eq!(tree.leaf(node(&state, "loose")), top);
    assert_eq!(tree.lowest_common(rack1, rack2), pod1);
    assert_eq!(tree.lowest_common(rack1, rack1), rack1);
    assert_eq!(tree.lowest_common(rack1, pod1), pod1);
    assert_eq!(tree.lowest_common(rack1, rack3), top);
    assert!(tree.contains(pod1, rack2) && !tree.contains(rack2, pod1));
    assert_eq!(tree.highest_within(rack1, 2), Some(pod1));
    assert_eq!(tree.highest_within(rack1, 9), Some(top));
    assert_eq!(tree.highest_within(pod1, 1), None);
    assert_eq!(tree.common_of([]), None);
    let tiers: Vec<_> = tree.tiers().map(|(tier, domains)| (tier, domains.len())).collect();
    assert_eq!(tiers, [(1, 3), (2, 2), (3, 1)]);
    assert!(tree.is_current(&state));
}

#[test]
fn what_contains_itself_is_a_root() {
    let mut state = cluster("a: domain=x");
    let looped = |parent| Domain { name: "loop".into(), tier: 2, tier_name: "".into(), parent: Some(parent) };
    state.add_domain(looped(DomainId::new(2)));
    state.add_domain(looped(DomainId::new(1)));
    let tree = DomainTree::new(&state);
    assert_eq!(tree.parent(DomainId::new(1)), Some(tree.top()));
    assert_eq!(tree.lowest_common(DomainId::new(1), DomainId::new(2)), tree.top());
}
