//! `foretell validate serving-papers`: what papers on model servers published, beside what scenarios make of it.
//!
//! Most of it are ratios: how many times as much one deployment holds as another. Loads, lengths and engines of the papers are known in part only, so that it is judged which deployment holds
//! more; how much more is shown. What is from memory of a paper is marked so in its file.

mod deployment;
mod distserve;
mod judge;
mod mooncake;
mod sarathi;
mod splitwise;
mod transfer;

use std::fmt::Write as _;
use std::path::Path;

use rayon::prelude::*;

use self::judge::{COLUMNS, Line};
use crate::report::Report;
use crate::{Error, Progress};

/// Some lines of a paper.
type Case<'a> = Box<dyn Fn(&Path) -> Result<Vec<Line>, Error> + Sync + 'a>;

/// All of them, in order.
fn cases() -> Vec<Case<'static>> {
    let mut cases: Vec<Case<'static>> = vec![Box::new(transfer::lines)];
    for capacity in mooncake::CAPACITIES {
        cases.push(Box::new(move |data| mooncake::capacity(data, capacity)));
    }
    cases.push(Box::new(mooncake::caches));
    for trace in splitwise::TRACES {
        cases.push(Box::new(move |data| splitwise::lines(data, trace)));
    }
    for served in &sarathi::MODELS {
        cases.push(Box::new(move |data| sarathi::lines(data, served)));
    }
    cases.push(Box::new(distserve::lines));
    cases
}

/// Runs every case.
pub fn run(data: &Path, progress: &Progress<'_>) -> Result<Report, Error> {
    let cases = cases();
    progress.begin(cases.len());
    let lines = cases.par_iter().map(|case| {
        let lines = case(data);
        progress.step();
        lines
    });
    let lines: Vec<Vec<Line>> = lines.collect::<Result<_, _>>()?;
    Ok(report(&lines.concat()))
}

fn report(lines: &[Line]) -> Report {
    let (directions, others): (Vec<&Line>, Vec<&Line>) = lines.iter().partition(|line| line.is_direction());
    let figures: Vec<&Line> = others.into_iter().filter(|line| line.published.is_some()).collect();
    let agreeing = |lines: &[&Line]| lines.iter().filter(|line| line.passed()).count();
    let mut summary = format!(
        "{} of {} directions agree, {} of {} figures are met.",
        agreeing(&directions),
        directions.len(),
        agreeing(&figures),
        figures.len()
    );
    // Writing to a string cannot fail.
    let mut papers: Vec<&str> = directions.iter().map(|line| line.paper).collect();
    papers.dedup();
    for paper in papers {
        let of = directions.iter().filter(|line| line.paper == paper);
        let gains = of.filter_map(|line| Some((line.published? - 1.0, line.ours - 1.0)));
        let shares: Vec<f64> = gains.map(|(published, ours)| 100.0 * ours / published).collect();
        let (least, most) =
            shares.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(least, most), &share| {
                (least.min(share), most.max(share))
            });
        let _ = write!(summary, "\n{paper}: of the published gains {least:.0} to {most:.0} % come out.");
    }
    Report {
        suite: "serving-papers",
        columns: COLUMNS.to_vec(),
        rows: lines.iter().map(Line::row).collect(),
        summary,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Cell;

    #[test]
    fn a_summary_says_how_many_directions_agree_and_how_far_gains_are() {
        let ratio = |paper, published, ours| Line::ratio(paper, "c".to_owned(), published, ours);
        let lines = [
            Line::figure("A", "t".to_owned(), "ms", (1.0, 1.2), 6.0),
            ratio("A", 3.0, 1.5),
            ratio("A", 2.0, 3.0),
            Line::shown("A", "s".to_owned(), "ms", 4.0),
            ratio("B", 2.0, 0.9),
        ];
        let report = report(&lines);
        assert!(!report.passed());
        let of = |row: usize| report.rows[row].cells.iter().map(Cell::to_text).collect::<Vec<_>>().join(" ");
        assert_eq!(of(1), "A c ratio 3.00 1.50 -50.0 direction");
        assert_eq!(
            report.summary.lines().take(3).collect::<Vec<_>>(),
            [
                "2 of 3 directions agree, 0 of 1 figures are met.",
                "A: of the published gains 25 to 200 % come out.",
                "B: of the published gains -10 to -10 % come out.",
            ]
        );
    }
}
