//! `foretell validate vidur`: runs of Vidur (`MLSys'24`), request by request, with the operator times that it predicted.

mod config;
mod law;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Instant;

use foretell_serving::{Engine, Observer, Outcome, Request, replay};
use serde::Deserialize;

use self::config::Config;
use self::law::VidurLaw;
use crate::openb::existing;
use crate::report::{Cell, Report, Row};
use crate::rows::read_rows;
use crate::{DataError, Error};

#[derive(Deserialize)]
struct RequestRow {
    request_inter_arrival_delay: f64,
    request_num_prefill_tokens: u32,
    request_num_decode_tokens: u32,
    prefill_e2e_time: f64,
    request_e2e_time: f64,
    request_num_restarts: u32,
}

const NS_PER_S: f64 = 1e9;

/// Where the runs are below the data folder.
const FOLDER: &str = "serving/vidur-run-llama2-70b-a100-tp2pp2";

/// Percent that a single request may be off, of the time to its end and to its first token, at light load.
const WORST_PERCENT: (f64, f64) = (0.15, 0.2);

/// Up to so many requests, at up to so many a second, every single request is judged; otherwise batches that end at the same instant may fall the other way, and
/// means and the 99th percentile are.
const EACH_JUDGED: (usize, f64) = (1_000, 1.0);

/// Percent that means may be off, of the time to the end and to the first token, and the 99th percentiles of both.
const MEAN_PERCENT: (f64, f64, f64) = (0.1, 0.5, 1.0);

/// Runs every run found under `data`, or those of the given names.
pub fn run(data: &Path, names: &[String], progress: &crate::Progress<'_>) -> Result<Report, Error> {
    let folder = if data.join(FOLDER).is_dir() { data.join(FOLDER) } else { data.to_owned() };
    let found = runs(&folder)?;
    let selected: Vec<&(String, PathBuf)> =
        found.iter().filter(|(name, _)| names.is_empty() || names.contains(name)).collect();
    let (with_outputs, without): (Vec<_>, Vec<_>) =
        selected.into_iter().partition(|(name, _)| outputs(&folder, name).is_ok());
    if with_outputs.is_empty() {
        return Err(Error::NothingSelected { path: folder });
    }
    progress.begin(with_outputs.len());
    let mut rows = Vec::new();
    let (mut batches, mut seconds) = (0, 0.0);
    for (name, config) in &with_outputs {
        let comparison = compare(&folder, name, config)?;
        progress.step();
        batches += comparison.batches;
        seconds += comparison.wall_s;
        rows.push(comparison.into_row(name));
    }
    let good = rows.iter().filter(|row| row.passed).count();
    let mut summary = format!(
        "{good} of {} runs of Vidur come out within their tolerance. Figures are per cent that ours is off.\n{batches} batches in {seconds:.3} s, loading not counted.",
        rows.len()
    );
    if !without.is_empty() {
        let names: Vec<&str> = without.iter().map(|(name, _)| name.as_str()).collect();
        // Writing to a string cannot fail.
        let _ = write!(summary, "\nWithout outputs, not run: {}.", names.join(", "));
    }
    Ok(Report {
        suite: "vidur",
        columns: vec![
            "run",
            "TTFT %\nmean",
            "TTFT %\np99",
            "TTFT %\nworst",
            "E2E %\nmean",
            "E2E %\np99",
            "E2E %\nworst",
            "restarts\n/theirs",
        ],
        rows,
        summary,
    })
}

/// The runs of a folder by name, in order.
fn runs(folder: &Path) -> Result<Vec<(String, PathBuf)>, DataError> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(|error| DataError::io(folder, error))? {
        let path = entry.map_err(|error| DataError::io(folder, error))?.path();
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .and_then(|name| name.strip_suffix(".config.json"));
        if let Some(name) = name {
            found.push((name.to_owned(), path.clone()));
        }
    }
    found.sort();
    Ok(found)
}

fn outputs(folder: &Path, name: &str) -> Result<PathBuf, DataError> {
    existing(&folder.join(format!("{name}.requests.csv")))
}

/// What a run comes to, ours and theirs, in the order of requests.
struct Comparison {
    first_token_s: (Vec<f64>, Vec<f64>),
    end_s: (Vec<f64>, Vec<f64>),
    restarts: (u64, u64),
    per_s: f64,
    batches: u64,
    wall_s: f64,
}

/// Gathers what became of requests.
#[derive(Default)]
struct Outcomes {
    by_request: Vec<Option<Outcome>>,
    batches: u64,
}

impl Observer for Outcomes {
    fn finished(&mut self, outcome: &Outcome) {
        self.by_request[outcome.request as usize] = Some(*outcome);
    }

    fn iterations(
        &mut self,
        iterations: &foretell_serving::engine::Iterations<'_>,
        _state: &foretell_serving::policies::State,
    ) {
        self.batches += u64::from(iterations.count);
    }
}

fn compare(folder: &Path, name: &str, config_path: &Path) -> Result<Comparison, Error> {
    let cannot = |message: String| Error::Run { path: config_path.to_owned(), message };
    let text = std::fs::read_to_string(config_path).map_err(|error| DataError::io(config_path, error))?;
    let config: Config = serde_json::from_str(&text).map_err(|error| cannot(error.to_string()))?;
    if !config.predictor.skip_cpu_overhead_modeling {
        return Err(cannot("CPU overheads are modelled there, and not here".to_owned()));
    }
    let law = VidurLaw::read(folder, &config)?;
    let rows: Vec<(u64, RequestRow)> = read_rows(&outputs(folder, name)?)?;
    let mut arrival_s = 0.0;
    let requests: Vec<Request<'_>> = rows
        .iter()
        .enumerate()
        .map(|(index, (_, row))| {
            arrival_s += row.request_inter_arrival_delay;
            Request {
                index: index as u32,
                arrival_ns: (arrival_s * NS_PER_S).round() as u64,
                prompt_tokens: row.request_num_prefill_tokens,
                output_tokens: row.request_num_decode_tokens,
                limit_tokens: row.request_num_decode_tokens,
                priority: 0,
                adapter: 0,
                block_keys: &[],
            }
        })
        .collect();
    let blocks = config.blocks();
    let mut replicas = (0..config.cluster.num_replicas)
        .map(|_| {
            let batcher = config
                .batcher(blocks)
                .map_err(|batcher| cannot(format!("unknown replica scheduler `{batcher}`")))?;
            Ok(Engine::new(law.clone(), batcher, config.state(blocks)))
        })
        .collect::<Result<Vec<_>, Error>>()?;
    let mut observers: Vec<Outcomes> =
        replicas.iter().map(|_| Outcomes { by_request: vec![None; requests.len()], batches: 0 }).collect();
    let by_load = match config.cluster.global_scheduler_config.name.as_str() {
        "round_robin" => false,
        "lor" => true,
        other => return Err(cannot(format!("unknown global scheduler `{other}`"))),
    };
    let begun = Instant::now();
    let mut turn = 0;
    let route = |replicas: &[Engine<VidurLaw>], _: &Request<'_>| {
        if by_load {
            (0..replicas.len()).min_by_key(|&one| replicas[one].state().waiting.len()).unwrap_or(0)
        } else {
            turn += 1;
            (turn - 1) % replicas.len()
        }
    };
    let rejected = replay(&mut replicas, requests.iter().copied(), route, &mut observers);
    let wall_s = begun.elapsed().as_secs_f64();
    if let Some((request, rejection)) = rejected.first() {
        return Err(cannot(format!("request {request}: {rejection}")));
    }
    let of = |request: usize| observers.iter().find_map(|observer| observer.by_request[request]);
    let outcomes: Vec<Outcome> = (0..requests.len()).filter_map(of).collect();
    if outcomes.len() != rows.len() {
        return Err(cannot(format!("{} of {} requests never end", rows.len() - outcomes.len(), rows.len())));
    }
    let since = |from: u64, to: u64| (to - from) as f64 / NS_PER_S;
    let ours = |to: fn(&Outcome) -> u64| outcomes.iter().map(|one| since(one.arrival_ns, to(one))).collect();
    let theirs = |of: fn(&RequestRow) -> f64| rows.iter().map(|(_, row)| of(row)).collect();
    Ok(Comparison {
        first_token_s: (ours(|one| one.first_token_ns), theirs(|row| row.prefill_e2e_time)),
        end_s: (ours(|one| one.last_token_ns), theirs(|row| row.request_e2e_time)),
        restarts: (
            outcomes.iter().map(|one| u64::from(one.preemptions)).sum(),
            rows.iter().map(|(_, row)| u64::from(row.request_num_restarts)).sum(),
        ),
        per_s: rows.len() as f64 / arrival_s.max(f64::MIN_POSITIVE),
        batches: observers.iter().map(|observer| observer.batches).sum(),
        wall_s,
    })
}

/// Percent by which ours is off.
fn off(ours: f64, theirs: f64) -> f64 {
    100.0 * (ours - theirs) / theirs
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// The value that this share of the others does not exceed, between neighbours where there is none.
pub(crate) fn quantile(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let at = share * (sorted.len() - 1) as f64;
    let (below, above) = (at.floor() as usize, at.ceil() as usize);
    sorted[below] + (at - at.floor()) * (sorted[above] - sorted[below])
}

/// Percent by which the mean, the 99th percentile and the worst single value are off.
fn errors((ours, theirs): &(Vec<f64>, Vec<f64>)) -> (f64, f64, f64) {
    let worst = ours
        .iter()
        .zip(theirs)
        .map(|(&ours, &theirs)| off(ours, theirs))
        .fold(0.0, |worst: f64, one| if one.abs() > worst.abs() { one } else { worst });
    (off(mean(ours), mean(theirs)), off(quantile(ours, 0.99), quantile(theirs, 0.99)), worst)
}

impl Comparison {
    fn into_row(self, name: &str) -> Row {
        let (first_mean, first_p99, first_worst) = errors(&self.first_token_s);
        let (end_mean, end_p99, end_worst) = errors(&self.end_s);
        let requests = self.end_s.0.len();
        let light = requests <= EACH_JUDGED.0 && self.per_s <= EACH_JUDGED.1 * 1.05;
        let passed = if light {
            end_worst.abs() <= WORST_PERCENT.0 && first_worst.abs() <= WORST_PERCENT.1
        } else {
            end_mean.abs() <= MEAN_PERCENT.0
                && first_mean.abs() <= MEAN_PERCENT.1
                && end_p99.abs() <= MEAN_PERCENT.2
                && first_p99.abs() <= MEAN_PERCENT.2
        };
        let percent = |value| Cell::Figure(value, 3);
        Row {
            cells: vec![
                Cell::Text(name.to_owned()),
                percent(first_mean),
                percent(first_p99),
                percent(first_worst),
                percent(end_mean),
                percent(end_p99),
                percent(end_worst),
                Cell::Text(format!("{}/{}", self.restarts.0, self.restarts.1)),
            ],
            passed,
        }
    }
}
