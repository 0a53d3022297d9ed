//! Goldens of what commands print.

use std::path::Path;

use snapbox::{Assert, Data};

use crate::support::{data_or_skip, foretell, root, run_into, stderr, stdout, succeed};

/// Compares with `tests/golden/NAME.txt`; `SNAPSHOTS=overwrite` rewrites it.
#[track_caller]
pub(crate) fn check_golden(name: &str, got: &str) {
    let path = root().join("tests/golden").join(format!("{name}.txt"));
    // What a command prints are no paths: backslashes stay.
    let assert = Assert::new().action_env("SNAPSHOTS").normalize_paths(false);
    assert.eq(got.to_owned(), Data::read_from(&path, None));
}

/// Without the line that names the output directory, which is as long as its path.
fn without_out(text: &str) -> String {
    let lines = text.lines().filter(|line| !line.starts_with("Results and plots are in "));
    lines.flat_map(|line| [line, "\n"]).collect()
}

#[track_caller]
fn check_width(text: &str) {
    for line in text.lines() {
        assert!(line.chars().count() <= 80, "wider than 80 columns: {line}");
    }
}

#[test]
fn the_main_job() {
    let directory = tempfile::tempdir().unwrap();
    let printed = run_into(&directory.path().join("out"), "scenarios/library/quickstart.toml", &[]);
    check_width(&without_out(&printed));
    check_golden("quickstart", &without_out(&printed));
    let readme = std::fs::read_to_string(root().join("README.md")).unwrap();
    assert!(
        readme.contains(without_out(&printed).trim_end()),
        "README.md shows another output than the main job has"
    );
    // The picture in the README is the plot that the reader gets.
    let plot = std::fs::read_to_string(directory.path().join("out/plots/allocation.svg")).unwrap();
    let picture = root().join("docs/images/quickstart-allocation.svg");
    Assert::new()
        .action_env("SNAPSHOTS")
        .eq(plot, Data::read_from(&picture, Some(snapbox::data::DataFormat::Text)));
}

#[test]
fn library_scenarios_on_real_data() {
    let Some(_) = data_or_skip("library scenarios on real data") else { return };
    for name in ["openb", "openb-arrivals", "philly"] {
        let directory = tempfile::tempdir().unwrap();
        let printed = run_into(&directory.path().join("out"), &format!("scenarios/library/{name}.toml"), &[]);
        check_width(&without_out(&printed));
        check_golden(name, &without_out(&printed));
    }
}

#[test]
fn collectives_as_documented() {
    let Some(data) = data_or_skip("validate nccl on real data") else { return };
    let directory = tempfile::tempdir().unwrap();
    let plot = directory.path().join("plot.svg");
    let arguments = ["validate", "nccl", "--data", data.to_str().unwrap(), "--plot", plot.to_str().unwrap()];
    let output = foretell(&arguments);
    // Some healthy systems are further off than they should be.
    assert_eq!(output.status.code(), Some(1));
    let printed = stdout(&output);
    check_width(&printed);
    let guide = std::fs::read_to_string(root().join("docs/nccl.md")).unwrap();
    for summary in printed.lines().filter(|line| line.ends_with("measurements")) {
        assert!(guide.contains(summary), "docs/nccl.md does not say\n{summary}");
    }
    let output = foretell(&["validate", "nccl", "--data", data.to_str().unwrap(), "--markdown"]);
    let section = stdout(&output);
    let accuracy = std::fs::read_to_string(root().join("docs/accuracy.md")).unwrap();
    assert!(accuracy.contains(section.trim_end()), "docs/accuracy.md shows another section than\n{section}");
    let picture = root().join("docs/images/nccl-busbw.svg");
    Assert::new().action_env("SNAPSHOTS").eq(
        std::fs::read_to_string(plot).unwrap(),
        Data::read_from(&picture, Some(snapbox::data::DataFormat::Text)),
    );
}

#[test]
fn training_steps_as_documented() {
    let Some(data) = data_or_skip("validate training on real data") else { return };
    // Some of MLPerf's scaling is further off than it should be.
    let printed = validated(&data, "training", &[], 1);
    check_width(&printed);
    let guide = std::fs::read_to_string(root().join("docs/training.md")).unwrap();
    assert!(guide.contains(printed.trim_end()), "docs/training.md shows another output than\n{printed}");
    let section = validated(&data, "training", &["--markdown"], 1);
    let accuracy = std::fs::read_to_string(root().join("docs/accuracy.md")).unwrap();
    assert!(accuracy.contains(section.trim_end()), "docs/accuracy.md shows another section than\n{section}");
    // The constants of the program are those that a fit finds.
    let fitted = validated(&data, "training", &["--fit"], 1);
    let source = std::fs::read_to_string(root().join("training/src/kernels.rs")).unwrap();
    let (_, constants) = fitted.split_once("fitted constants:\n").unwrap();
    for line in constants.lines() {
        let (name, value) = line.trim().split_once(": ").unwrap();
        let written =
            source.lines().find(|line| line.trim_start().starts_with(&format!("{name}: "))).unwrap();
        assert!(
            written.contains(&format!("fitted {value};")),
            "{name} is {value}, and the source has {written}"
        );
    }
}

/// What `validate SUITE` prints, which must exit with `code`.
#[track_caller]
fn validated(data: &Path, suite: &str, more: &[&str], code: i32) -> String {
    let output = foretell(&[&["validate", suite, "--data", data.to_str().unwrap()], more].concat());
    assert_eq!(output.status.code(), Some(code), "{suite}: {}", stderr(&output));
    stdout(&output)
}

#[test]
fn model_servers_as_documented() {
    let Some(data) = data_or_skip("validate vidur, vllm and throughput on real data") else { return };
    let accuracy = std::fs::read_to_string(root().join("docs/accuracy.md")).unwrap();
    // Runs by name: others may lie beside them. Of the published throughputs, some are further off than they should be.
    let vidur = "--run=r70_sarathi_1000_1.0,r70_sarathi_5000_1.0,r70_vllm_1000_1.0";
    let vllm = "--run=RTXPRO6000_Llama-3.1-8B,RTXPRO6000_Qwen3-32B";
    for (suite, runs, code) in [("vidur", Some(vidur), 0), ("vllm", Some(vllm), 0), ("throughput", None, 1)] {
        let arguments: Vec<&str> = runs.into_iter().chain(["--markdown"]).collect();
        let printed = validated(&data, suite, &arguments, code);
        // How long it took is another thing each time.
        let lines = printed.lines().filter(|line| !line.contains(" batches in "));
        let section: String = lines.flat_map(|line| [line, "\n"]).collect();
        assert!(
            accuracy.contains(section.trim_end()),
            "docs/accuracy.md shows another section than\n{section}"
        );
    }
    let printed = validated(&data, "throughput", &[], 1);
    check_width(&printed);
    check_golden("validate-throughput", &printed);
}

#[test]
fn the_calibration_of_a_gpu_is_the_catalogues() {
    let Some(data) = data_or_skip("calibrate on real data") else { return };
    let directory = tempfile::tempdir().unwrap();
    let out = directory.path().join("rtx-4090.toml");
    let tables = data.join("serving/llmservingsim-profiles");
    let printed = succeed(&[
        "calibrate",
        "--tables",
        tables.to_str().unwrap(),
        "--gpu",
        "rtx-4090",
        "--source",
        "vLLM 0.19 layers, profiled for LLMServingSim 5daddb2",
        "--out",
        out.to_str().unwrap(),
    ]);
    let printed = printed.replace(out.to_str().unwrap(), "OUT");
    check_width(&printed);
    check_golden("calibrate", &printed);
    let shipped = root().join("serving/catalog/calibrations/rtx-4090.toml");
    assert_eq!(std::fs::read_to_string(out).unwrap(), std::fs::read_to_string(shipped).unwrap());
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1, "something else was left");
}

#[test]
fn what_a_trace_is_like() {
    let Some(data) = data_or_skip("trace info on real data") else { return };
    let path = data.join("openb/openb_pod_list_default.csv.gz");
    let printed = succeed(&["trace", "info", path.to_str().unwrap()]);
    check_width(&printed);
    let guide = std::fs::read_to_string(root().join("docs/traces.md")).unwrap();
    assert!(guide.contains(printed.trim_end()), "docs/traces.md shows another output than\n{printed}");
}

#[test]
fn small_commands() {
    check_golden("policy-list", &succeed(&["policy", "list"]));
    check_golden("scenario-check", &succeed(&["scenario", "check", "scenarios/library/quickstart.toml"]));
    let two_nodes = ["nccl", "--node-type", "dgx-a100", "--nodes", "2"];
    let ring = ["--env", "NCCL_ALGO=Ring", "--sizes", "1K..8G", "--explain"];
    check_golden("nccl", &succeed(&[&two_nodes[..], &ring].concat()));
    let two_gpus =
        ["nccl", "--node-type", "dgx-1-v100", "--gpus-of-node", "0,5", "--explain", "--sizes", "1M..4M"];
    check_golden("nccl-gpus-of-node", &succeed(&two_gpus));
    let reclaim = "scenarios/library/gang-deadlock.toml";
    let set =
        ["--set", "cluster.topology=[{ name = \"leaf\", nodes = 8 }, { name = \"spine\", nodes = 16 }]"];
    for format in ["text", "svg", "dot"] {
        let drawn = succeed(&[&["topology", reclaim, "--format", format][..], &set].concat());
        check_golden(&format!("topology-{format}"), &drawn);
    }
    let contend = ["--contend", "4", "--dealt", "--nodes-per-leaf", "2", "--oversubscription", "2"];
    check_golden("nccl-contend", &succeed(&[&two_nodes[..], &ring[..4], &contend].concat()));
    let parts = ["nccl", "--node-type", "dgx-1-v100", "--nodes", "2", "--gpus-of-node", "0,2,4,6"];
    let share = ["--sizes", "64M..256M", "--contend", "2", "--share-nodes", "--env", "NCCL_ALGO=Ring"];
    check_golden("nccl-share-nodes", &succeed(&[&parts[..], &share].concat()));
    let tune = ["nccl", "tune", "--node-type", "dgx-h100", "--nodes", "16", "--network", "roce"];
    check_golden("nccl-tune", &succeed(&tune));
    check_golden("nccl-variables", &succeed(&["nccl", "variables"]));
    let train = ["train", "--node-type", "dgx-h100", "--model", "llama-3-70b", "--gpus", "512"];
    check_golden("train", &succeed(&[&train[..], &["--tokens", "15e12"]].concat()));
    check_golden("train-models", &succeed(&["train", "models"]));
    let hybrid = ["--strategy", "fsdp-hybrid", "--recompute", "none"];
    let small = ["train", "--model", "llama-3-8b", "--gpus", "64"];
    check_golden("train-fsdp-config", &succeed(&[&small[..], &hybrid, &["--emit", "fsdp-config"]].concat()));
    check_golden("train-nccl-env", &succeed(&[&small[..], &hybrid, &["--emit", "nccl-env"]].concat()));
    let full = foretell(&[&small[..], &["--strategy", "ddp"]].concat());
    assert_eq!(full.status.code(), Some(1));
    check_golden("train-out-of-memory", &stdout(&full));
    let schema = std::fs::read_to_string(root().join("scenarios/schema/scenario.schema.json")).unwrap();
    assert_eq!(succeed(&["scenario", "schema"]), schema);
}

#[test]
fn help_fits_a_terminal() {
    for arguments in [
        &["--help"][..],
        &["run", "--help"],
        &["validate", "openb", "--help"],
        &["trace", "generate", "--help"],
        &["nccl", "--help"],
        &["nccl", "tune", "--help"],
        &["train", "--help"],
        &["validate", "training", "--help"],
        &["validate", "throughput", "--help"],
        &["validate", "serving-papers", "--help"],
        &["calibrate", "--help"],
    ] {
        let output = foretell(arguments);
        assert!(output.status.success());
        check_width(&stdout(&output));
    }
}

#[test]
fn a_generated_trace_can_be_converted_looked_at_and_replayed() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    let (plain, compressed) = (path("jobs.csv"), path("jobs.csv.gz"));
    succeed(&[
        "trace", "generate", "--preset", "gavel", "--jobs", "200", "--load", "0.8", "--gpus", "64", "--out",
        &plain,
    ]);
    succeed(&["trace", "convert", &plain, &compressed]);
    assert_eq!(
        succeed(&["trace", "info", &plain]).replace(&plain, ""),
        succeed(&["trace", "info", &compressed]).replace(&compressed, "")
    );

    let scenario = path("scenario.toml");
    let text = "version = 1\nname = \"replay\"\n\
                [cluster]\nnodes = [{ type = \"dgx-a100\", count = 8 }]\n\
                [workload]\ntrace = { path = \"jobs.csv.gz\" }\n\
                [scheduler]\npolicies = [\"fifo+binpack\"]\n";
    std::fs::write(&scenario, text).unwrap();
    let printed = run_into(&directory.path().join("out"), &scenario, &[]);
    assert!(printed.contains("200"), "{printed}");
}

#[test]
fn manifests_are_scheduled() {
    let manifests = ["schedule", "--manifests", "scenarios/library/manifests"];
    let table = succeed(&[&manifests[..], &["--cycles", "2"]].concat());
    check_width(&table);
    check_golden("schedule", &table);
    check_golden("schedule-yaml", &succeed(&[&manifests[..], &["--format", "yaml"]].concat()));
    let json = succeed(&[&manifests[..], &["--format", "json"]].concat());
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["cycles"][0]["binds"].as_array().unwrap().len(), 4);
    assert_eq!(json["pending"][0]["job"], "research/evaluate");
}

#[test]
fn manifests_and_a_timeline_become_a_scenario() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    let (trace, scenario, out) = (path("jobs.csv"), path("replay.toml"), path("out"));
    let timeline = "scenarios/library/manifests/timeline.csv";
    let manifests = "scenarios/library/manifests";
    succeed(&["trace", "convert", timeline, &trace, "--manifests", manifests, "--scenario", &scenario]);
    let jobs = std::fs::read_to_string(&trace).unwrap();
    let rows: Vec<_> = jobs.lines().skip(1).collect();
    assert_eq!(rows.len(), 3);
    assert!(rows[0].starts_with("product/finetune,product,product,0,7200,4,2,1000,16000,"), "{jobs}");
    assert!(rows[2].starts_with("product/finetune#2,"), "{jobs}");
    let printed = run_into(std::path::Path::new(&out), &scenario, &[]);
    assert!(printed.contains("4 nodes, 32 GPUs"), "{printed}");
}
