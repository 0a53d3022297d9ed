use std::path::PathBuf;

use clap::{Args, ValueEnum};
use foretell_reports::Manifest;
use foretell_scenarios::load;
use foretell_scenarios::search::found::{Confidence, Goal, Slo};
use foretell_scenarios::search::{Question, Vary, search};
use indicatif::{ProgressBar, ProgressStyle};

use crate::{CommandResult, Outcome, environment, output};

/// What may be looked for with `--most`.
#[derive(Clone, Copy, ValueEnum)]
enum Most {
    /// Arrivals a second.
    Qps,
}

/// What may be looked for with `--least`.
#[derive(Clone, Copy, ValueEnum)]
enum Least {
    /// Replicas, and with them GPUs.
    Replicas,
    /// The same.
    Gpus,
    /// The same, where the cluster's nodes have a price (`price_per_gpu_hour`).
    Cost,
}

#[derive(Args)]
pub(crate) struct SearchArgs {
    /// The scenario file; its services have the cluster to themselves.
    scenario: PathBuf,
    /// What is demanded, such as "p99 ttft < 2s, p99 tpot < 100ms, rejected < 1%".
    /// [default: the 99th percentiles of what the service promises (`slo`)]
    #[arg(long, value_name = "TERM,...")]
    slo: Option<String>,
    /// Look for the most load that is held. [default: qps]
    #[arg(long, value_name = "WHAT", conflicts_with = "least")]
    most: Option<Most>,
    /// Look for the least that holds the scenario's load.
    #[arg(long, value_name = "WHAT")]
    least: Option<Least>,
    /// Set a field to each of several values (KEY=VALUE,...), or say between which bounds to look (KEY=LOW..HIGH); may be
    /// repeated. Keys: replicas, qps, tp, pp, dp, batch, sequences, gpu, batcher, router,
    /// pd-ratio, or a field as --set takes it.
    #[arg(long = "vary", value_name = "KEY=VALUES")]
    vary: Vec<String>,
    /// The service to look at, where there are several.
    #[arg(long, value_name = "NAME")]
    service: Option<String>,
    /// Requests of a run, at least; of a trace at most. [default: 1000; of a trace all]
    #[arg(long, value_name = "N")]
    requests: Option<u64>,
    /// Seeds of every point near the border; up to 8 where that does not settle it.
    #[arg(long, value_name = "COUNT", default_value_t = 3)]
    seeds: u32,
    /// How likely a verdict is to be right, at least.
    #[arg(long, value_name = "SHARE", default_value_t = 0.95)]
    confidence: f64,
    /// How far rates that are looked at lie apart.
    #[arg(long, value_name = "SHARE", default_value_t = 0.02)]
    tolerance: f64,
    /// Where to write results and plots; a previous run there is replaced.
    /// [default: runs/NAME-search, with the scenario's name]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Override a field of the scenario, such as `service[0].replicas=4`; may be repeated.
    #[arg(long = "set", value_name = "PATH=VALUE")]
    overrides: Vec<String>,
    /// Override the scenario's seed.
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Number of threads, at most four per core. [default: one per core]
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
}

impl SearchArgs {
    fn question(&self) -> Result<Question, Box<dyn std::error::Error>> {
        let within = |name: &str, value: f64, low: f64, high: f64| {
            if (low..=high).contains(&value) {
                Ok(value)
            } else {
                Err(format!("--{name}: expected {low} to {high}, got {value}"))
            }
        };
        if !(1..=1000).contains(&self.seeds) {
            return Err(format!("--seeds: expected 1 to 1000, got {}", self.seeds).into());
        }
        if self.requests == Some(0) {
            return Err("--requests: expected at least 1, got 0".into());
        }
        let seeds_max = match self.seeds {
            // One seed decides as it comes out.
            1 => 1,
            seeds => seeds.max(Confidence::default().seeds_max),
        };
        Ok(Question {
            service: self.service.clone(),
            goal: if self.least.is_some() { Goal::FewestReplicas } else { Goal::MostLoad },
            slo: self.slo.as_deref().map(Slo::parse).transpose()?,
            vary: self.vary.iter().map(|text| Vary::parse(text)).collect::<Result<_, _>>()?,
            requests: self.requests,
            confidence: Confidence {
                level: within("confidence", self.confidence, 0.5, 0.999_999)?,
                seeds_min: self.seeds,
                seeds_max,
            },
            tolerance: within("tolerance", self.tolerance, 1e-4, 1.0)?,
        })
    }

    /// The command as the manifest records it: what decides the results, not where they go or how fast.
    fn command(&self, overrides: &[String]) -> Vec<String> {
        let mut command = vec!["foretell".into(), "search".into(), self.scenario.display().to_string()];
        command.extend(self.slo.iter().flat_map(|slo| ["--slo".into(), slo.clone()]));
        if self.least.is_some() {
            command.extend(["--least".into(), "replicas".into()]);
        }
        command.extend(self.vary.iter().flat_map(|vary| ["--vary".into(), vary.clone()]));
        command.extend(self.service.iter().flat_map(|name| ["--service".into(), name.clone()]));
        command.extend(self.requests.iter().flat_map(|count| ["--requests".into(), count.to_string()]));
        command.extend(["--seeds".into(), self.seeds.to_string()]);
        command.extend(["--confidence".into(), self.confidence.to_string()]);
        command.extend(["--tolerance".into(), self.tolerance.to_string()]);
        command.extend(overrides.iter().flat_map(|text| ["--set".into(), text.clone()]));
        command
    }
}

pub(crate) fn run(args: &SearchArgs) -> CommandResult {
    let data_dir = environment::data_dir();
    let environment = environment::of_scenarios(data_dir.as_deref());
    let mut overrides = args.overrides.clone();
    overrides.extend(args.seed.map(|seed| format!("seed={seed}")));
    let question = args.question()?;
    let loaded = load(&args.scenario, &overrides, environment)?;
    let scenario = &loaded.scenario;
    let unpriced = || scenario.nodes.iter().find(|group| group.price_per_gpu_hour.is_none());
    if let (Some(Least::Cost), Some(group)) = (args.least, unpriced()) {
        return Err(format!(
            "--least cost: {}: nodes of type `{}` have no price: say with `price_per_gpu_hour` what they cost",
            args.scenario.display(),
            group.node_type.name
        )
        .into());
    }
    let default = || PathBuf::from("runs").join(format!("{}-search", scenario.name));
    let out = args.out.clone().unwrap_or_else(default);
    foretell_reports::check_target(&out)?;
    let manifest = Manifest {
        foretell_version: env!("CARGO_PKG_VERSION").into(),
        scenario: scenario.name.clone(),
        scenario_blake3: loaded.digest(),
        seed: scenario.seed,
        command: args.command(&overrides),
        scenario_text: loaded.text(),
    };
    let bar = ProgressBar::new(0);
    if let Ok(style) = ProgressStyle::with_template("{bar:24} {human_pos}/{human_len} deployments  {elapsed}")
    {
        bar.set_style(style.progress_chars("━━╌"));
    }
    let progress = |done: u64, total: u64| {
        bar.set_length(total);
        bar.set_position(done);
    };
    let pool = environment::thread_pool(args.threads)?;
    let searched = pool.install(|| search(&args.scenario, &overrides, environment, &question, &progress));
    bar.finish_and_clear();
    let searched = searched?;
    // First the files: whoever reads the summary may hang up.
    foretell_reports::write_search_dir(&out, &manifest, &searched)?;
    output::print(&foretell_reports::search_table(&searched, output::width()))?;
    output::print(&format!("Results and plots are in {}", out.display()))?;
    Ok(Outcome::Success)
}
