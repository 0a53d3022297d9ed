//! Preemption: dry runs, choices, budgets.

use std::collections::{BTreeMap, BTreeSet};

use foretell_default::{Candidate, DefaultConfig, DryRun, PreemptionConfig, preempt, split_by_budgets};
use foretell_framework::select::{BestFitGpus, BestNode};
use foretell_framework::{
    ClusterState, Decision, Filter, NodeId, Plugins, Rejection, Scope, Session, TaskId, TaskSpec, Time,
};
use foretell_manifests::Cluster;
use foretell_scenarios::sim::engine::Streams;
use serde_json::Value;

use super::{Tried, cluster, filters, names, nodes_by_name, plugin, task};
use crate::conformance::{Case, Outcome};

/// Later than every start in the corpus.
const NOW: Time = Time::MAX;

pub(super) fn run(case: &Case) -> Tried {
    let mut cluster = cluster(case)?;
    if !case.get("/candidateVictims").is_null() {
        return run_budgets(case, &cluster);
    }
    let (_, config) = plugin(case)?;
    let preemption = config.preemption.ok_or("preemption is off")?;
    if case.expect("candidates").is_null() {
        run_choice(case, &mut cluster, &config, preemption)
    } else {
        run_dry_run(case, &mut cluster, &config, preemption)
    }
}

fn run_budgets(case: &Case, cluster: &Cluster) -> Tried {
    let tasks = names(case.get("/candidateVictims"));
    let tasks = tasks.iter().map(|name| task(cluster, name)).collect::<Result<Vec<_>, _>>()?;
    let (violating, other) = split_by_budgets(&cluster.state, &tasks);
    let got = |tasks: &[TaskId]| tasks.iter().filter_map(|&task| cluster.names.pod(task)).collect::<Vec<_>>();
    Ok(Outcome::compare(
        format!("{:?} {:?}", names(case.expect("violating")), names(case.expect("nonViolating"))),
        format!("{:?} {:?}", got(&violating), got(&other)),
    ))
}

/// Plugins with the filters that a case lists, for one pod.
fn plugins(case: &Case, config: &DefaultConfig, pod: &str) -> Result<Plugins, String> {
    let plugins = Plugins::new(Box::new(BestNode), Box::new(BestFitGpus)).honouring_nominations();
    let mut listed = Vec::new();
    for name in names(case.get("/filterPlugins")) {
        listed.extend(filters(&name, config, pod)?);
    }
    let plugins = plugins.with_filters(listed);
    let Some(statuses) = case.get("/filterStatus").as_object() else { return Ok(plugins) };
    let resolvable = statuses.iter().filter(|(_, status)| *status == "Unschedulable");
    let resolvable = resolvable.map(|(node, _)| node.as_str().into()).collect();
    Ok(plugins.with_filters([Box::new(ByStatus { resolvable }) as Box<dyn Filter>]))
}

/// Rejects, beyond remedy, nodes of which a failed filter phase did not say that they are just unschedulable.
struct ByStatus {
    resolvable: BTreeSet<Box<str>>,
}

impl Filter for ByStatus {
    fn name(&self) -> &'static str {
        "ByStatus"
    }

    fn scope(&self) -> Scope {
        Scope::NodeSpec
    }

    fn filter(&mut self, state: &ClusterState, _task: &TaskSpec, node: NodeId) -> Result<(), Rejection> {
        let known = self.resolvable.contains(&state.node(node).spec.name);
        if known { Ok(()) } else { Err(Rejection::NodeAffinity) }
    }
}

/// The choice in full.
fn run_choice(
    case: &Case,
    cluster: &mut Cluster,
    config: &DefaultConfig,
    preemption: PreemptionConfig,
) -> Tried {
    let pod = case.text("/pod").ok_or("no pod")?;
    let preemptor = task(cluster, pod)?;
    let mut plugins = plugins(case, config, pod)?;
    let mut random = Streams::new(1).stream("conformance", 0);
    let mut decisions = Vec::new();
    let mut session = Session::new(&mut cluster.state, NOW, &mut random, &mut decisions);
    let (mut transaction, random) = session.begin();
    let node = preempt(&preemption, &mut plugins, &mut transaction, random, preemptor, NOW);
    transaction.commit();
    let node = node.map(|node| cluster.names.node_name(node).to_owned());
    let victims: BTreeSet<_> = decisions
        .iter()
        .filter_map(|decision| match decision {
            Decision::Evict { task, .. } => cluster.names.pod(*task).map(str::to_owned),
            _ => None,
        })
        .collect();
    let any_of = names(case.expect("nodeAnyOf"));
    let right_node = if any_of.is_empty() {
        node.as_deref() == case.expect("node").as_str()
    } else {
        node.as_ref().is_some_and(|node| any_of.contains(node))
    };
    let expected: BTreeSet<_> = names(case.expect("victims")).into_iter().collect();
    if right_node && (case.expect("victims").is_null() || victims == expected) {
        return Ok(Outcome::Passed);
    }
    Ok(Outcome::Failed {
        expected: format!("{} {any_of:?}, victims {expected:?}", case.expect("node")),
        got: format!("{node:?}, victims {victims:?}"),
    })
}

/// The candidates, and how often the filters ran, for each preemptor from the same state.
fn run_dry_run(
    case: &Case,
    cluster: &mut Cluster,
    config: &DefaultConfig,
    preemption: PreemptionConfig,
) -> Tried {
    let mut pods = names(case.get("/pods"));
    if pods.is_empty() {
        pods.push(case.text("/pod").ok_or("no pod")?.to_owned());
    }
    let expected = match case.expect("candidates") {
        Value::Array(lists) => lists.clone(),
        one => vec![one.clone()],
    };
    let calls: Vec<_> = case.expect("filterCalls").as_array().cloned().unwrap_or_default();
    let offsets: Vec<_> = case.get("/offsets").as_array().into_iter().flatten().collect();
    let nodes = nodes_by_name(cluster);
    let (mut wanted, mut got) = (Vec::new(), Vec::new());
    for (position, pod) in pods.iter().enumerate() {
        let preemptor = task(cluster, pod)?;
        let mut plugins = plugins(case, config, pod)?;
        let offset = offsets.get(position).and_then(|offset| offset.as_u64()).unwrap_or(0);
        let dry_run = DryRun { task: preemptor, wanted: preemption.candidates(nodes.len()), now: NOW };
        let mut count = 0_u64;
        let mut random = Streams::new(1).stream("conformance", 0);
        let mut decisions = Vec::new();
        let mut session = Session::new(&mut cluster.state, NOW, &mut random, &mut decisions);
        let (mut transaction, _) = session.begin();
        let candidates = dry_run.run(&mut transaction, &nodes, offset as usize, &mut |transaction, node| {
            count += 1;
            plugins.passes_beside_nominated(transaction, preemptor, node) && {
                let state = transaction.state();
                state.task_spec(preemptor).is_some_and(|spec| plugins.filter_node(state, spec, node).is_ok())
            }
        });
        drop(transaction);
        got.push(format!("{:?}", found(cluster, &candidates)));
        wanted.push(format!("{:?}", stated(expected.get(position).unwrap_or(&Value::Null))));
        if let Some(calls) = calls.get(position) {
            got.push(format!("{count} calls"));
            wanted.push(format!("{calls} calls"));
        }
    }
    Ok(Outcome::compare(wanted.join("; "), got.join("; ")))
}

/// Victims in order of name, and violations, by node.
type ByNode = BTreeMap<String, (BTreeSet<String>, u64)>;

fn found(cluster: &Cluster, candidates: &[Candidate]) -> ByNode {
    let candidate = |candidate: &Candidate| {
        let victims = candidate.victims.iter().filter_map(|&victim| cluster.names.pod(victim));
        let victims = victims.map(str::to_owned).collect();
        let node = cluster.names.node_name(candidate.node).to_owned();
        (node, (victims, candidate.budget_violations as u64))
    };
    candidates.iter().map(candidate).collect()
}

fn stated(candidates: &Value) -> ByNode {
    let candidate = |(node, candidate): (&String, &Value)| {
        let victims = names(&candidate["victims"]).into_iter().collect();
        (node.clone(), (victims, candidate["pdbViolations"].as_u64().unwrap_or(0)))
    };
    candidates.as_object().into_iter().flatten().map(candidate).collect()
}
