use std::path::PathBuf;

use clap::Args;
use foretell_reports::{Manifest, PolicyServed};
use foretell_scenarios::scenario::Workload;
use foretell_scenarios::service::ServedRun;
use foretell_scenarios::{Plan, Scenario, load};

use crate::progress::{Bars, JobsDone, show_time};
use crate::{CommandResult, Outcome, environment, output};

#[derive(Args)]
pub(crate) struct ServeArgs {
    /// The scenario file. Its jobs are left out: its services have the cluster to themselves.
    scenario: PathBuf,
    /// Where to write results and plots; a previous run there is replaced.
    /// [default: runs/NAME, with the scenario's name]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Override a field of the scenario, such as `service[0].replicas=4`; may be repeated.
    #[arg(long = "set", value_name = "PATH=VALUE")]
    overrides: Vec<String>,
    /// Override the scenario's seed.
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
}

pub(crate) fn run(args: &ServeArgs) -> CommandResult {
    let data_dir = environment::data_dir();
    let mut overrides = args.overrides.clone();
    overrides.extend(args.seed.map(|seed| format!("seed={seed}")));
    let loaded = load(&args.scenario, &overrides, environment::of_scenarios(data_dir.as_deref()))?;
    let (digest, scenario_text) = (loaded.digest(), loaded.text());
    let mut scenario: Scenario = loaded.scenario;
    if scenario.services.is_empty() && scenario.classical_services.is_empty() {
        return Err(format!(
            "{}: the scenario has no [[service]] and no [[classical_service]] (docs/serving.md and docs/classical-serving.md explain them)",
            args.scenario.display()
        )
        .into());
    }
    scenario.workload = Workload::None;
    let policy = scenario.scheduler.policies.first().cloned().unwrap_or_default();
    let out = args.out.clone().unwrap_or_else(|| PathBuf::from("runs").join(&scenario.name));
    foretell_reports::check_target(&out)?;
    let mut command = vec!["foretell".into(), "serve".into(), args.scenario.display().to_string()];
    command.extend(overrides.iter().flat_map(|text| ["--set".into(), text.clone()]));
    let manifest = Manifest {
        foretell_version: env!("CARGO_PKG_VERSION").into(),
        scenario: scenario.name.clone(),
        scenario_blake3: digest,
        seed: scenario.seed,
        command,
        scenario_text,
    };
    let plan = Plan::new(scenario)?;
    let bars = Bars::new(std::iter::once(policy.as_str()));
    let bar = bars.add(&policy, plan.jobs(), "replicas");
    let mut placed = JobsDone::new(bar.clone());
    let run = plan.run_and_serve(&policy, &mut placed, &mut |progress| show_time(&bar, progress));
    bar.finish_and_clear();
    let ServedRun { services, classical, pipelines, .. } = run?;
    // First the files: whoever reads the summary may hang up.
    let served =
        PolicyServed { policy: &policy, services: &services, classical: &classical, pipelines: &pipelines };
    foretell_reports::write_service_dir(&out, &manifest, served)?;
    for table in served.overviews(output::width()) {
        output::print(&table)?;
    }
    let several = services.len() > 1 || classical.len() > 1;
    let summaries = if several { ", each service's summary in summary.txt" } else { "" };
    output::print(&format!("Results and plots are in {}{summaries}", out.display()))?;
    Ok(Outcome::Success)
}
