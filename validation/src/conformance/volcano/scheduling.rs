//! Cases that run actions and compare what was decided.

use std::collections::BTreeMap;

use foretell_actions::pick_order;
use foretell_framework::{Decision, JobPhase, Profile, Session, TaskStatus, Time};
use foretell_manifests::config::volcano_config;
use foretell_manifests::{Cluster, Origin};
use foretell_scenarios::sim::engine::Streams;
use serde_json::Value;

use crate::conformance::{Case, Outcome};

/// Objects of these kinds are not modelled: what the case is about cannot be tried.
const UNSUPPORTED_KINDS: [(&str, &str); 3] = [
    ("ResourceClaim", "dynamic resource allocation is not modelled"),
    ("ResourceSlice", "dynamic resource allocation is not modelled"),
    ("PersistentVolumeClaim", "volumes are not modelled"),
];

/// Runs a case.
pub(super) fn run(case: &Case) -> Outcome {
    if !case.get("/scheduler/sharding").is_null() {
        return Outcome::unsupported("shards of nodes are not modelled");
    }
    for (kind, reason) in UNSUPPORTED_KINDS {
        if case.objects.unknown.iter().any(|object| object.kind == kind) {
            return Outcome::unsupported(reason);
        }
    }
    try_run(case).unwrap_or_else(|message| Outcome::Failed { expected: "an answer".into(), got: message })
}

fn try_run(case: &Case) -> Result<Outcome, String> {
    let mut cluster = case.cluster().map_err(|error| error.to_string())?;
    let mut profile = profile(case)?;
    let mut run = Run { cluster: &mut cluster, binds: BTreeMap::new(), evictions: Vec::new() };
    for cycle in 0..case.get("/cycles").as_u64().unwrap_or(1) {
        let (mut random, mut decisions) = (Streams::new(0).stream("conformance", cycle), Vec::new());
        let mut session = Session::new(&mut run.cluster.state, Time::ZERO, &mut random, &mut decisions);
        // Phases are compared as the actions leave them, which is when Volcano's tests look.
        if cycle > 0 {
            session.update_job_phases();
        }
        profile.act(&mut session);
        run.record(&decisions);
    }
    let (mut expected, mut got) = (Vec::new(), Vec::new());
    for (wanted, found) in run.comparisons(case.get("/expect")) {
        if wanted != found {
            expected.push(wanted);
            got.push(found);
        }
    }
    Ok(Outcome::compare(expected.join("; "), got.join("; ")))
}

/// The profile that the case configures.
fn profile(case: &Case) -> Result<Profile, String> {
    let origin = Origin { file: case.path.display().to_string().into(), line: 0, object: "".into() };
    let config = volcano_config(case.get("/scheduler").clone(), &origin);
    let (config, _) = config.map_err(|error| error.to_string())?;
    let built = foretell_registry::volcano_profile(&case.name, &config);
    Ok(built.map_err(|error| error.to_string())?.profile)
}

/// Runs a case that is about the order in which backfill takes tasks.
pub(super) fn backfill_order(case: &Case) -> Outcome {
    let order = || {
        let cluster = case.cluster().map_err(|error| error.to_string())?;
        let mut profile = profile(case)?;
        profile.open(&cluster.state, Time::ZERO);
        let order = pick_order(&cluster.state, profile.plugins().tiers());
        let tasks = order.into_iter().flat_map(|(_, tasks)| tasks);
        let pods = tasks.map(|task| cluster.names.pod(task).unwrap_or("?").to_owned());
        Ok::<_, String>(pods.collect::<Vec<_>>().join(", "))
    };
    let expected = texts(case.expect("backfillOrder")).join(", ");
    Outcome::compare(expected, order().unwrap_or_else(|message| message))
}

/// A cluster after some cycles, and what was decided in them.
struct Run<'a> {
    cluster: &'a mut Cluster,
    /// Node by pod.
    binds: BTreeMap<String, String>,
    evictions: Vec<String>,
}

impl Run<'_> {
    fn record(&mut self, decisions: &[Decision]) {
        let names = &self.cluster.names;
        let pod = |task| names.pod(task).unwrap_or("?").to_owned();
        for decision in decisions {
            match *decision {
                Decision::Bind { task, node, .. } => {
                    self.binds.insert(pod(task), names.node_name(node).to_owned());
                }
                Decision::Evict { task, .. } => self.evictions.push(pod(task)),
                Decision::Nominate { .. } => {}
            }
        }
        self.evictions.sort();
    }

    /// The node to which a pod is nominated.
    fn nominated(&self, pod: &str) -> Option<String> {
        let task = self.cluster.state.task(self.cluster.names.task(pod)?)?;
        Some(self.cluster.names.node_name(task.nominated()?).to_owned())
    }

    fn pods_of(&self, group: &str) -> impl Iterator<Item = &str> {
        let names = &self.cluster.names;
        let job = names.job(group).and_then(|job| self.cluster.state.job(job));
        let tasks = job.map_or(&[][..], |job| job.tasks());
        tasks.iter().filter_map(|&task| names.pod(task))
    }

    /// Number of bound pods in each topology domain that holds nodes, ascending, without zeros.
    fn binds_per_domain(&self) -> Vec<u64> {
        let mut counts: BTreeMap<_, u64> = BTreeMap::new();
        for node in self.binds.values().filter_map(|node| self.cluster.names.node(node)) {
            *counts.entry(self.cluster.state.node(node).spec.domain).or_default() += 1;
        }
        let mut counts: Vec<_> = counts.into_values().collect();
        counts.sort_unstable();
        counts
    }

    /// Pairs of what was expected and what came out.
    fn comparisons(&self, expect: &Value) -> Vec<(String, String)> {
        let mut pairs = Vec::new();
        let on = |(pod, node): (&String, String)| format!("{pod} on {node}");
        if let Some(binds) = expect["binds"].as_object() {
            let expected: Vec<_> = binds.iter().map(|(pod, node)| on((pod, text(node).into()))).collect();
            let got: Vec<_> = self.binds.iter().map(|(pod, node)| on((pod, node.clone()))).collect();
            pairs.push((list("binds", &sorted(expected)), list("binds", &sorted(got))));
        }
        if let Some(count) = expect["bindCount"].as_u64() {
            pairs.push((format!("{count} binds"), format!("{} binds", self.binds.len())));
        }
        if let Some(counts) = expect["bindCountsPerHyperNode"].as_array() {
            let mut expected: Vec<_> = counts.iter().filter_map(Value::as_u64).collect();
            expected.retain(|&count| count > 0);
            let domains = |counts: &[u64]| format!("binds per domain {counts:?}");
            pairs.push((domains(&expected), domains(&self.binds_per_domain())));
        }
        let evictions = sorted(texts(&expect["evictions"]));
        if expect["evictionCount"].is_null() {
            // The list may be incomplete.
            for pod in evictions.iter().filter(|pod| !self.evictions.contains(pod)) {
                pairs.push((format!("{pod} evicted"), format!("{pod} not evicted")));
            }
        } else if !expect["evictions"].is_null() {
            pairs.push((list("evictions", &evictions), list("evictions", &self.evictions)));
        } else if let Some(count) = expect["evictionCount"].as_u64() {
            pairs.push((format!("{count} evictions"), format!("{} evictions", self.evictions.len())));
        }
        for (pod, node) in expect["pipelined"].as_object().into_iter().flatten() {
            let got = self.nominated(pod);
            // A node that is not named is not checked.
            let expected = node.as_str().map(str::to_owned).or_else(|| got.clone());
            let nominated =
                |node: Option<String>| format!("{pod} nominated to {}", node.unwrap_or("a node".into()));
            let got = got.map_or_else(|| format!("{pod} not nominated"), |node| nominated(Some(node)));
            pairs.push((nominated(expected), got));
        }
        for (group, nodes) in expect["pipelinedGroups"].as_object().into_iter().flatten() {
            let nodes = texts(nodes);
            let got: Vec<_> = self.pods_of(group).filter_map(|pod| self.nominated(pod)).collect();
            let expected = format!("pods of {group} nominated to some of {}", nodes.join(", "));
            let fine = !got.is_empty() && got.iter().all(|node| nodes.contains(node));
            let got = if fine { expected.clone() } else { list(&format!("nominations of {group}"), &got) };
            pairs.push((expected, got));
        }
        for pod in texts(&expect["pending"]) {
            let state = if self.binds.contains_key(&pod) { "bound" } else { "pending" };
            pairs.push((format!("{pod} pending"), format!("{pod} {state}")));
        }
        for (group, phase) in expect["podGroupPhases"].as_object().into_iter().flatten() {
            pairs.push((format!("{group} {}", text(phase)), format!("{group} {}", self.phase(group))));
        }
        for (group, counts) in expect["taskStatusCounts"].as_object().into_iter().flatten() {
            for (status, count) in counts.as_object().into_iter().flatten() {
                let of = |count: &str| format!("{count} tasks of {group} {status}");
                pairs.push((of(&count.to_string()), of(&self.count(group, status))));
            }
        }
        pairs
    }

    fn phase(&self, group: &str) -> &'static str {
        let job = self.cluster.names.job(group).and_then(|job| self.cluster.state.job(job));
        match job.map(|job| job.spec.phase) {
            None => "missing",
            Some(JobPhase::Pending) => "Pending",
            Some(JobPhase::Inqueue) => "Inqueue",
            Some(JobPhase::Running) => "Running",
            Some(JobPhase::Unknown) => "Unknown",
            Some(JobPhase::Completed) => "Completed",
        }
    }

    /// How many tasks of a group have one of Volcano's statuses.
    fn count(&self, group: &str, status: &str) -> String {
        let state = &self.cluster.state;
        let Some(job) = self.cluster.names.job(group).and_then(|job| state.job(job)) else {
            return "no".into();
        };
        match status {
            "Binding" | "Bound" | "Allocated" => job.count(TaskStatus::Bound),
            "Running" => job.count(TaskStatus::Running),
            "Releasing" => job.count(TaskStatus::Releasing),
            "Pipelined" => job.nominated(),
            "Pending" => job.count(TaskStatus::Waiting) - job.nominated(),
            _ => return "an unknown number of".into(),
        }
        .to_string()
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or("")
}

fn texts(value: &Value) -> Vec<String> {
    let texts = value.as_array().into_iter().flatten().filter_map(Value::as_str);
    texts.map(str::to_owned).collect()
}

fn sorted(mut items: Vec<String>) -> Vec<String> {
    items.sort();
    items
}

fn list(what: &str, items: &[String]) -> String {
    if items.is_empty() { format!("no {what}") } else { format!("{what} {}", items.join(", ")) }
}
