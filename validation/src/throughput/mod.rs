//! `foretell validate throughput`: figures that others measured of whole servers, beside what engine and catalogue make of them.
//!
//! No constant comes from a figure that it is judged by: what hosts of Splitwise took is fitted on other numbers of GPUs. Splitwise's table and Mooncake's traces are read from the data; the others are in `published`.

mod mooncake;
mod power;
mod published;
mod server;
mod splitwise;

use std::fmt::Write as _;
use std::path::Path;

use self::power::BY_POWER;
use self::published::{MAXIMUM_LOADS, USERS, USERS_LENGTHS};
use self::server::Server;
use crate::report::{Cell, Report, Row};
use crate::{Error, Progress};

/// Per cent that a figure may be off.
const AIM_PERCENT: f64 = 15.0;
/// Wider, to see how many are near.
const NEAR_PERCENT: f64 = 20.0;

/// Where figures come from: names of cases begin so.
const MAXIMUM_LOAD: &str = "TensorRT-LLM";
const BY_USERS: &str = "NIM";
const BY_PROMPT: &str = "Splitwise";

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
            let mut line = Line::new(format!("{BY_USERS} 70B users: {}", with.count), figure);
            line.push(published, ours);
            lines.push(line);
        }
        progress.step();
    }
    lines.extend(splitwise::lines(data)?);
    lines.extend(power::lines(data)?);
    progress.step();
    lines.extend(mooncake::lines(data)?);
    progress.step();
    Ok(report(lines))
}

fn report(mut lines: Vec<Line>) -> Report {
    let judged: Vec<&Line> = lines.iter().filter(|line| !line.published.is_empty()).collect();
    let good = judged.iter().filter(|line| line.passed()).count();
    let mut summary = format!(
        "{good} of {} figures are within {AIM_PERCENT} % on average (hit rates: 0.1 points).",
        judged.len()
    );
    for source in [MAXIMUM_LOAD, BY_USERS, BY_PROMPT, BY_POWER] {
        let of = judged.iter().filter(|line| line.case.starts_with(source));
        let errors: Vec<f64> = of.filter_map(|line| line.mean_error()).collect();
        let mean = errors.iter().sum::<f64>() / errors.len() as f64;
        let within = |percent| errors.iter().filter(|&&error| error <= percent).count();
        let (aim, near, all) = (within(AIM_PERCENT), within(NEAR_PERCENT), errors.len());
        // Writing to a string cannot fail.
        let _ = write!(
            summary,
            "\n{source}: {mean:.1} % off on average, {aim} of {all} within {AIM_PERCENT} %, {near} within {NEAR_PERCENT} %."
        );
    }
    let rank = |line: &Line| line.mean_error().unwrap_or(-1.0) / line.tolerance_percent;
    lines.sort_by(|one, other| rank(other).total_cmp(&rank(one)));
    Report {
        suite: "throughput",
        columns: vec!["case", "figure", "points", "published", "ours", "error\n%", "largest\n%"],
        summary,
        rows: lines.iter().map(Line::row).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_judged_by_their_mean_error() {
        let line = |case: &str, pairs: &[(f64, f64)]| {
            let mut line = Line::new(case.to_owned(), "ms");
            for &(published, ours) in pairs {
                line.push(published, ours);
            }
            line
        };
        let mut shown = line("shown", &[]);
        shown.show(3.0);
        // 5 % up, 25 % down: 15 % on average, the same as the aim.
        let near = line("NIM", &[(100.0, 105.0), (100.0, 75.0)]);
        let narrow = line("narrow", &[(100.0, 101.0)]).within(0.5);
        let far = line("Splitwise", &[(100.0, 130.0)]);
        let report = report(vec![shown, near, narrow, far]);
        let of = |row: &Row| {
            let cells: Vec<String> = row.cells.iter().map(Cell::to_text).collect();
            (cells.join(" "), row.passed)
        };
        let rows: Vec<(String, bool)> = report.rows.iter().map(of).collect();
        let expected = [
            ("narrow ms 1 100.0 101.0 1.0 1.0", false),
            ("Splitwise ms 1 100.0 130.0 30.0 30.0", false),
            ("NIM ms 2 100.0 90.0 15.0 -25.0", true),
            ("shown ms 0 - 3.0 - -", true),
        ];
        assert_eq!(rows, expected.map(|(text, passed)| (text.to_owned(), passed)));
        assert!(report.summary.starts_with("1 of 3 figures are within 15 %"), "{}", report.summary);
    }
}
