//! The published figures, as the notebooks of Gavel's repository print them.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

use crate::DataError;
use crate::openb::open;

/// Which experiment.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Experiment {
    /// Jobs on one or more GPUs, all there at the beginning: makespan in hours, mean of three seeds, by number of jobs.
    StaticMultiple,
    /// Jobs on one GPU that arrive over time: mean time to completion in hours of jobs 4000 to 5000, by arrivals per
    /// 100 hours.
    ContinuousSingle,
    /// As `ContinuousSingle`, with jobs on one or more GPUs.
    ContinuousMultiple,
}

/// Experiment, size of its load (jobs, or arrivals per 100 hours) and policy by Gavel's name.
pub(super) type Key = (Experiment, u32, String);

/// Figures in hours.
pub(super) type Published = BTreeMap<Key, f64>;

/// Names of policies where they are printed for people.
const LABELS: [(&str, &str); 4] = [
    ("Gavel w/ SS", "min_total_duration_packed"),
    ("Gavel", "min_total_duration_perf"),
    ("Gandiva", "gandiva"),
    ("FIFO", "fifo"),
];

/// Reads `notebook_text_outputs.txt.gz`.
pub(super) fn read(path: &Path) -> Result<Published, DataError> {
    let mut text = String::new();
    open(path)?.read_to_string(&mut text).map_err(|cause| DataError::io(path, cause))?;
    let published = parse(&text);
    if published.is_empty() {
        let expected = "tables of evaluation/makespan.ipynb and evaluation/continuous_jobs*.ipynb".to_owned();
        return Err(DataError::Field { path: path.to_owned(), expected });
    }
    Ok(published)
}

fn parse(text: &str) -> Published {
    let mut published = Published::new();
    for section in text.split("### ") {
        let (title, body) = section.split_once('\n').unwrap_or((section, ""));
        match title.trim() {
            "evaluation/makespan.ipynb cell 10" => parse_makespan(body, &mut published),
            "evaluation/continuous_jobs.ipynb cell 10" => {
                parse_rate(Experiment::ContinuousSingle, body, &mut published);
            }
            "evaluation/continuous_jobs_multigpu.ipynb cell 10" => {
                parse_rate(Experiment::ContinuousMultiple, body, &mut published);
            }
            _ => {}
        }
    }
    published
}

/// Lines of policy (only where it changes), number of jobs, hours and a count.
fn parse_makespan(body: &str, published: &mut Published) {
    let mut policy = "";
    for line in body.lines() {
        let label = LABELS.iter().find(|(label, _)| line.starts_with(label));
        let (figures, name) = label.map_or((line, policy), |(label, name)| (&line[label.len()..], *name));
        policy = name;
        let figures: Vec<f64> = figures.split_whitespace().filter_map(|figure| figure.parse().ok()).collect();
        if let ([jobs, hours, _], false) = (&figures[..], policy.is_empty()) {
            published.insert((Experiment::StaticMultiple, *jobs as u32, policy.to_owned()), *hours);
        }
    }
}

/// A line `Input job rate: 0.40`, then lines `policy: hours`. What is printed twice is the same.
fn parse_rate(experiment: Experiment, body: &str, published: &mut Published) {
    let mut load = None;
    for line in body.lines() {
        let Some((name, figure)) = line.split_once(": ") else { continue };
        let Ok(figure) = figure.trim().parse::<f64>() else { continue };
        if name == "Input job rate" {
            load = Some((figure * 100.0).round() as u32);
        } else if let Some(load) = load {
            published.entry((experiment, load, name.to_owned())).or_insert(figure);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_parse() {
        let text = "\
### evaluation/makespan.ipynb cell 10
# source: print()
FIFO        100.0           182.5     1
            200.0           229.4     1
Gavel w/ SS 100.0           163.6     1
### evaluation/continuous_jobs.ipynb cell 10
['fifo']
Input job rate: 0.40
fifo: 17.58
### evaluation/other.ipynb cell 10
fifo: 1.0
";
        let found: Vec<_> = parse(text)
            .into_iter()
            .map(|((experiment, load, name), hours)| (experiment, load, name, hours))
            .collect();
        let key = |experiment, load, name: &str, hours| (experiment, load, name.to_owned(), hours);
        assert_eq!(
            found,
            [
                key(Experiment::StaticMultiple, 100, "fifo", 182.5),
                key(Experiment::StaticMultiple, 100, "min_total_duration_packed", 163.6),
                key(Experiment::StaticMultiple, 200, "fifo", 229.4),
                key(Experiment::ContinuousSingle, 40, "fifo", 17.58),
            ]
        );
    }
}
