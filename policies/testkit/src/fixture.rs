//! Clusters, tasks and jobs in words.
//!
//! ```text
//! cluster   one node per line:   NAME: WORD.. [| RUNNING, RUNNING ..]
//! node      8xA100               devices and their model
//!           cpu=96 mem=768Gi     cores and memory; what is not named is zero
//!           rdma/nic=8           an extended resource: its name has a slash, as in Kubernetes
//!           tasks=10             task slots (110)
//!           label.zone=west  taint.team=red:NoSchedule  domain=pod1/rack7  gpumem=80Gi  broken=3+5  cordoned
//! task      2gpu  0.25gpu        whole devices, or a share of one; 2x0.25gpu is a share of each of two
//!           model=A100/T4        allowed models
//!           cpu=8 mem=32Gi rdma/nic=1  select.zone=west  tolerate.team=red  label.app=web
//! running   a task that is on the node already, its devices after the GPUs: 0.5gpu@1 cpu=4
//! job       3 x 1gpu cpu=8; cpu=2
//! ```

use std::fmt::Debug;
use std::str::FromStr;

use foretell_framework::gpu::{GpuRequest, GpuSet};
use foretell_framework::select::tightest_gpus;
use foretell_framework::spec::{Taint, TaintEffect, Toleration};
use foretell_framework::state::Domain;
use foretell_framework::{
    ClusterState, Decision, DomainId, JobId, JobSpec, NodeId, NodeSpec, Resources, Session, TaskId, TaskSpec,
    Time, Transaction, WHOLE_GPU_MILLI,
};

use crate::placement::random;

/// The queue of jobs that name none.
pub const DEFAULT_QUEUE: &str = "default";

/// A cluster from its description, one node per line.
pub fn cluster(text: &str) -> ClusterState {
    let mut state = ClusterState::new();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        add_node(&mut state, line);
    }
    state
}

/// Adds a node from its description, with the tasks that run on it.
pub fn add_node(state: &mut ClusterState, line: &str) -> NodeId {
    let (name, rest) = line.split_once(':').unwrap_or_else(|| panic!("`{line}`: a node is `NAME: WORD..`"));
    let (words, running) = rest.split_once('|').unwrap_or((rest, ""));
    let mut spec = NodeSpec::new(name.trim());
    let mut broken = GpuSet::EMPTY;
    for word in words.split_whitespace() {
        match split_word(word) {
            ("cordoned", "") => spec.unschedulable = true,
            (devices, "") => {
                let (count, model) =
                    devices.split_once('x').unwrap_or_else(|| panic!("`{word}` in `{line}`"));
                spec.gpus = parse(count, word);
                spec.gpu_model = Some(state.gpu_model(model).expect("a fixture has few GPU models"));
            }
            ("tasks", value) => spec.max_tasks = parse(value, word),
            ("gpumem", value) => spec.gpu_memory_bytes = bytes(value),
            ("broken", value) => broken = devices(value),
            ("domain", path) => spec.domain = Some(domain(state, path)),
            (key, value) => {
                if let Some(label) = key.strip_prefix("label.") {
                    spec.labels.insert(label.into(), value.into());
                } else if let Some(taint) = key.strip_prefix("taint.") {
                    spec.taints.push(parse_taint(taint, value));
                } else {
                    set_amount(state, &mut spec.allocatable, key, value);
                }
            }
        }
    }
    let node = state.add_node(spec).unwrap_or_else(|error| panic!("`{line}`: {error}"));
    for task in running.split(',').map(str::trim).filter(|task| !task.is_empty()) {
        add_running(state, node, task);
    }
    broken.iter().for_each(|device| state.set_gpu_healthy(node, device, false));
    node
}

/// The spec of a task from its description.
pub fn task_spec(state: &mut ClusterState, text: &str) -> TaskSpec {
    let mut spec = TaskSpec::default();
    for word in text.split_whitespace() {
        match split_word(word) {
            (gpus, "") => {
                let models = spec.gpus.models;
                let amount = gpus.strip_suffix("gpu").unwrap_or_else(|| panic!("`{word}` in `{text}`"));
                let (count, amount) = amount
                    .split_once('x')
                    .map_or((1, amount), |(count, amount)| (parse(count, word), amount));
                let amount: f64 = parse(amount, word);
                spec.gpus = if amount < 1.0 {
                    GpuRequest {
                        count,
                        ..GpuRequest::share((amount * f64::from(WHOLE_GPU_MILLI)).round() as u32)
                    }
                } else {
                    GpuRequest::whole(amount as u32)
                };
                spec.gpus.models = models;
            }
            ("model", names) => {
                spec.gpus.models =
                    state.gpu_model_set(names.split('/')).expect("a fixture has few GPU models");
            }
            (key, value) => {
                if let Some(label) = key.strip_prefix("label.") {
                    spec.labels.insert(label.into(), value.into());
                } else if let Some(label) = key.strip_prefix("select.") {
                    spec.node_selector.insert(label.into(), value.into());
                } else if let Some(taint) = key.strip_prefix("tolerate.") {
                    let (key, value) = (Some(taint.into()), Some(value.into()));
                    spec.tolerations.push(Toleration { key, value, ..Toleration::default() });
                } else {
                    set_amount(state, &mut spec.requests, key, value);
                }
            }
        }
    }
    spec
}

/// A job from its description: a gang of all its tasks in [`DEFAULT_QUEUE`], numbered in order of submission. What
/// the description cannot say is set in the fields.
pub fn job_spec(state: &mut ClusterState, text: &str) -> JobSpec {
    let tasks: Box<[_]> = text
        .split(';')
        .map(|group| {
            let (count, task) = group.split_once(" x ").unwrap_or(("1", group));
            let spec = task_spec(state, task);
            (state.class(&spec), parse(count, group))
        })
        .collect();
    let sequence = state.jobs().map(|(_, job)| job.spec.sequence + 1).max().unwrap_or(0);
    JobSpec::new(sequence, state.queue_id(DEFAULT_QUEUE), tasks)
}

/// Adds a job from its description.
pub fn add_job(state: &mut ClusterState, text: &str) -> JobId {
    let spec = job_spec(state, text);
    state.add_job(spec)
}

/// Adds a job of one task from its description.
pub fn add_task(state: &mut ClusterState, text: &str) -> TaskId {
    let job = add_job(state, text);
    let [task] = *state.job(job).expect("just added").tasks() else { panic!("`{text}`: one task is meant") };
    task
}

/// The node with this name.
pub fn node(state: &ClusterState, name: &str) -> NodeId {
    state
        .node_ids()
        .find(|&node| *state.node(node).spec.name == *name)
        .unwrap_or_else(|| panic!("no node `{name}`"))
}

/// Runs one transaction, commits it and returns the decisions.
pub fn transact<R>(
    state: &mut ClusterState,
    body: impl FnOnce(&mut Transaction<'_>) -> R,
) -> (R, Vec<Decision>) {
    let (mut random, mut decisions) = (random(0), Vec::new());
    let mut session = Session::new(state, Time::ZERO, &mut random, &mut decisions);
    let (mut transaction, _) = session.begin();
    let result = body(&mut transaction);
    transaction.commit();
    (result, decisions)
}

/// Devices as fixtures write them: `0+2`.
pub fn devices(text: &str) -> GpuSet {
    text.split('+').map(|device| parse::<usize>(device, text)).collect()
}

fn add_running(state: &mut ClusterState, node: NodeId, text: &str) {
    let mut chosen = None;
    let words: Vec<&str> = text
        .split_whitespace()
        .map(|word| {
            let (word, at) = word.split_once('@').map_or((word, None), |(word, at)| (word, Some(at)));
            chosen = chosen.or(at);
            word
        })
        .collect();
    let task = add_task(state, &words.join(" "));
    let request = state.task_spec(task).expect("just added").gpus;
    let gpus = chosen.map_or_else(|| tightest_gpus(state.gpu_free_milli(node), &request), devices);
    let (result, _) = transact(state, |transaction| transaction.place(task, node, gpus));
    result.unwrap_or_else(|error| panic!("`{text}`: {error}"));
}

/// The domain with this path from the root, made on first sight; the last of the path is of tier 1, the one above it
/// of tier 2. Names are unique within a fixture.
fn domain(state: &mut ClusterState, path: &str) -> DomainId {
    let mut parent = None;
    let depth = path.split('/').count() as u32;
    for (tier, name) in (1..=depth).rev().zip(path.split('/')) {
        let known = state
            .node_ids()
            .flat_map(|node| state.domains_of(node))
            .find(|(_, domain)| *domain.name == *name)
            .map(|(id, _)| id);
        parent = Some(known.unwrap_or_else(|| {
            state.add_domain(Domain { name: name.into(), tier, tier_name: Box::default(), parent })
        }));
    }
    parent.expect("a split has at least one part")
}

fn set_amount(state: &mut ClusterState, resources: &mut Resources, key: &str, value: &str) {
    match key {
        "cpu" => resources.cpu_milli = (parse::<f64>(value, key) * 1000.0).round() as u64,
        "mem" => resources.memory_bytes = bytes(value),
        name if name.contains('/') => resources.set_extended(state.resource(name), parse(value, key)),
        _ => panic!("unknown word `{key}={value}`"),
    }
}

fn parse_taint(key: &str, value: &str) -> Taint {
    let (value, effect) = value.split_once(':').unwrap_or((value, "NoSchedule"));
    let effect = match effect {
        "NoSchedule" => TaintEffect::NoSchedule,
        "PreferNoSchedule" => TaintEffect::PreferNoSchedule,
        "NoExecute" => TaintEffect::NoExecute,
        _ => panic!("unknown taint effect `{effect}`"),
    };
    Taint { key: key.into(), value: value.into(), effect }
}

fn bytes(text: &str) -> u64 {
    let units = [("Gi", 30), ("Mi", 20), ("Ki", 10)];
    let unit = units.into_iter().find_map(|(suffix, bits)| Some((text.strip_suffix(suffix)?, bits)));
    let (number, bits) = unit.unwrap_or((text, 0));
    parse::<u64>(number, text) << bits
}

fn split_word(word: &str) -> (&str, &str) {
    word.split_once('=').unwrap_or((word, ""))
}

fn parse<T: FromStr<Err: Debug>>(text: &str, context: &str) -> T {
    text.trim().parse().unwrap_or_else(|error| panic!("`{text}` in `{context}`: {error:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{check_invariants, where_placed};

    #[test]
    fn a_fixture_says_what_it_describes() {
        let mut state = cluster(
            "a: 4xA100 cpu=96 mem=768Gi rdma/nic=8 tasks=3 label.zone=west taint.team=red:NoExecute domain=pod1/rack7 gpumem=80Gi broken=3 | 0.25gpu@1 cpu=0.5, 1gpu
             b: cpu=8 domain=pod1/rack8 cordoned",
        );
        assert_eq!(check_invariants(&state), Ok(()));
        let (a, b) = (node(&state, "a"), node(&state, "b"));
        let spec = &state.node(a).spec;
        assert_eq!((spec.gpus, spec.max_tasks, spec.gpu_memory_bytes), (4, 3, 80 << 30));
        assert_eq!((spec.allocatable.cpu_milli, spec.allocatable.memory_bytes), (96_000, 768 << 30));
        assert_eq!(state.gpu_free_milli(a), [0, 750, 1000, 0]);
        assert_eq!(state.node(a).cpu_free_milli(), 95_500);
        assert_eq!(&*spec.labels["zone"], "west");
        assert_eq!((&*spec.taints[0].value, spec.taints[0].effect), ("red", TaintEffect::NoExecute));
        let names =
            |node| state.domains_of(node).map(|(_, domain)| domain.name.to_string()).collect::<Vec<_>>();
        assert_eq!(
            (names(a), names(b)),
            (vec!["rack7".into(), "pod1".into()], vec!["rack8".into(), "pod1".into()])
        );
        assert!(state.node(b).spec.unschedulable);
        let nic = state.resource("rdma/nic");
        assert_eq!(state.node(a).spec.allocatable.extended(nic), 8);

        let spec = job_spec(
            &mut state,
            "2 x 2gpu model=A100/T4 cpu=1; 3 x 0.1gpu; tolerate.team=red select.zone=west",
        );
        assert_eq!((spec.min_member, spec.sequence), (6, 2));
        let specs: Vec<_> = spec.tasks.iter().map(|&(class, _)| state.class_spec(class).clone()).collect();
        assert_eq!((specs[0].gpus.count, specs[0].gpus.milli, specs[0].requests.cpu_milli), (2, 1000, 1000));
        assert!(specs[0].gpus.models.allows(state.node(a).spec.gpu_model.unwrap()));
        assert_eq!((specs[1].gpus.count, specs[1].gpus.milli), (1, 100));
        assert!(specs[2].tolerations[0].tolerates(&state.node(a).spec.taints[0]));
        assert_eq!(&*specs[2].node_selector["zone"], "west");
        let running: Vec<_> = state.node(a).tasks().iter().map(|&task| where_placed(&state, task)).collect();
        assert_eq!(running, ["a@1", "a@0"]);
    }
}
