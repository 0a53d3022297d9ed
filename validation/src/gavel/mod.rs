//! `foretell validate gavel`: the experiments of Gavel (OSDI'20), beside the figures that its authors published.
//!
//! The jobs are those of Gavel's generator, draw by draw; the rounds follow its simulator. What differs is said in
//! `docs/validate-gavel.md`.

mod policies;
mod published;
mod random;
mod simulate;
mod throughputs;
mod workload;

use std::path::Path;

use foretell_scenarios::Simplex;
use rayon::prelude::*;

use self::policies::policy;
use self::published::Experiment;
use self::simulate::{Outcome, Setting, simulate};
use self::throughputs::Throughputs;
use self::workload::{Generator, Job, parse_trace};
use crate::report::{Cell, Report, Row};
use crate::{DataError, Error, Progress, archive};

/// What to run.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Selection {
    /// Every published figure, rather than those that take less than a minute in all.
    pub full: bool,
    /// Only these policies, by Gavel's name; an empty list is all.
    pub policies: Vec<String>,
}

/// 36 GPUs of each type; rounds of 360 s, allocations at most every 1,920 s (docs/validate-gavel.md says why).
const WORKERS: [u32; 3] = [36, 36, 36];
const ROUND_S: f64 = 360.0;
const RESET_INTERVAL_S: f64 = 1920.0;

/// Under which the traces are run.
const TRACE_POLICY: &str = "fifo_perf";
/// GPUs of each type for the per-VC traces, by their `cluster_specs_heterogeneous.json`.
const TRACE_WORKERS: [u32; 3] = [300, 300, 300];

/// Seeds whose makespans the published figure is the mean of.
const STATIC_SEEDS: [u64; 3] = [0, 1, 2];
/// The jobs whose mean completion is published.
const AWAITED: std::ops::Range<usize> = 4000..5000;

/// One run to do.
struct Task<'a> {
    setting: String,
    policy: String,
    /// What was published: the makespan, or the mean time to completion.
    is_makespan: bool,
    /// That in hours, with the largest difference in percent that passes, where one is promised.
    published: Option<(f64, Option<f64>)>,
    runs: Vec<(Vec<Job>, Setting)>,
    throughputs: &'a Throughputs,
}

/// Reproduces the published figures from `data` (the folder of Gavel's data, or the folder above it).
pub fn run(data: &Path, selection: &Selection, progress: &Progress<'_>) -> Result<Report, Error> {
    if let Some(name) = selection.policies.iter().find(|name| policy(name).is_none()) {
        return Err(Error::UnknownPolicy { name: name.clone(), known: policies::NAMES.join(", ") });
    }
    let root = if data.join("gavel").is_dir() { data.join("gavel") } else { data.to_owned() };
    let throughputs_path = root.join("simulation_throughputs.json.gz");
    let mut throughputs = Throughputs::read(&throughputs_path)?;
    let figures = published::read(&root.join("notebook_text_outputs.txt.gz"))?;
    let unmeasured = |kind: String| {
        let expected = format!("throughputs of {kind}");
        Error::Data(DataError::Field { path: throughputs_path.clone(), expected })
    };

    let takes =
        |name: &str| selection.policies.is_empty() || selection.policies.iter().any(|one| one == name);
    let mut traces = Vec::new();
    for (name, text) in archive::read(&root.join("traces_msr_and_physical.tar.gz"), "trace")? {
        if takes(TRACE_POLICY) && (selection.full || !name.contains("/msr/") || name.contains("seed=0")) {
            let jobs = parse_trace(Path::new(&name), &text, &mut throughputs)?;
            traces.push((name, jobs));
        }
    }
    let mut tasks = Vec::new();
    for ((experiment, load, name), &hours) in &figures {
        if !takes(name) || policy(name).is_none() || !(selection.full || is_quick(*experiment, *load, name)) {
            continue;
        }
        tasks.push(task(*experiment, *load, name, hours, &throughputs).map_err(unmeasured)?);
    }
    tasks.extend(traces.into_iter().map(|(name, jobs)| trace_task(&name, jobs, &throughputs)));
    if tasks.is_empty() {
        return Err(Error::NothingSelected { path: root });
    }
    progress.begin(tasks.len());
    let rows = tasks
        .par_iter()
        .flat_map_iter(|task| {
            let rows = task.rows();
            progress.step();
            rows
        })
        .collect::<Vec<_>>();
    let (passed, held) = (rows.iter().filter(|row| row.passed).count(), rows.len());
    Ok(Report {
        suite: "gavel",
        columns: vec!["setting", "policy", "figure", "jobs", "ours h", "published h", "difference %"],
        rows,
        summary: format!("{passed} of {held} figures within what docs/validate-gavel.md says"),
    })
}

/// Whether a run is short enough for a default that takes less than a minute.
fn is_quick(experiment: Experiment, load: u32, policy: &str) -> bool {
    match experiment {
        Experiment::StaticMultiple => policy != "min_total_duration_perf" || load <= 300,
        Experiment::ContinuousSingle => match policy {
            "fifo" | "fifo_perf" | "fifo_packed" => true,
            "max_min_fairness" | "max_min_fairness_perf" | "gandiva" => load % 160 == 80,
            _ => false,
        },
        Experiment::ContinuousMultiple => policy.starts_with("fifo"),
    }
}

/// The largest difference in percent that is promised, per figure; none where the published figure hangs on what
/// cannot be known.
fn promised(experiment: Experiment, load: u32, policy: &str) -> Option<f64> {
    match (policy, experiment) {
        // Figures are printed with two decimals.
        ("fifo_perf" | "fifo_packed", _) => Some(0.15),
        ("fifo" | "max_min_fairness", Experiment::StaticMultiple | Experiment::ContinuousSingle) => Some(2.0),
        ("min_total_duration_perf", Experiment::StaticMultiple) => Some(5.0),
        ("max_min_fairness_perf", Experiment::ContinuousSingle) => Some(10.0),
        // Which jobs are paired is drawn.
        ("gandiva", Experiment::ContinuousSingle) if load <= 400 => Some(0.15),
        // Near the load at which queues grow without bound, means hang on single draws.
        ("fifo", Experiment::ContinuousMultiple) => Some(if load < 120 { 2.0 } else { 15.0 }),
        _ => None,
    }
}

fn task<'a>(
    experiment: Experiment,
    load: u32,
    name: &str,
    hours: f64,
    throughputs: &'a Throughputs,
) -> Result<Task<'a>, String> {
    let setting = |seed, awaited| Setting {
        workers: WORKERS,
        round_s: ROUND_S,
        reset_interval_s: RESET_INTERVAL_S,
        seed,
        awaited,
    };
    let is_multiple = experiment != Experiment::ContinuousSingle;
    let runs = if experiment == Experiment::StaticMultiple {
        let run = |seed| {
            let jobs = Generator::new(throughputs, seed, is_multiple).at_once(load as usize)?;
            Ok((jobs, setting(seed, 0..load as usize)))
        };
        STATIC_SEEDS.into_iter().map(run).collect::<Result<_, String>>()?
    } else {
        let rate_per_h = f64::from(load) / 100.0;
        // Later jobs keep coming while the awaited ones end.
        let jobs = Generator::new(throughputs, 0, is_multiple).over_time(2 * AWAITED.end, rate_per_h, 0)?;
        vec![(jobs, setting(0, AWAITED))]
    };
    let setting = match experiment {
        Experiment::StaticMultiple => format!("static-multiple, {load} jobs"),
        Experiment::ContinuousSingle => format!("continuous-single, {:.1} jobs/h", f64::from(load) / 100.0),
        Experiment::ContinuousMultiple => {
            format!("continuous-multiple, {:.1} jobs/h", f64::from(load) / 100.0)
        }
    };
    Ok(Task {
        setting,
        policy: name.to_owned(),
        is_makespan: experiment == Experiment::StaticMultiple,
        published: Some((hours, promised(experiment, load, name))),
        runs,
        throughputs,
    })
}

fn trace_task<'a>(name: &str, jobs: Vec<Job>, throughputs: &'a Throughputs) -> Task<'a> {
    let setting = Setting {
        workers: if name.contains("/msr/") { TRACE_WORKERS } else { WORKERS },
        round_s: ROUND_S,
        reset_interval_s: RESET_INTERVAL_S,
        seed: 0,
        awaited: 0..jobs.len(),
    };
    Task {
        setting: name.trim_start_matches("traces/").to_owned(),
        policy: TRACE_POLICY.to_owned(),
        is_makespan: false,
        published: None,
        runs: vec![(jobs, setting)],
        throughputs,
    }
}

impl Task<'_> {
    /// What was published beside ours; and of jobs that are all there from the beginning the mean time to completion, of which
    /// nothing was.
    fn rows(&self) -> Vec<Row> {
        let outcomes: Vec<Outcome> = self
            .runs
            .iter()
            .filter_map(|(jobs, setting)| {
                let mut policy = policy(&self.policy)?;
                Some(simulate(jobs, self.throughputs, &mut *policy, &mut Simplex, setting))
            })
            .collect();
        if self.is_makespan {
            let makespan = self.row("makespan", &outcomes, |outcome| outcome.makespan_s, self.published);
            vec![makespan, self.row("mean completion", &outcomes, Outcome::mean_completion_s, None)]
        } else {
            vec![self.row("mean completion", &outcomes, Outcome::mean_completion_s, self.published)]
        }
    }

    fn row(
        &self,
        figure: &str,
        outcomes: &[Outcome],
        figure_s: impl Fn(&Outcome) -> f64,
        published: Option<(f64, Option<f64>)>,
    ) -> Row {
        let ours_h = outcomes.iter().map(figure_s).sum::<f64>() / outcomes.len() as f64 / 3600.0;
        let stuck: usize = outcomes.iter().map(|outcome| outcome.stuck).sum();
        let difference = published.map(|(hours, _)| (ours_h / hours - 1.0) * 100.0);
        let tolerance = published.and_then(|(_, tolerance)| tolerance);
        let is_within = difference.zip(tolerance).is_none_or(|(difference, most)| difference.abs() <= most);
        let jobs: usize = outcomes.iter().map(|outcome| outcome.completion_s.len()).sum();
        Row {
            cells: vec![
                Cell::Text(self.setting.clone()),
                Cell::Text(self.policy.clone()),
                Cell::Text(figure.to_owned()),
                Cell::Count(jobs as u64),
                Cell::Figure(ours_h, 2),
                published.map_or(Cell::None, |(hours, _)| Cell::Figure(hours, 2)),
                difference.map_or(Cell::None, |difference| Cell::Figure(difference, 1)),
            ],
            passed: stuck == 0 && is_within,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Published figures that hang neither on a random draw of the policy nor on which optimum a solver finds: they must
    /// come out to the second decimal.
    #[test]
    #[expect(clippy::print_stderr, reason = "says what it skips")]
    fn published_figures_come_out() {
        let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data");
        let data = std::env::var_os("FORETELL_DATA").map_or(beside, Into::into);
        if !data.join("gavel").is_dir() {
            eprintln!("skipped: no Gavel data at {}", data.display());
            return;
        }
        let throughputs = Throughputs::read(&data.join("gavel/simulation_throughputs.json.gz")).unwrap();
        let check = |experiment, load, name: &str, expected: f64| {
            let task = task(experiment, load, name, expected, &throughputs).unwrap();
            let row = &task.rows()[0];
            let Cell::Figure(ours, _) = row.cells[4] else { panic!("{row:?}") };
            assert!(
                (ours - expected).abs() < 0.0051,
                "{experiment:?} {load} {name}: {ours}, published {expected}"
            );
        };
        check(Experiment::ContinuousSingle, 480, "fifo_perf", 22.24);
        check(Experiment::ContinuousSingle, 480, "fifo_packed", 21.14);
        check(Experiment::ContinuousMultiple, 160, "fifo_perf", 20.02);
        check(Experiment::ContinuousMultiple, 160, "fifo_packed", 19.95);
        check(Experiment::ContinuousSingle, 240, "max_min_fairness", 23.43);
        check(Experiment::ContinuousSingle, 400, "gandiva", 18.88);
    }
}
