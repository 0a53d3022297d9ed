//! `foretell validate throughput`: figures that others measured of whole servers, beside what engine and catalogue make of them.
//!
//! No constant comes from a figure that is judged here. Splitwise's table and Mooncake's traces are read from the data; the others are in [`published`].

mod mooncake;
mod published;
mod server;
mod splitwise;

use std::path::Path;

use self::published::{MAXIMUM_LOADS, USERS, USERS_LENGTHS};
use self::server::Server;
use crate::report::{Cell, Report, Row};
use crate::{Error, Progress};

/// Per cent that a figure may be off.
const AIM_PERCENT: f64 = 15.0;
/// Wider, to see how many are near.
const NEAR_PERCENT: f64 = 20.0;

/// Names of cases at maximum load begin so.
const MAXIMUM_LOAD: &str = "TensorRT-LLM";

/// Figures of one kind: what was measured, and ours.
struct Line {
    case: String,
    figure: &'static str,
    published: Vec<f64>,
    ours: Vec<f64>,
    tolerance_percent: f64,
}

impl Line {
    const fn new(case: String, figure: &'static str) -> Self {
        Self { case, figure, published: Vec::new(), ours: Vec::new(), tolerance_percent: AIM_PERCENT }
    }

    const fn within(mut self, percent: f64) -> Self {
        self.tolerance_percent = percent;
        self
    }

    fn push(&mut self, published: f64, ours: f64) {
        self.published.push(published);
        self.ours.push(ours);
    }

    /// A figure with nothing to hold it against.
    fn show(&mut self, ours: f64) {
        self.ours.push(ours);
    }

    fn errors(&self) -> impl Iterator<Item = f64> {
        self.published.iter().zip(&self.ours).map(|(published, ours)| 100.0 * (ours - published) / published)
    }

    /// Mean of how far they are off, up or down.
    fn mean_error(&self) -> Option<f64> {
        (!self.published.is_empty())
            .then(|| self.errors().map(f64::abs).sum::<f64>() / self.published.len() as f64)
    }

    fn passed(&self) -> bool {
        self.mean_error().is_none_or(|error| error <= self.tolerance_percent)
    }

    fn row(&self) -> Row {
        let mean = |values: &[f64]| {
            let mean = values.iter().sum::<f64>() / values.len() as f64;
            Cell::Figure(mean, usize::from(mean < 1000.0))
        };
        let largest = self.errors().max_by(|one, other| one.abs().total_cmp(&other.abs()));
        let percent = |value: Option<f64>| value.map_or(Cell::None, |value| Cell::Figure(value, 1));
        Row {
            passed: self.passed(),
            cells: vec![
                Cell::Text(self.case.clone()),
                Cell::Text(self.figure.to_owned()),
                Cell::Count(self.published.len() as u64),
                if self.published.is_empty() { Cell::None } else { mean(&self.published) },
                mean(&self.ours),
                percent(self.mean_error()),
                percent(largest),
            ],
        }
    }
}

/// Simulates every figure.
pub fn run(data: &Path, progress: &Progress<'_>) -> Result<Report, Error> {
    progress.begin(MAXIMUM_LOADS.len() + USERS.len() + 2);
    let cannot = |message| Error::Run { path: data.to_owned(), message };
    let small = Server::new("llama-3.1-8b", 1).map_err(cannot)?;
    let large = Server::new("llama-3.3-70b", 2).map_err(cannot)?;
    let mut lines = Vec::new();
    for load in &MAXIMUM_LOADS {
        let (prompt, answer) = load.lengths;
        for (name, server, published) in [("8B", &small, load.small), ("70B", &large, load.large)] {
            let mut line = Line::new(format!("{MAXIMUM_LOAD} {name} {prompt}/{answer}"), "tokens/s");
            line.push(published, server.maximum_load(load.requests, load.lengths).map_err(cannot)?);
            lines.push(line);
        }
        progress.step();
    }
    for with in &USERS {
        let ours = large.users(with.count, USERS_LENGTHS).map_err(cannot)?;
        let published = [with.first_token_ms, with.inter_token_ms, with.tokens_per_s];
        for ((figure, published), ours) in
            ["TTFT ms", "ITL ms", "tokens/s"].into_iter().zip(published).zip(ours)
        {
            let mut line = Line::new(format!("NIM 70B users: {}", with.count), figure);
            line.push(published, ours);
            lines.push(line);
        }
        progress.step();
    }
    lines.extend(splitwise::lines(data)?);
    progress.step();
    lines.extend(mooncake::lines(data)?);
    progress.step();
    Ok(report(lines))
}

fn report(mut lines: Vec<Line>) -> Report {
    let at_maximum: Vec<f64> = lines
        .iter()
        .filter(|line| line.case.starts_with(MAXIMUM_LOAD))
        .filter_map(Line::mean_error)
        .collect();
    let near = at_maximum.iter().filter(|&&error| error <= NEAR_PERCENT).count();
    let mean = at_maximum.iter().sum::<f64>() / at_maximum.len() as f64;
    let judged = lines.iter().filter(|line| !line.published.is_empty()).count();
    let good = lines.iter().filter(|line| !line.published.is_empty() && line.passed()).count();
    let rank = |line: &Line| line.mean_error().unwrap_or(-1.0) / line.tolerance_percent;
    lines.sort_by(|one, other| rank(other).total_cmp(&rank(one)));
    Report {
        suite: "throughput",
        columns: vec!["case", "figure", "points", "published", "ours", "error\n%", "largest\n%"],
        summary: format!(
            "{good} of {judged} figures are within {AIM_PERCENT} % on average (hit rates: 0.1 points).\n\
             TensorRT-LLM at maximum load is {mean:.1} % off on average; {near} of {} within {NEAR_PERCENT} %.",
            at_maximum.len()
        ),
        rows: lines.iter().map(Line::row).collect(),
    }
}
