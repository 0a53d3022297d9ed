//! `foretell search` as its users run it.

use std::path::Path;

use crate::support::{foretell, stderr, succeed};

const SCENARIO: &str = "scenarios/library/capacity.toml";

/// A search that is over in a second or two.
const QUICK: [&str; 6] = ["search", SCENARIO, "--requests", "100", "--tolerance", "0.1"];

fn searched(directory: &Path, more: &[&str]) -> String {
    succeed(&[&QUICK[..], &["--out", directory.to_str().unwrap()], more].concat())
}

fn read(directory: &Path, file: &str) -> String {
    std::fs::read_to_string(directory.join(file)).unwrap()
}

#[test]
fn a_sweep_leaves_tables_and_plots_whatever_the_threads() {
    let directory = tempfile::tempdir().unwrap();
    let (one, four) = (directory.path().join("one"), directory.path().join("four"));
    let vary = ["--vary", "gpu=H100,L40S", "--vary", "engine.max_sequences=32,256", "--vary", "tp=1,3"];
    let printed = searched(&one, &[&vary[..], &["--threads", "1"]].concat());
    assert!(
        printed.lines().all(|line| line.chars().count() <= 80 || line.starts_with("Results")),
        "{printed}"
    );
    for text in
        ["max_sequences", "H100", "L40S", " * ", "held/GPU", "4 cannot be: service[0]", "deployments: 8"]
    {
        assert!(printed.contains(text), "{text}:\n{printed}");
    }
    searched(&four, &[&vary[..], &["--threads", "4"]].concat());
    let files =
        ["search.csv", "points.csv", "search.json", "summary.txt", "plots/frontier.svg", "plots/by_load.svg"];
    for file in files.into_iter().chain(["manifest.json"]) {
        assert_eq!(read(&one, file), read(&four, file), "{file}");
    }
    assert!(printed.starts_with(&read(&one, "summary.txt")));
    let table = read(&one, "search.csv");
    let rows: Vec<&str> = table.lines().collect();
    assert_eq!(rows.len(), 9);
    assert!(rows[0].starts_with("gpu,engine.max_sequences,tp,status,"), "{}", rows[0]);
    let columns = |row: &str| row.split(',').count();
    assert!(rows[1..].iter().all(|row| columns(row) == columns(rows[0]) || row.contains('"')), "{table}");
    // It is a run directory, and so may be replaced.
    searched(&one, &["--least", "replicas"]);
    assert!(read(&one, "search.json").contains("\"fewest_replicas\""));
}

#[test]
fn what_is_wrong_is_said() {
    let directory = tempfile::tempdir().unwrap();
    let occupied = directory.path().join("occupied");
    std::fs::create_dir(&occupied).unwrap();
    std::fs::write(occupied.join("mine.txt"), "mine").unwrap();
    let out = directory.path().join("out");
    let check = |arguments: &[&str], expected: &str| {
        let output = foretell(&[&["search", "--out", out.to_str().unwrap()], arguments].concat());
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        let said = stderr(&output);
        assert!(said.contains(expected), "{arguments:?}: {said}");
        assert!(!out.exists());
    };
    check(&[SCENARIO, "--slo", "p99 ttfb < 2s"], "--slo: column 5: expected one of `ttft`");
    check(&[SCENARIO, "--vary", "tpp=1,2"], "unknown key `tpp`: did you mean `tp`?");
    check(&[SCENARIO, "--vary", "tp"], "expected KEY=VALUE,... or KEY=LOW..HIGH");
    check(&[SCENARIO, "--vary", "engine.batcher=vlm"], "unknown value `vlm`");
    check(&[SCENARIO, "--seeds", "0"], "--seeds: expected 1 to 1000, got 0");
    check(&[SCENARIO, "--confidence", "2"], "--confidence: expected 0.5 to 0.999999, got 2");
    check(&[SCENARIO, "--tolerance", "0"], "--tolerance: expected");
    check(&[SCENARIO, "--requests", "0"], "--requests: expected at least 1, got 0");
    check(&[SCENARIO, "--most", "qps", "--least", "replicas"], "cannot be used with");
    check(&["scenarios/library/quickstart.toml"], "the scenario has no [[service]]");
    check(&["scenarios/library/classical.toml"], "are not searched yet");
    check(&["scenarios/library/batching.toml", "--slo", "p99 ttft < 2s"], "say with --service which one");
    let output = foretell(&["search", SCENARIO, "--out", occupied.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("it is not empty"), "{}", stderr(&output));
}
