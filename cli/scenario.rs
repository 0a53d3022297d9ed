//! `foretell scenario`: checks a scenario file, prints the schema of scenario files.

use std::fmt::{self, Write as _};
use std::path::PathBuf;

use clap::{Args, Subcommand};
use foretell_scenarios::scenario::{Scenario, Workload};
use foretell_scenarios::{load, schema_json};

use crate::{CommandResult, Outcome, environment, output};

/// Check a scenario file, or print the schema of scenario files.
#[derive(Debug, Args)]
pub(crate) struct ScenarioArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Say what a scenario file means, or everything that is wrong with it
    Check {
        /// Scenario file
        file: PathBuf,
        /// Override a field, such as `cluster.nodes[0].count=32`; repeatable
        #[arg(long = "set", value_name = "PATH=VALUE")]
        overrides: Vec<String>,
    },
    /// Print the JSON schema of scenario files
    Schema,
}

pub(crate) fn run(args: &ScenarioArgs) -> CommandResult {
    let text = match &args.command {
        Command::Check { file, overrides } => {
            let data_dir = environment::data_dir();
            let loaded = load(file, overrides, environment::of_scenarios(data_dir.as_deref()))?;
            describe(&loaded.scenario)
        }
        Command::Schema => schema_json(),
    };
    output::print(text.trim_end())?;
    Ok(Outcome::Success)
}

/// What a scenario means, in a few lines.
fn describe(scenario: &Scenario) -> String {
    let mut text = format!("{}\n", scenario.name);
    let mut line = |label: &str, value: fmt::Arguments<'_>| {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "  {label:<10}{value}");
    };
    if !scenario.description.is_empty() {
        line("", format_args!("{}", scenario.description));
    }
    line("nodes", format_args!("{}", scenario.node_count()));
    let models: Vec<_> =
        scenario.gpus_by_model().into_iter().map(|(model, devices)| format!("{devices} {model}")).collect();
    match models.as_slice() {
        [] => line("GPUs", format_args!("0")),
        models => line("GPUs", format_args!("{} ({})", scenario.gpu_count(), models.join(", "))),
    }
    match &scenario.workload {
        Workload::None => line("workload", format_args!("no jobs")),
        Workload::Trace(trace) => line("workload", format_args!("{}", trace.path.display())),
        Workload::Synthetic(synthetic) => line(
            "workload",
            format_args!(
                "{} synthetic jobs, {:.1} per hour, {:.2} GPU-hours each on average",
                synthetic.jobs,
                synthetic.config.arrival.rate_per_s() * 3600.0,
                synthetic.config.mean_gpu_seconds() / 3600.0,
            ),
        ),
    }
    line("policies", format_args!("{}", scenario.scheduler.policies.join(", ")));
    line("seed", format_args!("{}", scenario.seed));
    text
}
