//! The run directory: everything a run leaves behind, whole or not at all.
//!
//! ```text
//! OUT/manifest.json          what was run, and the list of files
//! OUT/scenario.toml          the scenario with overrides and defaults
//! OUT/summary.json           the figures of every policy
//! OUT/summary.txt            the same as the terminal shows, 80 columns wide
//! OUT/plots/*.svg            all policies overlaid
//! OUT/<policy>/jobs.csv      one row per job
//! OUT/<policy>/timeline.csv  one row per sample
//! OUT/<policy>/evictions.csv one row per job and cycle in which pods of it were evicted
//! OUT/<policy>/faults.csv    one row per fault and job that it hit, where anything fails
//! OUT/services.json          the figures of every service, where there are services
//! OUT/classical_services.json the same of classical ones
//! OUT/pipelines.json         the same of pipelines
//! OUT/search.csv, points.csv, search.json of `foretell search`: deployments, and the points that were looked at
//! OUT/<policy>/service-<name>/requests.csv, timeline.csv, replicas.csv, scaling.csv, adapters.csv, models.csv and rollout.csv, of each; of `foretell serve` without the policy's folder
//! OUT/<policy>/pipeline-<name>/requests.csv and stages.csv, of each pipeline, likewise
//! ```

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use foretell_search::Searched;
use foretell_serving::classical_served::ClassicalServed;
use foretell_serving::metrics::Objective;
use foretell_serving::pipeline_served::PipelineServed;
use foretell_serving::served::Served;
use foretell_sim::log::{RunResult, RunSummary};

use crate::adapters::write_adapters;
use crate::classical::{ClassicalRecord, classical_overview, classical_table, write_classical_requests};
use crate::comparison::comparison_table;
use crate::csv::{write_evictions, write_faults, write_jobs, write_timeline};
use crate::error::ReportError;
use crate::fleet::{write_attainment, write_replicas, write_rollout, write_scaling};
use crate::pipeline::{PipelineRecord, pipeline_table, write_pipeline_requests, write_pipeline_stages};
use crate::plots::{Plot, classical_plots, pipeline_plots, plots, search_plots, service_plots};
use crate::search::{SearchFile, search_table, write_search, write_search_points};
use crate::service::{
    ServiceRecord, service_overview, service_table, write_requests, write_service_timeline,
};
use crate::table::summary_table;
use crate::wire::{FORMAT_NAME, FORMAT_VERSION, Manifest, ManifestFile, PolicyRecord, SummaryFile};

const MANIFEST: &str = "manifest.json";
const SCENARIO: &str = "scenario.toml";
const PLOTS: &str = "plots";
const SUMMARY_TXT_COLUMNS: u16 = 80;

/// The runs of one policy. Files and plots are of the first; the others, with other seeds, are summed up only.
#[derive(Clone, Debug)]
pub struct PolicyRuns {
    /// With the scenario's own seed.
    pub first: RunResult,
    /// With the seeds after it.
    pub others: Vec<RunSummary>,
    /// Services, by replicas as the first run placed them.
    pub services: Vec<Served>,
    /// Classical services, likewise.
    pub classical: Vec<ClassicalServed>,
    /// Pipelines, likewise.
    pub pipelines: Vec<PipelineServed>,
}

impl PolicyRuns {
    /// The figures of all runs, in order of seed.
    pub fn summaries(&self) -> impl Iterator<Item = &RunSummary> {
        std::iter::once(&self.first.summary).chain(&self.others)
    }

    /// What was served.
    pub fn served(&self) -> PolicyServed<'_> {
        let Self { first, services, classical, pipelines, .. } = self;
        PolicyServed { policy: &first.summary.policy, services, classical, pipelines }
    }
}

/// Writes all files of `runs` under `out`.
///
/// They are written to a sibling of `out` that takes its name at the end: a reader sees the previous state or the
/// whole new one, and after an error there is nothing half-written. A previous run directory is replaced.
pub fn write_run_dir(out: &Path, manifest: &Manifest, runs: &[PolicyRuns]) -> Result<(), ReportError> {
    let out = &resolved(out)?;
    check_resolved(out)?;
    let staging = Staging::create(out)?;
    write_files(&staging.files(), manifest, runs)?;
    staging.publish(out)
}

/// What services came to, by replicas as a policy placed them.
#[derive(Clone, Copy, Debug)]
pub struct PolicyServed<'a> {
    /// The policy.
    pub policy: &'a str,
    /// Services.
    pub services: &'a [Served],
    /// Classical ones.
    pub classical: &'a [ClassicalServed],
    /// Pipelines.
    pub pipelines: &'a [PipelineServed],
}

impl PolicyServed<'_> {
    /// Tables of all of it for a terminal, no line wider than `width` (at least 72): of each kind one in full, several side by side.
    pub fn overviews(self, width: u16) -> Vec<String> {
        let Self { services, classical, pipelines, .. } = self;
        let tables = [
            (!services.is_empty()).then(|| service_overview(services, width)),
            (!classical.is_empty()).then(|| classical_overview(classical, width)),
            (!pipelines.is_empty()).then(|| pipeline_table(pipelines, width)),
        ];
        tables.into_iter().flatten().collect()
    }

    /// The same with each in full.
    fn tables(self, width: u16) -> Vec<String> {
        let Self { services, classical, pipelines, .. } = self;
        let tables = [
            service_table(services, width),
            classical_table(classical, width),
            pipeline_table(pipelines, width),
        ];
        tables.into_iter().filter(|table| !table.is_empty()).collect()
    }
}

/// Writes what services came to under `out`, as [`write_run_dir`] does.
pub fn write_service_dir(
    out: &Path,
    manifest: &Manifest,
    served: PolicyServed<'_>,
) -> Result<(), ReportError> {
    let out = &resolved(out)?;
    check_resolved(out)?;
    let staging = Staging::create(out)?;
    let directory = &staging.files();
    write_folders(directory, served)?;
    create_dir(&directory.join(PLOTS))?;
    write_served(directory, manifest, &[served])?;
    let text = served.tables(SUMMARY_TXT_COLUMNS).join("\n");
    write_file(&directory.join("summary.txt"), |file| file.write_all(text.as_bytes()))?;
    write_manifest(directory, manifest, Vec::new())?;
    staging.publish(out)
}

/// Writes what a capacity search found under `out`, as [`write_run_dir`] does.
pub fn write_search_dir(out: &Path, manifest: &Manifest, searched: &Searched) -> Result<(), ReportError> {
    let out = &resolved(out)?;
    check_resolved(out)?;
    let staging = Staging::create(out)?;
    let directory = &staging.files();
    write_file(&directory.join("search.csv"), |file| write_search(searched, file))?;
    write_file(&directory.join("points.csv"), |file| write_search_points(searched, file))?;
    write_json(directory, "search.json", &SearchFile::new(searched))?;
    let plot_directory = directory.join(PLOTS);
    create_dir(&plot_directory)?;
    write_plots(&plot_directory, &search_plots(manifest, searched)?)?;
    let text = search_table(searched, SUMMARY_TXT_COLUMNS);
    write_file(&directory.join("summary.txt"), |file| file.write_all(text.as_bytes()))?;
    write_manifest(directory, manifest, Vec::new())?;
    staging.publish(out)
}

const SERVICES: &str = "services.json";
const CLASSICAL: &str = "classical_services.json";
const PIPELINES: &str = "pipelines.json";

fn write_plots(directory: &Path, plots: &[Plot]) -> Result<(), ReportError> {
    let mut plots = plots.iter();
    plots.try_for_each(|plot| {
        write_file(&directory.join(plot.file), |file| file.write_all(plot.svg.as_bytes()))
    })
}

/// Folders of services and pipelines.
fn write_folders(directory: &Path, served: PolicyServed<'_>) -> Result<(), ReportError> {
    write_services(directory, served.services)?;
    write_classical(directory, served.classical)?;
    write_pipelines(directory, served.pipelines)
}

/// Figures and plots of what was served under all policies.
fn write_served(directory: &Path, manifest: &Manifest, all: &[PolicyServed<'_>]) -> Result<(), ReportError> {
    let plot_directory = directory.join(PLOTS);
    let (names, services) = named(all, |served| served.services, |served| &served.service);
    if !services.is_empty() {
        let records =
            all.iter().flat_map(|of| of.services.iter().map(|one| ServiceRecord::new(of.policy, one)));
        write_json(directory, SERVICES, &records.collect::<Vec<_>>())?;
        write_plots(&plot_directory, &service_plots(manifest, &as_strs(&names), &services)?)?;
    }
    let (names, classical) = named(all, |served| served.classical, |served| &served.service);
    if !classical.is_empty() {
        let records =
            all.iter().flat_map(|of| of.classical.iter().map(|one| ClassicalRecord::new(of.policy, one)));
        write_json(directory, CLASSICAL, &records.collect::<Vec<_>>())?;
        write_plots(&plot_directory, &classical_plots(manifest, &as_strs(&names), &classical)?)?;
    }
    let (names, pipelines) = named(all, |served| served.pipelines, |served| &served.pipeline);
    if !pipelines.is_empty() {
        let records =
            all.iter().flat_map(|of| of.pipelines.iter().map(|one| PipelineRecord::new(of.policy, one)));
        write_json(directory, PIPELINES, &records.collect::<Vec<_>>())?;
        write_plots(&plot_directory, &pipeline_plots(manifest, &as_strs(&names), &pipelines)?)?;
    }
    Ok(())
}

/// A folder for each service.
fn write_services(directory: &Path, services: &[Served]) -> Result<(), ReportError> {
    for served in services {
        let own = directory.join(format!("service-{}", served.service));
        create_dir(&own)?;
        write_file(&own.join("requests.csv"), |file| write_requests(served, file))?;
        write_file(&own.join("timeline.csv"), |file| write_service_timeline(served, file))?;
        write_file(&own.join("replicas.csv"), |file| write_replicas(served, file))?;
        if !served.rollout.is_empty() {
            write_file(&own.join("rollout.csv"), |file| write_rollout(served, file))?;
        }
        if served.objective != Objective::default() {
            write_file(&own.join("attainment.csv"), |file| write_attainment(served, file))?;
        }
        if let Some(adapters) = &served.adapters {
            let name = if adapters.are_models { "models.csv" } else { "adapters.csv" };
            write_file(&own.join(name), |file| write_adapters(served, file))?;
        }
        if !served.scaling.is_empty() {
            write_file(&own.join("scaling.csv"), |file| write_scaling(served, file))?;
        }
    }
    Ok(())
}

/// A folder for each classical service.
fn write_classical(directory: &Path, services: &[ClassicalServed]) -> Result<(), ReportError> {
    for served in services {
        let own = directory.join(format!("service-{}", served.service));
        create_dir(&own)?;
        write_file(&own.join("requests.csv"), |file| write_classical_requests(served, file))?;
    }
    Ok(())
}

/// A folder for each pipeline.
fn write_pipelines(directory: &Path, pipelines: &[PipelineServed]) -> Result<(), ReportError> {
    for served in pipelines {
        let own = directory.join(format!("pipeline-{}", served.pipeline));
        create_dir(&own)?;
        write_file(&own.join("requests.csv"), |file| write_pipeline_requests(served, file))?;
        write_file(&own.join("stages.csv"), |file| write_pipeline_stages(served, file))?;
    }
    Ok(())
}

/// Whether [`write_run_dir`] would accept `out`: it is absent, empty, or wholly written by a previous run, and there is
/// a right to write beside it. Worth asking before a long run.
pub fn check_target(out: &Path) -> Result<(), ReportError> {
    let out = &resolved(out)?;
    check_resolved(out)?;
    Staging::create(out).map(drop)
}

/// `out` with links followed, so that the directory they lead to is what gets replaced, and not the link.
fn resolved(out: &Path) -> Result<PathBuf, ReportError> {
    match fs::canonicalize(out) {
        Ok(path) => Ok(path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            std::path::absolute(out).map_err(ReportError::io("resolve", out))
        }
        Err(error) => Err(ReportError::io("resolve", out)(error)),
    }
}

fn check_resolved(out: &Path) -> Result<(), ReportError> {
    let occupied = |reason: String| Err(ReportError::Occupied { path: out.to_owned(), reason });
    if out.file_name().is_none() {
        return occupied("it has no name of its own".to_owned());
    }
    let metadata = match fs::symlink_metadata(out) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(ReportError::io("read", out)(error)),
    };
    if !metadata.is_dir() {
        return occupied("it is not a directory".to_owned());
    }
    let mut found = Vec::new();
    list_files(out, "", &mut found).map_err(ReportError::io("read", out))?;
    if found.is_empty() {
        return Ok(());
    }
    let Some(previous) = read_manifest(&out.join(MANIFEST)) else {
        return occupied("it is not empty, and not a run directory of foretell".to_owned());
    };
    match found.iter().find(|file| *file != MANIFEST && !previous.files.contains(file)) {
        Some(stranger) => occupied(format!("it holds `{stranger}`, which the previous run did not write")),
        None => Ok(()),
    }
}

fn read_manifest(path: &Path) -> Option<ManifestFile> {
    let manifest: ManifestFile = serde_json::from_slice(&fs::read(path).ok()?).ok()?;
    (manifest.format == FORMAT_NAME).then_some(manifest)
}

/// Reads the manifest of a run directory, and the scenario that it was a run of.
pub fn read_run_dir(directory: &Path) -> Result<(ManifestFile, String), ReportError> {
    let path = directory.join(MANIFEST);
    let manifest = read_manifest(&path).ok_or(ReportError::NoRun { path: directory.to_owned() })?;
    let path = directory.join(SCENARIO);
    let text = fs::read_to_string(&path).map_err(ReportError::io("read", &path))?;
    Ok((manifest, text))
}

/// Paths of all files under `directory`, relative to it, with `/` between folders.
fn list_files(directory: &Path, prefix: &str, found: &mut Vec<String>) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
        if entry.file_type()?.is_dir() {
            list_files(&entry.path(), &format!("{name}/"), found)?;
        } else {
            found.push(name);
        }
    }
    found.sort_unstable();
    Ok(())
}

fn write_files(directory: &Path, manifest: &Manifest, runs: &[PolicyRuns]) -> Result<(), ReportError> {
    let first: Vec<&RunResult> = runs.iter().map(|runs| &runs.first).collect();
    let policies = policy_directories(first.iter().map(|run| run.summary.policy.as_str()));
    for (run, policy) in first.iter().zip(&policies) {
        let own = directory.join(&policy.directory);
        create_dir(&own)?;
        write_file(&own.join("jobs.csv"), |file| write_jobs(run, file))?;
        write_file(&own.join("timeline.csv"), |file| write_timeline(run, file))?;
        write_file(&own.join("evictions.csv"), |file| write_evictions(run, file))?;
        if run.summary.faults.is_some() {
            write_file(&own.join("faults.csv"), |file| write_faults(run, file))?;
        }
    }
    for (run, policy) in runs.iter().zip(&policies) {
        write_folders(&directory.join(&policy.directory), run.served())?;
    }
    let plot_directory = directory.join(PLOTS);
    create_dir(&plot_directory)?;
    write_plots(&plot_directory, &plots(manifest, &first)?)?;
    let served: Vec<PolicyServed<'_>> = runs.iter().map(PolicyRuns::served).collect();
    write_served(directory, manifest, &served)?;
    let summary = SummaryFile::new(runs.iter().flat_map(PolicyRuns::summaries));
    write_json(directory, "summary.json", &summary)?;
    let text = summary_text(runs);
    write_file(&directory.join("summary.txt"), |file| file.write_all(text.as_bytes()))?;
    write_manifest(directory, manifest, policies)
}

/// What was served under all policies, with names that are not alike: where policies are compared, the policy's beside the service's.
fn named<'a, S>(
    all: &[PolicyServed<'a>],
    of: fn(&PolicyServed<'a>) -> &'a [S],
    name: fn(&S) -> &String,
) -> (Vec<String>, Vec<&'a S>) {
    let each = all.iter().flat_map(|under| of(under).iter().map(move |served| (under, served)));
    each.map(|(under, served)| match all {
        [_] => (name(served).clone(), served),
        _ => (format!("{}, {}", name(served), under.policy), served),
    })
    .unzip()
}

fn as_strs(names: &[String]) -> Vec<&str> {
    names.iter().map(String::as_str).collect()
}

/// Writes the scenario, and what was run with a list of all files.
fn write_manifest(
    directory: &Path,
    manifest: &Manifest,
    policies: Vec<PolicyRecord>,
) -> Result<(), ReportError> {
    write_file(&directory.join(SCENARIO), |file| file.write_all(manifest.scenario_text.as_bytes()))?;
    let mut files = Vec::new();
    list_files(directory, "", &mut files).map_err(ReportError::io("read", directory))?;
    let manifest = ManifestFile {
        format: FORMAT_NAME.to_owned(),
        format_version: FORMAT_VERSION,
        foretell_version: manifest.foretell_version.clone(),
        scenario: manifest.scenario.clone(),
        scenario_blake3: manifest.scenario_blake3.clone(),
        seed: manifest.seed,
        command: manifest.command.clone(),
        policies,
        files,
    };
    write_json(directory, MANIFEST, &manifest)
}

fn summary_text(runs: &[PolicyRuns]) -> String {
    let summaries: Vec<&RunSummary> = runs.iter().flat_map(PolicyRuns::summaries).collect();
    let first = runs.iter().map(|runs| &runs.first.summary);
    let mut parts: Vec<String> = first.map(|summary| summary_table(summary, SUMMARY_TXT_COLUMNS)).collect();
    parts.extend(runs.iter().flat_map(|run| run.served().tables(SUMMARY_TXT_COLUMNS)));
    if summaries.len() > 1 {
        parts.push(comparison_table(summaries, SUMMARY_TXT_COLUMNS));
    }
    parts.join("\n")
}

/// A directory for every policy: its name with all but letters, digits, `.`, `_` and `-` replaced, and a number where
/// two would share one (also on file systems that ignore case).
fn policy_directories<'a>(policies: impl Iterator<Item = &'a str>) -> Vec<PolicyRecord> {
    let mut taken = BTreeSet::from([PLOTS.to_owned(), MANIFEST.to_owned()]);
    taken.extend([SCENARIO.to_owned(), "summary.json".to_owned(), "summary.txt".to_owned()]);
    let mut records = Vec::new();
    for policy in policies {
        let safe = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '.' | '_' | '-');
        let plain: String = policy.chars().map(|letter| if safe(letter) { letter } else { '-' }).collect();
        // A leading dot would hide the directory, or be `.` or `..`.
        let stem = match plain.strip_prefix('.') {
            Some(rest) => format!("-{rest}"),
            None if plain.is_empty() => "policy".to_owned(),
            None => plain,
        };
        let mut directory = stem.clone();
        let mut number = 2;
        while !taken.insert(directory.to_ascii_lowercase()) {
            directory = format!("{stem}-{number}");
            number += 1;
        }
        records.push(PolicyRecord { policy: policy.to_owned(), directory });
    }
    records
}

fn create_dir(path: &Path) -> Result<(), ReportError> {
    fs::create_dir(path).map_err(ReportError::io("create", path))
}

fn write_file(path: &Path, write: impl FnOnce(&mut File) -> io::Result<()>) -> Result<(), ReportError> {
    File::create_new(path).and_then(|mut file| write(&mut file)).map_err(ReportError::io("write", path))
}

fn write_json(
    directory: &Path,
    file: &'static str,
    document: &impl serde::Serialize,
) -> Result<(), ReportError> {
    let mut text =
        serde_json::to_string_pretty(document).map_err(|source| ReportError::Json { file, source })?;
    text.push('\n');
    write_file(&directory.join(file), |out| out.write_all(text.as_bytes()))
}

/// A directory next to the target, and so on the same file system; removed when dropped.
struct Staging {
    root: PathBuf,
}

impl Staging {
    fn create(out: &Path) -> Result<Self, ReportError> {
        if let Some(parent) = out.parent() {
            fs::create_dir_all(parent).map_err(ReportError::io("create", parent))?;
        }
        let name = out.file_name().unwrap_or_default().to_string_lossy();
        // A name that exists belongs to another run, or to one that was killed.
        let mut number = 0;
        loop {
            let root = out.with_file_name(format!(".{name}.partial-{number}"));
            match fs::create_dir(&root) {
                Ok(()) => {
                    let staging = Self { root };
                    create_dir(&staging.files())?;
                    return Ok(staging);
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => number += 1,
                Err(error) => return Err(ReportError::io("create", &root)(error)),
            }
        }
    }

    /// Where the files are written.
    fn files(&self) -> PathBuf {
        self.root.join("files")
    }

    /// Gives the files their place; a previous run directory there goes.
    fn publish(self, out: &Path) -> Result<(), ReportError> {
        let rename = |from: &Path, to: &Path| fs::rename(from, to).map_err(ReportError::io("rename", from));
        if !out.exists() {
            return rename(&self.files(), out);
        }
        let previous = self.root.join("previous");
        rename(out, &previous)?;
        let published = rename(&self.files(), out);
        if published.is_err() && fs::rename(&previous, out).is_err() {
            // The previous run cannot go back to its place: better where it is than removed.
            std::mem::forget(self);
        }
        published
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        // At worst a hidden directory stays behind.
        let _ = fs::remove_dir_all(&self.root);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_get_safe_and_distinct_directories() {
        let check = |policies: &[&str], expected: &[&str]| {
            let records = policy_directories(policies.iter().copied());
            let directories: Vec<&str> = records.iter().map(|record| record.directory.as_str()).collect();
            assert_eq!(directories, expected);
        };
        check(&["fifo+fgd"], &["fifo-fgd"]);
        check(&["fifo+fgd", "fifo fgd", "FIFO-FGD"], &["fifo-fgd", "fifo-fgd-2", "FIFO-FGD-3"]);
        check(&["../../etc", "..", ""], &["-.-..-etc", "-.", "policy"]);
        check(&["plots", "manifest.json"], &["plots-2", "manifest.json-2"]);
    }
}
