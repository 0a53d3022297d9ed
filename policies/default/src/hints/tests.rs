use foretell_framework::spec::{Taint, TaintEffect, Toleration};
use foretell_framework::{LabelSelector, Resources};
use std::vec;

use super::KubePlugin as Plugin;
use super::*;
use crate::test_support::labels;

fn node(cpu_milli: u64, text: &str) -> NodeSpec {
    NodeSpec { allocatable: Resources::new(cpu_milli, 100), labels: labels(text), ..NodeSpec::new("n") }
}

fn pod(cpu_milli: u64, text: &str) -> TaskSpec {
    TaskSpec { requests: Resources::new(cpu_milli, 10), labels: labels(text), ..TaskSpec::default() }
}

fn check(plugin: KubePlugin, pod: &TaskSpec, event: HintEvent<'_>, helps: bool) {
    let (config, state) = (DefaultConfig::default(), ClusterState::new());
    assert_eq!(Hints::new(&config, &state).hint(plugin, pod, &event), helps.into(), "{plugin:?}: {event:?}");
}

#[test]
fn nodes_help_where_they_become_what_was_missing() {
    let change = |plugin, pod: &TaskSpec, old: Option<&NodeSpec>, new: &NodeSpec, helps| {
        check(plugin, pod, HintEvent::Node { old, new: Some(new) }, helps);
    };
    let wants = pod(50, "");
    change(Plugin::NodeResourcesFit, &wants, None, &node(60, ""), true);
    change(Plugin::NodeResourcesFit, &wants, None, &node(40, ""), false);
    change(Plugin::NodeResourcesFit, &wants, Some(&node(55, "")), &node(60, ""), true);
    change(Plugin::NodeResourcesFit, &wants, Some(&node(60, "")), &node(60, "a=b"), false);
    let selects = TaskSpec { node_selector: labels("a=b"), ..pod(0, "") };
    change(Plugin::NodeAffinity, &selects, Some(&node(0, "")), &node(0, "a=b"), true);
    change(Plugin::NodeAffinity, &selects, Some(&node(0, "a=b")), &node(9, "a=b"), false);
    let cordoned = NodeSpec { unschedulable: true, ..node(0, "") };
    change(Plugin::NodeUnschedulable, &wants, Some(&cordoned), &node(0, ""), true);
    change(Plugin::NodeUnschedulable, &wants, None, &cordoned, false);
    let taint = Taint { key: "k".into(), value: "v".into(), effect: TaintEffect::NoSchedule };
    let tainted = NodeSpec { taints: vec![taint], ..node(0, "") };
    change(Plugin::TaintToleration, &wants, Some(&tainted), &node(0, ""), true);
    change(Plugin::TaintToleration, &wants, Some(&node(0, "")), &tainted, false);
}

#[test]
fn pods_help_where_they_free_or_keep_company() {
    let view = |spec, is_bound| PodView { spec, is_bound, is_nominated: false };
    let gone = |spec, is_bound| HintEvent::Pod { old: Some(view(spec, is_bound)), new: None, is_own: false };
    let came = |spec| HintEvent::Pod { old: None, new: Some(view(spec, true)), is_own: false };
    let (web, db) = (pod(5, "app=web"), pod(5, "app=db"));
    check(Plugin::NodeResourcesFit, &db, gone(&web, true), true);
    check(Plugin::NodeResourcesFit, &db, gone(&web, false), false);
    let smaller = pod(4, "app=web");
    let resized =
        HintEvent::Pod { old: Some(view(&web, true)), new: Some(view(&smaller, true)), is_own: false };
    check(Plugin::NodeResourcesFit, &db, resized, true);
    check(Plugin::NodeResourcesFit, &pod(0, ""), gone(&web, true), true);
    let term = PodAffinityTerm {
        topology_key: "zone".into(),
        selector: Some(LabelSelector::of_labels(&labels("app=web"))),
        ..PodAffinityTerm::default()
    };
    let (mut friend, mut foe) = (pod(0, ""), pod(0, ""));
    friend.pod_affinity.required.push(term.clone());
    foe.pod_affinity.anti_required.push(term);
    check(Plugin::InterPodAffinity, &friend, came(&web), true);
    check(Plugin::InterPodAffinity, &friend, came(&db), false);
    check(Plugin::InterPodAffinity, &friend, gone(&web, true), false);
    check(Plugin::InterPodAffinity, &foe, gone(&web, true), true);
    check(Plugin::InterPodAffinity, &foe, came(&web), false);
    // What kept the pod away is gone.
    check(Plugin::InterPodAffinity, &web, gone(&foe, true), true);
    let tolerant = TaskSpec {
        tolerations: vec![Toleration { key: None, ..Toleration::default() }],
        ..pod(5, "app=web")
    };
    let own =
        HintEvent::Pod { old: Some(view(&web, false)), new: Some(view(&tolerant, false)), is_own: true };
    check(Plugin::TaintToleration, &tolerant, own, true);
    check(Plugin::NodeUnschedulable, &tolerant, own, true);
}
