//! The run directory is written whole or not at all, and nobody's files are lost to it.

use std::fs;
use std::path::Path;

use foretell_reports::{
    EVICTIONS_HEADER, JOBS_HEADER, ManifestFile, PolicyRuns, ReportError, SummaryFile, TIMELINE_HEADER,
    check_target, write_run_dir,
};
use serde_json::Value;
use tempfile::TempDir;

use crate::fixture::{manifest, tiny_run};

fn runs(policies: &[&str]) -> Vec<PolicyRuns> {
    let run = |policy: &&str| {
        let mut run = tiny_run();
        (*policy).clone_into(&mut run.summary.policy);
        PolicyRuns {
            first: run,
            others: Vec::new(),
            services: Vec::new(),
            classical: Vec::new(),
            pipelines: Vec::new(),
        }
    };
    policies.iter().map(run).collect()
}

/// Every file under `directory` with its bytes, by path.
fn contents(directory: &Path) -> Vec<(String, Vec<u8>)> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        if entry.file_type().unwrap().is_dir() {
            files.extend(
                contents(&entry.path()).into_iter().map(|(path, bytes)| (format!("{name}/{path}"), bytes)),
            );
        } else {
            files.push((name, fs::read(entry.path()).unwrap()));
        }
    }
    files.sort();
    files
}

fn paths(directory: &Path) -> Vec<String> {
    contents(directory).into_iter().map(|(path, _)| path).collect()
}

fn write(out: &Path, policies: &[&str]) -> Result<(), ReportError> {
    write_run_dir(out, &manifest(), &runs(policies))
}

#[test]
fn the_layout_is_the_same_for_one_policy_and_for_several() {
    let folder = TempDir::new().unwrap();
    let check = |policies: &[&str], directories: &[&str]| {
        let out = folder.path().join("new/folders").join(policies.len().to_string());
        write(&out, policies).unwrap();
        let mut expected = Vec::new();
        for directory in directories {
            expected.extend(["evictions", "jobs", "timeline"].map(|file| format!("{directory}/{file}.csv")));
        }
        for plot in ["allocation", "fragmentation", "jct_cdf", "queue_delay_cdf", "queue_length"] {
            expected.push(format!("plots/{plot}.svg"));
        }
        expected.extend(["manifest.json", "scenario.toml", "summary.json", "summary.txt"].map(str::to_owned));
        expected.sort();
        assert_eq!(paths(&out), expected);

        let manifest: ManifestFile =
            serde_json::from_slice(&fs::read(out.join("manifest.json")).unwrap()).unwrap();
        expected.retain(|file| file != "manifest.json");
        assert_eq!(manifest.files, expected);
        let listed: Vec<&str> = manifest.policies.iter().map(|record| record.policy.as_str()).collect();
        assert_eq!(listed, policies);
    };
    check(&["fifo+fgd"], &["fifo-fgd"]);
    check(&["fifo+fgd", "sjf"], &["fifo-fgd", "sjf"]);
}

#[test]
fn golden_manifest() {
    let folder = TempDir::new().unwrap();
    let out = folder.path().join("out");
    write(&out, &["fifo+fgd", "sjf"]).unwrap();
    insta::assert_snapshot!("manifest_json", fs::read_to_string(out.join("manifest.json")).unwrap());
}

#[test]
fn the_same_run_gives_the_same_bytes() {
    let folder = TempDir::new().unwrap();
    let (first, second) = (folder.path().join("first"), folder.path().join("second"));
    write(&first, &["fifo+fgd", "sjf"]).unwrap();
    write(&second, &["fifo+fgd", "sjf"]).unwrap();
    assert_eq!(contents(&first), contents(&second));
}

#[test]
fn a_previous_run_is_replaced() {
    let folder = TempDir::new().unwrap();
    let (out, fresh) = (folder.path().join("out"), folder.path().join("fresh"));
    fs::create_dir(&out).unwrap();
    check_target(&out).unwrap();
    write(&out, &["fifo+fgd", "sjf"]).unwrap();
    check_target(&out).unwrap();
    write(&out, &["sjf"]).unwrap();
    write(&fresh, &["sjf"]).unwrap();
    assert_eq!(contents(&out), contents(&fresh));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2, "nothing is left next to them");

    // A run that was killed does not stand in the way.
    fs::create_dir(folder.path().join(".out.partial-0")).unwrap();
    write(&out, &["sjf"]).unwrap();
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 3);
}

#[test]
fn what_no_run_wrote_is_not_touched() {
    let folder = TempDir::new().unwrap();
    let check = |name: &str, prepare: &dyn Fn(&Path), expected: &str| {
        let parent = folder.path().join(name);
        let out = parent.join("out");
        fs::create_dir(&parent).unwrap();
        prepare(&out);
        let before = contents(&parent);
        assert!(check_target(&out).is_err());
        let error = write(&out, &["sjf"]).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
        assert_eq!(contents(&parent), before);
        assert_eq!(fs::read_dir(&parent).unwrap().count(), 1, "nothing half-written is left");
    };
    check("file", &|out| fs::write(out, "notes").unwrap(), "it is not a directory");
    let stranger = |out: &Path| {
        fs::create_dir(out).unwrap();
        fs::write(out.join("thesis.tex"), "years of work").unwrap();
    };
    check("directory", &stranger, "not a run directory of foretell");
    let foreign_manifest = |out: &Path| {
        fs::create_dir(out).unwrap();
        fs::write(out.join("manifest.json"), "{\"name\": \"an app\"}").unwrap();
    };
    check("manifest", &foreign_manifest, "not a run directory of foretell");
    let notes = |out: &Path| {
        write(out, &["sjf"]).unwrap();
        fs::write(out.join("sjf/notes.txt"), "look at job 17").unwrap();
    };
    check("notes", &notes, "it holds `sjf/notes.txt`, which the previous run did not write");
}

#[test]
fn after_an_error_everything_is_as_before() {
    let folder = TempDir::new().unwrap();
    let out = folder.path().join("out");
    // No file system takes a name that long: the second policy's files cannot be written.
    let endless = "x".repeat(5_000);
    let error = write(&out, &["sjf", &endless]).unwrap_err().to_string();
    assert!(error.starts_with("failed to create "), "{error}");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);

    write(&out, &["sjf"]).unwrap();
    let before = contents(folder.path());
    write(&out, &["fifo", &endless]).unwrap_err();
    assert_eq!(contents(folder.path()), before);

    let under_a_file = out.join("manifest.json").join("out");
    assert!(write(&under_a_file, &["sjf"]).is_err());
    assert_eq!(contents(folder.path()), before);
}

#[cfg(unix)]
#[test]
fn a_link_keeps_being_a_link() {
    let folder = TempDir::new().unwrap();
    let (disk, out) = (folder.path().join("disk"), folder.path().join("out"));
    fs::create_dir(&disk).unwrap();
    std::os::unix::fs::symlink(&disk, &out).unwrap();
    write(&out, &["sjf"]).unwrap();
    assert!(out.symlink_metadata().unwrap().is_symlink());
    assert!(disk.join("manifest.json").exists());
}

/// Every key of a JSON document.
fn keys(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(object) => {
            for (key, value) in object {
                found.push(key.clone());
                keys(value, found);
            }
        }
        Value::Array(values) => values.iter().for_each(|value| keys(value, found)),
        _ => {}
    }
}

#[test]
fn the_data_dictionary_knows_every_file_column_and_key() {
    let dictionary = include_str!("../../../docs/outputs.md");
    let folder = TempDir::new().unwrap();
    let out = folder.path().join("out");
    write(&out, &["sjf"]).unwrap();
    let manifest: ManifestFile =
        serde_json::from_slice(&fs::read(out.join("manifest.json")).unwrap()).unwrap();
    let mut names: Vec<String> =
        manifest.files.iter().map(|file| file.rsplit('/').next().unwrap_or(file).to_owned()).collect();
    names.extend(
        [JOBS_HEADER, TIMELINE_HEADER, EVICTIONS_HEADER]
            .iter()
            .flat_map(|header| header.split(','))
            .map(str::to_owned),
    );
    keys(&serde_json::to_value(&manifest).unwrap(), &mut names);
    keys(&serde_json::to_value(SummaryFile::new([&tiny_run().summary])).unwrap(), &mut names);
    for name in names {
        assert!(dictionary.contains(&format!("`{name}`")), "docs/outputs.md says nothing of `{name}`");
    }
}
