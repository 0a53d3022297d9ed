use super::*;
use crate::test_support::{labels, place};
use foretell_framework::spec::{LabelOperator, LabelRequirement, NodeSelectorTerm};
use foretell_framework::{LabelSelector, NodeSpec};
use proptest::prelude::*;

const HOST: &str = "kubernetes.io/hostname";

fn newcomer(constraints: &[(&str, u32, &str)]) -> TaskSpec {
    let topology_spread = constraints.iter().map(|&(key, max_skew, selector)| TopologySpreadConstraint {
        topology_key: key.into(),
        max_skew,
        selector: Some(LabelSelector::of_labels(&labels(selector))),
        honours_node_affinity: true,
        ..TopologySpreadConstraint::default()
    });
    TaskSpec { topology_spread: topology_spread.collect(), ..TaskSpec::default() }
}

/// Nodes with their labels and those of the tasks on them.
fn cluster(nodes: &[(&str, &[&str])]) -> ClusterState {
    let mut state = ClusterState::new();
    for (index, (node, tasks)) in nodes.iter().enumerate() {
        state.add_node(NodeSpec { labels: labels(node), ..NodeSpec::new("n") }).expect("legal node");
        for task in *tasks {
            place(&mut state, &TaskSpec { labels: labels(task), ..TaskSpec::default() }, index);
        }
    }
    state
}

fn scores(
    plugin: &mut PodTopologySpreadScore,
    state: &ClusterState,
    task: &TaskSpec,
    nodes: &[usize],
) -> Vec<i64> {
    let candidates: Vec<_> = nodes.iter().copied().map(NodeId::new).collect();
    let mut scores = Vec::new();
    plugin.score(state, task, &candidates, &mut scores);
    scores
}

fn check(nodes: &[(&str, &[&str])], task: &TaskSpec, candidates: &[usize], expected: &[i64]) {
    let actual =
        scores(&mut PodTopologySpreadScore::new(&SpreadDefaults::System), &cluster(nodes), task, candidates);
    assert_eq!(actual, expected, "{nodes:?}");
}

/// Source: the table of `TestPodTopologySpreadScore`.
#[test]
fn one_constraint() {
    let hosts = ["a", "b", "c", "d"].map(|host| std::format!("{HOST}={host}"));
    let check = |counts: &[usize], skew, selector, expected: &[i64]| {
        let tasks = counts.iter().map(|&count| &["foo="; 4][..count]);
        let nodes: Vec<_> = hosts.iter().map(AsRef::as_ref).zip(tasks).collect();
        let candidates: Vec<_> = (0..nodes.len()).collect();
        check(&nodes, &newcomer(&[(HOST, skew, selector)]), &candidates, expected);
    };
    check(&[0, 0], 1, "foo=", &[100, 100]);
    check(&[1, 1], 1, "foo=", &[100, 100]);
    check(&[2, 1, 0, 3], 1, "foo=", &[20, 60, 100, 0]);
    check(&[4, 3, 2, 1], 3, "foo=", &[44, 66, 77, 100]);
    // An empty selector counts nothing.
    check(&[2, 1, 0, 3], 1, "", &[100, 100, 100, 100]);
}

#[test]
fn several_constraints() {
    let (foo, both, bar) = ("foo=", "foo=,bar=", "bar=");
    // Tasks on nodes that are no candidates count for their zone.
    check(
        &[("zone=1", &[both, foo]), ("zone=2", &[]), ("zone=1", &[both]), ("zone=2", &[foo, both, foo])],
        &newcomer(&[("zone", 1, foo), ("zone", 1, bar)]),
        &[0, 1],
        &[85, 100],
    );
    let host = |host: &str, zone: &str| std::format!("zone={zone},{HOST}={host}");
    let [a, b, c, d] = [host("a", "1"), host("b", "1"), host("c", "2"), host("d", "2")];
    let zone_and_host = newcomer(&[("zone", 1, foo), (HOST, 1, bar)]);
    check(
        &[(&a, &[foo]), (&b, &[both]), (&c, &[]), (&d, &[foo, bar])],
        &zone_and_host,
        &[0, 1, 2],
        &[50, 25, 100],
    );
    check(
        &[(&a, &[foo]), (&b, &[both]), (&c, &[foo, bar]), (&d, &[])],
        &zone_and_host,
        &[0, 1, 2, 3],
        &[60, 20, 60, 100],
    );
    check(
        &[("n=a", &[foo, foo]), ("n=b", &[foo, foo]), ("n=c", &[foo])],
        &newcomer(&[("n", 2, foo)]),
        &[0, 1, 2],
        &[75, 75, 100],
    );
    // Nodes without a label to spread over score 0 and do not count.
    check(
        &[("n=a", &[foo]), ("n=b", &[]), ("", &[foo])],
        &newcomer(&[("n", 1, foo)]),
        &[0, 1, 2],
        &[0, 100, 0],
    );
}

#[test]
fn only_nodes_that_the_task_may_use_count() {
    let task = TaskSpec { node_selector: labels("mine="), ..newcomer(&[("zone", 1, "foo=")]) };
    let nodes: [(&str, &[&str]); 4] =
        [("zone=1,mine=", &[]), ("zone=1", &["foo=", "foo="]), ("zone=2,mine=", &["foo="]), ("zone=2", &[])];
    check(&nodes, &task, &[0, 2], &[100, 0]);
}

proptest! {
    /// Counts that are kept and repaired equal those of a plugin that has seen nothing before.
    #[test]
    fn kept_counts_equal_fresh_ones(
        steps in prop::collection::vec((0_usize..5, 0_usize..4, any::<bool>()), 0..60),
    ) {
        let nodes = ["zone=1,n=a", "zone=1,n=b", "zone=2,n=c", "zone=3", ""];
        let mut state = cluster(&nodes.map(|node| (node, &[][..])));
        let tasks = ["foo=", "foo=,bar=", "bar=", ""]
            .map(|text| TaskSpec { labels: labels(text), ..TaskSpec::default() });
        let plain = newcomer(&[("zone", 1, "foo=")]);
        let mut with_affinity = plain.clone();
        let requirement = LabelRequirement { key: "n".into(), operator: LabelOperator::DoesNotExist };
        let term = NodeSelectorTerm::new(Vec::from([requirement]));
        with_affinity.node_affinity.required.push(term);
        let newcomers = [
            newcomer(&[("n", 2, "foo="), ("zone", 1, "bar=")]),
            TaskSpec { node_selector: labels("n=a"), ..plain.clone() },
            with_affinity,
            plain,
        ];
        let mut filter = PodTopologySpread::new(&SpreadDefaults::System);
        let mut kept = PodTopologySpreadScore::new(&SpreadDefaults::System);
        let mut jobs = Vec::new();
        for (node, kind, remove) in steps {
            if remove && !jobs.is_empty() {
                state.remove_job(jobs.swap_remove(node % jobs.len()));
            } else {
                jobs.push(place(&mut state, &tasks[kind], node));
            }
            let newcomer = &newcomers[kind];
            let mut demanding = newcomer.clone();
            for constraint in &mut demanding.topology_spread {
                constraint.when_unsatisfiable = WhenUnsatisfiable::DoNotSchedule;
            }
            let mut fresh = PodTopologySpread::new(&SpreadDefaults::System);
            prop_assert_eq!(verdicts(&mut filter, &state, &demanding), verdicts(&mut fresh, &state, &demanding));
            let expected = scores(&mut PodTopologySpreadScore::new(&SpreadDefaults::System), &state, newcomer, &[0, 1, 2, 3, 4]);
            prop_assert_eq!(scores(&mut kept, &state, newcomer, &[0, 1, 2, 3, 4]), expected);
        }
    }
}

/// The verdicts of the filter on all nodes.
fn verdicts(
    plugin: &mut PodTopologySpread,
    state: &ClusterState,
    task: &TaskSpec,
) -> Vec<Result<(), Rejection>> {
    let applies = plugin.prepare(state, task);
    let verdict = |node| if applies { plugin.filter(state, task, node) } else { Ok(()) };
    state.node_ids().map(verdict).collect()
}

fn hard(labels_of_newcomer: &str, constraints: &[(&str, u32, &str)]) -> TaskSpec {
    let mut task = TaskSpec { labels: labels(labels_of_newcomer), ..newcomer(constraints) };
    for constraint in &mut task.topology_spread {
        constraint.when_unsatisfiable = WhenUnsatisfiable::DoNotSchedule;
    }
    task
}

#[test]
fn hard_constraints() {
    const SKEWED: Result<(), Rejection> = Err(Rejection::TopologySpread);
    const KEYLESS: Result<(), Rejection> = Err(Rejection::TopologyKeyMissing);
    let nodes: [(&str, &[&str]); 4] =
        [("zone=1", &["foo=", "foo="]), ("zone=1", &[]), ("zone=2", &["foo="]), ("", &["foo="])];
    let check = |task: &TaskSpec, expected: [Result<(), Rejection>; 4]| {
        let mut plugin = PodTopologySpread::new(&SpreadDefaults::System);
        assert_eq!(verdicts(&mut plugin, &cluster(&nodes), task), expected, "{:?}", task.topology_spread);
    };
    check(&newcomer(&[("zone", 1, "foo=")]), [Ok(()); 4]);
    // Two in the one zone and one in the other.
    check(&hard("foo=", &[("zone", 1, "foo=")]), [SKEWED, SKEWED, Ok(()), KEYLESS]);
    check(&hard("foo=", &[("zone", 2, "foo=")]), [Ok(()), Ok(()), Ok(()), KEYLESS]);
    // One that does not count itself may go where it does not make things worse.
    check(&hard("", &[("zone", 1, "foo=")]), [Ok(()), Ok(()), Ok(()), KEYLESS]);
    // A third zone that there should be would be empty.
    let mut three = hard("foo=", &[("zone", 1, "foo=")]);
    three.topology_spread[0].min_domains = Some(3);
    check(&three, [SKEWED, SKEWED, SKEWED, KEYLESS]);
}

#[test]
fn defaults_go_by_owners() {
    let mut state = cluster(&[("kubernetes.io/hostname=a", &["app=web"]), ("kubernetes.io/hostname=b", &[])]);
    let web = TaskSpec { labels: labels("app=web,hash=1"), ..TaskSpec::default() };
    let mut plugin = PodTopologySpreadScore::new(&SpreadDefaults::System);
    assert!(!plugin.applies(&state, &web));
    state.objects_mut().owners.push(("".into(), LabelSelector::of_labels(&labels("app=web"))));
    assert!(plugin.applies(&state, &web));
    assert_eq!(scores(&mut plugin, &state, &web, &[0, 1]), [66, 100]);
    assert!(!plugin.applies(&state, &TaskSpec { labels: labels("app=db"), ..TaskSpec::default() }));
}
