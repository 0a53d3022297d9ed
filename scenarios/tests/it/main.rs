//! Scenario files from the outside: good ones resolve, bad ones say what is wrong and where.

mod batch;
mod classical;
mod colocated;
mod colocation;
mod communication;
mod costs;
mod disaggregation;
mod elastic;
mod fabrics;
mod fast_forward;
mod faults;
mod lora;
mod machines;
mod pipeline;
mod profiles;
mod queues;
mod reservations;
mod rollout;
mod search;
mod seeds;
mod services;
mod slurm;
mod swap;

use std::io::Write;
use std::path::{Path, PathBuf};

use foretell_scenarios::scenario::{Cycle, Retry, VIRTUAL_CLUSTER_LABEL, Workload};
use foretell_scenarios::sim::framework::{ClusterState, Time};
use foretell_scenarios::sim::log::{Observer, Record};
use foretell_scenarios::{Environment, InvalidScenario, Plan, Scenario, load, parse, schema, schema_json};
use proptest::prelude::*;
use serde_json::Value;

fn environment(data_dir: Option<&Path>) -> Environment<'_> {
    Environment { data_dir }
}

fn crate_dir() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn data_dir() -> Option<PathBuf> {
    let folder = std::env::var_os("FORETELL_DATA")
        .map_or_else(|| crate_dir().join("../../shared/data"), PathBuf::from);
    folder.is_dir().then_some(folder)
}

fn read(text: &str, overrides: &[&str]) -> Result<Scenario, InvalidScenario> {
    let overrides: Vec<_> = overrides.iter().map(|&text| text.to_owned()).collect();
    parse("s.toml", text, &overrides, crate_dir(), environment(None)).map(|loaded| loaded.scenario)
}

const GOOD: &str = r#"version = 1
name = "small"
[cluster]
nodes = [{ type = "dgx-h100", count = 2 }]
[workload.synthetic]
jobs = 10
load = 0.5
sizes = [{ weight = 1, gpus_per_task = 1 }]
duration = { law = "exponential", mean_s = 60 }
[scheduler]
policies = ["default"]
"#;

/// `GOOD` with one line replaced.
fn with(line: &str, replacement: &str) -> String {
    assert!(GOOD.contains(line), "{line}");
    GOOD.replace(line, replacement)
}

/// Every problem as `line:column: field: message (help)`.
fn problems(text: &str, overrides: &[&str]) -> String {
    read(text, overrides).unwrap_err().to_string().replace("s.toml:", "")
}

/// A file, and all that is wrong with it.
fn check(text: &str, expected: &str) {
    assert_eq!(problems(text, &[]), expected, "\n{text}");
}

#[test]
fn a_bad_shape_says_what_is_wrong_and_where() {
    check(
        &with("count = 2", "cuont = 2"),
        "4:10: cluster.nodes[0]: missing field `count` (count: Number of nodes)\n\
         4:31: cluster.nodes[0].cuont: unknown field `cuont` (did you mean `count`?)",
    );
    check(
        &with("count = 2", "count = 0"),
        "4:39: cluster.nodes[0].count: expected a whole number from 1 to 1000000, got 0",
    );
    check(
        &with("count = 2", "count = -4"),
        "4:39: cluster.nodes[0].count: expected a whole number from 1 to 1000000, got -4",
    );
    check(
        &with("count = 2", "count = \"two\""),
        "4:39: cluster.nodes[0].count: expected a whole number from 1 to 1000000, got the string \"two\"",
    );
    check(
        &with("count = 2", "count = 2.0"),
        "4:39: cluster.nodes[0].count: expected a whole number from 1 to 1000000, got 2.0",
    );
    check(
        &with("load = 0.5", "load = nan"),
        "7:8: workload.synthetic.load: expected a number above 0, got nan",
    );
    check(&with("version = 1\n", ""), "1:1: missing field `version` (version: Version of the format: 1)");
    check(
        &with("version = 1", "version = 2\nfrom_the_future = true"),
        "1:11: version: version 2 is not supported (this program reads version 1)",
    );
    check(
        &with(
            "gpus_per_task = 1",
            "gpus_per_task = 1, memory_per_task = \"64 gigs\", gpu_models = [\"H10\"]",
        ),
        "8:61: workload.synthetic.sizes[0].memory_per_task: expected an amount of memory such as \"64 GiB\", got the \
         string \"64 gigs\"",
    );
    check(
        &with("law = \"exponential\"", "law = \"exponental\""),
        "9:20: workload.synthetic.duration.law: unknown value `exponental` (did you mean `exponential`?)",
    );
    check(
        &with("mean_s = 60", "median_s = 60"),
        "9:12: workload.synthetic.duration: missing field `mean_s` (mean_s: Mean, before `min_s` and `max_s`)\n\
         9:35: workload.synthetic.duration.median_s: unknown field `median_s` (did you mean `mean_s`?)",
    );
    check(
        &with(
            "policies = [\"default\"]",
            "policies = [\"default\", \"magic\", \"default\"]\nretry = \"sometimes\"",
        ),
        "12:9: scheduler.retry: unknown value `sometimes` (expected one of `always`, `never`)",
    );
    check(&with("policies = [\"default\"]", "policies = []"), "11:12: scheduler.policies: must not be empty");
    check(
        &with("[scheduler]", "[budget]\nmax_wall_s = 1e300\n[scheduler]"),
        "11:14: budget.max_wall_s: expected at most 1e10 seconds, got 1e300",
    );
}

#[test]
fn a_bad_meaning_says_what_is_wrong_and_where() {
    check(
        &with("dgx-h100", "dgx-h010"),
        "4:19: cluster.nodes[0].type: unknown node type `dgx-h010` (did you mean `dgx-h100`?)",
    );
    check(
        &with("nodes = [{ type = \"dgx-h100\", count = 2 }]", "nodes = []"),
        "3:1: cluster: the cluster has no nodes (list `nodes`, such as `nodes = [{ type = \"dgx-h100\", count = 8 }]`, \
         or name a `trace`)",
    );
    check(
        &with("name = \"small\"", "name = \"small\"\nseeds = 0"),
        "3:9: seeds: expected a whole number from 1 to 1000, got 0",
    );
    check(
        &with("[workload.synthetic]", "[workload.trace]\npath = \"Cargo.toml\"\n[workload.synthetic]"),
        "5:2: workload: expected exactly one of `trace` and `synthetic`, got both",
    );
    check(
        &with("load = 0.5", "load = 0.5\nrate_per_hour = 60"),
        "5:1: workload.synthetic: expected exactly one of `load` and `rate_per_hour`, got both",
    );
    check(
        &with("load = 0.5", ""),
        "5:1: workload.synthetic: expected exactly one of `load` and `rate_per_hour`, got neither",
    );
    check(
        &with("sizes = [{ weight = 1, gpus_per_task = 1 }]", "sizes = [{ weight = 1, gpus_per_task = 0 }]"),
        "7:8: workload.synthetic.load: no arrival rate gives this load: sizes: expected at least one size with GPUs and \
         a run time, got none",
    );
    check(
        &with("gpus_per_task = 1", "gpus_per_task = 1, gpu_models = [\"H10\"]"),
        "8:57: workload.synthetic.sizes[0].gpu_models[0]: unknown GPU model `H10` (did you mean `H100`?)",
    );
    check(
        &with("law = \"exponential\", mean_s = 60", "law = \"log_uniform\", min_s = 9, max_s = 3"),
        "9:43: workload.synthetic.duration.min_s: expected a number from 0.000001 to 3, got 9",
    );
    check(
        &with("policies = [\"default\"]", "policies = [\"default\", \"fif+fgd\", \"default\"]"),
        "11:24: scheduler.policies[1]: unknown policy `fif+fgd` (did you mean `fifo+fgd`?; `foretell policy list` \
         explains them)\n\
         11:35: scheduler.policies[2]: policy `default` is listed twice",
    );
    // Not all that could be combined: there are hundreds.
    let unknown = problems(&with("policies = [\"default\"]", "policies = [\"zzzzzz\"]"), &[]);
    assert!(
        unknown.len() < 1_000 && unknown.contains("or ORDER+PLACEMENT such as `fifo+binpack`"),
        "{unknown}"
    );
    check(
        &with("[workload.synthetic]", "[workload]\nqueue_nodes = \"virtual_cluster\"\n[workload.synthetic]"),
        "6:15: workload.queue_nodes: no node belongs to a virtual cluster, so no job could ever run (give \
         `cluster.nodes` a `virtual_cluster`, or use a node list that has them)",
    );
    check(
        &with(
            "[cluster]",
            "[[cluster.node_types]]\nname = \"dgx-h100\"\ncpus = 8\nmemory = \"8 GiB\"\ngpus = 1\n[cluster]",
        ),
        "3:1: cluster.node_types[0]: a node type with GPUs needs both `gpu` and `gpus`\n\
         4:8: cluster.node_types[0].name: there is a node type `dgx-h100` already",
    );
}

#[test]
fn syntax_errors_are_all_found() {
    let text = with("count = 2", "count = ").replace("mean_s = 60", "mean_s = 6 0");
    let found = problems(&text, &[]);
    assert!(found.lines().count() >= 2 && found.contains("4:") && found.contains("9:"), "{found}");
}

#[test]
fn files_that_are_not_there_are_named() {
    let check = |path: &str, expected: &str| {
        let start = GOOD.find("[workload").unwrap();
        let end = GOOD.find("[scheduler").unwrap();
        let text = format!("{}[workload]\ntrace = {{ path = \"{path}\" }}\n{}", &GOOD[..start], &GOOD[end..]);
        let found = problems(&text, &[]);
        assert!(found.starts_with("6:18: workload.trace.path: ") && found.contains(expected), "{found}");
    };
    check("data:openb/nodes.csv", "set the environment variable FORETELL_DATA");
    check("no/such.csv", "there is no file");
}

#[test]
fn a_bad_override_is_blamed_not_the_file() {
    let check =
        |overrides: &[&str], expected: &str| assert_eq!(problems(GOOD, overrides), expected, "{overrides:?}");
    check(&["sed=7"], "--set sed=7: sed: unknown field `sed` (did you mean `seed`?)");
    check(
        &["cluster.nodes[0].cont=7"],
        "--set cluster.nodes[0].cont=7: cluster.nodes[0].cont: unknown field `cont` (did you mean `count`?)",
    );
    check(
        &["cluster.nodes[0].count=many"],
        "--set cluster.nodes[0].count=many: cluster.nodes[0].count: expected a whole number from 1 to 1000000, got the \
         string \"many\"",
    );
    check(
        &["cluster.nodes[3].count=7"],
        "--set cluster.nodes[3].count=7: cluster.nodes: there is no element 3: the length is 1",
    );
    check(&["name.x=7"], "--set name.x=7: name: cannot set `x` in it: the file has a string here");
    check(&["seed[0]=7"], "--set seed[0]=7: seed: expected a whole number of at least 0, got a table");
    check(
        &["cluster.nodes.type=7"],
        "--set cluster.nodes.type=7: cluster.nodes: cannot set `type` in it: the file has an array here",
    );
    check(
        &["seed"],
        "--set seed: an override without `=` (write `--set path=value`, such as `--set seed=7`)",
    );
    check(
        &["=7"],
        "--set =7: malformed path `` (write field names and indices, such as `cluster.nodes[0].count`)",
    );
    check(
        &["scheduler.policies=[default"],
        "--set scheduler.policies=[default: unclosed array, expected `]`",
    );
    check(
        &["scheduler.policies=default"],
        "--set scheduler.policies=default: scheduler.policies: expected an array, got the string \"default\"",
    );
    check(
        &["version=2"],
        "--set version=2: version: version 2 is not supported (this program reads version 1)",
    );
    check(
        &["cluster.nodes[0].type=dgx-h20", "workload.synthetic.sizes[0].gpu_models=[\"A11\"]"],
        "--set cluster.nodes[0].type=dgx-h20: cluster.nodes[0].type: unknown node type `dgx-h20` (did you mean \
         `dgx-h200`?)\n--set workload.synthetic.sizes[0].gpu_models=[\"A11\"]: \
         workload.synthetic.sizes[0].gpu_models[0]: unknown GPU model `A11` (did you mean `A10`?)",
    );
}

#[test]
fn defaults_are_filled_in() {
    let scenario = read(GOOD, &[]).unwrap();
    assert_eq!(scenario.seed, 42);
    assert_eq!(scenario.scheduler.cycle, Cycle::OnChange);
    assert_eq!(scenario.scheduler.retry, Retry::Always);
    assert!((scenario.metrics.typical_share - 0.95).abs() < 1e-12);
    assert_eq!(scenario.nodes[0].names, ["dgx-h100-0000", "dgx-h100-0001"]);
    let Workload::Synthetic(synthetic) = scenario.workload else { panic!("synthetic") };
    // 0.5 x 16 GPUs, one GPU-minute per job.
    assert!((synthetic.config.arrival.rate_per_s() - 8.0 / 60.0).abs() < 1e-12);
}

#[test]
fn groups_with_one_prefix_count_on() {
    let text = with(
        "count = 2 }",
        "count = 2 }, { type = \"dgx-h100\", count = 1, virtual_cluster = \"v\", zone = \"z\" }",
    );
    let scenario = read(&text, &[]).unwrap();
    assert_eq!(scenario.nodes[1].names, ["dgx-h100-0002"]);
    assert_eq!(scenario.nodes[1].labels[VIRTUAL_CLUSTER_LABEL], "v");
    assert_eq!((scenario.node_count(), scenario.gpu_count()), (3, 24));
}

#[test]
fn a_node_type_of_the_scenario_is_usable() {
    let types = "node_types = [{ name = \"box\", cpus = 8, memory = \"2 TiB\", gpu = \"V100M16\", gpus = 3 }]\n[workload.synth";
    let text = with("[workload.synth", types).replace("\"dgx-h100\"", "\"box\"");
    let scenario = read(&text, &[]).unwrap();
    assert_eq!(scenario.gpus_by_model().into_iter().collect::<Vec<_>>(), [("V100-16", 6)]);
    assert_eq!(scenario.nodes[0].node_type.memory_bytes, 2 << 40);
}

#[test]
fn library_scenarios_resolve() {
    let data_dir = data_dir();
    let mut names = Vec::new();
    for entry in std::fs::read_dir(crate_dir().join("library")).unwrap() {
        let path = entry.unwrap().path();
        // Beside scenarios there are manifests.
        if path.extension().is_none_or(|extension| extension != "toml") {
            continue;
        }
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        if std::fs::read_to_string(&path).unwrap().contains("\"data:") && data_dir.is_none() {
            // Straight to standard error: what a test that passes prints is captured.
            let _ = writeln!(std::io::stderr(), "skipped: {name}: there is no public data folder");
            continue;
        }
        let scenario =
            load(&path, &[], environment(data_dir.as_deref())).unwrap_or_else(|e| panic!("{e}")).scenario;
        assert_eq!(scenario.name, name);
        let (nodes, gpus) = (scenario.node_count(), scenario.gpu_count());
        let expected = match name.as_str() {
            "quickstart" => (64, 384),
            "openb" | "openb-arrivals" => (1_213, 6_212),
            "philly" => (352, 2_816),
            "scale" => (12_500, 100_000),
            "gang-deadlock" | "fragmentation" => (32, 256),
            "kv-routing" => (48, 384),
            "policy-shootout" => (80, 640),
            "elastic" | "disaggregation" | "capacity" => (8, 64),
            "heterogeneous" => (27, 108),
            "serving" | "batching" | "paged-kv" | "chunked-prefill" => (1, 8),
            "topology-aware" => (160, 1_280),
            "failures" => (2_080, 16_640),
            "checkpoint-storm" => (1_032, 8_256),
            "classical" | "autoscaling" | "pipeline" | "swap" | "batch-inference" => (2, 16),
            "canary" | "lora" => (4, 32),
            "gpu-cost" => (9, 72),
            "replica-loss" => (6, 48),
            "tidal" => (3, 24),
            "starvation" | "reclaim-storm" | "backfill" | "gpu-topology" => (16, 128),
            "shared-vs-partitioned" | "shared-vs-partitioned-philly" => (164, 1_312),
            _ => panic!("a library scenario without an expectation: {name}"),
        };
        assert_eq!((nodes, gpus), expected, "{name}");
        names.push(name);
    }
    assert!(names.len() >= 2, "{names:?}");
}

#[test]
fn the_checked_in_schema_is_current() {
    let path = crate_dir().join("schema/scenario.schema.json");
    if std::env::var_os("UPDATE_SCHEMA").is_some() {
        std::fs::write(&path, schema_json()).unwrap();
    }
    let checked_in = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(checked_in == schema_json(), "run the tests with UPDATE_SCHEMA=1 to write {}", path.display());
}

/// Collects the names of all fields of a schema.
fn fields(schema: &Value, names: &mut Vec<String>) {
    match schema {
        Value::Object(object) => {
            if let Some(Value::Object(properties)) = object.get("properties") {
                names.extend(properties.keys().cloned());
            }
            object.values().for_each(|inner| fields(inner, names));
        }
        Value::Array(items) => items.iter().for_each(|inner| fields(inner, names)),
        _ => {}
    }
}

#[test]
fn every_field_is_documented() {
    let mut names = Vec::new();
    fields(schema().as_value(), &mut names);
    assert!(names.len() > 50);
    let docs = std::fs::read_to_string(crate_dir().join("../docs/scenarios.md")).unwrap();
    let missing: Vec<_> = names.iter().filter(|name| !docs.contains(&format!("`{name}`"))).collect();
    assert!(missing.is_empty(), "docs/scenarios.md does not mention {missing:?}");
}

proptest! {
    /// An override means what the same value in the file means.
    #[test]
    fn an_override_equals_an_edit(seed in 0..i64::MAX, count in 1..200_u32, load in 0.01..2.0_f64, name in "[a-z]{1,8}") {
        let edited = GOOD
            .replace("name = \"small\"", &format!("name = \"{name}\"\nseed = {seed}"))
            .replace("count = 2", &format!("count = {count}"))
            .replace("load = 0.5", &format!("load = {load:?}"));
        let overrides = [
            format!("seed={seed}"),
            format!("cluster.nodes[0].count={count}"),
            format!("workload.synthetic.load = {load:?}"),
            format!("name=\"{name}\""),
        ];
        let overrides: Vec<_> = overrides.iter().map(String::as_str).collect();
        prop_assert_eq!(read(GOOD, &overrides), read(&edited, &[]));
    }

    /// Overrides of any text give a scenario or problems that lie within their sources.
    #[test]
    fn no_override_panics(
        path in "(cluster|workload|seed|nodes|\\.|\\[0\\]|\"|=){0,5}",
        value in "[-0-9a-z\"\\[{= ]{0,8}",
    ) {
        if let Err(invalid) = read(GOOD, &[&format!("{path}={value}")]) {
            prop_assert!(!invalid.problems.is_empty());
            for problem in &invalid.problems {
                let text = &invalid.sources[problem.source_index].text;
                prop_assert!(problem.span.start <= problem.span.end && problem.span.end <= text.len(), "{problem:?}");
            }
        }
    }

    /// Neither does any file.
    #[test]
    fn no_file_panics(at in 0..GOOD.len(), length in 0..20_usize, text in "[ -~\n]{0,6}") {
        let end = (at + length).min(GOOD.len());
        let _ = read(&format!("{}{text}{}", &GOOD[..at], &GOOD[end..]), &[]);
    }
}

struct Nobody;

impl Observer for Nobody {
    fn advance(&mut self, _from: Time, _to: Time, _state: &ClusterState) {}

    fn record(&mut self, _now: Time, _record: &Record<'_>, _state: &ClusterState) {}
}

/// Runs `[cluster] nodes` and `[workload]` fields on a canonical trace; start and end of each job in seconds.
fn run(nodes: &str, workload: &str, trace: &str) -> Vec<Option<(f64, f64)>> {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("jobs.csv"), trace).unwrap();
    let text = format!(
        "version = 1\nname = \"run\"\n[cluster]\nnodes = [{nodes}]\n[workload]\n{workload}\n\
         [scheduler]\npolicies = [\"fifo+binpack\"]\n"
    );
    let loaded = parse("s.toml", &text, &[], directory.path(), environment(None)).unwrap();
    let plan = Plan::new(loaded.scenario).unwrap();
    let result = plan.run("fifo+binpack", &mut Nobody, &mut |_| ()).unwrap();
    result.jobs.iter().map(|job| Some((job.start?.as_s(), job.finish?.as_s()))).collect()
}

#[test]
fn jobs_of_a_virtual_cluster_use_its_nodes_and_the_shared_ones() {
    let nodes = "{ type = \"dgx-h100\", count = 1, virtual_cluster = \"vision\" }, \
                 { type = \"dgx-a100\", count = 1, virtual_cluster = \"speech\" }";
    let shared = format!("{nodes}, {{ type = \"dgx-b200\", count = 1 }}");
    let workload = "trace = { path = \"jobs.csv\" }\nqueue_nodes = \"virtual_cluster\"";
    let trace = "job_id,submit_s,duration_s,gpus_per_task,queue\n\
                 a,0,10,8,vision\nb,1,10,8,vision\nc,2,10,8,speech\nd,3,10,1,other\n";
    let [a, c] = [Some((0.0, 10.0)), Some((2.0, 12.0))];
    assert_eq!(run(nodes, workload, trace), [a, Some((10.0, 20.0)), c, None]);
    assert_eq!(run(&shared, workload, trace), [a, Some((1.0, 11.0)), c, Some((11.0, 21.0))]);
    // Anywhere: two nodes are busy until 10 s, when the third job takes one, and until 11 s.
    assert_eq!(run(nodes, "trace = { path = \"jobs.csv\" }", trace)[3], Some((11.0, 21.0)));
}

#[test]
fn a_trace_may_count_from_its_own_epoch() {
    let trace = "job_id,submit_s,duration_s,gpus_per_task\na,1700000000,10,1\nb,1700000005.5,10,1\nc,1700000020,1,1\n";
    let node = "{ type = \"dgx-h100\", count = 1 }";
    let starts = |workload: &str| -> Vec<f64> {
        run(node, &format!("trace = {{ path = \"jobs.csv\"{workload} }}"), trace)
            .into_iter()
            .map(|times| times.unwrap().0)
            .collect()
    };
    assert_eq!(starts(""), [0.0, 5.5, 20.0]);
    assert_eq!(starts(", from_s = 1700000004, to_s = 1700000020"), [1.5]);
    assert_eq!(starts(", limit_jobs = 2"), [0.0, 5.5]);
}

/// Which devices every pod got, in order of binding.
struct Devices(Vec<Vec<usize>>);

impl Observer for Devices {
    fn advance(&mut self, _from: Time, _to: Time, _state: &ClusterState) {}

    fn record(&mut self, _now: Time, record: &Record<'_>, _state: &ClusterState) {
        if let Record::PodBound { gpus, .. } = record {
            self.0.push(gpus.iter().collect());
        }
    }
}

#[test]
fn the_links_between_gpus_decide_where_they_are_told_to() {
    #[track_caller]
    fn check(policy: &str, node_type: &str, extra: &str, expected: [&[usize]; 2]) {
        let text = with("dgx-h100", node_type)
            .replace("jobs = 10", "jobs = 2")
            .replace("gpus_per_task = 1", "gpus_per_task = 2")
            .replace("mean_s = 60", "mean_s = 1e5")
            .replace("load = 0.5", "load = 100")
            .replace("count = 2", "count = 1")
            .replace("\"default\"]\n", &format!("\"{policy}\"]\n{extra}"));
        let plan = Plan::new(read(&text, &[]).unwrap()).unwrap();
        let mut devices = Devices(Vec::new());
        plan.run(policy, &mut devices, &mut |_| ()).unwrap();
        assert_eq!(devices.0, expected, "{policy} {extra}");
    }
    let interconnect = "gpu_choice = \"interconnect\"\n";
    check("fifo+binpack", "dgx-1-v100", "", [&[0, 1], &[2, 3]]);
    check("fifo+binpack", "dgx-1-v100", interconnect, [&[2, 3], &[6, 7]]);
    check("default", "dgx-1-v100", interconnect, [&[2, 3], &[6, 7]]);
    check("gpu-links", "dgx-1-v100", "", [&[2, 3], &[6, 7]]);
    let types = "[[cluster.node_types]]\nname = \"box\"\ncpus = 128\nmemory = \"1 TiB\"\n\
                 gpu = \"V100-16\"\ngpus = 4\npcie = \"0 1 2 3\"\nnvlinks = \"0-3:1\"\n";
    check("gpu-links", "box", types, [&[0, 3], &[1, 2]]);
}

#[test]
fn links_of_a_node_type_must_be_of_its_gpus() {
    let check = |fields: &str, expected: &str| {
        let types = format!(
            "[[cluster.node_types]]\nname = \"box\"\ncpus = 8\nmemory = \"8 GiB\"\ngpu = \"T4\"\ngpus = 2\n{fields}\n[workload.synth"
        );
        let problems = problems(&with("[workload.synth", &types), &[]);
        assert!(problems.contains(expected), "{problems}");
    };
    check("pcie = \"0 1 2\"", "cluster.node_types[0]: expected `pcie` to name 2 GPUs, got 3");
    check("pcie = \"0 x\"", "failed to read the links: expected the number of a GPU");
    check("nvlinks = \"all:2\"", "`nvlinks` needs `pcie` too");
}
