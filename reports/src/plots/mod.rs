//! Plots of runs, as SVG. Several policies are overlaid in one plot.
//!
//! ```text
//! charts   what to show: lines and axes, from results
//! series   fewer points without losing what the eye would see
//! axis     ranges, ticks and their labels
//! draw     how to show it
//! ```

mod axis;
mod charts;
mod draw;
mod series;

use foretell_sim::log::RunResult;

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
    let plot = |(file, chart): (&'static str, charts::Chart)| {
        let svg =
            draw::draw(&chart, manifest, &policies).map_err(|message| ReportError::Plot { file, message })?;
        Ok(Plot { file, svg })
    };
    charts.into_iter().map(plot).collect()
}
