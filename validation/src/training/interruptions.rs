//! How often Llama 3's training was interrupted, and how much of its time it trained for that: the library's scenario, run.
//!
//! The rates of failures in that scenario are what was counted of this training, so that the count follows from them: that it
//! comes out says that the simulator strikes as often as it is told. What the training loses by each failure does not.

use std::path::Path;

use foretell_scenarios::sim::framework::{ClusterState, Time};
use foretell_scenarios::sim::log::{Observer, Record, RunResult};
use foretell_scenarios::{Environment, Plan, parse};
use rayon::prelude::*;

use super::{Line, figure};
use crate::Error;
use crate::report::Cell;

/// The scenario.
const SCENARIO: &str = include_str!("../../../scenarios/library/failures.toml");

const NAME: &str = "scenarios/library/failures.toml";

/// Runs, with the seeds from that of the scenario on.
const SEEDS: u64 = 4;

/// Unexpected interruptions ("The Llama 3 Herd of Models", 2024, section 3.3.4), and the days in which they came.
const INTERRUPTIONS: f64 = 419.0;
const DAYS: f64 = 54.0;

/// Effective training time was more than this, per cent (the same section).
const EFFECTIVE_PERCENT: f64 = 90.0;

/// The largest error of the number of interruptions: what the mean of the runs is off by chance twice over.
const COUNT: f64 = 0.1;

/// Interruptions in the days of the paper, and the share of time that was effective, per cent: means of the runs.
#[derive(Clone, Copy, PartialEq, Debug)]
struct Outcome {
    interruptions: f64,
    effective_percent: f64,
}

/// The lines of the report.
pub(super) fn lines() -> Result<Vec<Line>, Error> {
    let outcomes = (0..SEEDS).into_par_iter().map(outcome).collect::<Result<Vec<_>, Error>>()?;
    let mean = |of: fn(&Outcome) -> f64| outcomes.iter().map(of).sum::<f64>() / SEEDS as f64;
    let interruptions = mean(|outcome| outcome.interruptions);
    let effective_percent = mean(|outcome| outcome.effective_percent);
    let line = |what: &str, measured: String, ours: String, error: String, badness: f64| Line {
        badness,
        cells: vec![
            Cell::Text("Llama 3".to_owned()),
            Cell::Text("llama-3-405b".to_owned()),
            Cell::Text("16384 x H100".to_owned()),
            Cell::Text(what.to_owned()),
            Cell::Text(measured),
            Cell::Text(ours),
            Cell::Text(error),
        ],
        passed: badness <= 1.0,
    };
    let error = interruptions / INTERRUPTIONS - 1.0;
    let over_points = effective_percent - EFFECTIVE_PERCENT;
    Ok(vec![
        line(
            &format!("interruptions in {DAYS} days, told their rate"),
            figure(INTERRUPTIONS),
            figure(interruptions),
            format!("{:+.1} %", error * 100.0),
            error.abs() / COUNT,
        ),
        line(
            "effective training time",
            format!("> {EFFECTIVE_PERCENT} %"),
            format!("{effective_percent:.1} %"),
            format!("{over_points:+.1} points"),
            if over_points < 0.0 { 1.0 - over_points } else { 0.0 },
        ),
    ])
}

fn outcome(nth: u64) -> Result<Outcome, Error> {
    let broken = |message: String| Error::Run { path: NAME.into(), message };
    let mut scenario = parse(NAME, SCENARIO, &[], Path::new(""), Environment { data_dir: None })
        .map_err(|error| broken(error.to_string()))?
        .scenario;
    scenario.seed += nth;
    let policy = scenario.scheduler.policies.first().cloned().unwrap_or_default();
    let run = |scenario| Plan::new(scenario)?.run(&policy, &mut Deaf, &mut |_| ());
    let RunResult { summary, .. } = run(scenario).map_err(|error| broken(error.to_string()))?;
    let faults = summary.faults.unwrap_or_default();
    let days = summary.makespan.as_s() / 86_400.0;
    Ok(Outcome {
        interruptions: faults.interruptions as f64 * DAYS / days,
        effective_percent: faults.effective_time_ratio * 100.0,
    })
}

/// Listens to nothing.
struct Deaf;

impl Observer for Deaf {
    fn advance(&mut self, _from: Time, _to: Time, _state: &ClusterState) {}

    fn record(&mut self, _now: Time, _record: &Record<'_>, _state: &ClusterState) {}
}
