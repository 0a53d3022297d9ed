//! Cases that run cycles and compare where every pod ends.

use std::collections::BTreeMap;

use foretell_framework::{ClusterState, Decision, Session, TaskId, TaskStatus, Time};
use foretell_kai::{Kai, KaiConfig, Strategy, Verb};
use foretell_manifests::Cluster;
use foretell_scenarios::sim::engine::Streams;
use serde_json::Value;

use crate::conformance::{Case, Outcome};

/// Objects of these kinds are not modelled: what the case is about cannot be tried.
const UNSUPPORTED_KINDS: [&str; 3] = ["ResourceClaim", "ResourceClaimTemplate", "ResourceSlice"];

/// Runs a case.
pub(super) fn run(case: &Case) -> Outcome {
    if case.objects.unknown.iter().any(|object| UNSUPPORTED_KINDS.contains(&object.kind.as_str())) {
        return Outcome::unsupported("dynamic resource allocation is not modelled");
    }
    try_run(case).unwrap_or_else(|message| Outcome::Failed { expected: "an answer".into(), got: message })
}

fn try_run(case: &Case) -> Result<Outcome, String> {
    let mut cluster = case.cluster().map_err(|error| error.to_string())?;
    let mut profile = Kai::profile(case.name.clone(), config(case.get("/scheduler"))?);
    let now = case.text("/clock").ok_or("expected a clock")?;
    let now = now.parse::<jiff::Timestamp>().map_err(|error| error.to_string())?;
    let now = Time::from_nanos(u64::try_from(now.as_nanosecond()).unwrap_or(0));
    let cycles = case.get("/cycles").as_u64().unwrap_or(1);
    let stable_cycles = case.get("/stableCycles").as_u64();
    let (mut expected, mut got) = (Vec::new(), Vec::new());
    let (mut rounds, mut confirmed) = (0, None);
    for cycle in 0.. {
        let (mut random, mut decisions) = (Streams::new(0).stream("conformance", cycle), Vec::new());
        let mut session = Session::new(&mut cluster.state, now, &mut random, &mut decisions);
        profile.cycle(&mut session);
        let pairs = comparisons(&cluster, case.get("/expect/finalPods"), stable_cycles.is_some());
        (expected, got) = pairs.into_iter().filter(|(expected, got)| expected != got).unzip();
        let holds = expected.is_empty();
        compare_limits(case.get("/expect/limits"), &decisions, &mut expected, &mut got);
        let Some(stable_cycles) = stable_cycles else { break };
        take_turn(&mut cluster.state, now);
        rounds += 1;
        // It takes some rounds until the state holds; in those that follow it must.
        match &mut confirmed {
            None if holds || rounds == cycles => confirmed = Some(0),
            None => {}
            Some(confirmed) => {
                *confirmed += 1;
                if !expected.is_empty() || *confirmed >= stable_cycles {
                    break;
                }
            }
        }
    }
    Ok(Outcome::compare(expected.join("; "), got.join("; ")))
}

/// What the harness does between rounds: what is bound runs, and what was told to stop waits without a node.
fn take_turn(state: &mut ClusterState, now: Time) {
    let tasks: Vec<TaskId> = state.jobs().flat_map(|(_, job)| job.tasks().to_vec()).collect();
    for task in tasks {
        match state.task(task).map(foretell_framework::Task::status) {
            Some(TaskStatus::Bound) => state.start_task(task, now),
            Some(TaskStatus::Releasing) => {
                state.requeue_task(task);
                state.observe_nomination(task, None);
            }
            Some(TaskStatus::Waiting) => state.observe_nomination(task, None),
            _ => {}
        }
    }
}

/// Pairs of what was expected of a pod and what became of it. `in_turns` looks at pods as they are after the turn of the
/// harness.
fn comparisons(cluster: &Cluster, expect: &Value, in_turns: bool) -> Vec<(String, String)> {
    let mut pairs = Vec::new();
    for (pod, wanted) in expect.as_object().into_iter().flatten() {
        let task = cluster.names.task(pod).and_then(|task| cluster.state.task(task));
        let Some(task) = task else {
            pairs.push((pod.clone(), format!("{pod} is missing")));
            continue;
        };
        let at = |node| cluster.names.node_name(node).to_owned();
        let placement = task.placement().map(|placement| at(placement.node));
        let nominated = task.nominated().map(at);
        let (status, node) = match (task.status(), nominated) {
            (TaskStatus::Waiting | TaskStatus::Releasing, Some(node)) if !in_turns => {
                ("Pipelined", Some(node))
            }
            (TaskStatus::Waiting, _) => ("Pending", None),
            (TaskStatus::Releasing, _) if in_turns => ("Pending", None),
            (TaskStatus::Releasing, _) => ("Releasing", placement),
            (TaskStatus::Bound, _) if in_turns => ("Running", placement),
            (TaskStatus::Bound, _) => ("Binding", placement),
            (TaskStatus::Running, _) => ("Running", placement),
            (TaskStatus::Succeeded, _) => ("Succeeded", placement),
            (TaskStatus::Failed, _) => ("Failed", placement),
        };
        let ended = matches!(task.status(), TaskStatus::Succeeded | TaskStatus::Failed);
        let describe = |status: &str, node: Option<&str>| {
            let place = node.map(|node| format!(" on {node}")).unwrap_or_default();
            format!("{pod} {status}{place}")
        };
        let wanted_node = wanted["node"].as_str().filter(|_| !ended);
        // A node that is not named is not checked.
        let node = node.filter(|_| wanted_node.is_some());
        pairs.push((
            describe(wanted["status"].as_str().unwrap_or("?"), wanted_node),
            describe(status, node.as_deref()),
        ));
    }
    pairs
}

/// Holds the number of decisions of a round against the most that is expected.
fn compare_limits(limits: &Value, decisions: &[Decision], expected: &mut Vec<String>, got: &mut Vec<String>) {
    let count = |is: fn(&Decision) -> bool| decisions.iter().filter(|decision| is(decision)).count() as u64;
    let counts = BTreeMap::from([
        ("binds", count(|decision| matches!(decision, Decision::Bind { .. }))),
        ("evictions", count(|decision| matches!(decision, Decision::Evict { .. }))),
        ("pipelined", count(|decision| matches!(decision, Decision::Nominate { node: Some(_), .. }))),
    ]);
    for (name, count) in counts {
        if let Some(limit) = limits[name].as_u64().filter(|&limit| count > limit) {
            expected.push(format!("at most {limit} {name}"));
            got.push(format!("{count} {name}"));
        }
    }
}

/// The configuration that a case writes out.
fn config(scheduler: &Value) -> Result<KaiConfig, String> {
    let names = scheduler["actions"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let verb = |name: &str| Verb::named(name).ok_or_else(|| format!("unknown action {name}"));
    let mut config = KaiConfig { verbs: names.map(verb).collect::<Result<_, _>>()?, ..KaiConfig::default() };
    if let Some(plugins) = scheduler["plugins"].as_array() {
        let has = |name: &str| plugins.iter().any(|plugin| plugin["name"] == name);
        config.prefers.shared_gpus = has("gpusharingorder");
        config.prefers.available = has("nodeavailability");
        config.prefers.resource_type = has("resourcetype");
        if has("gpuspread") {
            config.gpu_sharing = Strategy::Spread;
        }
        for plugin in plugins.iter().filter(|plugin| plugin["name"] == "nodeplacement") {
            let strategy = |resource: &str| match plugin["arguments"][resource].as_str() {
                Some("spread") => Strategy::Spread,
                _ => Strategy::Binpack,
            };
            (config.gpu_placement, config.cpu_placement) = (strategy("gpu"), strategy("cpu"));
        }
    }
    // The harness of full cycles knows no grace.
    config.staleness_grace = Some(Time::ZERO);
    if let Some(text) = scheduler["stalenessGracePeriod"].as_str() {
        let grace = text.parse::<jiff::SignedDuration>().map_err(|error| format!("{text}: {error}"))?;
        config.staleness_grace = (!grace.is_negative()).then(|| Time::from_s(grace.as_secs_f64()));
    }
    Ok(config)
}
