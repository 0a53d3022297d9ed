//! `foretell explain` on what `foretell run` leaves behind.

use std::fs::read;

use crate::commands::check_golden;
use crate::support::{foretell, run_into, stderr, succeed};

#[test]
fn a_run_is_explained_from_its_directory() {
    let directory = tempfile::tempdir().unwrap();
    let out = directory.path().join("out");
    run_into(&out, "scenarios/library/quickstart.toml", &["--policy", "fifo+binpack,default"]);
    let out = out.to_str().unwrap();
    check_golden("explain-job", &succeed(&["explain", out, "job-9757", "--at", "36h"]));
    check_golden(
        "explain-node",
        &succeed(&["explain", out, "--policy", "default", "--node", "dgx-a100-0003", "--at", "72000"]),
    );
    // Without an instant it looks at the start of the longest wait.
    let text = succeed(&["explain", out, "job-9757", "--policy", "default"]);
    assert!(text.contains("waits: no node has room"), "{text}");

    let refused = |arguments: &[&str], expected: &str| {
        let output = foretell(&[&["explain"], arguments].concat());
        assert_eq!(output.status.code(), Some(2));
        assert!(stderr(&output).contains(expected), "{}", stderr(&output));
    };
    refused(&[out, "job-10000"], "the run has no job `job-10000`");
    refused(&[out, "job-1", "--policy", "fgd"], "the run has no policy `fgd`, it has fifo+binpack, default");
    refused(&[out, "--node", "dgx", "--at", "1"], "the cluster has no node `dgx`");
    refused(&[out, "job-1", "--at", "noon"], "expected a time such as 5400, 90min or 1.5h, got `noon`");
    refused(&["scenarios", "job-1"], "scenarios is not a run directory");
}

#[test]
fn the_scenario_of_a_run_gives_the_same_run() {
    let directory = tempfile::tempdir().unwrap();
    let (first, again) = (directory.path().join("first"), directory.path().join("again"));
    let more = ["--policy", "fifo+fgd", "--set", "workload.synthetic.jobs=300", "--seed", "7"];
    run_into(&first, "scenarios/library/quickstart.toml", &more);
    run_into(&again, first.join("scenario.toml").to_str().unwrap(), &[]);
    for file in ["scenario.toml", "fifo-fgd/jobs.csv", "summary.json", "plots/allocation.svg"] {
        assert_eq!(read(first.join(file)).unwrap(), read(again.join(file)).unwrap(), "{file}");
    }
}
