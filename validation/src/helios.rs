//! `foretell validate helios`: the queueing study of Helios (SC'21) on Microsoft's Philly trace, virtual cluster by virtual cluster.
//!
//! Helios' simulator takes each virtual cluster as a cluster of its own of 8-GPU nodes, consolidates jobs, and compares FIFO, SJF,
//! SRTF with a checkpoint penalty, and QSSF. Its published table (`HeliosArtifact` bdaae10, QSSF notebook) was made from a version
//! of the trace that is not public: the public one has other jobs, so the two are shown side by side and not judged, apart
//! from one figure that an independent implementation of the same rules has on the same input.

use std::collections::BTreeMap;
use std::path::Path;

use foretell_scenarios::registry::OrderingConfig;
use foretell_scenarios::sim::framework::{RestartCost, Time};
use rayon::prelude::*;
use serde::Deserialize;

use crate::openb::existing;
use crate::queueing::{self, JobTimes, Nodes, QueuedJob, Split};
use crate::report::{Cell, Report, Row};
use crate::rows::read_rows;
use crate::{DataError, Error, Progress};

const GPUS_PER_NODE: u32 = 8;

/// Policies of the study, and what they are here.
const POLICIES: [(&str, &str); 4] = [
    ("FIFO", "fifo+whole-nodes"),
    ("SJF", "sjf+whole-nodes"),
    ("SRTF", "srtf+whole-nodes"),
    ("QSSF", "qssf+whole-nodes"),
];

/// Mean job completion time and queueing delay per virtual cluster, in seconds, in the order of [`POLICIES`].
const PUBLISHED: [(&str, [u32; 4], [u32; 4]); 12] = [
    ("6214e9", [97_501, 23_337, 19_532, 26_022], [78_659, 4_494, 685, 7_179]),
    ("7f04ca", [133_826, 133_271, 132_980, 133_941], [1_412, 857, 565, 1_527]),
    ("11cb48", [82_540, 14_444, 9_057, 21_051], [74_040, 5_944, 554, 12_550]),
    ("b436b2", [28_732, 28_610, 28_291, 28_642], [544, 421, 100, 454]),
    ("ee9e8c", [243_144, 130_493, 122_609, 132_367], [127_270, 14_619, 6_720, 16_493]),
    ("e13805", [87_265, 85_949, 85_314, 85_886], [2_331, 1_015, 378, 953]),
    ("6c71a0", [31_088, 31_030, 31_020, 31_019], [220, 162, 150, 151]),
    ("2869ce", [70_215, 56_388, 53_128, 58_088], [21_171, 7_344, 4_071, 9_044]),
    ("ed69ec", [28_345, 28_346, 28_346, 28_346], [28, 28, 27, 28]),
    ("103959", [24_743, 23_283, 22_735, 23_219], [2_391, 932, 380, 867]),
    ("0e4a51", [233_539, 168_747, 146_023, 196_886], [101_473, 36_682, 13_953, 64_820]),
    (ALL, [86_072, 34_272, 30_683, 37_324], [56_531, 4_731, 1_138, 7_783]),
];

const ALL: &str = "all";

/// Jobs of the public trace in the window, and the mean completion time and queueing delay, in seconds, that an independent
/// implementation of the study's FIFO has on them.
const ANCHOR: (usize, f64, f64) = (68_503, 11_585.0, 104.0);

/// Seconds: the figures of the anchor are whole ones, and it is not said how they were rounded.
const ANCHOR_TOLERANCE_S: f64 = 1.0;

#[derive(Deserialize)]
struct JobRow {
    timestamp: String,
    duration: f64,
    num_gpus: u32,
    cluster: String,
}

#[derive(Deserialize)]
struct VirtualClusterRow {
    vc: String,
    #[serde(rename = "node num")]
    nodes: u32,
}

/// Runs the study under `data` (the folder of the Philly data, or the folder above it).
pub fn run(data: &Path, progress: &Progress<'_>) -> Result<Report, Error> {
    let root = if data.join("philly").is_dir() { data.join("philly") } else { data.to_owned() };
    let jobs_path = existing(&root.join("philly_pollux_82247jobs.csv"))?;
    let mut jobs = read_jobs(&jobs_path)?;
    let clusters = read_clusters(&existing(&root.join("philly_vc.csv"))?)?;
    let jobs: Vec<(VirtualClusterRow, Vec<QueuedJob>)> = clusters
        .into_iter()
        .filter_map(|cluster| {
            let jobs = jobs.remove(&cluster.vc)?;
            Some((cluster, jobs))
        })
        .collect();
    let tasks: Vec<(usize, usize)> = (0..POLICIES.len())
        .flat_map(|policy| (0..jobs.len()).map(move |cluster| (policy, cluster)))
        .collect();
    progress.begin(tasks.len());
    let results = tasks.par_iter().map(|&(policy, cluster)| {
        let (row, jobs) = &jobs[cluster];
        let nodes = Nodes { count: row.nodes, gpus: GPUS_PER_NODE };
        let ordering = OrderingConfig { restart_cost: checkpoint_penalty(), ..OrderingConfig::default() };
        let result = queueing::run(nodes, Split::ByNode, jobs, POLICIES[policy].1, ordering, 0);
        progress.step();
        let times = result.map_err(|message| Error::Run { path: jobs_path.clone(), message })?;
        Ok(((policy, cluster), Means::of(jobs, &times)))
    });
    let results: BTreeMap<(usize, usize), Means> = results.collect::<Result<_, Error>>()?;
    Ok(report(&jobs, &results))
}

/// 7 s for one GPU, 30 s up to a node, 60 s beyond: the study's penalty of a preemption.
fn checkpoint_penalty() -> RestartCost {
    let seconds = |seconds: u64| Time::from_nanos(seconds * 1_000_000_000);
    RestartCost { base: seconds(7), above_gpus: vec![(1, seconds(30)), (GPUS_PER_NODE, seconds(60))] }
}

/// Sums over jobs that ended.
#[derive(Clone, Copy, Default, Debug)]
struct Means {
    jobs: u64,
    completion_s: u64,
    queueing_s: u64,
    preemptions: u64,
}

impl Means {
    fn of(jobs: &[QueuedJob], times: &[JobTimes]) -> Self {
        let mut sums = Self::default();
        for (job, times) in jobs.iter().zip(times) {
            let Some(end_s) = times.end_s else { continue };
            sums.jobs += 1;
            sums.completion_s += end_s - job.submit_s;
            // As the study: all that is not running.
            sums.queueing_s += end_s - job.submit_s - job.duration_s;
            sums.preemptions += u64::from(times.preemptions);
        }
        sums
    }

    fn add(self, other: Self) -> Self {
        Self {
            jobs: self.jobs + other.jobs,
            completion_s: self.completion_s + other.completion_s,
            queueing_s: self.queueing_s + other.queueing_s,
            preemptions: self.preemptions + other.preemptions,
        }
    }

    fn mean(self, sum: u64) -> f64 {
        sum as f64 / self.jobs.max(1) as f64
    }
}

fn report(jobs: &[(VirtualClusterRow, Vec<QueuedJob>)], results: &BTreeMap<(usize, usize), Means>) -> Report {
    let mut rows = Vec::new();
    let mut anchor_passed = true;
    for (policy, (study, ours)) in POLICIES.iter().enumerate() {
        let of = |cluster: usize| results.get(&(policy, cluster)).copied().unwrap_or_default();
        let all = (0..jobs.len()).map(of).fold(Means::default(), Means::add);
        let names = jobs.iter().map(|(cluster, _)| &*cluster.vc);
        let clusters = names.enumerate().map(|(cluster, name)| (name, of(cluster)));
        for (name, means) in clusters.chain([(ALL, all)]) {
            let published = PUBLISHED.iter().find(|(published, ..)| *published == name);
            let (completion_s, queueing_s) = (means.mean(means.completion_s), means.mean(means.queueing_s));
            let (anchor_jobs, anchor_completion_s, anchor_queueing_s) = ANCHOR;
            let is_anchor = policy == 0 && name == ALL && means.jobs as usize == anchor_jobs;
            let near = |ours: f64, theirs: f64| (ours - theirs).abs() < ANCHOR_TOLERANCE_S;
            let passed = !is_anchor
                || (near(completion_s, anchor_completion_s) && near(queueing_s, anchor_queueing_s));
            anchor_passed &= passed;
            let theirs =
                |figure: Option<u32>| figure.map_or(Cell::None, |figure| Cell::Count(u64::from(figure)));
            rows.push(Row {
                cells: vec![
                    Cell::Text((*study).to_owned()),
                    Cell::Text((*ours).to_owned()),
                    Cell::Text(name.to_owned()),
                    Cell::Count(means.jobs),
                    Cell::Figure(completion_s, 0),
                    theirs(published.map(|(_, completion, _)| completion[policy])),
                    Cell::Figure(queueing_s, 0),
                    theirs(published.map(|(.., queueing)| queueing[policy])),
                    Cell::Count(means.preemptions),
                ],
                passed,
            });
        }
    }
    let (count, completion_s, queueing_s) = ANCHOR;
    let verdict = if anchor_passed { "agrees" } else { "does not agree" };
    Report {
        suite: "helios",
        columns: vec![
            "study",
            "policy",
            "VC",
            "jobs",
            "JCT s",
            "published s",
            "queue s",
            "published queue s",
            "preempted",
        ],
        rows,
        summary: format!(
            "FIFO over all {verdict} with an independent implementation on the same jobs ({count} jobs: {completion_s} s, \
             {queueing_s} s). The published figures are of another version of the trace, which is not public: shown, not \
             judged."
        ),
    }
}

/// The jobs of October and November 2017 by virtual cluster, in order of submission.
fn read_jobs(path: &Path) -> Result<BTreeMap<String, Vec<QueuedJob>>, Error> {
    let mut jobs: BTreeMap<String, Vec<QueuedJob>> = BTreeMap::new();
    for (line, row) in read_rows::<JobRow>(path)? {
        let expected = || DataError::Line { path: path.to_owned(), line, expected: TIMESTAMP.to_owned() };
        let submit_s = seconds_since_october(&row.timestamp).ok_or_else(expected)?;
        if !WINDOW_S.contains(&submit_s) {
            continue;
        }
        let submit_s = submit_s as u64;
        let job = QueuedJob { submit_s, duration_s: row.duration.round() as u64, gpus: row.num_gpus };
        jobs.entry(row.cluster).or_default().push(job);
    }
    for jobs in jobs.values_mut() {
        jobs.sort_by_key(|job| job.submit_s);
    }
    Ok(jobs)
}

const TIMESTAMP: &str = "a timestamp such as 2017-10-09 07:01:55";

/// October and November.
const WINDOW_S: std::ops::Range<i64> = 0..61 * 86_400;

/// Seconds since the first of October 2017, as if all months had 31 days; `None` if it is no time.
fn seconds_since_october(text: &str) -> Option<i64> {
    let (date, time) = text.split_once(' ')?;
    let numbers = |text: &str, separator| -> Option<[i64; 3]> {
        let numbers: Option<Vec<i64>> = text.split(separator).map(|part| part.parse().ok()).collect();
        numbers?.try_into().ok()
    };
    let [year, month, day] = numbers(date, '-')?;
    let [hours, minutes, seconds] = numbers(time, ':')?;
    let months = (year - 2017).checked_mul(12)?.checked_add(month - 10)?;
    let days = months.checked_mul(31)?.checked_add(day - 1)?;
    days.checked_mul(86_400)?.checked_add((hours * 60 + minutes) * 60 + seconds)
}

fn read_clusters(path: &Path) -> Result<Vec<VirtualClusterRow>, Error> {
    Ok(read_rows(path)?.into_iter().map(|(_, row)| row).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_count_from_october() {
        let check = |text, expected| assert_eq!(seconds_since_october(text), expected, "{text}");
        check("2017-10-01 00:00:00", Some(0));
        check("2017-11-01 00:00:01", Some(31 * 86_400 + 1));
        check("2017-09-30 23:59:59", Some(-86_400 - 1));
        check("yesterday", None);
    }
}
