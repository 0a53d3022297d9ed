//! What a capacity search found: its table and files.

use std::fmt::Write as _;
use std::io::{self, Write};

use comfy_table::{ColumnConstraint, Row, Width};
use foretell_search::{Deployment, Found, FoundPoint, Goal, Searched, Verdict};
use serde::Serialize;

use crate::csv::Rows;
use crate::table::{WIDTH_MIN, align_right, new_table, render};
use crate::units::{count, percent, quantity};

/// Rows of the table at most; beyond, those that are best by GPU are shown.
const ROWS_MAX: usize = 24;

/// Columns of a varied value at most.
const VALUE_COLUMNS_MAX: u16 = 20;

/// A terminal so wide has room for what was measured.
const WIDE: u16 = 100;

/// What was found, no line wider than `width` (at least 72): a row for each deployment, or where there are many for the best of them.
pub fn search_table(searched: &Searched, width: u16) -> String {
    let width = width.max(WIDTH_MIN);
    [heading(searched, width), rows(searched, width), wrapped(&notes(searched), width)].concat()
}

/// Lines of words, none wider than `width` unless a word is.
fn wrapped(text: &str, width: u16) -> String {
    let mut out = String::new();
    for line in text.lines() {
        let mut used = 0;
        for word in line.split_whitespace() {
            let length = word.chars().count() + 1;
            if used > 0 && used + length > width.into() {
                out.push_str("\n  ");
                used = 2;
            }
            out.push(' ');
            out.push_str(word);
            used += length;
        }
        out.push('\n');
    }
    out
}

fn heading(searched: &Searched, width: u16) -> String {
    let mut table = new_table(width);
    table.add_row(["Service", &searched.service]);
    table.add_row(["Demanded", &searched.terms.join(", ")]);
    let what = match searched.goal {
        Goal::MostLoad => format!("the most load, in {}", searched.unit.name()),
        Goal::FewestReplicas => format!("the fewest replicas for a load, in {}", searched.unit.name()),
    };
    table.add_row(["Searched", &what]);
    render(&table) + "\n"
}

/// Deployments in the order in which they are shown.
fn shown(searched: &Searched) -> Vec<&Deployment> {
    let mut all: Vec<&Deployment> = searched.deployments.iter().collect();
    if all.len() <= ROWS_MAX {
        return all;
    }
    let in_dollars = searched.in_dollars();
    // The best of them, by load for what they take.
    let rank = |deployment: &Deployment| match &deployment.found {
        Ok(found) => {
            let size = found.size(in_dollars).filter(|&size| size > 0.0);
            let worth = found.held.zip(size).map_or(-1.0, |((load, _), size)| load / size);
            (found.is_on_frontier, worth)
        }
        Err(_) => (false, -2.0),
    };
    // Stable sorts: equals stay in order.
    all.sort_by(|one, other| {
        let (one, other) = (rank(one), rank(other));
        other.0.cmp(&one.0).then(other.1.total_cmp(&one.1))
    });
    all.truncate(ROWS_MAX);
    all.sort_by(|one, other| {
        let key = |deployment: &Deployment| {
            let found = deployment.found.as_ref().ok();
            let size = found.and_then(|found| found.size(in_dollars)).unwrap_or(f64::INFINITY);
            (size, found.and_then(|found| found.held).map_or(0.0, |(load, _)| load))
        };
        let ((one_size, one_load), (other_size, other_load)) = (key(one), key(other));
        one_size.total_cmp(&other_size).then(other_load.total_cmp(&one_load))
    });
    all
}

/// Times that were demanded, which a wide table shows.
fn times(searched: &Searched) -> Vec<usize> {
    (0..searched.times.len()).filter(|&index| searched.times[index]).collect()
}

fn rows(searched: &Searched, width: u16) -> String {
    let several = searched.deployments.len() > 1;
    let times = if width >= WIDE { times(searched) } else { Vec::new() };
    let mut header: Vec<String> = Vec::new();
    if several {
        header.push(String::new());
    }
    header.extend(searched.keys.iter().map(|key| short(key).to_owned()));
    let first_number = header.len();
    header.extend(match searched.goal {
        Goal::MostLoad => ["GPUs", "held", "missed", "held/GPU"].map(str::to_owned),
        Goal::FewestReplicas => ["load", "held", "missed", "GPUs"].map(str::to_owned),
    });
    let in_dollars = searched.in_dollars();
    if in_dollars {
        header.extend(["$/h", "$/M"].map(str::to_owned));
    }
    header.extend(times.iter().map(|&index| {
        let unit = if in_ms(searched, index) { "ms" } else { "s" };
        format!("{}, {unit}", searched.measures[index])
    }));
    let last_number = header.len();
    header.push("limited by".to_owned());
    let mut table = new_table(width);
    table.set_header(header);
    for deployment in shown(searched) {
        let mut cells = Vec::new();
        let found = deployment.found.as_ref().ok();
        if several {
            cells.push(if found.is_some_and(|found| found.is_on_frontier) { "*" } else { "" }.to_owned());
        }
        cells.extend(deployment.values.iter().cloned());
        cells.extend(figures(searched, found));
        if in_dollars {
            let dollars =
                |of: fn(&Found) -> Option<f64>| found.and_then(of).map_or_else(|| "-".to_owned(), quantity);
            cells.extend([dollars(|found| found.size(true)), dollars(Found::dollars_per_million)]);
        }
        for &index in &times {
            let value = found.and_then(|found| found.values.get(index).copied().flatten());
            let scale = if in_ms(searched, index) { 1e3 } else { 1.0 };
            cells.push(match value {
                Some(value) if value.is_finite() => quantity(value * scale),
                Some(_) => "endless".to_owned(),
                None => "-".to_owned(),
            });
        }
        cells.push(match &deployment.found {
            Ok(found) => limited_by(searched, found),
            Err(_) => "impossible".to_owned(),
        });
        let mut row = Row::from(cells);
        row.max_height(1);
        table.add_row(row);
    }
    align_right(&mut table, &(first_number..last_number).collect::<Vec<_>>());
    for index in usize::from(several)..first_number {
        if let Some(column) = table.column_mut(index) {
            column.set_constraint(ColumnConstraint::UpperBoundary(Width::Fixed(VALUE_COLUMNS_MAX)));
        }
    }
    table.column_iter_mut().for_each(|column| {
        column.set_padding((1, 0));
    });
    render(&table)
}

/// The last part of a path says enough in a header.
fn short(key: &str) -> &str {
    key.rsplit('.').next().unwrap_or(key)
}

fn figures(searched: &Searched, found: Option<&Found>) -> [String; 4] {
    let none = || "-".to_owned();
    let Some(found) = found else { return [(); 4].map(|()| none()) };
    let load = |point: Option<(f64, u32)>| point.map_or_else(none, |(load, _)| quantity(load));
    let replicas =
        |point: Option<(f64, u32)>| point.map_or_else(none, |(_, replicas)| count(u64::from(replicas)));
    let gpus = found.gpus().map_or_else(none, count);
    match searched.goal {
        Goal::MostLoad => {
            [gpus, load(found.held), load(found.missed), found.load_per_gpu().map_or_else(none, quantity)]
        }
        Goal::FewestReplicas => {
            [load(found.held.or(found.missed)), replicas(found.held), replicas(found.missed), gpus]
        }
    }
}

/// Whether a time is shown in milliseconds: as its limit would be.
fn in_ms(searched: &Searched, index: usize) -> bool {
    searched.limits.get(index).is_some_and(|&limit_s| limit_s < 1.0)
}

fn limited_by(searched: &Searched, found: &Found) -> String {
    let limit = found.limit.and_then(|index| searched.measures.get(index));
    match (limit, found.missed) {
        (Some(limit), _) => limit.clone(),
        (None, Some(_)) => "noise".to_owned(),
        (None, None) => "the bounds".to_owned(),
    }
}

fn notes(searched: &Searched) -> String {
    let mut text = String::new();
    let found: Vec<&Found> = searched.deployments.iter().flat_map(|one| &one.found).collect();
    let confidence = percent(searched.confidence);
    // Writing to a string cannot fail.
    let _ =
        writeln!(text, " held: meets all that is demanded, missed: does not, with {confidence} confidence");
    if searched.deployments.len() > 1 {
        text.push_str(if searched.in_dollars() {
            " * no other holds as much for fewer dollars, or more for as many\n"
        } else {
            " * no other holds as much with fewer GPUs, or more with as many\n"
        });
    }
    let hidden = searched.deployments.len().saturating_sub(ROWS_MAX);
    if hidden > 0 {
        let _ = writeln!(text, " {} others are in search.csv", count(hidden as u64));
    }
    let nothing = found.iter().filter(|found| found.held.is_none()).count() as u64;
    if nothing > 0 {
        let what = match searched.goal {
            Goal::MostLoad => "not even the least load that was looked at",
            Goal::FewestReplicas => "the load not even with as many replicas as there is room or leave for",
        };
        let hold = if nothing == 1 { "holds" } else { "hold" };
        let _ = writeln!(text, " {} {hold} {what}", count(nothing));
    }
    let impossible = || searched.deployments.iter().filter_map(|one| one.found.as_ref().err());
    if let Some(first) = impossible().next() {
        let first = first.lines().next().unwrap_or_default();
        let _ = writeln!(text, " {} cannot be: {first}", count(impossible().count() as u64));
    }
    let runs = found.iter().map(|found| found.runs).sum();
    let _ =
        writeln!(text, " deployments: {}, runs: {}", count(searched.deployments.len() as u64), count(runs));
    text
}

/// Whether and how far something was found, in one word.
fn status(deployment: &Deployment) -> &'static str {
    match &deployment.found {
        Err(_) => "impossible",
        Ok(Found { held: None, .. }) => "nothing_held",
        Ok(Found { missed: None, .. }) => "all_held",
        Ok(_) => "found",
    }
}

/// A name of a column: words with `_` between them.
fn column(text: &str) -> String {
    text.replace(' ', "_")
}

fn value_columns(searched: &Searched) -> impl Iterator<Item = String> {
    searched
        .measures
        .iter()
        .zip(&searched.times)
        .map(|(measure, &is_time)| column(measure) + if is_time { "_s" } else { "" })
}

fn header(searched: &Searched, columns: &str) -> String {
    let keys =
        searched.keys.iter().map(|key| if key.contains(',') { format!("\"{key}\"") } else { key.clone() });
    let all: Vec<String> = keys.chain([columns.to_owned()]).chain(value_columns(searched)).collect();
    all.join(",")
}

/// Columns of `search.csv` between what was varied and what was measured.
const SEARCH_COLUMNS: &str = "status,gpu_model,held_load,held_replicas,held_gpus,missed_load,\
                              missed_replicas,load_per_gpu,dollars_per_hour,dollars_per_million,limited_by,frontier,runs,error";

/// Columns of `points.csv` between what was varied and what was measured.
const POINTS_COLUMNS: &str = "load,replica_count,seeds,verdict";

fn write_load(rows: &mut Rows<'_, impl Write>, load: Option<f64>) {
    match load {
        Some(load) => rows.decimal((load * 1e6).round() as u64, 6),
        None => rows.raw(b""),
    }
}

fn write_values(rows: &mut Rows<'_, impl Write>, searched: &Searched, values: &[Option<f64>]) {
    for index in 0..searched.measures.len() {
        match values.get(index).copied().flatten() {
            Some(value) if value.is_finite() => rows.raw(format!("{value:.6}").as_bytes()),
            Some(_) => rows.raw(b"inf"),
            None => rows.raw(b""),
        }
    }
}

fn write_count(rows: &mut Rows<'_, impl Write>, count: Option<u64>) {
    match count {
        Some(count) => rows.decimal(count, 0),
        None => rows.raw(b""),
    }
}

/// Writes one row for each deployment, in order. What was measured is of where it holds; cells that do not apply are empty.
pub fn write_search(searched: &Searched, out: &mut impl Write) -> io::Result<()> {
    let mut rows = Rows::new(out, &header(searched, SEARCH_COLUMNS));
    for deployment in &searched.deployments {
        deployment.values.iter().for_each(|value| rows.text(value));
        rows.raw(status(deployment).as_bytes());
        match &deployment.found {
            Ok(found) => {
                rows.text(&found.gpu);
                write_load(&mut rows, found.held.map(|(load, _)| load));
                write_count(&mut rows, found.held.map(|(_, replicas)| u64::from(replicas)));
                write_count(&mut rows, found.gpus());
                write_load(&mut rows, found.missed.map(|(load, _)| load));
                write_count(&mut rows, found.missed.map(|(_, replicas)| u64::from(replicas)));
                write_load(&mut rows, found.load_per_gpu());
                write_load(&mut rows, found.size(true));
                write_load(&mut rows, found.dollars_per_million());
                rows.text(&limited_by(searched, found));
                rows.decimal(u64::from(found.is_on_frontier), 0);
                rows.decimal(found.runs, 0);
                rows.raw(b"");
                write_values(&mut rows, searched, &found.values);
            }
            Err(error) => {
                (0..12).for_each(|_| rows.raw(b""));
                rows.text(error);
                write_values(&mut rows, searched, &[]);
            }
        }
        rows.end()?;
    }
    rows.flush()
}

/// Writes one row for each point that was looked at, by deployment and load.
pub fn write_search_points(searched: &Searched, out: &mut impl Write) -> io::Result<()> {
    let mut rows = Rows::new(out, &header(searched, POINTS_COLUMNS));
    for deployment in &searched.deployments {
        let points: &[FoundPoint] = deployment.found.as_ref().map_or(&[], |found| &found.points);
        for point in points {
            deployment.values.iter().for_each(|value| rows.text(value));
            write_load(&mut rows, Some(point.load));
            rows.decimal(u64::from(point.replicas), 0);
            rows.decimal(u64::from(point.seeds), 0);
            rows.raw(match point.verdict {
                Verdict::Held => b"held",
                Verdict::Missed => b"missed",
                Verdict::Open => b"open",
            });
            write_values(&mut rows, searched, &point.values);
            rows.end()?;
        }
    }
    rows.flush()
}

/// `search.json`.
#[derive(Serialize)]
pub(crate) struct SearchFile<'a> {
    goal: Goal,
    service: &'a str,
    unit: &'static str,
    demanded: &'a [String],
    confidence: f64,
    keys: &'a [String],
    deployments: Vec<DeploymentRecord<'a>>,
}

#[derive(Serialize)]
struct DeploymentRecord<'a> {
    values: &'a [String],
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
    #[serde(flatten)]
    found: Option<FoundRecord<'a>>,
}

#[derive(Serialize)]
struct FoundRecord<'a> {
    gpu: &'a str,
    held: Option<At>,
    missed: Option<At>,
    gpus: Option<u64>,
    load_per_gpu: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dollars_per_hour: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dollars_per_million: Option<f64>,
    limited_by: Option<&'a str>,
    frontier: bool,
    runs: u64,
    measured: Vec<Option<f64>>,
    points: Vec<PointRecord>,
}

#[derive(Serialize)]
struct At {
    load: f64,
    replicas: u32,
}

#[derive(Serialize)]
struct PointRecord {
    load: f64,
    replicas: u32,
    seeds: u32,
    verdict: Verdict,
    measured: Vec<Option<f64>>,
}

impl<'a> SearchFile<'a> {
    pub(crate) fn new(searched: &'a Searched) -> Self {
        let at = |(load, replicas)| At { load, replicas };
        let record = |deployment: &'a Deployment| DeploymentRecord {
            values: &deployment.values,
            status: status(deployment),
            error: deployment.found.as_ref().err().map(String::as_str),
            found: deployment.found.as_ref().ok().map(|found| FoundRecord {
                gpu: &found.gpu,
                held: found.held.map(at),
                missed: found.missed.map(at),
                gpus: found.gpus(),
                load_per_gpu: found.load_per_gpu(),
                dollars_per_hour: found.size(true),
                dollars_per_million: found.dollars_per_million(),
                limited_by: found.limit.and_then(|index| searched.measures.get(index)).map(String::as_str),
                frontier: found.is_on_frontier,
                runs: found.runs,
                measured: found.values.clone(),
                points: found.points.iter().map(PointRecord::new).collect(),
            }),
        };
        Self {
            goal: searched.goal,
            service: &searched.service,
            unit: searched.unit.name(),
            demanded: &searched.terms,
            confidence: searched.confidence,
            keys: &searched.keys,
            deployments: searched.deployments.iter().map(record).collect(),
        }
    }
}

impl PointRecord {
    fn new(point: &FoundPoint) -> Self {
        let FoundPoint { load, replicas, seeds, verdict, values } = point;
        Self { load: *load, replicas: *replicas, seeds: *seeds, verdict: *verdict, measured: values.clone() }
    }
}
