use std::boxed::Box;
use std::vec;
use std::vec::Vec;

use foretell_framework::spec::{PodAffinity, PodAffinityTerm};
use foretell_framework::{Filter, LabelSelector, NodeSpec, TaskStatus};
use proptest::prelude::*;

use super::*;
use crate::test_support::{labels, place};

fn term(key: &str, selector: &str) -> PodAffinityTerm {
    PodAffinityTerm {
        topology_key: key.into(),
        selector: Some(LabelSelector::of_labels(&labels(selector))),
        namespaces: vec![Box::default()],
        namespace_selector: None,
    }
}

fn with(text: &str, affinity: PodAffinity) -> TaskSpec {
    TaskSpec { labels: labels(text), pod_affinity: affinity, ..TaskSpec::default() }
}

/// What a newcomer, or a placed task, asks for.
fn required(key: &str, selector: &str) -> PodAffinity {
    PodAffinity { required: vec![term(key, selector)], ..PodAffinity::default() }
}

fn anti(key: &str, selector: &str) -> PodAffinity {
    PodAffinity { anti_required: vec![term(key, selector)], ..PodAffinity::default() }
}

fn cluster(nodes: &[(&str, &[TaskSpec])]) -> ClusterState {
    let mut state = ClusterState::new();
    for (index, (node, tasks)) in nodes.iter().enumerate() {
        state.add_node(NodeSpec { labels: labels(node), ..NodeSpec::new("n") }).expect("legal node");
        for task in *tasks {
            place(&mut state, task, index);
        }
    }
    state
}

fn verdicts(
    plugin: &mut InterPodAffinity,
    state: &ClusterState,
    task: &TaskSpec,
) -> Vec<Result<(), Rejection>> {
    let applies = plugin.prepare(state, task);
    let verdict = |node| if applies { plugin.filter(state, task, node) } else { Ok(()) };
    state.node_ids().map(verdict).collect()
}

#[test]
fn required_terms() {
    use Rejection::{ExistingPodAntiAffinity as Existing, PodAffinity as Lonely, PodAntiAffinity as Anti};
    let web = || with("app=web", PodAffinity::default());
    let check = |task: &TaskSpec, placed: &[TaskSpec], expected: [Result<(), Rejection>; 3]| {
        // Two nodes of one zone, the first with tasks on it, and a node of none.
        let state = cluster(&[("zone=1,host=a", placed), ("zone=1,host=b", &[]), ("host=c", &[])]);
        let actual = verdicts(&mut InterPodAffinity::default(), &state, task);
        assert_eq!(actual, expected, "{task:?} beside {placed:?}");
    };
    check(&web(), &[web()], [Ok(()); 3]);
    let wants_web = with("app=db", required("zone", "app=web"));
    check(&wants_web, &[web()], [Ok(()), Ok(()), Err(Lonely)]);
    check(&wants_web, &[], [Err(Lonely); 3]);
    let wants_its_like = with("app=web", required("zone", "app=web"));
    check(&wants_its_like, &[], [Ok(()), Ok(()), Err(Lonely)]);
    let avoids_web = with("app=db", anti("host", "app=web"));
    check(&avoids_web, &[web()], [Err(Anti), Ok(()), Ok(())]);
    // The other way round: what is placed keeps the newcomer away.
    check(&web(), &[with("", anti("zone", "app=web"))], [Err(Existing), Err(Existing), Ok(())]);
    check(&with("app=db", PodAffinity::default()), &[with("", anti("zone", "app=web"))], [Ok(()); 3]);
    // One placed task must match all terms.
    let mut both = required("zone", "app=web");
    both.required.push(term("host", "tier=1"));
    check(&with("", both.clone()), &[web(), with("tier=1", PodAffinity::default())], [Err(Lonely); 3]);
    check(
        &with("", both),
        &[with("app=web,tier=1", PodAffinity::default())],
        [Ok(()), Err(Lonely), Err(Lonely)],
    );
}

#[test]
fn tasks_that_are_released_still_count() {
    let web = with("app=web", PodAffinity::default());
    let mut state = cluster(&[("host=a", &[web])]);
    let task = state.node(NodeId::new(0)).tasks()[0];
    state.requeue_task(task);
    state.observe_task(task, NodeId::new(0), None, TaskStatus::Releasing);
    let newcomer = with("", anti("host", "app=web"));
    assert_eq!(
        verdicts(&mut InterPodAffinity::default(), &state, &newcomer),
        [Err(Rejection::PodAntiAffinity)]
    );
}

#[test]
fn preferred_terms() {
    let preferred = |weight, term| PodAffinity { preferred: vec![(weight, term)], ..PodAffinity::default() };
    let repelled =
        |weight, term| PodAffinity { anti_preferred: vec![(weight, term)], ..PodAffinity::default() };
    let check = |task: &TaskSpec, config, placed: &[TaskSpec], expected: Option<[i64; 3]>| {
        let state = cluster(&[("zone=1,host=a", placed), ("zone=1,host=b", &[]), ("zone=2,host=c", &[])]);
        let nodes: Vec<_> = state.node_ids().collect();
        let mut plugin = InterPodAffinityScore::new(config);
        let applies = plugin.applies(&state, task);
        let mut scores = Vec::new();
        plugin.score(&state, task, &nodes, &mut scores);
        let expected = expected.as_ref().map(|scores| &scores[..]);
        assert_eq!(applies.then_some(&scores[..]), expected, "{task:?} beside {placed:?}");
    };
    let default = PodAffinityConfig::default();
    let web = || with("app=web", PodAffinity::default());
    check(&web(), default, &[web()], None);
    check(&with("", preferred(5, term("zone", "app=web"))), default, &[web()], Some([100, 100, 0]));
    check(&with("", repelled(5, term("host", "app=web"))), default, &[web()], Some([0, 100, 100]));
    // Both ways: a placed task's preference, its aversion, and its requirement by the hard weight.
    check(&web(), default, &[with("", preferred(1, term("host", "app=web")))], Some([100, 0, 0]));
    check(&web(), default, &[with("", required("zone", "app=web"))], Some([100, 100, 0]));
    let no_weight = PodAffinityConfig { hard_weight: 0, ..default };
    check(&web(), no_weight, &[with("", required("zone", "app=web"))], None);
    let ignores = PodAffinityConfig { ignores_preferred_terms_of_placed: true, ..default };
    check(&web(), ignores, &[with("", preferred(1, term("host", "app=web")))], None);
}

proptest! {
    /// Sums that are kept and repaired give the verdicts and scores of plugins that have seen nothing before.
    #[test]
    fn kept_sums_equal_fresh_ones(
        steps in prop::collection::vec((0_usize..4, 0_usize..6, any::<bool>()), 0..50),
    ) {
        let mut state = cluster(&[("zone=1,host=a", &[]), ("zone=1,host=b", &[]), ("zone=2,host=c", &[]), ("", &[])]);
        let mut mixed = required("zone", "app=web");
        mixed.anti_preferred.push((3, term("host", "app=db")));
        mixed.preferred.push((2, term("zone", "app=web")));
        let kinds = [
            with("app=web", PodAffinity::default()),
            with("app=db", anti("host", "app=web")),
            with("app=web", mixed),
            with("", anti("zone", "app=db")),
            with("app=db", required("host", "app=db")),
            with("", PodAffinity::default()),
        ];
        let (mut kept, mut kept_score) =
            (InterPodAffinity::default(), InterPodAffinityScore::new(PodAffinityConfig::default()));
        let nodes: Vec<_> = state.node_ids().collect();
        let mut jobs = Vec::new();
        for (node, kind, remove) in steps {
            if remove && !jobs.is_empty() {
                state.remove_job(jobs.swap_remove(node % jobs.len()));
            } else {
                jobs.push(place(&mut state, &kinds[kind], node));
            }
            let newcomer = &kinds[kind];
            let expected = verdicts(&mut InterPodAffinity::default(), &state, newcomer);
            prop_assert_eq!(verdicts(&mut kept, &state, newcomer), expected);
            let mut fresh = InterPodAffinityScore::new(PodAffinityConfig::default());
            let applies = fresh.applies(&state, newcomer);
            prop_assert_eq!(kept_score.applies(&state, newcomer), applies);
            let (mut expected, mut actual) = (Vec::new(), Vec::new());
            fresh.score(&state, newcomer, &nodes, &mut expected);
            kept_score.score(&state, newcomer, &nodes, &mut actual);
            prop_assert_eq!(actual, expected);
        }
    }
}
