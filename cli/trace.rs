//! `foretell trace`: looks at, converts and generates job traces.

use std::path::{Path, PathBuf};

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Subcommand, ValueEnum};
use foretell_manifests::cluster;
use foretell_manifests::timeline::{read_timeline, scenario, timed_jobs};
use foretell_scenarios::catalog::Catalog;
use foretell_traces::generate::{Arrival, Generator, GeneratorConfig, Preset};
use foretell_traces::info::Share;
use foretell_traces::record::{JobStatus, WHOLE_GPU_MILLI};
use foretell_traces::{JobRecord, TraceFormat, TraceInfo, canonical};

use crate::{CommandResult, Outcome, manifests, output};

#[derive(Args)]
pub(crate) struct TraceArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Say what a trace is like: sizes, run times, arrivals, load.
    Info(InfoArgs),
    /// Convert a trace to foretell's own CSV.
    Convert(ConvertArgs),
    /// Generate a synthetic trace with the composition of a published one.
    Generate(GenerateArgs),
}

#[derive(Args)]
struct InfoArgs {
    /// The trace, plain or compressed with gzip.
    file: PathBuf,
    /// Its format. [default: told from the header]
    #[arg(long = "from", value_name = "FORMAT", value_parser = format_parser())]
    format: Option<TraceFormat>,
}

#[derive(Args)]
struct ConvertArgs {
    /// The trace to read, plain or compressed with gzip; with `--manifests`, a timeline: a CSV with the columns `time_s`,
    /// `object` (such as `team-a/job`) and `duration_s`.
    input: PathBuf,
    /// The trace to write, replaced if it exists; compressed if its name ends in `.gz`.
    output: PathBuf,
    /// The format of the trace to read. [default: told from the header]
    #[arg(long = "from", value_name = "FORMAT", value_parser = format_parser())]
    format: Option<TraceFormat>,
    /// Kubernetes manifests of the jobs that a timeline submits: files, or folders of such files.
    #[arg(long, value_name = "PATH", num_args = 1.., conflicts_with = "format")]
    manifests: Vec<PathBuf>,
    /// Write a scenario too, with the nodes and queues of the manifests, that runs the trace.
    #[arg(long, value_name = "FILE", requires = "manifests")]
    scenario: Option<PathBuf>,
}

#[derive(Args)]
struct GenerateArgs {
    /// The published workload to generate jobs like.
    #[arg(long, value_name = "NAME", value_parser = preset_parser())]
    preset: Preset,
    /// Number of jobs.
    #[arg(long, value_name = "N")]
    jobs: u64,
    /// The trace to write, replaced if it exists; compressed if its name ends in `.gz`.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Seed of all draws.
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Offered GPU work as a share of `--gpus`: 1 keeps all of them busy. [default: the preset's own rate]
    #[arg(long, value_name = "LOAD", requires = "gpus", conflicts_with = "rate_per_hour")]
    load: Option<f64>,
    /// Number of GPUs that the load is a share of.
    #[arg(long, value_name = "N", requires = "load")]
    gpus: Option<u64>,
    /// Mean number of jobs that arrive per hour.
    #[arg(long, value_name = "RATE")]
    rate_per_hour: Option<f64>,
    /// How arrivals spread over time.
    #[arg(long, value_name = "PROCESS", default_value = "poisson")]
    arrival: ArrivalProcess,
    /// With `gamma`: standard deviation of the time between arrivals over its mean. [default: 2]
    #[arg(long, value_name = "RATIO")]
    cv: Option<f64>,
    /// With `diurnal`: rate at the peak of the day over the rate at its trough. [default: 3]
    #[arg(long, value_name = "RATIO")]
    peak_to_trough: Option<f64>,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum ArrivalProcess {
    /// Independent arrivals.
    Poisson,
    /// Bursts with lulls between them.
    Gamma,
    /// Independent arrivals at a rate that follows the time of day.
    Diurnal,
}

const DEFAULT_CV: f64 = 2.0;
const DEFAULT_PEAK_TO_TROUGH: f64 = 3.0;
const DAY_S: f64 = 86_400.0;
const HOUR_S: f64 = 3_600.0;

fn format_parser() -> impl TypedValueParser<Value = TraceFormat> {
    named_parser(TraceFormat::ALL, TraceFormat::name)
}

fn preset_parser() -> impl TypedValueParser<Value = Preset> {
    named_parser(Preset::ALL, Preset::name)
}

/// Takes one of a library's names, so that the command line has no list of its own.
fn named_parser<T: Copy + Send + Sync + 'static, const N: usize>(
    all: [T; N],
    name: fn(T) -> &'static str,
) -> impl TypedValueParser<Value = T> {
    PossibleValuesParser::new(all.map(name)).try_map(move |text| {
        let named = all.into_iter().find(|&value| name(value) == text);
        named.ok_or_else(|| format!("unknown name {text:?}"))
    })
}

pub(crate) fn run(args: &TraceArgs) -> CommandResult {
    match &args.command {
        Command::Info(args) => output::print(&describe(&info(&args.file, args.format)?))?,
        Command::Convert(args) if !args.manifests.is_empty() => convert_manifests(args)?,
        Command::Convert(args) => {
            let jobs = foretell_traces::open(&args.input, args.format)?;
            let mut writer = canonical::Writer::create(&args.output)?;
            let mut count = 0_u64;
            for job in jobs {
                writer.write(&job?)?;
                count += 1;
            }
            writer.finish()?;
            print_written(count, &args.output)?;
        }
        Command::Generate(args) => {
            let config = generator_config(args)?;
            let mut writer = canonical::Writer::create(&args.out)?;
            let mut count = 0;
            for job in Generator::new(config, args.seed)?.take(usize::try_from(args.jobs)?) {
                writer.write(&job)?;
                count += 1;
            }
            if count < args.jobs {
                let limit_s = foretell_traces::record::MAX_TIME_S;
                return Err(
                    format!("only {count} jobs arrive in {limit_s} s: raise the rate or the load").into()
                );
            }
            writer.finish()?;
            print_written(count, &args.out)?;
        }
    }
    Ok(Outcome::Success)
}

/// Turns manifests and a timeline into a trace, and into a scenario if one is wanted.
fn convert_manifests(args: &ConvertArgs) -> Result<(), Box<dyn std::error::Error>> {
    let mut cluster = cluster(&manifests::read(&args.manifests)?)?;
    let file = args.input.display().to_string();
    let submissions = read_timeline(&manifests::read_file(&args.input)?, &file)?;
    let (jobs, mut warnings) = timed_jobs(&cluster, &submissions, &file)?;
    warnings.append(&mut cluster.warnings);
    for warning in &warnings {
        output::print_warning(warning);
    }
    let mut writer = canonical::Writer::create(&args.output)?;
    for job in &jobs {
        writer.write(&JobRecord {
            id: job.id.as_str().into(),
            user: job.user.as_str().into(),
            queue: job.queue.as_str().into(),
            submit_s: job.submit_s,
            duration_s: job.duration_s,
            tasks: job.tasks,
            gpus_per_task: job.gpus_per_task,
            gpu_milli: if job.gpus_per_task > 0 { WHOLE_GPU_MILLI } else { 0 },
            cpu_milli: job.cpu_milli,
            memory_bytes: job.memory_bytes,
            gpu_models: Vec::new(),
            priority: job.priority,
            status: JobStatus::Completed,
            account: Box::default(),
            qos: Box::default(),
            limit_s: None,
            scaling: None,
            deadline_s: None,
        })?;
    }
    writer.finish()?;
    print_written(jobs.len() as u64, &args.output)?;
    let Some(path) = &args.scenario else { return Ok(()) };
    let name = path.file_stem().unwrap_or_default().to_string_lossy();
    // A relative path in a scenario starts from the folder of the scenario.
    let same_folder = args.output.parent() == path.parent();
    let trace = match args.output.file_name().filter(|_| same_folder) {
        Some(name) => PathBuf::from(name),
        None => std::path::absolute(&args.output)?,
    };
    let models: Vec<&str> = Catalog::builtin().gpus().map(|gpu| gpu.name.as_str()).collect();
    let scenario = scenario(&cluster, &name, &trace.display().to_string(), &models)?;
    std::fs::write(path, toml::to_string(&scenario)?)
        .map_err(|error| format!("failed to write {}: {error}", path.display()))?;
    output::print(&format!("A scenario that runs them is in {}", path.display()))?;
    Ok(())
}

fn print_written(jobs: u64, path: &Path) -> std::io::Result<()> {
    output::print(&format!("{} jobs are in {}", grouped(jobs), path.display()))
}

fn generator_config(args: &GenerateArgs) -> Result<GeneratorConfig, Box<dyn std::error::Error>> {
    if args.cv.is_some() && args.arrival != ArrivalProcess::Gamma {
        return Err("--cv is only for --arrival gamma".into());
    }
    if args.peak_to_trough.is_some() && args.arrival != ArrivalProcess::Diurnal {
        return Err("--peak-to-trough is only for --arrival diurnal".into());
    }
    let mut config = args.preset.config();
    let rate_per_s = match (args.load, args.gpus, args.rate_per_hour) {
        (Some(load), Some(gpus), _) => config.rate_for_load(load, gpus)?,
        (_, _, Some(rate_per_hour)) => rate_per_hour / HOUR_S,
        _ => config.arrival.rate_per_s(),
    };
    config.arrival = match args.arrival {
        ArrivalProcess::Poisson => Arrival::Poisson { rate_per_s },
        ArrivalProcess::Gamma => {
            Arrival::Gamma { rate_per_s, coefficient_of_variation: args.cv.unwrap_or(DEFAULT_CV) }
        }
        ArrivalProcess::Diurnal => Arrival::Diurnal {
            rate_per_s,
            peak_to_trough: args.peak_to_trough.unwrap_or(DEFAULT_PEAK_TO_TROUGH),
            // The trace starts at midnight.
            peak_s: DAY_S / 2.0,
            period_s: DAY_S,
        },
    };
    Ok(config)
}

fn info(path: &Path, format: Option<TraceFormat>) -> Result<TraceInfo, Box<dyn std::error::Error>> {
    Ok(TraceInfo::of(foretell_traces::open(path, format)?)?)
}

/// Queues and users that are listed by name.
const MAX_NAMES: usize = 10;

fn describe(info: &TraceInfo) -> String {
    let mut facts: Vec<(&str, String)> = vec![
        ("Jobs", grouped(info.jobs)),
        ("Submitted", format!("from {} to {}", span(info.first_submit_s), span(info.last_submit_s))),
        ("GPU time", format!("{} GPU-hours", grouped((info.gpu_seconds / HOUR_S).round() as u64))),
    ];
    if let Some(gpus) = info.mean_demanded_gpus() {
        facts.push(("GPUs demanded", format!("{gpus:.1} on average, if no job waited")));
    }
    if let Some(gaps) = info.gaps {
        let variation = gaps.coefficient_of_variation;
        let value =
            format!("{} apart on average, coefficient of variation {variation:.2}", span(gaps.mean_s));
        facts.push(("Arrivals", value));
    }
    if let Some(times) = info.run_times {
        let (mean, max) = (span(times.mean_s), span(times.max_s));
        let [p50, p90, p99] = [times.p50_s, times.p90_s, times.p99_s].map(span);
        facts.push(("Run times", format!("mean {mean}, median {p50}, p90 {p90}, p99 {p99}, max {max}")));
    }
    let statuses = info.statuses.iter().filter(|(_, share)| share.jobs > 0);
    let statuses: Vec<_> =
        statuses.map(|(status, share)| format!("{} {status}", grouped(share.jobs))).collect();
    if !statuses.is_empty() {
        facts.push(("Ended", statuses.join(", ")));
    }
    let lines = facts.into_iter().map(|(label, value)| format!(" {label:<15}{value}\n"));
    let mut text = lines.collect::<Vec<_>>().concat();
    let mut section = |title: &str, rows: Vec<(String, Share)>| {
        text.push('\n');
        text.push_str(&shares(title, &rows, info));
    };
    if info.jobs > 0 {
        let sizes = info.sizes.iter().filter(|(_, share)| share.jobs > 0);
        section("Size", sizes.map(|(size, share)| (size.name().to_owned(), *share)).collect());
    }
    // A default queue that has all jobs is no news.
    if info.queues.iter().any(|(name, _)| !name.is_empty()) {
        section("Queue", names(&info.queues));
    }
    if !info.users.is_empty() {
        section("User", names(&info.users));
    }
    text
}

/// The first few, and the rest as one.
fn names(named: &[(Box<str>, Share)]) -> Vec<(String, Share)> {
    let (listed, rest) = named.split_at(named.len().min(MAX_NAMES));
    let name = |name: &str| if name.is_empty() { "(default)".to_owned() } else { name.to_owned() };
    let mut rows: Vec<_> = listed.iter().map(|(text, share)| (name(text), *share)).collect();
    if !rest.is_empty() {
        let jobs = rest.iter().map(|(_, share)| share.jobs).sum();
        let gpu_seconds = rest.iter().map(|(_, share)| share.gpu_seconds).sum();
        rows.push((format!("{} others", grouped(rest.len() as u64)), Share { jobs, gpu_seconds }));
    }
    rows
}

fn shares(title: &str, rows: &[(String, Share)], info: &TraceInfo) -> String {
    let percent = |part: f64, whole: f64| {
        if whole > 0.0 { format!("{:.1} %", 100.0 * part / whole) } else { "-".to_owned() }
    };
    let rows = rows.iter().map(|(name, share)| {
        vec![
            name.clone(),
            grouped(share.jobs),
            percent(share.jobs as f64, info.jobs as f64),
            grouped((share.gpu_seconds / HOUR_S).round() as u64),
            percent(share.gpu_seconds, info.gpu_seconds),
        ]
    });
    let header = [title, "Jobs", "of jobs", "GPU-hours", "of GPU time"];
    foretell_reports::plain_table(header, rows, &[1, 2, 3, 4], output::width())
}

/// A span of time in the unit that reads best.
fn span(seconds: f64) -> String {
    match seconds {
        s if s < 120.0 => format!("{} s", significant(s)),
        s if s < 2.0 * HOUR_S => format!("{} min", significant(s / 60.0)),
        s if s < 2.0 * DAY_S => format!("{} h", significant(s / HOUR_S)),
        s => format!("{} d", significant(s / DAY_S)),
    }
}

/// Three significant digits, more for large numbers.
fn significant(value: f64) -> String {
    match value {
        0.0 => "0".to_owned(),
        v if v < 10.0 => format!("{v:.2}"),
        v if v < 100.0 => format!("{v:.1}"),
        v => format!("{v:.0}"),
    }
}

/// A number with commas between groups of three digits.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped() {
        for (number, expected) in [(0, "0"), (999, "999"), (1000, "1,000"), (12_345_678, "12,345,678")] {
            assert_eq!(grouped(number), expected);
        }
    }

    #[test]
    fn spans_are_in_a_readable_unit() {
        let check = |seconds: f64, expected: &str| assert_eq!(span(seconds), expected);
        check(0.0, "0 s");
        check(59.5, "59.5 s");
        check(600.0, "10.0 min");
        check(86_400.0, "24.0 h");
        check(864_000.0, "10.0 d");
    }
}
