//! Choices of a node.

use foretell_default::{DefaultConfig, KubePlugin, KubeScore, SampledNodes, host_order, nodes_to_find};
use foretell_framework::select::{BestFitGpus, BestNode};
use foretell_framework::{ClusterState, NodeId, Plugins, Score, ScoreCandidates, SelectNode, TaskSpec};
use foretell_scenarios::sim::engine::Streams;
use serde_json::Value;

use super::{Tried, cluster, filters, names, pod};
use crate::conformance::{Case, Outcome};

pub(super) fn run(case: &Case) -> Tried {
    if !case.get("/sampling").is_null() {
        return run_sampling(case);
    }
    if let Some(candidates) = case.get("/selectHost/candidates").as_array() {
        return Ok(run_host_order(case, candidates));
    }
    if !case.get("/scorePlugins").is_null() {
        return run_scores(case);
    }
    run_schedule(case)
}

fn run_sampling(case: &Case) -> Tried {
    let number = |pointer: &str| case.get(pointer).as_u64();
    let nodes = number("/sampling/nodes").ok_or("no number of nodes")? as usize;
    let global = number("/sampling/globalPercentage").unwrap_or(0);
    let percentage = number("/sampling/profilePercentage").unwrap_or(global) as u32;
    let found = nodes_to_find(nodes, percentage);
    Ok(Outcome::compare(case.expect("nodesToFind").to_string(), found.to_string()))
}

fn run_host_order(case: &Case, candidates: &[Value]) -> Outcome {
    let total = |candidate: &Value| {
        (candidate["totalScore"].as_i64().unwrap_or(0), candidate["tieBreak"].as_u64().unwrap_or(0))
    };
    let order = host_order(&candidates.iter().map(total).collect::<Vec<_>>());
    let order: Vec<_> = order.into_iter().map(|position| candidates[position]["node"].clone()).collect();
    let expected = case.expect("order").as_array().cloned().unwrap_or_default();
    // Where tie-breaks are equal too, either is right.
    let key = |name: &Value| candidates.iter().find(|candidate| candidate["node"] == *name).map(total);
    let keys = |order: &[Value]| order.iter().map(key).collect::<Vec<_>>();
    if keys(&order) == keys(&expected) {
        return Outcome::Passed;
    }
    Outcome::compare(format!("{expected:?}"), format!("{order:?}"))
}

/// A scorer of the original tests that gives a node the number in its name, and 100 to `node2` against 10 for others.
enum TestScore {
    NumericMap,
    Node2,
}

impl Score for TestScore {
    fn name(&self) -> &'static str {
        match self {
            Self::NumericMap => "NumericMap",
            Self::Node2 => "Node2Prioritizer",
        }
    }

    fn score(&mut self, state: &ClusterState, _task: &TaskSpec, node: NodeId) -> i64 {
        let name = &state.node(node).spec.name;
        match self {
            Self::NumericMap => {
                let digits: String = name.chars().filter(char::is_ascii_digit).collect();
                digits.parse().unwrap_or(0)
            }
            Self::Node2 => {
                if **name == *"node2" {
                    100
                } else {
                    10
                }
            }
        }
    }
}

/// A scorer of the original tests that takes no part.
struct Skips;

impl ScoreCandidates for Skips {
    fn name(&self) -> &'static str {
        "FakePreScoreAndScorePlugin"
    }

    fn applies(&mut self, _state: &ClusterState, _task: &TaskSpec) -> bool {
        false
    }

    fn score(&mut self, _: &ClusterState, _: &TaskSpec, candidates: &[NodeId], scores: &mut Vec<i64>) {
        scores.extend(candidates.iter().map(|_| 0));
    }
}

fn with_score(plugins: Plugins, name: &str) -> Result<Plugins, String> {
    match name {
        "NumericMap" => return Ok(plugins.with_score(Box::new(TestScore::NumericMap), 1)),
        "Node2Prioritizer" => return Ok(plugins.with_score(Box::new(TestScore::Node2), 1)),
        "FakePreScoreAndScorePlugin" => return Ok(plugins.with_candidate_score(Box::new(Skips), 1)),
        _ => {}
    }
    let plugin = KubePlugin::from_name(name).ok_or_else(|| format!("unknown plugin {name}"))?;
    match DefaultConfig::default().score(plugin) {
        Some(KubeScore::Node(score)) => Ok(plugins.with_score(score, 1)),
        Some(KubeScore::Candidates(score)) => Ok(plugins.with_candidate_score(score, 1)),
        None => Err(format!("{name} scores nothing")),
    }
}

fn run_scores(case: &Case) -> Tried {
    let cluster = cluster(case)?;
    let (state, task) = (&cluster.state, pod(case, &cluster)?);
    let spec = state.task_spec(task).ok_or("the pod is gone")?;
    let mut plugins = Plugins::new(Box::new(BestNode), Box::new(BestFitGpus));
    for name in names(case.get("/scorePlugins")) {
        plugins = with_score(plugins, &name)?;
    }
    let nodes: Vec<_> = state.node_ids().collect();
    let scores = plugins.scores(state, spec, &nodes);
    let mut totals = serde_json::Map::new();
    let mut per_plugin = serde_json::Map::new();
    for (position, &node) in nodes.iter().enumerate() {
        let of_plugin = |(name, _, scores): &(&str, i64, Option<Vec<i64>>)| {
            // In the original, plugins that skip without saying so score 0.
            let score = match (*name, scores) {
                (_, Some(scores)) => scores[position],
                ("FakePreScoreAndScorePlugin", None) => return None,
                (_, None) => 0,
            };
            Some(((*name).to_owned(), Value::from(score)))
        };
        let of_node: serde_json::Map<_, _> = scores.iter().filter_map(of_plugin).collect();
        let name = cluster.names.node_name(node).to_owned();
        let total: i64 = of_node.values().filter_map(Value::as_i64).sum();
        totals.insert(name.clone(), total.into());
        per_plugin.insert(name, of_node.into());
    }
    let text = |totals: &Value, per_plugin: &Value| format!("{} {}", sorted(totals), sorted(per_plugin));
    Ok(Outcome::compare(
        text(case.expect("totals"), case.expect("perPlugin")),
        text(&totals.into(), &per_plugin.into()),
    ))
}

/// A value with its fields in order of name.
fn sorted(value: &Value) -> String {
    let Some(fields) = value.as_object() else { return value.to_string() };
    let mut fields: Vec<_> =
        fields.iter().map(|(name, value)| format!("{name}: {}", sorted(value))).collect();
    fields.sort();
    format!("{{{}}}", fields.join(", "))
}

/// Places the pod with some plugins: filters, and scorers of the tests.
fn run_schedule(case: &Case) -> Tried {
    let cluster = cluster(case)?;
    let task = pod(case, &cluster)?;
    let pod_name = case.text("/pod").unwrap_or_default();
    let listed = names(case.get("/plugins"));
    let build = |nodes: SampledNodes| {
        let mut plugins = Plugins::new(Box::new(nodes), Box::new(BestFitGpus)).honouring_nominations();
        for name in &listed {
            plugins = if matches!(name.as_str(), "NumericMap" | "Node2Prioritizer") {
                with_score(plugins, name)?
            } else {
                plugins.with_filters(filters(name, &DefaultConfig::default(), pod_name)?)
            };
        }
        Ok::<_, String>(plugins)
    };
    let scores = listed.iter().any(|name| matches!(name.as_str(), "NumericMap" | "Node2Prioritizer"));
    let nodes = || {
        let nodes = SampledNodes::new(0);
        if scores { nodes } else { nodes.stopping_at_first() }
    };
    // How many nodes the search looks at.
    let class = cluster.state.task(task).ok_or("the pod is gone")?.class;
    let (mut ranked, mut asked, mut searched) = (build(nodes())?, build(nodes())?, nodes());
    searched.observe(&cluster.state);
    let (state, mut found) = (&cluster.state, Vec::new());
    let mut passes = |node| asked.filter_node(state, state.class_spec(class), node).is_ok();
    searched.candidates(ranked.ranking(state, class), &mut passes, &mut found);
    let looked_at = searched.looked_at();
    // The node that it chooses.
    let mut random = Streams::new(1).stream("conformance", 0);
    let node = build(nodes())?.choose_node(&cluster.state, class, &mut random);
    let node = node.map(|node| cluster.names.node_name(node).to_owned());
    let any_of = names(case.expect("nodeAnyOf"));
    let right =
        node.as_ref().is_some_and(|node| any_of.contains(node)) || (node.is_none() && any_of.is_empty());
    let evaluated = case.expect("evaluatedNodes").as_u64();
    if right && evaluated.is_none_or(|evaluated| evaluated == looked_at as u64) {
        return Ok(Outcome::Passed);
    }
    Ok(Outcome::Failed {
        expected: format!("one of {any_of:?} after {evaluated:?} nodes"),
        got: format!("{node:?} after {looked_at} nodes"),
    })
}
