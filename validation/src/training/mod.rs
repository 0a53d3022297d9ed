//! `foretell validate training`: steps of training jobs that were measured, beside those that the model predicts.
//!
//! Constants are fitted to llm-foundry's rows. Each of these is predicted twice: with the constants fitted to all, and with
//! constants fitted to those of other models (in five parts). All other rows are predicted with no constant of theirs. What
//! failures cost Llama 3's training is simulated beside them.

mod fit;
mod interruptions;
mod measured;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use foretell_training::kernels::{Calibration, Parameter};
use foretell_training::memory::GIB;
use rayon::prelude::*;

use self::fit::fit;
use self::measured::{Kinship, Measured, Read, read};
use crate::report::{Cell, Report, Row};
use crate::{Error, Progress};

/// Parts that are left out in turn.
const FOLDS: usize = 5;

/// The largest mean error of llm-foundry's rows that were left out of the fit, points of MFU.
const FOUNDRY_POINTS: f64 = 3.0;

/// The same of the rows of one model on one GPU.
const MODEL_POINTS: f64 = 5.0;

/// The largest error of the step times that Calculon predicts.
const MEGATRON: f64 = 0.05;

/// The largest error of a measured peak of memory.
const PEAK: f64 = 0.08;

/// The largest error of a share of linear scaling, points.
const SCALING_POINTS: f64 = 10.0;

/// The largest error of a ratio of two rates of `MLPerf`: half as much again as the 10 % of a step, of which there are two.
const MLPERF: f64 = 0.15;

/// What is wanted beside the report.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Selection {
    /// Fit the constants to the data at hand, and print them.
    pub fit: bool,
}

/// Predicts every row in `data`: a folder with `training_measured.csv`, or with `network/training_measured.csv`, or such a file.
pub fn run(data: &Path, selection: Selection, progress: &Progress<'_>) -> Result<Report, Error> {
    let Read { rows, skipped } = read(&file(data))?;
    progress.begin(FOLDS);
    let foundry: Vec<&Measured> = rows.iter().filter(|row| row.kinship == Kinship::Foundry).collect();
    let calibration = if selection.fit { fit(&foundry) } else { Calibration::default() };
    // All rows of a model are left out together: they are much alike.
    let mut models: Vec<&str> = foundry.iter().map(|row| row.model.name.as_str()).collect();
    models.sort_unstable();
    models.dedup();
    let held_out: Vec<Calibration> = (0..FOLDS)
        .into_par_iter()
        .map(|fold| {
            let others: Vec<&Measured> =
                foundry.iter().copied().filter(|row| fold_of(row, &models) != fold).collect();
            let fitted = fit(&others);
            progress.step();
            fitted
        })
        .collect();
    let errors: Vec<FoundryError<'_>> = foundry
        .iter()
        .filter_map(|row| {
            let held_out = &held_out[fold_of(row, &models)];
            Some(FoundryError { row, fitted: points(row, &calibration)?, held_out: points(row, held_out)? })
        })
        .collect();
    let mut lines = foundry_lines(&errors);
    lines.extend(rows.iter().filter(|row| row.kinship != Kinship::Foundry).flat_map(|row| {
        let bases = rows.iter().filter(|base| is_base(base, row));
        let base = bases.min_by_key(|base| base.ranks.count());
        others(row, base, &calibration)
    }));
    lines.extend(interruptions::lines()?);
    lines.sort_by(|one, other| other.badness.total_cmp(&one.badness));
    let mut summary = summary(&rows, &errors, &calibration);
    for ((source, reason), count) in skipped {
        let rows = if count == 1 { "row" } else { "rows" };
        let _ = writeln!(summary, "skipped {count} {rows} of {source}: {reason}");
    }
    if selection.fit {
        summary.push_str("\nfitted constants:\n");
        for parameter in Parameter::ALL {
            let _ = writeln!(summary, "    {parameter:?}: {:.4}", calibration.get(parameter));
        }
    }
    Ok(Report {
        suite: "training",
        columns: vec!["source", "model", "hardware", "what", "measured", "ours", "error"],
        rows: lines.into_iter().map(|line| Row { cells: line.cells, passed: line.passed }).collect(),
        summary: summary.trim_end().to_owned(),
    })
}

/// How far a row of llm-foundry is off, points of MFU.
struct FoundryError<'a> {
    row: &'a Measured,
    fitted: f64,
    /// With its model left out of the fit.
    held_out: f64,
}

fn points(row: &Measured, calibration: &Calibration) -> Option<f64> {
    let measured = row.mfu_of(row.step_s?);
    Some((row.mfu_of(row.step(calibration)?.time_s) - measured).abs())
}

/// A line for each model on each GPU.
fn foundry_lines(errors: &[FoundryError<'_>]) -> Vec<Line> {
    let mean_held_out = mean(&errors.iter().map(|error| error.held_out).collect::<Vec<_>>());
    // By hardware and model; errors fitted and held out.
    let mut groups: BTreeMap<(String, &str), [Vec<f64>; 2]> = BTreeMap::new();
    for FoundryError { row, fitted, held_out } in errors {
        let hardware = format!("{} {}", row.device.name, row.plan.precision.name());
        let group = groups.entry((hardware, &row.model.name)).or_default();
        group[0].push(*fitted);
        group[1].push(*held_out);
    }
    groups
        .into_iter()
        .map(|((hardware, model), [fitted, held_out])| Line {
            badness: mean(&held_out) / FOUNDRY_POINTS,
            cells: vec![
                Cell::Text("llm-foundry".to_owned()),
                Cell::Text(model.to_owned()),
                Cell::Text(hardware),
                Cell::Text(format!("MFU, {} row{}", fitted.len(), if fitted.len() == 1 { "" } else { "s" })),
                Cell::None,
                Cell::None,
                Cell::Text(format!("{:.1} / {:.1} points", mean(&fitted), mean(&held_out))),
            ],
            passed: mean_held_out <= FOUNDRY_POINTS && mean(&held_out) <= MODEL_POINTS,
        })
        .collect()
}

/// The means, and what does not fit although it ran.
fn summary(rows: &[Measured], errors: &[FoundryError<'_>], calibration: &Calibration) -> String {
    let of = |which: fn(&FoundryError<'_>) -> f64| errors.iter().map(which).collect::<Vec<f64>>();
    let (fitted, held_out) = (of(|error| error.fitted), of(|error| error.held_out));
    let foundry: Vec<&Measured> = rows.iter().filter(|row| row.kinship == Kinship::Foundry).collect();
    let (too_full, fitting) = memory_verdicts(&foundry);
    let mut summary = format!(
        "llm-foundry: mean error of MFU {:.2} points fitted, {:.2} with its model left\n\
         out of the fit (largest {:.1}), {} rows; constants come from these alone.\n\
         Their micro-batches fit by our reckoning in {fitting} of {} rows.\n",
        mean(&fitted),
        mean(&held_out),
        held_out.iter().copied().fold(0.0, f64::max),
        errors.len(),
        foundry.len(),
    );
    for line in &too_full {
        let _ = writeln!(summary, "does not fit by our reckoning: {line}");
    }
    let megatron = rows.iter().filter(|row| row.kinship == Kinship::Megatron);
    let judged: Vec<f64> = megatron
        .filter_map(|row| row.log_error(calibration))
        .map(|error| error.exp_m1().abs() * 100.0)
        .collect();
    if !judged.is_empty() {
        let _ = writeln!(
            summary,
            "Korthikanti 2022, the step times of Calculon: mean error {:.1} %, largest {:.1} %.",
            mean(&judged),
            judged.iter().copied().fold(0.0, f64::max)
        );
    }
    let _ = writeln!(
        summary,
        "`recalled` rows are shown and not judged. Llama 3's interruptions follow from\n\
         their published rate; of its effective time only what a failure costs is ours."
    );
    summary
}

/// The part in which a row is left out: that of its model.
fn fold_of(row: &Measured, models: &[&str]) -> usize {
    models.iter().position(|model| *model == row.model.name).unwrap_or(0) % FOLDS
}

/// A line of the table, and how bad it is.
struct Line {
    badness: f64,
    cells: Vec<Cell>,
    passed: bool,
}

/// Whether a row is the smaller run that another is compared with.
fn is_base(base: &Measured, row: &Measured) -> bool {
    base.kinship == Kinship::MlPerf
        && row.kinship == Kinship::MlPerf
        && base.model.name == row.model.name
        && base.device.name == row.device.name
        && base.ranks.count() < row.ranks.count()
        && base.samples_per_s.is_some()
}

/// The lines of a row that constants are not fitted to.
fn others(row: &Measured, base: Option<&Measured>, calibration: &Calibration) -> Vec<Line> {
    let mut lines = Vec::new();
    let mut line = |what: String, (measured, ours): (f64, f64), unit: &str, tolerance: Option<f64>| {
        let error = ours / measured - 1.0;
        let is_points = unit == "%";
        let (text, badness) = if is_points {
            (format!("{:+.1} points", ours - measured), (ours - measured).abs() / SCALING_POINTS)
        } else {
            (format!("{:+.1} %", error * 100.0), error.abs() / tolerance.unwrap_or(0.2))
        };
        let passed = row.is_recalled && row.kinship != Kinship::Megatron
            || tolerance.is_none_or(|most| if is_points { badness <= 1.0 } else { error.abs() <= most });
        let said = if row.is_recalled { " (recalled)" } else { "" };
        lines.push(Line {
            badness,
            cells: vec![
                Cell::Text(format!("{}{said}", row.source)),
                Cell::Text(row.model.name.clone()),
                Cell::Text(format!("{} x {}", row.ranks.count(), row.device.name)),
                Cell::Text(what),
                Cell::Text(format!("{} {unit}", figure(measured))),
                Cell::Text(format!("{} {unit}", figure(ours))),
                Cell::Text(text),
            ],
            passed,
        });
    };
    let step = row.step(calibration);
    let plan = format!("{} ({})", row.plan, row.plan.recompute.name());
    if let (Some(measured), Some(step)) = (row.step_s, &step) {
        let tolerance = (row.kinship == Kinship::Megatron).then_some(MEGATRON);
        line(format!("step, {plan}"), (measured, step.time_s), "s", tolerance);
    } else if let (Some(measured), Some(step), None) = (row.mfu_percent, &step, row.efficiency_percent) {
        line(format!("MFU, {plan}"), (measured, step.mfu * 100.0), "% MFU", None);
    }
    if let (Some(measured), Some(step)) = (row.samples_per_s, &step) {
        line(
            format!("samples/s, batch {}", row.plan.micro_batch),
            (measured, step.samples_per_s),
            "/s",
            None,
        );
        if let Some((base, before)) = base.and_then(|base| Some((base, base.step(calibration)?)))
            && let Some(base_measured) = base.samples_per_s
        {
            let what = format!("times the rate of {} GPUs", base.ranks.count());
            let ours = step.samples_per_s / before.samples_per_s;
            line(what, (measured / base_measured, ours), "times", Some(MLPERF));
        }
    }
    if let (Some(measured), Some(ours)) = (row.efficiency_percent, row.efficiency(calibration)) {
        line("share of linear scaling".to_owned(), (measured, ours * 100.0), "%", Some(1.0));
    }
    if let Some(peak) = row.peak_bytes {
        let ours = row.memory().total() / GIB;
        line(format!("peak memory, {plan}"), (peak / GIB, ours), "GiB", Some(PEAK));
    }
    lines
}

/// Rows whose micro-batch does not fit by our reckoning, and how many do.
fn memory_verdicts(rows: &[&Measured]) -> (Vec<String>, usize) {
    let mut too_full = Vec::new();
    let mut fitting = 0;
    for row in rows {
        let memory = row.memory();
        if memory.fits(&row.device) {
            fitting += 1;
        } else {
            too_full.push(format!(
                "line {}, {} on {} x {}, micro-batch {} of {}: {:.1} GiB",
                row.line,
                row.model.name,
                row.ranks.count(),
                row.device.name,
                row.plan.micro_batch,
                row.plan.sequence_length,
                memory.total() / GIB
            ));
        }
    }
    (too_full, fitting)
}

fn mean(values: &[f64]) -> f64 {
    if values.is_empty() { 0.0 } else { values.iter().sum::<f64>() / values.len() as f64 }
}

/// A figure with as many decimals as it needs.
fn figure(value: f64) -> String {
    match value.abs() {
        1000.0.. => format!("{value:.0}"),
        10.0.. => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

/// The file of measurements.
fn file(data: &Path) -> PathBuf {
    if data.is_file() {
        return data.to_owned();
    }
    let root = if data.join("network").is_dir() { data.join("network") } else { data.to_owned() };
    root.join("training_measured.csv")
}
