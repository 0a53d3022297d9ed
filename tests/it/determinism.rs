//! The same scenario and seed give the same bytes, whatever the number of threads.

use std::collections::BTreeMap;
use std::path::Path;

use crate::support::run_into;

/// Every file below a directory, with its bytes.
fn files(directory: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut pending = vec![directory.to_owned()];
    while let Some(next) = pending.pop() {
        for entry in std::fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                pending.push(path);
            } else {
                let name = path.strip_prefix(directory).unwrap().display().to_string();
                found.insert(name, std::fs::read(&path).unwrap());
            }
        }
    }
    found
}

/// Several seeds in one run are what they are one by one; files are those of the first.
#[test]
fn seeds_are_runs_of_their_own() {
    let directory = tempfile::tempdir().unwrap();
    let run = |name: &str, more: &[&str]| {
        let fewer = ["--policy", "sjf-skip+random,fifo+binpack", "--set", "workload.synthetic.jobs=300"];
        let out = directory.path().join(name);
        run_into(&out, "scenarios/library/quickstart.toml", &[&fewer, more].concat());
        let files = files(&out);
        let summary: serde_json::Value = serde_json::from_slice(&files["summary.json"]).unwrap();
        (files, summary["runs"].as_array().unwrap().clone())
    };
    let (one, first) = run("one", &["--seed", "7"]);
    let (_, second) = run("two", &["--seed", "8"]);
    let (both, all) = run("both", &["--seed", "7", "--seeds", "2"]);
    let expected = [&first[0], &second[0], &first[1], &second[1]];
    assert_eq!(all.iter().collect::<Vec<_>>(), expected);
    assert_eq!(both["fifo-binpack/jobs.csv"], one["fifo-binpack/jobs.csv"]);
    assert!(String::from_utf8_lossy(&both["summary.txt"]).contains("mean over 2 seeds"));
}

#[test]
fn runs_are_reproducible() {
    let directory = tempfile::tempdir().unwrap();
    let run = |name: &str, more: &[&str]| {
        let out = directory.path().join(name);
        let policies =
            ["--policy", "fifo+fgd,sjf-skip+random,default", "--set", "workload.synthetic.jobs=600"];
        let printed = run_into(&out, "scenarios/library/quickstart.toml", &[&policies, more].concat());
        (
            printed.lines().filter(|line| !line.contains(name)).map(str::to_owned).collect::<Vec<_>>(),
            files(&out),
        )
    };
    let first = run("first", &["--threads", "1"]);
    assert!(first.1.len() > 10, "{:?}", first.1.keys());
    assert_eq!(first, run("again", &["--threads", "1"]));
    assert_eq!(first, run("threads", &["--threads", "4"]));
    assert_ne!(first.1["fifo-fgd/jobs.csv"], run("other", &["--seed", "7"]).1["fifo-fgd/jobs.csv"]);
}

/// Services that stages of a pipeline ask come to the same whichever thread their policy runs on.
#[test]
fn pipelines_are_reproducible() {
    let directory = tempfile::tempdir().unwrap();
    let run = |name: &str, more: &[&str]| {
        let out = directory.path().join(name);
        let fewer = ["--policy", "default,fifo+binpack", "--set", "pipeline[0].requests.synthetic.count=200"];
        run_into(&out, "scenarios/library/pipeline.toml", &[&fewer, more].concat());
        files(&out)
    };
    let first = run("first", &["--threads", "1"]);
    assert!(first.contains_key("fifo-binpack/pipeline-answers/stages.csv"), "{:?}", first.keys());
    assert_eq!(first, run("threads", &["--threads", "4"]));
    assert_ne!(first["pipelines.json"], run("other", &["--seed", "7"])["pipelines.json"]);
}
