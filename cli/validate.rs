use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use clap::{Args, Subcommand};
use foretell_reports::{Curve, curve_plot};
use foretell_validation::{
    Cell, Error, Progress, Report, conformance, gavel, helios, nccl, openb, serving_papers, sia, throughput,
    tiresias, training, vidur, vllm,
};
use indicatif::ProgressBar;

use crate::progress::Bars;
use crate::{CommandResult, Outcome, environment, output};

#[derive(Args)]
pub(crate) struct ValidateArgs {
    #[command(subcommand)]
    suite: Suite,
}

#[derive(Subcommand)]
enum Suite {
    /// Reproduce the FGD study (USENIX ATC'23) on the Alibaba openb traces, cell by cell.
    ///
    /// Runs every published (trace, policy, seed) and every list of placements found in the data. Exits with 1 if a
    /// result is beyond its tolerance and with 2 if the data are unusable.
    Openb(OpenbArgs),
    /// Run what the tests of kube-scheduler, Volcano and scheduler-plugins expect, case by case.
    ///
    /// Runs every case file under the folder. Exits with 1 if a case fails that is not known to be an artefact of the
    /// original test, and with 2 if the data are unusable.
    Conformance(ConformanceArgs),
    /// Reproduce the experiments of Gavel (OSDI'20) beside its published figures.
    ///
    /// Jobs come from its generator draw by draw; per-VC and physical traces are read as they are. Exits with 1 if a
    /// figure is beyond its tolerance and with 2 if the data are unusable.
    Gavel(GavelArgs),
    /// Follow the outputs of Tiresias' own simulator (NSDI'19), job by job.
    ///
    /// Runs every oracle `measured_*.csv` in the data. Exits with 1 if a job starts, ends or is preempted otherwise, and with
    /// 2 if the data are unusable.
    Tiresias(CommonArgs),
    /// Times of NCCL's collectives that were measured, beside those that the model predicts from the hardware.
    ///
    /// Reads `nccl_measured.csv` in the data, or any file of its columns. Exits with 1 if a healthy system is off by more than 12 %
    /// from 64 MiB on or a mis-tuned one is not far below its prediction, and with 2 if the data are unusable.
    Nccl(NcclArgs),
    /// Steps of training jobs that were measured, beside those that the model predicts from model, plan and hardware.
    ///
    /// Reads `training_measured.csv` in the data, or any file of its columns. Exits with 1 if llm-foundry's rows that are left out
    /// of the fit are off by more than 3 points of MFU on average, or a row that is judged by itself is beyond its tolerance; with 2
    /// if the data are unusable.
    Training(TrainingArgs),
    /// The queueing study of Helios (SC'21) on the Philly trace, beside its published table.
    ///
    /// Exits with 1 if FIFO is not what an independent implementation has on the same jobs, and with 2 if the data are
    /// unusable. The published table is of another version of the trace: it is shown, not judged.
    Helios(CommonArgs),
    /// The simulations of Sia (SOSP'23) beside its published tables: Sia, Pollux and Gavel over elastic jobs.
    ///
    /// Exits with 1 if a row is beyond its tolerance and with 2 if the data are unusable.
    Sia(SiaArgs),
    /// Runs of Vidur, request by request, with the operator times that it predicted.
    ///
    /// Runs every `*.config.json` in the data that has its `*.requests.csv`. Exits with 1 if a run is beyond its tolerance and
    /// with 2 if the data are unusable.
    Vidur(RunsArgs),
    /// Real runs of vLLM beside what laws of kernels make of them, none fitted to a run.
    ///
    /// Runs every folder with a `meta.json` in the data. Exits with 1 if a mean is beyond its tolerance and with 2 if the data are
    /// unusable.
    Vllm(RunsArgs),
    /// Published throughputs and latencies of whole model servers beside what the catalogue's calibrations make of them.
    ///
    /// TensorRT-LLM at maximum load, NIM by number of users, Splitwise's prompt and token times, hit rates of Mooncake's traces;
    /// nothing is fitted to them. Exits with 1 if a figure is off by more than 15 % (hit rates: 0.1 points) and with 2 if the data
    /// are unusable.
    Throughput(CommonArgs),
    /// What papers on model servers published beside what scenarios make of it.
    ///
    /// Mooncake's transfers of keys and values are to be met; of how many times as much one deployment holds as another (Mooncake, Splitwise,
    /// Sarathi-Serve, DistServe) the direction is judged and the magnitude shown. Exits with 1 if a figure is not met or a direction
    /// is another one, and with 2 if the data are unusable.
    ServingPapers(CommonArgs),
}

#[derive(Args)]
struct RunsArgs {
    #[command(flatten)]
    common: CommonArgs,
    /// Only these runs.
    #[arg(long = "run", value_name = "NAME,...", value_delimiter = ',')]
    runs: Vec<String>,
}

#[derive(Args)]
struct SiaArgs {
    #[command(flatten)]
    common: CommonArgs,
    /// Every workload and the whole of Pollux' search, which takes long.
    #[arg(long)]
    full: bool,
    /// Only these policies: `sia`, `pollux`, `gavel`.
    #[arg(long = "policy", value_name = "NAME,...", value_delimiter = ',')]
    policies: Vec<String>,
    /// Only these traces: `philly`, `saturn`, `newtrace`.
    #[arg(long = "trace", value_name = "NAME,...", value_delimiter = ',')]
    traces: Vec<String>,
}

#[derive(Args)]
struct NcclArgs {
    #[command(flatten)]
    common: CommonArgs,
    /// Fit the constants to these measurements, use them, and print them.
    #[arg(long)]
    fit: bool,
    /// Draw bus bandwidth by size, measured and predicted, of the systems with most sizes, as SVG.
    #[arg(long, value_name = "FILE")]
    plot: Option<PathBuf>,
}

#[derive(Args)]
struct TrainingArgs {
    #[command(flatten)]
    common: CommonArgs,
    /// Fit the constants to these measurements, use them, and print them.
    #[arg(long)]
    fit: bool,
}

#[derive(Args)]
struct GavelArgs {
    #[command(flatten)]
    common: CommonArgs,
    /// Every published figure and every trace, which takes long.
    #[arg(long)]
    full: bool,
    /// Only these policies, such as `max_min_fairness_perf`.
    #[arg(long = "policy", value_name = "NAME,...", value_delimiter = ',')]
    policies: Vec<String>,
}

#[derive(Args)]
struct ConformanceArgs {
    #[command(flatten)]
    common: CommonArgs,
    /// Only cases whose path contains this.
    #[arg(long, value_name = "TEXT", default_value = "")]
    filter: String,
}

#[derive(Args)]
struct OpenbArgs {
    #[command(flatten)]
    common: CommonArgs,
    /// Only these traces, such as `default` or `openb_pod_list_default`.
    #[arg(long = "trace", value_name = "NAME,...", value_delimiter = ',')]
    traces: Vec<String>,
    /// Only these policies, such as `FGD`.
    #[arg(long = "policy", value_name = "NAME,...", value_delimiter = ',')]
    policies: Vec<String>,
    /// Only these seeds.
    #[arg(long = "seed", value_name = "N,...", value_delimiter = ',')]
    seeds: Vec<u64>,
}

#[derive(Args)]
struct CommonArgs {
    /// The folder with the published data. [default: `FORETELL_DATA`, else `../shared/data`]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Write the report as JSON too.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Print the section of a document in Markdown: what is beyond its tolerance, and the summary.
    #[arg(long)]
    markdown: bool,
    /// Number of threads, at most four per core. [default: one per core]
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
}

/// Curves of a plot.
const CURVES: usize = 7;

pub(crate) fn run(args: &ValidateArgs) -> CommandResult {
    match &args.suite {
        Suite::Openb(args) => run_openb(args),
        Suite::Conformance(args) => run_conformance(args),
        Suite::Gavel(args) => run_gavel(args),
        Suite::Tiresias(args) => run_suite(args, "tiresias", "oracles", tiresias::run),
        Suite::Nccl(args) => run_nccl(args),
        Suite::Training(args) => run_suite(&args.common, "training", "fits", |data, progress| {
            training::run(data, training::Selection { fit: args.fit }, progress)
        }),
        Suite::Helios(args) => run_suite(args, "helios", "runs", helios::run),
        Suite::Sia(args) => run_sia(args),
        Suite::Vidur(args) => {
            run_suite(&args.common, "vidur", "runs", |data, progress| vidur::run(data, &args.runs, progress))
        }
        Suite::Vllm(args) => {
            run_suite(&args.common, "vllm", "runs", |data, progress| vllm::run(data, &args.runs, progress))
        }
        Suite::Throughput(args) => run_suite(args, "throughput", "figures", throughput::run),
        Suite::ServingPapers(args) => run_suite(args, "serving-papers", "cases", serving_papers::run),
    }
}

fn run_openb(args: &OpenbArgs) -> CommandResult {
    let selection = openb::Selection {
        traces: args.traces.clone(),
        policies: args.policies.clone(),
        seeds: args.seeds.clone(),
    };
    run_suite(&args.common, "openb", "runs", |data, progress| openb::run(data, &selection, progress))
}

fn run_nccl(args: &NcclArgs) -> CommandResult {
    if let Some(path) = &args.plot {
        let curves = nccl::curves(&data_dir(&args.common)?)?.into_iter().take(CURVES);
        let curves: Vec<Curve> = curves
            .map(|curve| Curve {
                name: curve.case,
                measured: curve.points.iter().map(|&(bytes, measured, _)| (bytes as f64, measured)).collect(),
                predicted: curve.points.iter().map(|&(bytes, _, ours)| (bytes as f64, ours)).collect(),
            })
            .collect();
        let source = concat!("foretell ", env!("CARGO_PKG_VERSION"), ", validate nccl");
        let subtitle = "all-reduce on systems that were measured with nccl-tests";
        let svg = curve_plot("the plot", "Bus bandwidth by size", subtitle, source, &curves)?;
        std::fs::write(path, svg).map_err(|error| format!("failed to write {}: {error}", path.display()))?;
    }
    run_suite(&args.common, "nccl", "fits", |data, progress| {
        nccl::run(data, nccl::Selection { fit: args.fit }, progress)
    })
}

fn run_gavel(args: &GavelArgs) -> CommandResult {
    let selection = gavel::Selection { full: args.full, policies: args.policies.clone() };
    run_suite(&args.common, "gavel", "figures", |data, progress| gavel::run(data, &selection, progress))
}

fn run_sia(args: &SiaArgs) -> CommandResult {
    let selection =
        sia::Selection { full: args.full, policies: args.policies.clone(), traces: args.traces.clone() };
    run_suite(&args.common, "sia", "workloads", |data, progress| sia::run(data, &selection, progress))
}

/// Runs a suite and prints its report.
fn run_suite(
    args: &CommonArgs,
    suite: &'static str,
    unit: &'static str,
    run: impl FnOnce(&Path, &Progress<'_>) -> Result<Report, Error> + Send,
) -> CommandResult {
    let data = data_dir(args)?;
    let report = with_progress(args, suite, unit, |progress| run(&data, progress))??;
    write_json(args, &report.to_json())?;
    if args.markdown {
        output::print(report.to_markdown().trim_end())?;
    } else {
        output::print(&table(&report))?;
        output::print(&report.summary)?;
    }
    Ok(if report.passed() { Outcome::Success } else { Outcome::CheckFailed })
}

fn run_conformance(args: &ConformanceArgs) -> CommandResult {
    let data = data_dir(&args.common)?;
    let report = with_progress(&args.common, "conformance", "cases", |progress| {
        conformance::run(&data, &args.filter, progress)
    })??;
    write_json(&args.common, &report.to_json())?;
    let summary = report.table();
    if args.common.markdown {
        output::print(summary.to_markdown().trim_end())?;
    } else {
        output::print(&table(&summary))?;
        output::print(&summary.summary)?;
        output::print(report.details().trim_end())?;
    }
    Ok(if summary.passed() { Outcome::Success } else { Outcome::CheckFailed })
}

fn data_dir(common: &CommonArgs) -> Result<PathBuf, &'static str> {
    let data = common.data.clone().or_else(environment::data_dir);
    data.ok_or("no data: give --data DIR, or set FORETELL_DATA")
}

/// Runs a suite on the wanted number of threads, with a progress bar.
fn with_progress<T: Send>(
    common: &CommonArgs,
    suite: &'static str,
    unit: &'static str,
    run: impl FnOnce(&Progress<'_>) -> T + Send,
) -> Result<T, Box<dyn std::error::Error>> {
    let pool = environment::thread_pool(common.threads)?;
    let bars = Bars::new([suite]);
    let bar: OnceLock<ProgressBar> = OnceLock::new();
    let progress = Progress {
        begin: &|steps| {
            bar.get_or_init(|| bars.add(suite, steps as u64, unit));
        },
        step: &|| bar.get().into_iter().for_each(|bar| bar.inc(1)),
    };
    let result = pool.install(|| run(&progress));
    bar.get().into_iter().for_each(ProgressBar::finish_and_clear);
    Ok(result)
}

fn write_json(common: &CommonArgs, json: &serde_json::Value) -> Result<(), Box<dyn std::error::Error>> {
    let Some(path) = &common.json else { return Ok(()) };
    let json = serde_json::to_string_pretty(json)?;
    std::fs::write(path, json + "\n")
        .map_err(|error| format!("failed to write {}: {error}", path.display()).into())
}

/// The report as a table; what missed its tolerance is marked.
fn table(report: &Report) -> String {
    let rows = report.rows.iter().map(|row| {
        let mut cells: Vec<String> = row.cells.iter().map(Cell::to_text).collect();
        if let Some(last) = cells.last_mut().filter(|_| !row.passed) {
            last.push_str(" MISS");
        }
        cells
    });
    let is_text = |column: &usize| report.rows.iter().all(|row| matches!(row.cells[*column], Cell::Text(_)));
    let numbers: Vec<usize> = (0..report.columns.len()).filter(|column| !is_text(column)).collect();
    // Titles break after a word so that the columns stay as narrow as their figures.
    let titles: Vec<String> = report.columns.iter().map(|title| title.replace(' ', "\n")).collect();
    foretell_reports::plain_table(titles.iter().map(String::as_str), rows, &numbers, output::width())
}
