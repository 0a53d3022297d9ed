//! Verdicts of one filter.

use std::collections::{BTreeMap, BTreeSet};

use foretell_default::{Insufficiency, KubePlugin, insufficiencies, narrowed_nodes};
use foretell_framework::select::{BestFitGpus, BestNode};
use foretell_framework::{NodeId, Plugins, Rejection, TaskSpec};
use foretell_manifests::Cluster;
use serde_json::{Value, json};

use super::{Tried, cluster, names, plugin, pod};
use crate::conformance::{Case, Outcome};

pub(super) fn run(case: &Case) -> Tried {
    let (plugin, config) = plugin(case)?;
    let cluster = cluster(case)?;
    let task = pod(case, &cluster)?;
    let mut spec = cluster.state.task_spec(task).ok_or("the pod is gone")?.clone();
    if let Some(node) = case.text("/requestedNode") {
        spec.node_name = Some(node.into());
    }
    let mut plugins =
        Plugins::new(Box::new(BestNode), Box::new(BestFitGpus)).with_filters(config.filter(plugin));
    let (mut feasible, mut infeasible) = (BTreeSet::new(), BTreeMap::new());
    let (mut unresolvable, mut details) = (BTreeSet::new(), Vec::new());
    for node in cluster.state.node_ids() {
        let name = cluster.names.node_name(node).to_owned();
        let Err(rejection) = plugins.filter_node(&cluster.state, &spec, node) else {
            feasible.insert(name);
            continue;
        };
        if rejection.is_unresolvable() {
            unresolvable.insert(name.clone());
        }
        let found = insufficiencies(&cluster.state, &spec, node, &config.ignored_resources);
        let of_resources = plugin == KubePlugin::NodeResourcesFit;
        let words = if of_resources { resource_words(&cluster, &found) } else { words(keyword(rejection)) };
        infeasible.insert(name, words);
        details.extend(found.iter().filter(|_| of_resources).map(|found| detail(&cluster, found)));
    }
    let expected_feasible: BTreeSet<_> = names(case.expect("feasible")).into_iter().collect();
    let expected_infeasible: BTreeMap<_, _> = case
        .expect("infeasible")
        .as_object()
        .into_iter()
        .flatten()
        .map(|(node, word)| (node.clone(), words(word.as_str().unwrap_or_default())))
        .collect();
    let expected_unresolvable: BTreeSet<_> = names(case.expect("unresolvable")).into_iter().collect();
    let mut parts = vec![
        [format!("feasible {expected_feasible:?}"), format!("feasible {feasible:?}")],
        [format!("infeasible {expected_infeasible:?}"), format!("infeasible {infeasible:?}")],
    ];
    if !case.expect("unresolvable").is_null() {
        let expected = format!("unresolvable {expected_unresolvable:?}");
        parts.push([expected, format!("unresolvable {unresolvable:?}")]);
    }
    if let Some(expected_details) = case.get("/detail").as_array() {
        parts.push([sorted(expected_details.clone()), sorted(details)]);
    }
    if !case.get("/preFilterNodes").is_null() {
        let narrowed: BTreeSet<_> = narrowed(&spec, &cluster).into_iter().collect();
        let expected: BTreeSet<_> = names(case.get("/preFilterNodes")).into_iter().collect();
        parts.push([format!("narrowed to {expected:?}"), format!("narrowed to {narrowed:?}")]);
    }
    let [expected, got] = [0, 1].map(|side| {
        let side: Vec<_> = parts.iter().map(|part| part[side].as_str()).collect();
        side.join(", ")
    });
    Ok(Outcome::compare(expected, got))
}

fn narrowed(spec: &TaskSpec, cluster: &Cluster) -> Vec<String> {
    let everywhere = || {
        let nodes = cluster.state.node_ids().collect::<Vec<NodeId>>();
        nodes.into_iter().map(|node| cluster.names.node_name(node).to_owned()).collect()
    };
    narrowed_nodes(&spec.node_affinity.required)
        .map_or_else(everywhere, |names| names.into_iter().map(str::to_owned).collect())
}

/// The corpus' word for a rejection.
fn keyword(rejection: Rejection) -> &'static str {
    match rejection {
        Rejection::Unschedulable => "node-unschedulable",
        Rejection::NodeName => "node-name",
        Rejection::UntoleratedTaint => "untolerated-taint",
        Rejection::EnforcedNodeAffinity => "enforced-node-affinity",
        Rejection::NodeAffinity => "node-affinity",
        Rejection::HostPort => "host-port-conflict",
        Rejection::TopologySpread => "topology-spread",
        Rejection::TopologyKeyMissing => "topology-spread-missing-label",
        Rejection::PodAffinity => "pod-affinity",
        Rejection::PodAntiAffinity => "pod-anti-affinity",
        Rejection::ExistingPodAntiAffinity => "existing-pod-anti-affinity",
        other => other.message(),
    }
}

/// The words of a keyword, whatever joins them.
fn words(keyword: &str) -> BTreeSet<String> {
    let parts = keyword.split([' ', '+', ',']).filter(|part| !part.is_empty());
    parts.map(|part| part.trim_start_matches("insufficient:").to_owned()).collect()
}

fn resource_name<'a>(cluster: &'a Cluster, found: &'a Insufficiency) -> &'a str {
    let is_gpu = matches!(found.rejection, Rejection::InsufficientGpu | Rejection::TooFewGpus);
    cluster.names.gpu_resource.as_deref().filter(|_| is_gpu).unwrap_or(&found.resource)
}

fn resource_words(cluster: &Cluster, found: &[Insufficiency]) -> BTreeSet<String> {
    let word = |found: &Insufficiency| match found.rejection {
        Rejection::TooManyTasks => "too-many-pods".to_owned(),
        _ => resource_name(cluster, found).to_owned(),
    };
    found.iter().map(word).collect()
}

fn detail(cluster: &Cluster, found: &Insufficiency) -> Value {
    json!({
        "resource": resource_name(cluster, found),
        "requested": found.requested,
        "used": found.used,
        "capacity": found.capacity,
    })
}

/// Details in an order that does not depend on where they come from.
fn sorted(details: Vec<Value>) -> String {
    let line = |detail: Value| {
        let get = |name: &str| detail.get(name).cloned().unwrap_or_default();
        format!("{} {} {} {}", get("resource"), get("requested"), get("used"), get("capacity"))
    };
    let mut lines: Vec<_> = details.into_iter().map(line).collect();
    lines.sort();
    lines.join("; ")
}
