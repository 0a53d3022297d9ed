use super::*;
use crate::test_support::{NoRandom, labels, place};
use foretell_framework::select::{BestFitGpus, BestNode};
use foretell_framework::spec::{LabelOperator, LabelRequirement, NodeSelectorTerm, Taint, Toleration};
use foretell_framework::{NodeSpec, Plugins, Resources, Score};
use proptest::prelude::*;
use std::boxed::Box;

/// CPU in cores and memory in bytes.
type Amount = (u64, u64);

fn task((cpu, memory_bytes): Amount) -> TaskSpec {
    TaskSpec { requests: Resources::new(cpu * 1000, memory_bytes), ..TaskSpec::default() }
}

/// The score of a newcomer on a node with placed tasks.
fn check(mut score: impl Score, allocatable: Amount, placed: &[Amount], newcomer: Amount, expected: i64) {
    let mut state = ClusterState::new();
    let allocatable = task(allocatable).requests;
    let node = state.add_node(NodeSpec { allocatable, ..NodeSpec::new("n") }).expect("legal node");
    for &amount in placed {
        place(&mut state, &task(amount), 0);
    }
    let actual = score.score(&state, &task(newcomer), node);
    assert_eq!(actual, expected, "{}: {newcomer:?} beside {placed:?}", score.name());
}

fn strategy(strategy: ScoringStrategy) -> FitScore {
    FitScore::new(FitScoring { strategy, ..FitScoring::default() })
}

/// Source of the first seven rows: `TestLeastAllocatedScoringStrategy`,
/// `TestMostAllocatedScoringStrategy`.
#[test]
fn allocation_scores() {
    let nodes = [(4_000, 10_000), (6_000, 10_000)];
    for (node, placed, newcomer, least, most) in [
        (nodes[0], &[(2_000, 4_000)][..], (1_000, 2_000), 32, 67),
        (nodes[1], &[(1_000, 2_000)], (1_000, 2_000), 63, 36),
        (nodes[0], &[(1_000, 2_000)], (1_000, 2_000), 55, 45),
        (nodes[0], &[], (3_000, 5_000), 37, 62),
        (nodes[1], &[], (3_000, 5_000), 50, 50),
        ((10_000, 50_000), &[(3_000, 5_000)], (3_000, 5_000), 60, 40),
        ((10_000, 20_000), &[(3_000, 5_000)], (3_000, 5_000), 45, 55),
        // Nodes without anything, without memory; a newcomer too large.
        ((0, 0), &[], (1, 1), 0, 0),
        ((10, 0), &[], (1, 0), 90, 10),
        ((10, 1_000), &[], (20, 500), 25, 75),
        // No request counts as 0.1 cores and 200 MiB, for placed tasks too.
        ((1, 1 << 30), &[], (0, 0), 85, 14),
        ((1, 1 << 30), &[(0, 0)], (0, 0), 70, 29),
        ((1, u64::MAX), &[], (0, u64::MAX / 4), 82, 17),
    ] {
        check(strategy(ScoringStrategy::LeastAllocated), node, placed, newcomer, least);
        check(strategy(ScoringStrategy::MostAllocated), node, placed, newcomer, most);
    }
}

/// Source of all rows but the last: `TestNodeResourcesBalancedAllocation`.
#[test]
fn balanced_allocation() {
    for (node, placed, newcomer, expected) in [
        ((4, 10_000), &[][..], (0, 0), 0),
        ((10, 20_000), &[(3, 0)], (3, 5_000), 73),
        ((10, 50_000), &[(3, 5_000)], (3, 5_000), 70),
        ((3, 5_000), &[(3, 0)], (0, 5_000), 100),
        ((3, 5_000), &[], (0, 5_000), 50),
        ((6, 10_000), &[(3, 0)], (3, 0), 62),
        ((6, 10_000), &[(3, 5_000)], (3, 0), 62),
        ((10, 0), &[], (5, 0), 75),
    ] {
        check(BalancedAllocation::default(), node, placed, newcomer, expected);
    }
}

#[test]
fn ratio_scores() {
    let falling = || Vec::from([(0, 100), (100, 0)]);
    for (shape, placed, newcomer, expected) in [
        (falling(), &[(3_000, 5_000)][..], (3_000, 5_000), 45),
        // Resources that score nothing do not count.
        (falling(), &[(3_000, 5_000)], (7_000, 5_000), 50),
        (falling(), &[(10_000, 20_000)], (1, 1), 0),
        // Constant beyond the points, and linear from the first to the second.
        (Vec::from([(40, 10), (60, 90)]), &[], (5_000, 10_000), 50),
        (Vec::from([(60, 10), (70, 90)]), &[], (5_000, 10_000), 10),
        (Vec::from([(10, 10), (20, 30)]), &[], (5_000, 10_000), 30),
        // The mean is rounded, half away from zero.
        (Vec::from([(0, 0), (100, 100)]), &[], (5_000, 10_200), 51),
    ] {
        let ratio = strategy(ScoringStrategy::RequestedToCapacityRatio(shape));
        check(ratio, (10_000, 20_000), placed, newcomer, expected);
    }
}

#[test]
fn extended_resources_count_where_they_are_asked_for() {
    let mut state = ClusterState::new();
    let nic = state.resource("nic");
    let model = state.gpu_model("A100").expect("few models");
    let mut spec = NodeSpec { gpus: 4, gpu_model: Some(model), ..NodeSpec::new("n") };
    spec.allocatable = Resources::new(10_000, 100);
    spec.allocatable.set_extended(nic, 8);
    let node = state.add_node(spec).expect("legal node");
    let weighted = |resources: &[(&str, u32)]| {
        let resources =
            resources.iter().map(|&(name, weight)| WeightedResource { name: name.into(), weight });
        FitScoring { strategy: ScoringStrategy::MostAllocated, resources: resources.collect() }
    };
    let mut task = TaskSpec { requests: Resources::new(5_000, 10), ..TaskSpec::default() };
    task.requests.set_extended(nic, 2);
    task.gpus = foretell_framework::GpuRequest::whole(3);
    for (resources, expected) in [
        (&[("nic", 1)][..], 25),
        (&[("nvidia.com/gpu", 1)], 75),
        (&[("nic", 1), ("cpu", 3)], (25 + 3 * 50) / 4),
        // What nobody has heard of, and what the node lacks, does not count.
        (&[("nic", 1), ("unknown", 9)], 25),
        (&[("unknown", 9)], 0),
    ] {
        assert_eq!(FitScore::new(weighted(resources)).score(&state, &task, node), expected, "{resources:?}");
    }
    // A task that does not ask for it is not scored for it.
    let plain = TaskSpec { requests: Resources::new(5_000, 10), ..TaskSpec::default() };
    let both = weighted(&[("nic", 1), ("cpu", 1)]);
    assert_eq!(FitScore::new(both).score(&state, &plain, node), 50);
    // Three shares in use: 0.5, 0.1 and 0.75 against none.
    let names = ["cpu", "memory", "nvidia.com/gpu"];
    let resources = names.map(|name| WeightedResource { name: name.into(), weight: 1 });
    let mut balanced = BalancedAllocation::new(resources.into());
    assert!(balanced.applies(&state, &task) && !balanced.applies(&state, &TaskSpec::default()));
    assert_eq!(balanced.score(&state, &task, node), 50 + (50 + 73 - 100) / 2);
}

#[test]
fn images_that_many_nodes_have_count_for_more() {
    let mut state = ClusterState::new();
    let mebibytes = |count: u64| count << 20;
    for images in [&[("a:1", 300), ("b:1", 40)][..], &[("a:1", 300)], &[("c:1", 2000)]] {
        let images = images.iter().map(|&(name, size)| (name.into(), mebibytes(size))).collect();
        state.add_node(NodeSpec { images, ..NodeSpec::new("n") }).expect("legal node");
    }
    let check = |names: &[&str], containers, expected: [i64; 3]| {
        let mut task = TaskSpec::default();
        task.images.names = names.iter().map(|&name| name.into()).collect();
        task.images.containers = containers;
        let mut plugin = ImageLocality::default();
        let scores: Vec<_> = state.node_ids().map(|node| plugin.score(&state, &task, node)).collect();
        assert_eq!(scores, expected, "{names:?}");
    };
    check(&[], 1, [0, 0, 0]);
    check(&["a:1"], 1, [18, 18, 0]);
    // 40 MiB on a third of the nodes is below the floor.
    check(&["b:1"], 1, [0, 0, 0]);
    check(&["a:1", "c:1"], 2, [8, 8, 32]);
    check(&["c:1", "c:1"], 1, [0, 0, 100]);
}

#[test]
fn normalising() {
    let check = |scores: &[i64], expected: &[i64], reversed: &[i64]| {
        let (mut up, mut down) = (scores.to_vec(), scores.to_vec());
        normalise(&mut up);
        normalise_reversed(&mut down);
        assert_eq!((&up[..], &down[..]), (expected, reversed), "{scores:?}");
    };
    check(&[1, 2, 3, 4], &[25, 50, 75, 100], &[75, 50, 25, 0]);
    check(&[1000, 10, 20, 30], &[100, 1, 2, 3], &[0, 99, 98, 97]);
    check(&[0, 1, 1, 1], &[0, 100, 100, 100], &[100, 0, 0, 0]);
    check(&[0, 0, 0, 0], &[0, 0, 0, 0], &[100, 100, 100, 100]);
    check(&[], &[], &[]);
}

/// Scores of candidates, all nodes of a cluster; `None` if the plugin is left out.
fn candidate_scores(
    mut plugin: impl ScoreCandidates,
    nodes: impl IntoIterator<Item = NodeSpec>,
    task: &TaskSpec,
) -> Option<Vec<i64>> {
    let mut state = ClusterState::new();
    let candidates: Vec<_> =
        nodes.into_iter().map(|node| state.add_node(node).expect("legal node")).collect();
    let mut scores = Vec::new();
    plugin.applies(&state, task).then(|| plugin.score(&state, task, &candidates, &mut scores))?;
    Some(scores)
}

#[test]
fn preferred_node_affinity() {
    let check = |preferred: &[(u32, &str)], nodes: &[&str], expected: Option<&[i64]>| {
        let mut task = TaskSpec::default();
        task.node_affinity.preferred = preferred
            .iter()
            .map(|&(weight, wanted)| {
                let requirements = labels(wanted).into_iter().map(|(key, value)| LabelRequirement {
                    key,
                    operator: LabelOperator::In(Vec::from([value])),
                });
                (weight, NodeSelectorTerm::new(requirements.collect()))
            })
            .collect();
        let nodes = nodes.iter().map(|node| NodeSpec { labels: labels(node), ..NodeSpec::new("n") });
        assert_eq!(candidate_scores(NodeAffinityScore::default(), nodes, &task).as_deref(), expected);
    };
    check(&[], &["foo=bar"], None);
    check(&[(2, "foo=bar")], &["abc=az11,def=az22", "key=value", "az=az1"], Some(&[0, 0, 0]));
    check(
        &[(2, "foo=bar"), (4, "key=value"), (5, "foo=bar,key=value,az=az1")],
        &["foo=bar", "az=az1,foo=bar,key=value", "key=value"],
        Some(&[18, 100, 36]),
    );
    check(
        &[(2, "foo=bar"), (3, "key=value")],
        &["foo=bar", "key=value", "foo=bar,key=value"],
        Some(&[40, 60, 100]),
    );
}

#[test]
fn soft_taints() {
    let check = |tolerated: &[(&str, &str)], nodes: &[&[(&str, &str)]], expected: Option<&[i64]>| {
        let effect = TaintEffect::PreferNoSchedule;
        let tolerations = tolerated.iter().map(|&(key, value)| Toleration {
            key: Some(key.into()),
            value: Some(value.into()),
            effect: Some(effect),
            compares: None,
        });
        let task = TaskSpec { tolerations: tolerations.collect(), ..TaskSpec::default() };
        let nodes = nodes.iter().map(|taints| {
            let taints =
                taints.iter().map(|&(key, value)| Taint { key: key.into(), value: value.into(), effect });
            NodeSpec { taints: taints.collect(), ..NodeSpec::new("n") }
        });
        assert_eq!(candidate_scores(TaintTolerationScore::default(), nodes, &task).as_deref(), expected);
    };
    let (arm, ssd) = (("cpu-type", "arm64"), ("disk-type", "ssd"));
    check(&[], &[&[], &[]], None);
    check(&[], &[&[], &[arm]], Some(&[100, 0]));
    check(&[arm, ssd], &[&[], &[arm], &[arm, ssd]], Some(&[100, 100, 100]));
    check(&[("foo", "bar")], &[&[], &[arm], &[arm, ssd]], Some(&[100, 50, 0]));
}

proptest! {
    /// Scores that are kept and repaired equal those of a plugin that has seen nothing before.
    #[test]
    fn kept_scores_equal_fresh_ones(
        steps in prop::collection::vec((0_usize..4, 0_usize..3, any::<bool>()), 0..60),
    ) {
        let mut state = ClusterState::new();
        for _ in 0..4 {
            let allocatable = Resources::new(64_000, 64 << 30);
            state.add_node(NodeSpec { allocatable, ..NodeSpec::new("n") }).expect("legal node");
        }
        let kinds = [(0, 0), (1, 0), (2, 1 << 30)].map(task);
        let classes = [0, 1, 2].map(|kind| state.class(&kinds[kind]));
        let plugins = || Plugins::new(Box::new(BestNode), Box::new(BestFitGpus))
            .with_filters(crate::filters())
            .with_score(Box::new(FitScore::new(FitScoring::default())), 1)
            .with_score(Box::new(BalancedAllocation::default()), 1);
        let mut kept = plugins();
        let mut jobs = Vec::new();
        for (node, kind, remove) in steps {
            if remove && !jobs.is_empty() {
                state.remove_job(jobs.swap_remove(node % jobs.len()));
            } else {
                jobs.push(place(&mut state, &kinds[kind], node));
            }
            let mut fresh = plugins();
            for node in state.node_ids() {
                let expected = fresh.ranking(&state, classes[kind]).score(node);
                prop_assert_eq!(kept.ranking(&state, classes[kind]).score(node), expected);
            }
            let choice = fresh.choose_node(&state, classes[kind], &mut NoRandom);
            prop_assert_eq!(kept.choose_node(&state, classes[kind], &mut NoRandom), choice);
        }
    }
}
