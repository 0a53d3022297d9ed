//! `foretell topology`: draws the cluster of a scenario.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use foretell_scenarios::{load, topology};

use crate::{CommandResult, Outcome, environment, output};

#[derive(Args)]
pub(crate) struct TopologyArgs {
    /// Scenario file.
    scenario: PathBuf,
    /// As text with a matrix of links per node type, as a picture, or for Graphviz.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// Override a field, such as `cluster.nodes[0].count=32`; repeatable.
    #[arg(long = "set", value_name = "PATH=VALUE")]
    overrides: Vec<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum Format {
    Text,
    Svg,
    Dot,
}

pub(crate) fn run(args: &TopologyArgs) -> CommandResult {
    let data_dir = environment::data_dir();
    let loaded = load(&args.scenario, &args.overrides, environment::of_scenarios(data_dir.as_deref()))?;
    let drawn = match args.format {
        Format::Text => topology::text(&loaded.scenario),
        Format::Svg => topology::svg(&loaded.scenario),
        Format::Dot => topology::dot(&loaded.scenario),
    };
    output::print(drawn.trim_end())?;
    Ok(Outcome::Success)
}
