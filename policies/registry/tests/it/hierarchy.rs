//! Hierarchical DRF: two clusters from Volcano's documentation of it, with what each job should get.

use foretell_framework::{ClusterState, JobSpec, Session, Switches, Time};
use foretell_registry::{Arguments, VolcanoConfig, VolcanoPlugin, volcano_profile};
use foretell_testkit::placement::random;
use foretell_testkit::{cluster, task_spec};

/// Allocates jobs of `(queue's path, weights, tasks)` by hierarchical DRF; returns how many tasks of each are placed.
fn allocate(mut state: ClusterState, jobs: &[(&str, &str, u32, &str)]) -> Vec<u32> {
    let plugin = VolcanoPlugin {
        name: "drf".into(),
        switches: Switches { hierarchy: true, ..Switches::default() },
        arguments: Arguments::default(),
    };
    let config = VolcanoConfig {
        actions: vec!["allocate".into()],
        tiers: vec![vec![plugin]],
        ..VolcanoConfig::default()
    };
    let mut ids = Vec::new();
    for (sequence, (path, weights, count, task)) in (0..).zip(jobs) {
        let queue = state.queue_id(path);
        let mut spec = state.queue(queue).spec.clone();
        spec.annotations.insert("volcano.sh/hierarchy".into(), (*path).into());
        spec.annotations.insert("volcano.sh/hierarchy-weights".into(), (*weights).into());
        state.set_queue_spec(queue, spec);
        let task = task_spec(&mut state, task);
        let class = state.class(&task);
        ids.push(
            state.add_job(JobSpec { min_member: 0, ..JobSpec::new(sequence, queue, [(class, *count)]) }),
        );
    }
    let mut profile = volcano_profile("hierarchy", &config).unwrap().profile;
    let (mut random, mut decisions) = (random(0), Vec::new());
    profile.cycle(&mut Session::new(&mut state, Time::ZERO, &mut random, &mut decisions));
    ids.into_iter().map(|job| state.job(job).unwrap().placed()).collect()
}

#[test]
fn each_branch_gets_half_of_its_bottleneck() {
    let placed = allocate(
        cluster("n: cpu=10 mem=10Gi tasks=500"),
        &[
            ("root/sci", "100/50", 10, "cpu=1 mem=1Gi"),
            ("root/eng/dev", "100/50/50", 10, "cpu=1"),
            ("root/eng/prod", "100/50/50", 10, "mem=1Gi"),
        ],
    );
    assert_eq!(placed, [5, 5, 5]);
}

#[test]
fn a_branch_without_cpu_does_not_hold_up_its_sibling() {
    let placed = allocate(
        cluster("n: cpu=30 mem=30Gi tasks=500"),
        &[
            ("root/pg1", "100/25", 30, "cpu=1"),
            ("root/pg2", "100/25", 30, "cpu=1"),
            ("root/pg3/pg31", "100/25/50", 30, "cpu=1"),
            ("root/pg3/pg32", "100/25/50", 30, "mem=1Gi"),
            ("root/pg4", "100/25", 30, "mem=1Gi"),
        ],
    );
    assert_eq!(placed, [10, 10, 10, 15, 15]);
}

#[test]
fn weights_count() {
    let placed = allocate(
        cluster("n: cpu=12 tasks=500"),
        &[("root/a", "1/2", 12, "cpu=1"), ("root/b", "1/1", 12, "cpu=1")],
    );
    assert_eq!(placed, [8, 4]);
}
