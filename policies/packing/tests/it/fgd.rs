//! FGD against the recipe of the study, word by word and without anything kept.

use std::sync::Arc;

use foretell_framework::gpu::GpuSet;
use foretell_framework::{
    ClusterState, GpuModelSet, NodeId, PickGpus, Score, TaskShape, TaskSpec, TypicalTasks,
};
use foretell_packing::{Fgd, FgdGpus};
use foretell_testkit::generate::{clusters, gpu_requests, operations};
use foretell_testkit::placement::random;
use foretell_testkit::{cluster, task_spec};
use proptest::prelude::*;

/// The recipe's score and device. Fragmentation itself is held against the recipe in the framework's tests.
fn literal(typical: &TypicalTasks, state: &ClusterState, task: &TaskSpec, node: NodeId) -> (i64, GpuSet) {
    let entry = state.node(node);
    let frag = |cpu_left: u64, left: &[u32]| {
        entry.spec.gpu_model.map_or(0.0, |model| typical.evaluate(cpu_left, left, model).expected_milli)
    };
    let left = state.gpu_free_milli(node).to_vec();
    let before = frag(entry.cpu_free_milli(), &left);
    let score = |left: &[u32]| {
        let after = frag(entry.cpu_free_milli() - task.requests.cpu_milli, left);
        let x = (before - after) / 1000.0;
        (100.0 * (1.0 / (1.0 + libm::exp(-x)))) as i64
    };
    if task.gpus.count == 1 && task.gpus.milli < 1000 {
        let (mut best, mut device) = (0, None);
        for candidate in (0..left.len()).filter(|&candidate| left[candidate] >= task.gpus.milli) {
            let mut after = left.clone();
            after[candidate] -= task.gpus.milli;
            if device.is_none() || score(&after) > best {
                (best, device) = (score(&after), Some(candidate));
            }
        }
        return (best, device.into_iter().collect());
    }
    // Ascending in what is left, the lowest index among equals.
    let mut fitting: Vec<usize> = (0..left.len()).filter(|&device| left[device] >= task.gpus.milli).collect();
    fitting.sort_by_key(|&device| left[device]);
    fitting.truncate(task.gpus.count as usize);
    let mut after = left;
    for &device in &fitting {
        after[device] -= task.gpus.milli;
    }
    (score(&after), fitting.into_iter().collect())
}

fn typical_tasks() -> impl Strategy<Value = TypicalTasks> {
    let shape = (0_u64..16, gpu_requests()).prop_map(|(cpu, gpus)| TaskShape {
        cpu_milli: cpu * 1000,
        gpu_milli: gpus.milli,
        gpus: gpus.count,
        gpu_models_text: format!("{:?}", gpus.models),
        gpu_models: gpus.models,
    });
    prop::collection::vec((shape, 1_u64..50), 0..20).prop_map(|shapes| TypicalTasks::of_tasks(shapes, 0.95))
}

fn feasible(state: &ClusterState, task: &TaskSpec, node: NodeId) -> bool {
    let entry = state.node(node);
    entry.check_resources(&task.requests).is_ok()
        && task.gpus.fits(state.gpu_free_milli(node))
        && (task.gpus.count == 0 || entry.spec.gpu_model.is_some_and(|model| task.gpus.models.allows(model)))
}

proptest! {
    #[test]
    fn equals_the_recipe_through_every_change(
        typical in typical_tasks(), mut state in clusters(1..5), operations in operations(1..30),
    ) {
        let typical = Arc::new(typical);
        let (mut score, mut devices) = (Fgd::new(typical.clone()), FgdGpus::new(typical.clone()));
        let mut random = random(0);
        let mut failure = Ok(());
        let mut look = |state: &ClusterState| {
            for (_, task) in state.classes() {
                for node in state.node_ids().filter(|&node| feasible(state, task, node)) {
                    let ours = (score.score(state, task, node), devices.pick(state, task, node, &mut random));
                    let recipe = literal(&typical, state, task, node);
                    if ours != recipe && failure.is_ok() {
                        let text = format!("{ours:?}, the recipe says {recipe:?}, for {task:?} on {:?}", state.node(node));
                        failure = Err(TestCaseError::fail(text));
                    }
                }
            }
        };
        for operation in operations {
            operation.apply_observed(&mut state, &mut look);
            look(&state);
        }
        failure?;
    }
}

/// Half the tasks want one GPU, half want 0.6 of one; nobody lacks CPU.
fn workload() -> Arc<TypicalTasks> {
    let shape = |gpu_milli| TaskShape {
        cpu_milli: 0,
        gpu_milli,
        gpus: 1,
        gpu_models_text: String::new(),
        gpu_models: GpuModelSet::ANY,
    };
    Arc::new(TypicalTasks::new(vec![(shape(1000), 1), (shape(600), 1)], 1.0))
}

#[track_caller]
fn check(node: &str, task: &str, expected_score: i64, expected_devices: &str) {
    let mut state = cluster(&format!("a: {node}"));
    let task = task_spec(&mut state, task);
    let score = Fgd::new(workload()).score(&state, &task, NodeId::new(0));
    let devices = FgdGpus::new(workload()).pick(&state, &task, NodeId::new(0), &mut random(0));
    let expected: GpuSet =
        expected_devices.split_terminator('+').map(|device| device.parse::<usize>().unwrap()).collect();
    assert_eq!((score, devices), (expected_score, expected), "`{node}`");
}

#[test]
fn worked_by_hand() {
    // Two free devices: fragmentation 0 before. 0.5 of one taken leaves L = [500, 1000]: both kinds of task use the
    // other device only, 500 is lost to both: 100 * sigmoid(-0.5) = 37.75
    check("2xA100", "0.5gpu", 37, "0");
    // L = [500, 1000] is 500 before. On device 0: [0, 1000] is 0 after, gradient 0.5: 62.24. On device 1: [500, 500]
    // is T = 1000 to both, gradient -0.5.
    check("2xA100 | 0.5gpu@0", "0.5gpu", 62, "0");
    // L = [700, 1000]: 1 GPU loses 700, 0.6 loses 0: 350. Taking 0.1 of device 0: [600, 1000]: 300, gradient 0.05:
    // 51.2. Of device 1: [700, 900]: 1 GPU loses all 1600, 0.6 loses 0: 800, gradient -0.45.
    check("2xA100 | 0.3gpu@0", "0.1gpu", 51, "0");
    // Whole devices leave L = [0]: 0 before, 0 after.
    check("1xA100", "1gpu", 50, "0");
    // L = [500, 1000, 1000] is 500 before and after.
    check("3xA100 | 0.5gpu@0", "1gpu", 50, "1");
    // Without the last whole device, what is left of the other is all there is: T = 500 before and after.
    check("2xA100 | 0.5gpu@0", "1gpu", 50, "1");
    // CPU only changes nothing here, with or without GPUs.
    check("2xA100 cpu=8 | 0.5gpu@0", "cpu=4", 50, "");
    check("cpu=8", "cpu=4", 50, "");
}
