//! Cases that ask one plugin: scores, verdicts, victims, orders.

use std::cmp::Ordering;
use std::fmt::Write as _;

use foretell_actions::pick_order;
use foretell_framework::{
    ClusterState, DomainId, EnabledPlugin, JobId, NodeId, Rejection, SubJob, TaskId, Tiers, Time,
};
use foretell_manifests::config::volcano_config;
use foretell_manifests::{Cluster, Origin};
use foretell_registry::{
    VolcanoConfig, volcano_binpack, volcano_resource_strategy_fit, volcano_session_plugin,
};
use serde_json::Value;

use crate::conformance::{Case, Outcome};

/// The virtual domain over the whole cluster, as Volcano calls it.
const TOP: &str = "<cluster-top-hypernode>";

/// Noon: where a plugin goes by the time of day, the cases mean any time but midnight.
const NOON: Time = Time::from_nanos(12 * 3600 * 1_000_000_000);

/// Runs a case.
pub(super) fn run(case: &Case) -> Outcome {
    try_run(case).unwrap_or_else(|got| Outcome::Failed { expected: "an answer".to_owned(), got })
}

fn try_run(case: &Case) -> Result<Outcome, String> {
    let origin = Origin { file: case.path.display().to_string().into(), line: 0, object: "".into() };
    let mut scheduler = case.get("/scheduler").clone();
    if let Some(scheduler) = scheduler.as_object_mut() {
        // No action is run, and none is named; a configuration needs one.
        scheduler.entry("actions").or_insert_with(|| Value::from("allocate"));
    }
    let config = volcano_config(scheduler, &origin);
    let (config, _) = config.map_err(|error| error.to_string())?;
    let cluster = case.cluster().map_err(|error| error.to_string())?;
    let mut tiers = tiers(&config);
    tiers.open(&cluster.state, NOON);
    let asked = Asked { config: &config, cluster: &cluster, tiers: &tiers };
    let mut answers =
        Answers { tolerance: case.expect("tolerance").as_f64().unwrap_or(1e-9), ..Answers::default() };
    let expect = case.get("/expect").as_object().ok_or("the case expects nothing")?;
    for (name, expected) in expect {
        match name.as_str() {
            "tolerance" => {}
            "nodeScores" => asked.node_scores(expected, &mut answers)?,
            "hyperNodeScores" => asked.domain_scores(expected, &mut answers)?,
            "predicates" | "feasible" => asked.verdicts(expected, &mut answers)?,
            "enqueueable" => asked.enqueueable(expected, &mut answers)?,
            "victimCount" => {
                let tasks: Vec<_> = cluster.names.pods().map(|(_, task)| task).collect();
                let count = tiers.victims(&cluster.state, &tasks).len();
                answers.add("victims", expected.to_string(), count.to_string());
            }
            "jobOrder" => asked.job_order(expected, &mut answers)?,
            "backfillOrder" => asked.backfill_order(expected, &mut answers),
            other => return Ok(Outcome::unsupported(format!("expectation {other}"))),
        }
    }
    Ok(Outcome::compare(answers.expected, answers.got))
}

/// The plugins of the tiers, those that only score nodes apart.
fn tiers(config: &VolcanoConfig) -> Tiers {
    let enabled = |plugins: &Vec<_>| {
        let plugins = plugins.iter().filter_map(|plugin| {
            Some(EnabledPlugin { plugin: volcano_session_plugin(plugin)?, switches: plugin.switches })
        });
        plugins.collect()
    };
    Tiers::new(config.tiers.iter().map(enabled).collect())
}

/// What was expected and what came out, item by item: only differences are shown.
#[derive(Default)]
struct Answers {
    tolerance: f64,
    expected: String,
    got: String,
}

impl Answers {
    fn add(&mut self, what: &str, expected: impl AsRef<str>, got: impl AsRef<str>) {
        let (expected, got) = (expected.as_ref(), got.as_ref());
        if expected != got {
            let _ = write!(self.expected, "{what}: {expected}; ");
            let _ = write!(self.got, "{what}: {got}; ");
        }
    }

    fn add_number(&mut self, what: &str, expected: f64, got: f64) {
        if (expected - got).abs() > self.tolerance {
            self.add(what, expected.to_string(), got.to_string());
        }
    }
}

/// What is asked, and of whom.
struct Asked<'a> {
    config: &'a VolcanoConfig,
    cluster: &'a Cluster,
    tiers: &'a Tiers,
}

impl Asked<'_> {
    const fn state(&self) -> &ClusterState {
        &self.cluster.state
    }

    fn task(&self, pod: &str) -> Result<TaskId, String> {
        self.cluster.names.task(pod).ok_or_else(|| format!("no pod {pod}"))
    }

    fn node(&self, name: &str) -> Result<NodeId, String> {
        self.cluster.names.node(name).ok_or_else(|| format!("no node {name}"))
    }

    fn job(&self, group: &str) -> Result<JobId, String> {
        self.cluster.names.job(group).ok_or_else(|| format!("no group {group}"))
    }

    /// Scores of the nodes that are named, and of no others: the original asks with these as the candidates.
    fn node_scores(&self, expected: &Value, answers: &mut Answers) -> Result<(), String> {
        for (pod, scores) in objects(expected)? {
            let task = self.task(pod)?;
            let scores: Vec<(&String, &Value)> = objects(scores)?.collect();
            let mut nodes = scores.iter().map(|(name, _)| self.node(name)).collect::<Result<Vec<_>, _>>()?;
            if nodes.is_empty() {
                // No node has a score: all of them are asked.
                nodes = self.state().node_ids().collect();
            }
            let got = self.scores(task, &nodes);
            for (index, (node, got)) in nodes.iter().zip(got).enumerate() {
                let expected = scores.get(index).and_then(|(_, score)| score.as_f64()).unwrap_or(0.0);
                answers.add_number(
                    &format!("{pod} on {}", self.cluster.names.node_name(*node)),
                    expected,
                    got,
                );
            }
        }
        Ok(())
    }

    fn scores(&self, task: TaskId, nodes: &[NodeId]) -> Vec<f64> {
        let state = self.state();
        let mut totals = vec![0.0; nodes.len()];
        for plugin in self.config.tiers.iter().flatten().filter(|plugin| plugin.switches.node_order) {
            let Some(spec) = state.task_spec(task) else { continue };
            match &*plugin.name {
                "binpack" => {
                    let binpack = volcano_binpack(&plugin.arguments);
                    let score = |&node: &NodeId| binpack.node_score(state, spec, node);
                    totals.iter_mut().zip(nodes).for_each(|(total, node)| *total += score(node));
                }
                "resource-strategy-fit" => {
                    let fit = volcano_resource_strategy_fit(&plugin.arguments);
                    let score = |&node: &NodeId| fit.node_score(state, spec, node);
                    totals.iter_mut().zip(nodes).for_each(|(total, node)| *total += score(node));
                }
                _ => {
                    let Some(mut plugin) = volcano_session_plugin(plugin) else { continue };
                    plugin.open(state, NOON);
                    if plugin.judges_nodes(state, task) {
                        plugin.score_nodes(state, task, nodes, &mut totals);
                    }
                }
            }
        }
        totals
    }

    /// Scores of domains for the first sub-job of a group.
    fn domain_scores(&self, expected: &Value, answers: &mut Answers) -> Result<(), String> {
        for (group, scores) in objects(expected)? {
            let sub_jobs = SubJob::partition(self.state(), self.job(group)?);
            let sub_job = sub_jobs.first().ok_or("the group has no pods")?;
            let named: Vec<(&String, &Value)> = objects(scores)?.collect();
            let domain = |name: &str| match name {
                TOP => Ok(DomainId::new(self.state().domains().len())),
                name => self.cluster.names.domain(name).ok_or_else(|| format!("no hypernode {name}")),
            };
            let domains = named.iter().map(|(name, _)| domain(name)).collect::<Result<Vec<_>, _>>()?;
            let got = self.tiers.score_domains(self.state(), sub_job, &domains);
            for ((name, score), got) in named.iter().zip(got) {
                answers.add_number(&format!("{group} in {name}"), score.as_f64().unwrap_or(0.0), got);
            }
        }
        Ok(())
    }

    fn verdicts(&self, expected: &Value, answers: &mut Answers) -> Result<(), String> {
        for (pod, verdicts) in objects(expected)? {
            let task = self.task(pod)?;
            for (name, expected) in objects(verdicts)? {
                let verdict = self.tiers.filter_node(self.state(), task, self.node(name)?);
                let what = format!("{pod} on {name}");
                match expected {
                    Value::Bool(fits) => answers.add(&what, fits.to_string(), verdict.is_ok().to_string()),
                    expected => answers.add(&what, expected.as_str().unwrap_or_default(), status(verdict)),
                }
            }
        }
        Ok(())
    }

    fn enqueueable(&self, expected: &Value, answers: &mut Answers) -> Result<(), String> {
        for (group, expected) in objects(expected)? {
            let got = self.tiers.job_enqueueable(self.state(), self.job(group)?);
            answers.add(group, expected.to_string(), got.to_string());
        }
        Ok(())
    }

    fn job_order(&self, expected: &Value, answers: &mut Answers) -> Result<(), String> {
        let groups: Vec<&str> = expected.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        // Begun from behind, since a stable order of what is in order already proves nothing.
        let mut sorted: Vec<&str> = groups.iter().rev().copied().collect();
        let jobs = groups.iter().map(|group| self.job(group)).collect::<Result<Vec<_>, _>>()?;
        let job = |group: &str| groups.iter().position(|other| *other == group).map(|index| jobs[index]);
        sorted.sort_by(|left, right| match (job(left), job(right)) {
            (Some(left), Some(right)) => self.tiers.compare_jobs(self.state(), left, right),
            _ => Ordering::Equal,
        });
        answers.add("job order", groups.join(", "), sorted.join(", "));
        Ok(())
    }

    fn backfill_order(&self, expected: &Value, answers: &mut Answers) {
        let order = pick_order(self.state(), self.tiers);
        let tasks = order.iter().flat_map(|(_, tasks)| tasks);
        let got: Vec<&str> = tasks.filter_map(|&task| self.cluster.names.pod(task)).collect();
        let expected: Vec<&str> =
            expected.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        answers.add("backfill order", expected.join(", "), got.join(", "));
    }
}

fn objects(value: &Value) -> Result<impl Iterator<Item = (&String, &Value)>, String> {
    value.as_object().map(|map| map.iter()).ok_or_else(|| format!("expected a map, got {value}"))
}

/// The code of the original's verdict.
fn status(verdict: Result<(), Rejection>) -> &'static str {
    match verdict {
        Ok(()) => "Success",
        Err(rejection) if rejection.is_unresolvable() => "UnschedulableAndUnresolvable",
        Err(_) => "Unschedulable",
    }
}
