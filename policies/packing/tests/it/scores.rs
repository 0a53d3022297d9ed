//! Scores worked by hand. The largest node has 128 cores and 8 GPUs, as in the study.

use foretell_framework::{NodeId, Score};
use foretell_packing::{BestFit, DotProduct, GpuAllocated, GpuClustering, GpuPacking, Preference};
use foretell_testkit::placement::best_by;
use foretell_testkit::{add_task, check_placement, cluster, node, task_spec};

/// The score of a task on node `a` of a cluster that also has the largest node.
#[track_caller]
fn check(mut score: impl Score, a: &str, task: &str, expected: i64) {
    let mut state = cluster(&format!("largest: 8xA100 cpu=128\na: {a}"));
    let task = task_spec(&mut state, task);
    let id = node(&state, "a");
    assert_eq!(score.score(&state, &task, id), expected, "{} of `{task:?}` on `{a}`", score.name());
}

#[test]
fn dot_product() {
    let check = |a: &str, task: &str, expected| check(DotProduct::default(), a, task, expected);
    // 1 - (128/128 * 64/128 + 8/8 * 4/8) / 2 = 1 - (0.5 + 0.5) / 2 = 0.5
    check("8xA100 cpu=128", "4gpu cpu=64", 50);
    // Half of each is free: 1 - (0.5 * 0.5 + 0.5 * 0.5) / 2 = 0.75
    check("8xA100 cpu=128 | 4gpu cpu=64", "4gpu cpu=64", 75);
    // A smaller node: 1 - (32/128 * 8/128 + 2/8 * 1/8) / 2 = 1 - (0.015625 + 0.03125) / 2 = 0.9765625
    check("2xT4 cpu=32", "1gpu cpu=8", 97);
    // A share: 1 - (32/128 * 8/128 + 1.5/8 * 0.25/8) / 2 = 1 - (0.015625 + 0.005859375) / 2 = 0.989257..
    check("2xT4 cpu=32 | 0.5gpu", "0.25gpu cpu=8", 98);
    // What the task does not ask for does not count: 1 - (0 + 0) / 2 = 1
    check("8xA100 cpu=128", "", 100);
    // CPU only: 1 - (128/128 * 64/128) / 2 = 0.75
    check("8xA100 cpu=128", "cpu=64", 75);
    // A broken device is not free: 1 - (0 + 7/8 * 1/8) / 2 = 0.9453125
    check("8xA100 broken=0", "1gpu", 94);
}

#[test]
fn best_fit() {
    let check = |a: &str, task: &str, expected| check(BestFit::default(), a, task, expected);
    // 1 - (64/128 + 4/8) / 2 = 0.5
    check("8xA100 cpu=128", "4gpu cpu=64", 50);
    // Nothing is left: 1
    check("8xA100 cpu=128 | 4gpu cpu=64", "4gpu cpu=64", 100);
    // 1 - (24/128 + 1/8) / 2 = 1 - 0.15625 = 0.84375
    check("2xT4 cpu=32", "1gpu cpu=8", 84);
    // 1 - (0/128 + 1.75/8) / 2 = 0.890625
    check("2xT4", "0.25gpu", 89);
    // CPU only, and no GPU on the node: 1 - (96/128 + 0) / 2 = 0.625
    check("cpu=128", "cpu=32", 62);
    // The GPU that a CPU-only task leaves alone counts too: 1 - (96/128 + 8/8) / 2 = 0.125
    check("8xA100 cpu=128", "cpu=32", 12);
}

#[test]
fn gpu_clustering() {
    let check = |a: &str, task: &str, expected| check(GpuClustering::default(), a, task, expected);
    // Base 25 * (8000 - free) / 8000, truncated: 0 on a free node of eight, 18 of 18.75 on a free node of two.
    check("8xA100", "1gpu", 25);
    check("2xT4", "1gpu", 18 + 25);
    // Only its own kind: 75; 25 * 1000 / 8000 = 3.125
    check("8xA100 | 1gpu", "1gpu", 3 + 75);
    check("8xA100 | 1gpu, 1gpu", "1gpu", 6 + 75);
    check("8xA100 | 0.5gpu", "0.25gpu", 1 + 75); // 25 * 500 / 8000 = 1.5625; all shares are one kind
    check("8xA100 | 2gpu", "2gpu", 6 + 75);
    // One of several kinds: 50
    check("8xA100 | 1gpu, 2gpu", "2gpu", 9 + 50); // 25 * 3000 / 8000 = 9.375
    // Other kinds only: 0
    check("8xA100 | 2gpu", "1gpu", 6);
    check("8xA100 | 0.5gpu", "1gpu", 1);
    check("8xA100 | 1gpu", "0.5gpu", 3);
    // CPU-only tasks are no kind, and score 0 themselves.
    check("8xA100 cpu=8 | cpu=1", "1gpu", 25);
    check("8xA100 cpu=8 | 1gpu cpu=1, cpu=1", "1gpu", 3 + 75);
    check("8xA100 cpu=8 | 1gpu", "cpu=1", 0);
}

/// The kinds on a node are kept from one score to the next.
#[test]
fn gpu_clustering_follows_changes() {
    let mut state = cluster("largest: 8xA100 | 2gpu");
    let mut score = GpuClustering::default();
    let two = task_spec(&mut state, "2gpu");
    assert_eq!(score.score(&state, &two, NodeId::new(0)), 6 + 75);
    let running = state.tasks().next().unwrap().1.job;
    state.remove_job(running);
    assert_eq!(score.score(&state, &two, NodeId::new(0)), 25);
    // A larger node rescales the base: 25 * (16000 - 8000) / 16000 = 12.5
    foretell_testkit::add_node(&mut state, "larger: 16xA100");
    assert_eq!(score.score(&state, &two, NodeId::new(0)), 12 + 25);
}

#[test]
fn gpu_packing() {
    let check = |a: &str, task: &str, expected| check(GpuPacking::default(), a, task, expected);
    // Idle node, F devices: max(33 - F, F)
    check("8xA100", "1gpu", 25);
    check("2xT4", "0.5gpu", 31);
    check("20xA100", "1gpu", 20);
    // Node in use, u free devices taken: max(50 - u, 33)
    check("8xA100 | 1gpu", "1gpu", 49);
    check("8xA100 | 1gpu", "7gpu", 43);
    check("32xA100 | 1gpu", "20gpu", 33);
    check("8xA100 | 0.5gpu", "0.6gpu", 49);
    // Devices in use only: max(100 - (sum of left * 100 / 1000) / 10, 50)
    check("8xA100 | 0.5gpu", "0.5gpu", 95); // 500 left: 50 / 10 = 5
    check("8xA100 | 0.5gpu@0, 0.74gpu@1", "0.25gpu", 98); // the tighter: 260 left: 26 / 10 = 2
    check("8xA100 | 0.5gpu@0, 0.74gpu@1", "0.3gpu", 95); // 260 is not enough
    check("2xT4 | 0.01gpu", "0.9gpu", 91); // 990 left: 99 / 10 = 9
    // Two devices in use: (500 * 100 / 1000 + 400 * 100 / 1000) / 10 = 9
    check("4xT4 | 0.5gpu@0, 0.6gpu@1", "2x0.4gpu", 91);
    // One in use and one free.
    check("4xT4 | 0.5gpu@0", "2x0.4gpu", 49);
    // CPU only
    check("8xA100 cpu=8 | 1gpu", "cpu=1", 0);
}

#[test]
fn gpu_allocated() {
    let most = |a: &str, task: &str, expected| check(GpuAllocated(Preference::Most), a, task, expected);
    let least =
        |a: &str, task: &str, expected: i64| check(GpuAllocated(Preference::Least), a, task, -expected);
    let both = |a: &str, task: &str, expected| {
        most(a, task, expected);
        least(a, task, expected);
    };
    // GPU in hundredths of a percent after the placement, times 10001, plus CPU in hundredths of a percent.
    both("8xA100 cpu=128", "4gpu cpu=32", 5000 * 10_001 + 2500);
    both("8xA100 cpu=128 | 2gpu cpu=32", "0.5gpu cpu=32", 3125 * 10_001 + 5000);
    both("8xA100 cpu=128 | 7gpu cpu=96", "1gpu cpu=32", 10_000 * 10_001 + 10_000);
    // CPU-only tasks by CPU alone, with or without GPUs; a node without CPU counts as empty.
    both("8xA100 cpu=128 | 2gpu", "cpu=32", 2500);
    both("cpu=128", "cpu=1", 78); // 1 / 128 = 0.78125 %
    both("8xA100", "1gpu", 1250 * 10_001);
    // A broken device gives nothing, so it counts as allocated: (1 + 1) / 8
    both("8xA100 broken=7", "1gpu", 2500 * 10_001);
}

/// The point of each policy in one cluster.
#[test]
fn where_each_policy_goes() {
    const CLUSTER: &str = "idle: 8xA100 cpu=128
                   half: 8xA100 cpu=128 | 4gpu cpu=64
                   share: 8xA100 cpu=128 | 0.5gpu@3 cpu=8
                   full: 8xA100 cpu=128 | 8gpu cpu=16";
    #[track_caller]
    fn check(score: impl Score + 'static, task: &str, expected: &str) {
        check_placement(CLUSTER, best_by(score), task, expected);
    }
    check(GpuAllocated(Preference::Most), "2gpu cpu=8", "half@4+5");
    check(GpuAllocated(Preference::Least), "2gpu cpu=8", "idle@0+1");
    check(GpuAllocated(Preference::Most), "0.5gpu", "half@4");
    check(BestFit::default(), "1gpu cpu=8", "half@4");
    check(DotProduct::default(), "1gpu cpu=8", "half@4");
    check(GpuPacking::default(), "0.5gpu cpu=1", "share@3");
    check(GpuPacking::default(), "1gpu cpu=1", "half@4");
    check(GpuClustering::default(), "4gpu cpu=1", "half@4+5+6+7");
    check(GpuClustering::default(), "0.6gpu cpu=1", "share@0");
    check(GpuAllocated(Preference::Most), "9gpu", "nowhere");
}

/// Among equals the node that was added first.
#[test]
fn ties_go_to_the_first_node() {
    check_placement("a: 2xT4\nb: 2xT4\nc: 2xT4", best_by(BestFit::default()), "1gpu", "a@0");
    check_placement("a: 2xT4 | 2gpu\nb: 2xT4\nc: 2xT4", best_by(BestFit::default()), "1gpu", "b@0");
}

/// Figures that no cluster has: no panic, and the fuller node is still preferred.
#[test]
fn absurd_capacities_do_not_overflow() {
    let half = u64::MAX / 2000;
    let text = format!("a: cpu={half} | cpu={}\nb: cpu=1 | cpu=0.5", half / 4);
    let mut state = cluster(&text);
    let task = add_task(&mut state, "cpu=0.25");
    let class = state.task(task).unwrap().class;
    let mut plugins = best_by(GpuAllocated(Preference::Most));
    assert_eq!(plugins.ranking(&state, class).best(), Some(NodeId::new(1)));
}
