use std::path::PathBuf;

use clap::Args;
use foretell_reports::{Manifest, PolicyRuns};
use foretell_scenarios::registry::{self, Durations, Scaling};
use foretell_scenarios::{Scenario, load};

use crate::side_by_side::run_all;
use crate::{CommandResult, Outcome, environment, output};

#[derive(Args)]
pub(crate) struct RunArgs {
    /// The scenario file.
    scenario: PathBuf,
    /// Where to write results and plots; a previous run there is replaced.
    /// [default: runs/NAME, with the scenario's name]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Override a field of the scenario, such as `cluster.nodes[0].count=32`; may be repeated.
    #[arg(long = "set", value_name = "PATH=VALUE")]
    overrides: Vec<String>,
    /// Override the scenario's seed.
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Override with how many seeds each policy runs, from the scenario's seed on.
    #[arg(long, value_name = "COUNT")]
    seeds: Option<u64>,
    /// Override the scenario's policies (see `foretell policy list`).
    #[arg(long = "policy", value_name = "NAME,...", value_delimiter = ',')]
    policies: Vec<String>,
    /// Number of threads, at most four per core; policies run side by side. [default: one per core]
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
}

impl RunArgs {
    /// All overrides in one form, those with options of their own last.
    fn overrides(&self) -> Vec<String> {
        let mut overrides = self.overrides.clone();
        overrides.extend(self.seed.map(|seed| format!("seed={seed}")));
        overrides.extend(self.seeds.map(|seeds| format!("seeds={seeds}")));
        if !self.policies.is_empty() {
            let names = self.policies.iter().map(|name| format!("{:?}", name.trim())).collect::<Vec<_>>();
            overrides.push(format!("scheduler.policies=[{}]", names.join(", ")));
        }
        overrides
    }

    /// The command as the manifest records it: what decides the results, not where they go or how fast.
    fn command(&self, overrides: &[String]) -> Vec<String> {
        let mut command = vec!["foretell".into(), "run".into(), self.scenario.display().to_string()];
        command.extend(overrides.iter().flat_map(|text| ["--set".into(), text.clone()]));
        command
    }
}

pub(crate) fn run(args: &RunArgs) -> CommandResult {
    let data_dir = environment::data_dir();
    let overrides = args.overrides();
    let loaded = load(&args.scenario, &overrides, environment::of_scenarios(data_dir.as_deref()))?;
    let digest = loaded.digest();
    let scenario_text = loaded.text();
    let scenario = loaded.scenario;
    scenario.scheduler.warnings.iter().for_each(|warning| output::print_warning(warning));
    let out = args.out.clone().unwrap_or_else(|| PathBuf::from("runs").join(&scenario.name));
    foretell_reports::check_target(&out)?;
    let manifest = Manifest {
        foretell_version: env!("CARGO_PKG_VERSION").into(),
        scenario: scenario.name.clone(),
        scenario_blake3: digest,
        seed: scenario.seed,
        command: args.command(&overrides),
        scenario_text,
    };

    let told = told(&scenario);
    let pool = environment::thread_pool(args.threads)?;
    let runs = pool.install(|| run_all(&scenario))?;

    let mut summary = match runs.as_slice() {
        [run] if run.others.is_empty() => {
            foretell_reports::summary_table(&run.first.summary, output::width())
        }
        runs => {
            let summaries = runs.iter().flat_map(PolicyRuns::summaries);
            foretell_reports::comparison_table(summaries, output::width()) + &told
        }
    };
    for run in &runs {
        let tables = run.served().overviews(output::width());
        if runs.len() > 1 && !tables.is_empty() {
            summary.extend(["\nUnder ", &run.first.summary.policy, ":"]);
        }
        for table in &tables {
            summary.extend(["\n", table]);
        }
    }
    // First the files: whoever reads the summary may hang up.
    foretell_reports::write_run_dir(&out, &manifest, &runs)?;
    output::print(&summary)?;
    output::print(&format!(
        "Results and plots are in {}, each policy's summary in summary.txt",
        out.display()
    ))?;
    Ok(Outcome::Success)
}

/// What policies are told of durations, if some are told more than others.
fn told(scenario: &Scenario) -> String {
    let scheduler = &scenario.scheduler;
    let of = |wanted| {
        let of_it = scheduler.policies.iter().filter(|policy| {
            !scheduler.profiles.contains_key(*policy) && registry::durations(policy) == wanted
        });
        of_it.map(String::as_str).collect::<Vec<_>>().join(", ")
    };
    let error = match scheduler.estimate_error {
        0.0 => "exactly".to_owned(),
        error => format!("with an error of e^±{error}"),
    };
    let lines = [
        (Durations::Told, format!("durations told {error}")),
        (Durations::Learned, "durations learned from jobs that ended".to_owned()),
    ];
    let lines = lines.into_iter().map(|(durations, what)| (of(durations), what));
    let scaling = |wanted| {
        let of_it = scheduler.policies.iter().filter(|policy| registry::scaling(policy) == wanted);
        of_it.map(String::as_str).collect::<Vec<_>>().join(", ")
    };
    let lines = lines.chain([
        (scaling(Scaling::Told), "speeds by GPU model told".to_owned()),
        (scaling(Scaling::Chosen), "how jobs scale told, sizes theirs to choose".to_owned()),
    ]);
    let lines = lines.filter(|(names, _)| !names.is_empty());
    lines.map(|(names, what)| format!(" {what}: {names}\n")).collect::<Vec<_>>().concat()
}
