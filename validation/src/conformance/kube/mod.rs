//! Cases of kube-scheduler.

mod filter;
mod preemption;
mod queueing;
mod scheduling;
mod score;

use foretell_default::{DefaultConfig, KubePlugin};
use foretell_framework::{ClusterState, Filter, NodeId, Rejection, Scope, TaskId, TaskSpec};
use foretell_manifests::{Cluster, Origin, set_plugin_args};
use serde_json::Value;

use super::{Case, Outcome};

/// Runs a case.
pub(super) fn run(case: &Case) -> Outcome {
    let outcome = match case.kind.as_str() {
        "FilterCase" => filter::run(case),
        "ScoreCase" => score::run(case),
        "PreemptionCase" => preemption::run(case),
        "QueueingCase" => queueing::run(case),
        "SchedulingCase" => scheduling::run(case),
        _ => Ok(Outcome::unsupported("unknown kind of case")),
    };
    outcome.unwrap_or_else(|problem| Outcome::Failed {
        expected: "a case that can be run".to_owned(),
        got: problem,
    })
}

/// What came of a case, or why it could not be run.
type Tried = Result<Outcome, String>;

/// The plugin that a case is about, and the profile with the arguments that it gives.
fn plugin(case: &Case) -> Result<(KubePlugin, DefaultConfig), String> {
    let name = case.text("/plugin/name").ok_or("no plugin")?;
    let plugin = KubePlugin::from_name(name).ok_or_else(|| format!("unknown plugin {name}"))?;
    let mut config = DefaultConfig::default();
    let args = case.get("/plugin/args");
    if !args.is_null() {
        set_plugin_args(&mut config, plugin, args, &Origin::default()).map_err(|error| error.to_string())?;
    }
    Ok((plugin, config))
}

fn cluster(case: &Case) -> Result<Cluster, String> {
    case.cluster().map_err(|error| error.to_string())
}

/// The pod under test.
fn pod(case: &Case, cluster: &Cluster) -> Result<TaskId, String> {
    task(cluster, case.text("/pod").ok_or("no pod")?)
}

fn task(cluster: &Cluster, name: &str) -> Result<TaskId, String> {
    cluster.names.task(name).ok_or_else(|| format!("no pod {name}"))
}

/// Names listed in a value.
fn names(value: &Value) -> Vec<String> {
    value.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

/// All nodes in order of name, as the original tests list them.
fn nodes_by_name(cluster: &Cluster) -> Vec<NodeId> {
    let mut nodes: Vec<_> = cluster.state.node_ids().collect();
    nodes.sort_by_key(|&node| cluster.names.node_name(node));
    nodes
}

/// The filters of a plugin by name, the tests' own included. `pod` is the name of the pod under test.
fn filters(name: &str, config: &DefaultConfig, pod: &str) -> Result<Vec<Box<dyn Filter>>, String> {
    let verdict = match name {
        "TrueFilter" => Verdict::True,
        "FalseFilter" => Verdict::False,
        "MatchFilter" => Verdict::OnlyNode(pod.rsplit('/').next().unwrap_or(pod).to_owned()),
        _ => {
            let plugin = KubePlugin::from_name(name).ok_or_else(|| format!("unknown plugin {name}"))?;
            return Ok(config.filter(plugin));
        }
    };
    Ok(vec![Box::new(TestFilter(verdict))])
}

/// A filter of the original tests.
struct TestFilter(Verdict);

enum Verdict {
    True,
    False,
    OnlyNode(String),
}

impl Filter for TestFilter {
    fn name(&self) -> &'static str {
        "TestFilter"
    }

    fn scope(&self) -> Scope {
        Scope::NodeSpec
    }

    fn filter(&mut self, state: &ClusterState, _task: &TaskSpec, node: NodeId) -> Result<(), Rejection> {
        let passes = match &self.0 {
            Verdict::True => true,
            Verdict::False => false,
            Verdict::OnlyNode(name) => *state.node(node).spec.name == **name,
        };
        // Any that is resolvable.
        if passes { Ok(()) } else { Err(Rejection::TooManyTasks) }
    }
}
