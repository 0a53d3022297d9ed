//! `foretell explain`: why a job waits or was evicted, and what a node's failure takes down, from a run's directory.

use std::path::{Path, PathBuf};

use clap::Args;
use foretell_reports::{ManifestFile, explain_job, explain_node, read_run_dir};
use foretell_scenarios::sim::explain::{ExplainJob, ExplainNode, JobExplanation};
use foretell_scenarios::sim::framework::{ClusterState, Time};
use foretell_scenarios::sim::log::{Observer, Record};
use foretell_scenarios::sim::platform::Inspector;
use foretell_scenarios::{Plan, parse};

use crate::{CommandResult, Outcome, environment, output};

/// Say why a job waits or was evicted, who is in its way and when it starts; or which jobs a node's failure takes down.
#[derive(Args)]
pub(crate) struct ExplainArgs {
    /// A directory that `foretell run` wrote; its scenario is run again.
    run_dir: PathBuf,
    /// The job, as jobs.csv names it.
    #[arg(required_unless_present = "node", conflicts_with = "node")]
    job: Option<String>,
    /// The node.
    #[arg(long, value_name = "NAME", requires = "at")]
    node: Option<String>,
    /// The instant since the start of the run, such as 5400, 90min or 1.5h.
    /// [default: the start of the job's longest wait]
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    at: Option<Time>,
    /// The policy, where the run compares several. [default: the first]
    #[arg(long, value_name = "NAME")]
    policy: Option<String>,
}

/// Seconds, or a number with a unit.
fn parse_time(text: &str) -> Result<Time, String> {
    let known = [("min", 60.0), ("ms", 1e-3), ("s", 1.0), ("h", 3_600.0), ("d", 86_400.0)];
    let (number, unit_s) = known
        .into_iter()
        .find_map(|(unit, unit_s)| Some((text.strip_suffix(unit)?, unit_s)))
        .unwrap_or((text, 1.0));
    let number = number.trim().parse().ok().filter(|number: &f64| number.is_finite() && *number >= 0.0);
    let expected = || format!("expected a time such as 5400, 90min or 1.5h, got `{text}`");
    number.map(|number| Time::from_s(number * unit_s)).ok_or_else(expected)
}

pub(crate) fn run(args: &ExplainArgs) -> CommandResult {
    let (manifest, text) = read_run_dir(&args.run_dir)?;
    let policy = policy(&manifest, args.policy.as_deref())?;
    let data_dir = environment::data_dir();
    // Paths of the scenario start from where it was, as the command that ran it says.
    let base_dir = manifest.command.get(2).map(Path::new).and_then(Path::parent).unwrap_or(Path::new(""));
    let name = args.run_dir.join("scenario.toml").display().to_string();
    let environment = environment::of_scenarios(data_dir.as_deref());
    let loaded =
        parse(&name, &text, &[], base_dir, environment).map_err(foretell_scenarios::ScenarioError::from)?;
    let mut scenario = loaded.scenario;
    scenario.metrics.wait_reasons = false;
    let plan = Plan::new(scenario)?;
    let explanation = match (&args.job, &args.node, args.at) {
        (_, Some(node), Some(at)) => {
            let mut explain = ExplainNode::new(node, at);
            run_again(&plan, policy, &mut explain)?;
            let found = explain.finish().ok_or_else(|| format!("the cluster has no node `{node}`"))?;
            explain_node(&found, output::width())
        }
        (Some(job), ..) => {
            let found = explain(&plan, policy, job, args.at)?;
            explain_job(&found, output::width())
        }
        // The command line asks for one of them.
        _ => String::new(),
    };
    output::print(explanation.trim_end())?;
    Ok(Outcome::Success)
}

fn policy<'a>(manifest: &'a ManifestFile, asked: Option<&str>) -> Result<&'a str, String> {
    let names = || manifest.policies.iter().map(|record| record.policy.as_str());
    match asked {
        None => names().next().ok_or_else(|| "the run has no policy".to_owned()),
        Some(asked) => names().find(|name| *name == asked).ok_or_else(|| {
            format!("the run has no policy `{asked}`, it has {}", names().collect::<Vec<_>>().join(", "))
        }),
    }
}

/// Follows a job; if no instant is given, once more to look at the start of its longest wait.
fn explain(
    plan: &Plan,
    policy: &str,
    job: &str,
    at: Option<Time>,
) -> Result<JobExplanation, Box<dyn std::error::Error>> {
    let follow = |at| -> Result<JobExplanation, Box<dyn std::error::Error>> {
        let mut explain = ExplainJob::new(job, at);
        run_again(plan, policy, &mut explain)?;
        Ok(explain.finish().ok_or_else(|| format!("the run has no job `{job}`"))?)
    };
    let found = follow(at)?;
    let longest = found.waits.iter().rev().max_by_key(|wait| wait.to.since(wait.from));
    match longest {
        Some(longest) if at.is_none() => follow(Some(longest.from)),
        _ => Ok(found),
    }
}

fn run_again(
    plan: &Plan,
    policy: &str,
    inspector: &mut dyn Inspector,
) -> Result<(), foretell_scenarios::RunError> {
    plan.run_inspected(policy, &mut Nobody, Some(inspector), &mut |_| ()).map(drop)
}

/// Listens to nothing.
struct Nobody;

impl Observer for Nobody {
    fn advance(&mut self, _from: Time, _to: Time, _state: &ClusterState) {}

    fn record(&mut self, _now: Time, _record: &Record<'_>, _state: &ClusterState) {}
}
