//! `foretell validate tiresias`: the outputs of Tiresias' own simulator (NSDI'19, SymbioticLab/Tiresias 959f9b0), job by job.
//!
//! Every file `measured_WORKLOAD_nNgG_SCHEME_SCHEDULE.csv` of the folder is an oracle: it says of each job what it asked for and
//! when it started, ended, and how often it was preempted. The jobs of the oracle are run on N nodes of G GPUs under
//! foretell's policy of that schedule, and all three figures of each job must be equal.

use std::path::Path;

use foretell_scenarios::registry::OrderingConfig;
use rayon::prelude::*;
use serde::Deserialize;

use crate::queueing::{self, JobTimes, Nodes, QueuedJob, Split};
use crate::report::{Cell, Report, Row};
use crate::rows::read_rows;
use crate::{DataError, Error, Progress};

/// A schedule of Tiresias' simulator, what it is here, and how jobs become tasks: `dlas-gpu` counts GPUs, the others place
/// them (scheme `yarn`: one node where the job fits on one, else whole nodes and a rest).
const SCHEDULES: [(&str, &str, Split); 3] = [
    ("fifo", "fifo+first-fit", Split::ByNode),
    ("fjf", "fifo-skip+first-fit", Split::ByNode),
    ("dlas-gpu", "tiresias+first-fit", Split::ByGpu),
];

/// The placement scheme of the oracles.
const SCHEME: &str = "yarn";

/// A line of an oracle; times in seconds.
#[derive(Clone, Copy, Deserialize, Debug)]
struct OracleJob {
    job_id: u64,
    num_gpu: u32,
    submit_time: u64,
    start_time: u64,
    end_time: u64,
    duration: u64,
    preempt: u32,
}

/// What an oracle's name says.
#[derive(Clone, PartialEq, Eq, Debug)]
struct OracleName {
    workload: String,
    nodes: Nodes,
    schedule: String,
}

/// Follows every oracle under `data` (the folder of the Tiresias data, or the folder above it).
pub fn run(data: &Path, progress: &Progress<'_>) -> Result<Report, Error> {
    let root = if data.join("tiresias").is_dir() { data.join("tiresias") } else { data.to_owned() };
    let mut oracles = Vec::new();
    for entry in std::fs::read_dir(&root).map_err(|error| DataError::io(&root, error))? {
        let path = entry.map_err(|error| DataError::io(&root, error))?.path();
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        if name.starts_with("measured_") {
            let parsed = parse_name(&name).ok_or_else(|| DataError::Name {
                path: path.clone(),
                expected: "measured_WORKLOAD_nNODESgGPUS_yarn_SCHEDULE.csv",
            })?;
            oracles.push((path, parsed));
        }
    }
    if oracles.is_empty() {
        return Err(Error::NothingSelected { path: root });
    }
    oracles.sort_by(|a, b| a.0.cmp(&b.0));
    progress.begin(oracles.len());
    let rows = oracles.par_iter().map(|(path, name)| {
        let row = follow(path, name);
        progress.step();
        row
    });
    let rows: Vec<(Row, Option<Difference>)> = rows.collect::<Result<_, _>>()?;
    let count = rows.len();
    let (rows, differences): (Vec<Row>, Vec<_>) = rows.into_iter().unzip();
    let differences: Vec<Difference> = differences.into_iter().flatten().collect();
    Ok(Report {
        suite: "tiresias",
        columns: vec![
            "workload",
            "schedule",
            "policy",
            "jobs",
            "equal",
            "JCT s",
            "theirs s",
            "preempted",
            "theirs",
        ],
        rows,
        summary: if differences.is_empty() {
            format!("{count} oracles: every job starts, ends and is preempted as in the published simulator")
        } else {
            let firsts =
                differences.iter().map(|Difference { path, first, .. }| format!("\n{path}: {first}"));
            let jobs: usize = differences.iter().map(|difference| difference.jobs).sum();
            format!(
                "{count} oracles: {jobs} jobs differ from the published simulator, whose figures are in brackets:{}",
                firsts.collect::<Vec<_>>().concat()
            )
        },
    })
}

fn parse_name(name: &str) -> Option<OracleName> {
    let name = name.strip_suffix(".gz").unwrap_or(name).strip_suffix(".csv")?.strip_prefix("measured_")?;
    let (rest, schedule) = name.rsplit_once('_')?;
    let (rest, scheme) = rest.rsplit_once('_')?;
    let (workload, cluster) = rest.rsplit_once('_')?;
    let (count, gpus) = cluster.strip_prefix('n')?.split_once('g')?;
    let nodes = Nodes { count: count.parse().ok()?, gpus: gpus.parse().ok().filter(|&gpus| gpus > 0)? };
    let is_known = scheme == SCHEME && SCHEDULES.iter().any(|(known, ..)| *known == schedule);
    is_known.then(|| OracleName { workload: workload.to_owned(), nodes, schedule: schedule.to_owned() })
}

/// How an oracle is not met.
struct Difference {
    path: String,
    jobs: usize,
    /// The first job that differs.
    first: String,
}

fn follow(path: &Path, name: &OracleName) -> Result<(Row, Option<Difference>), Error> {
    let oracle = read(path)?;
    let Some(&(schedule, policy, split)) = SCHEDULES.iter().find(|(known, ..)| *known == name.schedule)
    else {
        return Err(Error::UnknownPolicy {
            name: name.schedule.clone(),
            known: SCHEDULES.map(|s| s.0).join(", "),
        });
    };
    let jobs: Vec<QueuedJob> = oracle
        .iter()
        .map(|job| QueuedJob { submit_s: job.submit_time, duration_s: job.duration, gpus: job.num_gpu })
        .collect();
    let ours = queueing::run(name.nodes, split, &jobs, policy, OrderingConfig::default(), 0)
        .map_err(|message| Error::Run { path: path.to_owned(), message })?;
    let is_equal = |(ours, theirs): (&JobTimes, &OracleJob)| {
        ours.start_s == Some(theirs.start_time)
            && ours.end_s == Some(theirs.end_time)
            && ours.preemptions == theirs.preempt
    };
    let equal = ours.iter().zip(&oracle).filter(|&pair| is_equal(pair)).count();
    let first = ours.iter().zip(&oracle).find(|&pair| !is_equal(pair));
    let mean = |sum: u64| sum as f64 / jobs.len().max(1) as f64;
    let ours_jct =
        ours.iter().zip(&oracle).map(|(ours, job)| ours.end_s.map_or(0, |end| end - job.submit_time));
    let theirs_jct = oracle.iter().map(|job| job.end_time.saturating_sub(job.submit_time));
    let cells = vec![
        Cell::Text(format!("{} on {} x {} GPUs", name.workload, name.nodes.count, name.nodes.gpus)),
        Cell::Text(schedule.to_owned()),
        Cell::Text(policy.to_owned()),
        Cell::Count(jobs.len() as u64),
        Cell::Count(equal as u64),
        Cell::Figure(mean(ours_jct.sum()), 2),
        Cell::Figure(mean(theirs_jct.sum()), 2),
        Cell::Count(ours.iter().map(|job| u64::from(job.preemptions)).sum()),
        Cell::Count(oracle.iter().map(|job| u64::from(job.preempt)).sum()),
    ];
    let difference = first.map(|(ours, theirs)| Difference {
        path: path.display().to_string(),
        jobs: jobs.len() - equal,
        first: describe(ours, theirs),
    });
    Ok((Row { cells, passed: difference.is_none() }, difference))
}

fn describe(ours: &JobTimes, theirs: &OracleJob) -> String {
    let time = |time: Option<u64>| time.map_or_else(|| "never".to_owned(), |time| time.to_string());
    format!(
        "job {}: start {} ({}), end {} ({}), preempted {} ({})",
        theirs.job_id,
        time(ours.start_s),
        theirs.start_time,
        time(ours.end_s),
        theirs.end_time,
        ours.preemptions,
        theirs.preempt
    )
}

/// In order of submission; jobs that were submitted at one time keep their numbers' order.
fn read(path: &Path) -> Result<Vec<OracleJob>, Error> {
    let mut jobs: Vec<OracleJob> = read_rows(path)?.into_iter().map(|(_, job)| job).collect();
    jobs.sort_by_key(|job| (job.submit_time, job.job_id));
    Ok(jobs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_parse() {
        let check = |name: &str, expected: Option<(&str, u32, u32, &str)>| {
            let expected = expected.map(|(workload, count, gpus, schedule)| OracleName {
                workload: workload.to_owned(),
                nodes: Nodes { count, gpus },
                schedule: schedule.to_owned(),
            });
            assert_eq!(parse_name(name), expected, "{name}");
        };
        check("measured_60job_n32g4_yarn_dlas-gpu.csv", Some(("60job", 32, 4, "dlas-gpu")));
        check("measured_philly_1000_n32g4_yarn_fifo.csv.gz", Some(("philly_1000", 32, 4, "fifo")));
        check("measured_60job_n32g4_random_fifo.csv", None);
        check("measured_60job_n32_yarn_fifo.csv", None);
        check("measured_60job_n32g4_yarn_shortest.csv", None);
    }
}
