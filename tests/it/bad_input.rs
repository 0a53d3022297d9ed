//! Whatever is wrong with the input gives one clear message, exit status 2, and nothing half-written.

use std::path::Path;

use crate::support::{foretell, stderr, stdout};

const SCENARIO: &str = "version = 1
name = \"bad\"
[cluster]
nodes = [{ type = \"dgx-a100\", count = 2 }]
[workload]
trace = { path = \"jobs.csv\" }
[scheduler]
policies = [\"fifo+binpack\"]
";

const HEADER: &str = "job_id,submit_s,duration_s,gpus_per_task";

/// Runs `SCENARIO` with one change on a trace; the message, with nothing left behind.
#[track_caller]
fn failure(replace: (&str, &str), trace: &[u8]) -> String {
    let directory = tempfile::tempdir().unwrap();
    let out = directory.path().join("out");
    let message = run(directory.path(), replace, trace, &out);
    assert!(!out.exists(), "something was written");
    let left: Vec<_> =
        std::fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left.len(), 2, "{left:?}");
    message
}

#[track_caller]
fn run(directory: &Path, (from, to): (&str, &str), trace: &[u8], out: &Path) -> String {
    assert!(SCENARIO.contains(from), "{from}");
    std::fs::write(directory.join("scenario.toml"), SCENARIO.replace(from, to)).unwrap();
    std::fs::write(directory.join("jobs.csv"), trace).unwrap();
    let scenario = directory.join("scenario.toml");
    let output = foretell(&["run", scenario.to_str().unwrap(), "--out", out.to_str().unwrap()]);
    let message = stderr(&output);
    assert_eq!(output.status.code(), Some(2), "{message}{}", stdout(&output));
    assert!(!message.contains("panicked"), "{message}");
    message
}

#[test]
fn traces() {
    let check = |rows: &str, expected: &str| {
        let message = failure(("bad", "bad"), format!("{HEADER}\n{rows}").as_bytes());
        assert!(message.contains(expected), "{rows:?}: {message}");
    };
    check("a,0,10,1\nb,1,10\n", "jobs.csv:3: expected 4 fields, got 3");
    check("a,0,-10,1\n", "jobs.csv:2: column \"duration_s\": expected a number of seconds from 0");
    check("a,0,10,-1\n", "jobs.csv:2: column \"gpus_per_task\": expected a whole number from 0");
    check("a,NaN,10,1\n", "jobs.csv:2: column \"submit_s\"");
    check("a,5,10,1\nb,4,10,1\n", "jobs.csv:3: column \"submit_s\": expected rows in order of submission");
    let message = failure(("bad", "bad"), b"job_id,submit_s,duration_s,gpus_per_task,colour\n");
    assert!(message.contains("column \"colour\": unknown column"), "{message}");
    let message = failure(("bad", "bad"), b"");
    assert!(message.contains("jobs.csv:1: expected a header, got an empty file"), "{message}");
    let message = failure(("bad", "bad"), format!("{HEADER}\n{}", "x".repeat(10 << 20)).as_bytes());
    assert!(message.contains("jobs.csv:2: expected rows of at most 1048576 bytes"), "{message}");
}

#[test]
fn scenarios() {
    let trace = format!("{HEADER}\na,0,10,1\n");
    let check = |from: &str, to: &str, expected: &[&str]| {
        let message = failure((from, to), trace.as_bytes());
        for expected in expected {
            assert!(message.contains(expected), "{to}: expected {expected:?} in {message}");
        }
    };
    check("policies", "polices", &["polices", "policies", "scenario.toml:8"]);
    check("dgx-a100", "dgx-a10", &["unknown node type `dgx-a10`", "dgx-a100", "scenario.toml:4"]);
    check("fifo+binpack", "fifo+bin", &["unknown policy `fifo+bin`", "policy list", "scenario.toml:8"]);
    check("count = 2", "count = 0", &["count", "scenario.toml:4"]);
    check("count = 2", "count = -2", &["count", "scenario.toml:4"]);
    check("jobs.csv", "nowhere.csv", &["nowhere.csv", "scenario.toml:6"]);
    check("version = 1", "version = 99", &["version 99 is not supported", "scenario.toml:1"]);
}

#[test]
fn a_job_larger_than_the_cluster_is_a_result_not_an_error() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("scenario.toml"), SCENARIO).unwrap();
    std::fs::write(directory.path().join("jobs.csv"), format!("{HEADER}\nbig,0,10,9\nsmall,1,10,8\n"))
        .unwrap();
    let (scenario, out) = (directory.path().join("scenario.toml"), directory.path().join("out"));
    let output = foretell(&["run", scenario.to_str().unwrap(), "--out", out.to_str().unwrap()]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(stdout(&output).contains("fits no node even if the cluster were empty"), "{}", stdout(&output));
    let jobs = std::fs::read_to_string(out.join("fifo-binpack/jobs.csv")).unwrap();
    assert!(jobs.contains("2 with too few GPUs even when empty"), "{jobs}");
    assert!(jobs.lines().any(|line| line.starts_with("small,") && line.contains("completed")), "{jobs}");
}

#[test]
fn files_of_others_are_not_replaced() {
    let directory = tempfile::tempdir().unwrap();
    let out = directory.path().join("out");
    std::fs::create_dir(&out).unwrap();
    std::fs::write(out.join("thesis.tex"), "years of work").unwrap();
    run(directory.path(), ("bad", "bad"), format!("{HEADER}\na,0,10,1\n").as_bytes(), &out);
    assert_eq!(std::fs::read_to_string(out.join("thesis.tex")).unwrap(), "years of work");
}

/// A device of one's own.
const DEVICE: &str = "name = \"own\"
flops_16bit = 1e14
flops_8bit = 2e14
memory_bytes_per_s = 1e12
memory_bytes = 24e9
multiprocessors = 100
";

/// The beginning of names of files in `LLMServingSim`'s format.
const PROFILE: &str = "OWN__meta-llama__Llama-3.1-8B__bf16__tp1__";

/// Calibrates from files of these names and contents; the message, with nothing written.
#[track_caller]
fn uncalibrated(files: &[(&str, &str)], device: &str, more: &[&str]) -> String {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    std::fs::create_dir(path("tables")).unwrap();
    for (name, text) in files {
        std::fs::write(Path::new(&path("tables")).join(name), text).unwrap();
    }
    std::fs::write(path("device.toml"), device).unwrap();
    let (tables, device, out) = (path("tables"), path("device.toml"), path("out.toml"));
    let arguments = ["calibrate", "--tables", &tables, "--device", &device];
    let out: &[&str] = if more.contains(&"--out") { &[] } else { &["--out", &out] };
    let output = foretell(&[&arguments, out, more].concat());
    let message = stderr(&output);
    assert_eq!(output.status.code(), Some(2), "{message}{}", stdout(&output));
    assert!(!message.contains("panicked"), "{message}");
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 2, "something was written");
    message
}

#[test]
fn timings_of_kernels() {
    let dense = format!("{PROFILE}dense.csv");
    let check = |text: &str, expected: &str| {
        let message = uncalibrated(&[(&dense, text)], DEVICE, &[]);
        assert!(message.contains(expected), "{text:?}: {message}");
    };
    check(
        "layer,tokens,time_us\nqkv_proj,1,20\nqkv_proj,2,fast\n",
        "dense.csv:3: `time_us` should be a number, found `fast`",
    );
    check("layer,tokens\nqkv_proj,1\n", "dense.csv: no column `time_us`");
    check("layer,tokens,time_us\nqkv_proj,1\n", "dense.csv: CSV error: record 1 (line: 2");
    let message = uncalibrated(&[], DEVICE, &[]);
    assert!(message.contains("tables: no file `*mlp.csv` or `*mlp.csv.gz`"), "{message}");
    if cfg!(not(feature = "aiconfigurator")) {
        let message = uncalibrated(&[("own_gemm_perf.parquet", "")], DEVICE, &["--hardware", "own"]);
        assert!(message.contains("build with `--features aiconfigurator`"), "{message}");
    }
    let good = [(&*dense, "layer,tokens,time_us\nqkv_proj,1,20\n")];
    let message = uncalibrated(&good, DEVICE, &["--carry", "abacus"]);
    assert!(message.contains("no calibration of `abacus` in the catalogue; it has a100, "), "{message}");
    let message = uncalibrated(&good, &DEVICE.replace("= 100", "= 0"), &[]);
    assert!(message.contains("device.toml: `multiprocessors` = 0 should be above 0"), "{message}");
    let message = uncalibrated(&good, &DEVICE.replace("flops_8bit", "flops_9bit"), &[]);
    assert!(message.contains("device.toml: TOML parse error at line 3, column 1"), "{message}");
    let message = uncalibrated(&good, DEVICE, &["--out", "no/such/folder/out.toml"]);
    assert!(message.contains("failed to write no/such/folder/out.toml"), "{message}");
}
