//! Plots of runs, as SVG. Several policies are overlaid in one plot.
//!
//! ```text
//! charts   what to show: lines and axes, from results
//! series   fewer points without losing what the eye would see
//! curves   bandwidth by size, measured and predicted
//! axis     ranges, ticks and their labels
//! classical what users of classical models feel
//! pipeline what users of pipelines feel
//! search   what deployments hold
//! services what users of model servers feel
//! draw     how to show it
//! ```

mod axis;
mod charts;
mod classical;
mod curves;
mod draw;
mod pipeline;
mod search;
mod series;
mod services;

use foretell_sim::log::RunResult;

pub use curves::{Curve, curve_plot};

use foretell_search::Searched;
use foretell_serving::classical_served::ClassicalServed;
use foretell_serving::pipeline_served::PipelineServed;
use foretell_serving::served::Served;

use crate::error::ReportError;
use crate::wire::Manifest;

/// One plot.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Plot {
    /// Its file name.
    pub file: &'static str,
    /// The document.
    pub svg: String,
}

/// All plots of `runs`; `manifest` gives the scenario's name and the line that says where the plot comes from.
pub fn plots(manifest: &Manifest, runs: &[&RunResult]) -> Result<Vec<Plot>, ReportError> {
    let policies: Vec<&str> = runs.iter().map(|run| run.summary.policy.as_str()).collect();
    let charts = [
        ("allocation.svg", charts::allocation(runs)),
        ("queue_length.svg", charts::queue_length(runs)),
        ("queue_delay_cdf.svg", charts::queue_delay(runs)),
        ("jct_cdf.svg", charts::completion_time(runs)),
        ("fragmentation.svg", charts::fragmentation(runs)),
    ];
    drawn(manifest, &policies, charts)
}

/// All plots of services under these names.
pub(crate) fn service_plots(
    manifest: &Manifest,
    names: &[&str],
    services: &[&Served],
) -> Result<Vec<Plot>, ReportError> {
    drawn(manifest, names, services::charts(services))
}

/// All plots of classical services under these names.
pub(crate) fn classical_plots(
    manifest: &Manifest,
    names: &[&str],
    services: &[&ClassicalServed],
) -> Result<Vec<Plot>, ReportError> {
    drawn(manifest, names, classical::charts(services))
}

/// All plots of pipelines under these names.
pub(crate) fn pipeline_plots(
    manifest: &Manifest,
    names: &[&str],
    pipelines: &[&PipelineServed],
) -> Result<Vec<Plot>, ReportError> {
    drawn(manifest, names, pipeline::charts(pipelines))
}

/// All plots of a capacity search.
pub(crate) fn search_plots(manifest: &Manifest, searched: &Searched) -> Result<Vec<Plot>, ReportError> {
    let plots = search::charts(searched).into_iter().map(|(file, chart, names)| {
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        drawn(manifest, &names, [(file, chart)])
    });
    Ok(plots.collect::<Result<Vec<_>, _>>()?.concat())
}

fn drawn<const N: usize>(
    manifest: &Manifest,
    names: &[&str],
    charts: [(&'static str, charts::Chart); N],
) -> Result<Vec<Plot>, ReportError> {
    let digest: String = manifest.scenario_blake3.chars().take(12).collect();
    let caption = draw::Caption {
        subtitle: manifest.scenario.clone(),
        source: format!(
            "foretell {}, scenario blake3 {digest}, seed {}",
            manifest.foretell_version, manifest.seed
        ),
    };
    let plot = |(file, chart): (&'static str, charts::Chart)| {
        let svg =
            draw::draw(&chart, &caption, names).map_err(|message| ReportError::Plot { file, message })?;
        Ok(Plot { file, svg })
    };
    charts.into_iter().map(plot).collect()
}
