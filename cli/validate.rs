use std::path::PathBuf;
use std::sync::OnceLock;

use clap::{Args, Subcommand};
use foretell_validation::{Cell, Progress, Report, openb};
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
    /// Number of threads, at most four per core. [default: one per core]
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
}

pub(crate) fn run(args: &ValidateArgs) -> CommandResult {
    let Suite::Openb(args) = &args.suite;
    let common = &args.common;
    let data = common.data.clone().or_else(environment::data_dir);
    let data = data.ok_or("no data: give --data DIR, or set FORETELL_DATA")?;
    let pool = environment::thread_pool(common.threads)?;
    let selection = openb::Selection {
        traces: args.traces.clone(),
        policies: args.policies.clone(),
        seeds: args.seeds.clone(),
    };

    let bars = Bars::new(["openb"]);
    let bar: OnceLock<ProgressBar> = OnceLock::new();
    let progress = Progress {
        begin: &|steps| {
            bar.get_or_init(|| bars.add("openb", steps as u64, "runs"));
        },
        step: &|| bar.get().into_iter().for_each(|bar| bar.inc(1)),
    };
    let report = pool.install(|| openb::run(&data, &selection, &progress));
    bar.get().into_iter().for_each(ProgressBar::finish_and_clear);
    let report = report?;

    if let Some(path) = &common.json {
        let json = serde_json::to_string_pretty(&report.to_json())?;
        std::fs::write(path, json + "\n")
            .map_err(|error| format!("failed to write {}: {error}", path.display()))?;
    }
    output::print(&table(&report))?;
    output::print(&report.summary)?;
    Ok(if report.passed() { Outcome::Success } else { Outcome::CheckFailed })
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
