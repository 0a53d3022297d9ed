use clap::{Args, Subcommand};
use foretell_scenarios::registry::{self, Scaling};

use crate::{CommandResult, Outcome, output};

#[derive(Args)]
pub(crate) struct PolicyArgs {
    #[command(subcommand)]
    command: PolicyCommand,
}

#[derive(Subcommand)]
enum PolicyCommand {
    /// List the profiles, and the orders and placements that other policies are made of.
    List,
}

pub(crate) fn run(args: &PolicyArgs) -> CommandResult {
    let PolicyCommand::List = args.command;
    let line = |(name, meaning): &registry::Description| {
        let about = registry::about(name);
        let about = about.map(|registry::About { durations, source, checked, scaling }| {
            let durations = durations.name();
            let scaling = match scaling {
                Scaling::Unknown => "",
                Scaling::Told => ", speeds told",
                Scaling::Chosen => ", scaling told",
            };
            format!("  {:<18}  durations {durations}{scaling}; from {source}; checked by {checked}\n", "")
        });
        format!("  {name:<18}{meaning}\n{}", about.unwrap_or_default())
    };
    let list = |descriptions: &[registry::Description]| descriptions.iter().map(line).collect::<String>();
    output::print(&format!(
        "A policy is a scheduler's profile, or ORDER+PLACEMENT such as fifo+fgd; a PLACEMENT alone means\n\
         fifo+PLACEMENT.\n\nprofiles of kube-scheduler, scheduler-plugins, Kueue, KAI-Scheduler and Volcano\n{}{}{}{}{}\norders (higher priority first, but in pollux, sia and those of gavel)\n{}\nplacements\n{}\nafter any of these\n{}",
        list(&[registry::DEFAULT]),
        list(&registry::SCHEDULER_PLUGINS_PROFILES),
        list(&registry::KUEUE_PROFILES),
        list(&[registry::KAI]),
        list(&registry::VOLCANO_PROFILES),
        list(&registry::ORDERS),
        list(&registry::PLACEMENTS),
        list(&[registry::CONSOLIDATE]).trim_end(),
    ))?;
    Ok(Outcome::Success)
}
